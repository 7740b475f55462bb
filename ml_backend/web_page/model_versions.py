"""Versions of the model with their figures, and which one is live."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ml_backend.store import page_rows, versions
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.tables import number

#: Versions on one page.
VERSIONS = 25


@dataclass(frozen=True)
class Version:
    """One line; ``can_go_back``: its weights are there and it is not live."""

    number: int
    status: str
    made: str
    labelled: str
    validation_px: str
    previous_px: str
    gate: str
    live: bool
    can_go_back: bool


@dataclass(frozen=True)
class Versions:
    """``after``: number from which the next page goes down, None at the end."""

    lines: list[Version]
    pinned: bool
    after: int | None


def model_versions(workspace: Workspace, before: int | None) -> Versions:
    """A page of versions, the newest first."""
    project, live = workspace.project, versions.live(workspace.store)
    rows = page_rows.version_page(workspace.store, before, VERSIONS + 1)
    lines = [
        Version(
            row.number,
            row.status.value if row.removed_at is None else f"{row.status.value}, weights removed",
            time.strftime("%Y-%m-%d %H:%M", time.localtime(row.created_at)),
            "–" if labelled is None else str(labelled),
            number(row.metrics.get("validation_px"), ".2f"),
            number(row.metrics.get("previous_px"), ".2f"),
            str(row.metrics.get("gate") or row.note or ""),
            live is not None and live.id == row.id,
            row.removed_at is None and (live is None or live.id != row.id),
        )
        for row, labelled in rows[:VERSIONS]
    ]
    return Versions(lines, project.pinned, rows[VERSIONS - 1][0].number if len(rows) > VERSIONS else None)

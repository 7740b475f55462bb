"""``parallax rollback``: make an earlier model live and keep it."""

from __future__ import annotations

from typing import Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.context import console, open_project


def rollback(
    ctx: typer.Context,
    version: Annotated[str, typer.Argument(help="Number of the version, such as 3 or px-3.")],
) -> None:
    """Make a version live and pin it: nothing newer is published until `parallax unpin`."""
    from ml_backend.pose.weights import read_manifest
    from ml_backend.store import presence, versions, work
    from ml_backend.store.statuses import JobKind

    workspace = open_project(ctx)
    known = {row.number: row for row in versions.list_versions(workspace.store)}
    digits = version.removeprefix("px-")
    row = known.get(int(digits)) if digits.isdecimal() else None
    if row is None:
        names = ", ".join(f"px-{number}" for number in known) or "none yet"
        raise BadInputError(f"version {version!r}: expected one of {names}")
    if row.removed_at is None:  # else pinning says what is still there
        learnt = read_manifest(workspace.models / row.path).skeleton.keypoints  # a version without files must not become live
        expected = workspace.binding.skeleton.keypoints
        if tuple(learnt) != tuple(expected):
            raise BadInputError(
                f"px-{row.number} was trained before the keypoints changed: expected {', '.join(expected)}, it predicts "
                f"{', '.join(learnt)}; choose a later version, or `parallax train`"
            )
    versions.pin(workspace.store, row.id)
    work.request(workspace.store, JobKind.RESCORE)  # it ends in an order from this version
    text = f"px-{row.number} is live and pinned; an order from it follows"
    presence.tell(workspace.store, text)
    console().print(f"{text}. `parallax unpin` lets newer models go live again.")

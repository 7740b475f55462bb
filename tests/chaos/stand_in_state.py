"""What the stand-in for Label Studio holds: projects, tasks, predictions, annotations, locks and the label stream."""

from __future__ import annotations

import random
import secrets
import threading
from collections import Counter
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from plugins.cli.processes.ports import free_port

Item = dict[str, Any]
#: Label Studio waits this long for a webhook.
WEBHOOK_S = 1.0


class RefusedCall(Exception):
    """Answered with this status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def now() -> str:
    """The time as Label Studio writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class PlatformState:
    """One server's memory; ``url``, ``token`` and ``documents`` as of ``plugins.demo.platform.Platform``."""

    documents: Path
    seed: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(20))
    observer: str = field(default_factory=lambda: secrets.token_hex(20))  #: a second token, whose calls nothing befalls
    port: int = field(default_factory=free_port)
    projects: dict[int, Item] = field(default_factory=dict)
    tasks: dict[int, Item] = field(default_factory=dict)
    predictions: dict[int, Item] = field(default_factory=dict)
    annotations: dict[int, Item] = field(default_factory=dict)
    things: dict[str, dict[int, Item]] = field(
        default_factory=lambda: {name: {} for name in ("hooks", "ml", "views", "storages")}
    )
    locks: dict[int, int] = field(default_factory=dict)  #: task → user

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.random = random.Random(self.seed)
        self._next = Counter[str]()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.port}"

    def number(self, kind: str, held: dict[int, Item]) -> int:
        """A new number; as on SQLite, numbers of deleted tasks come back."""
        if kind == "task":
            return max(held, default=0) + 1
        self._next[kind] += 1
        return self._next[kind]

    def project(self, number: int) -> Item:
        """One project; refused with 404 when there is none."""
        if number not in self.projects:
            raise RefusedCall(404, "Not found.")
        return self.projects[number]

    def of_task(self, task: int, held: dict[int, Item]) -> list[Item]:
        """Predictions or annotations of one task."""
        return [item for item in held.values() if item["task"] == task]

    def is_labeled(self, task: int) -> bool:
        """Whether it has as many annotations as it wants."""
        return any(not item["was_cancelled"] for item in self.of_task(task, self.annotations))

    def touch(self, task: int) -> None:
        """Something about it changed that shows in its time."""
        self.tasks[task]["updated_at"] = now()

    def next_task(self, project: int, user: int) -> Item | None:
        """What the label stream serves: the own lock, then by uncertainty, then anything."""
        settings = self.project(project)
        served = settings["model_version"]
        mine = {item["task"] for item in self.annotations.values() if item["completed_by"] == user}
        open_ = [t for t in self.tasks if not self.is_labeled(t) and t not in mine and self.locks.get(t, user) == user]
        locked = [task for task in open_ if self.locks.get(task) == user]
        scores = {p["task"]: p["score"] for p in self.predictions.values() if p["model_version"] == served}
        ranked = sorted((task for task in open_ if task in scores), key=lambda task: (scores[task], task))
        if settings["sampling"] != "Uncertainty sampling":
            ranked = []
        chosen = next(iter([*locked, *ranked]), None)
        if chosen is None and open_:
            chosen = self.random.choice(open_)
        if chosen is None:
            return None
        self.locks[chosen] = user
        shown = [p for p in self.of_task(chosen, self.predictions) if p["model_version"] == served]
        return {**deepcopy(self.tasks[chosen]), "project": project, "predictions": deepcopy(shown), "annotations": []}

    def submit(self, task: int, body: Item, user: int) -> Item:
        """An annotation; then the webhook rings."""
        if task not in self.tasks:
            raise RefusedCall(404, "Not found.")
        parent = body.get("parent_prediction")
        if parent is not None and parent not in self.predictions:
            raise RefusedCall(400, f'Invalid pk "{parent}" - object does not exist.')
        number = self.number("annotation", self.annotations)
        stamp = now()
        made = {
            "id": number,
            "task": task,
            "result": body.get("result", []),
            "lead_time": body.get("lead_time"),
            "completed_by": body.get("completed_by", user),
            "was_cancelled": bool(body.get("was_cancelled")),
            "ground_truth": bool(body.get("ground_truth", False)),
            "parent_prediction": parent,
            "created_at": stamp,
            "updated_at": stamp,
        }
        self.annotations[number] = made
        self.locks.pop(task, None)
        self.touch(task)
        return made

    def ring(self, project: int, action: str, **more: Any) -> None:
        """Call the webhooks once, for a second at most, as Label Studio does while the annotator waits."""
        for hook in list(self.things["hooks"].values()):
            if hook["is_active"] and (hook.get("send_for_all_actions") or action in hook["actions"]):
                with suppress(httpx.HTTPError):
                    httpx.post(
                        hook["url"],
                        json={"action": action, "project": {"id": project}, **more},
                        headers=hook["headers"],
                        timeout=WEBHOOK_S,
                    )

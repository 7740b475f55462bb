"""Projects as other teams have them on a live Label Studio: their pictures, labels, people and settings."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import yaml

from plugins.cli.processes.ports import free_port
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client

from .their_backend import TheirBackend

#: In one annotation, and in no labelling config.
UNKNOWN_LABEL = "Whisker"
SIZE = (96, 72)
#: Tasks that are read at once.
PAGE = 200
#: Label → colour of its dot in the pictures, BGR.
DOTS = {"Nose": (40, 40, 230), "Tail": (230, 80, 40)}
#: What adopting may move by its own doing or by the new annotations: counts, and the times of changes.
VOLATILE_PROJECT = {
    "total_annotations_number",
    "num_tasks_with_annotations",
    "finished_task_number",
    "skipped_annotations_number",
    "useful_annotation_number",
    "queue_total",
    "queue_done",
    "queue_left",
}
VOLATILE_TASK = {
    *("annotations", "predictions", "drafts", "updated_at", "updated_by", "completed_at", "is_labeled", "avg_lead_time"),
    *("total_annotations", "cancelled_annotations", "annotators", "annotations_results", "annotations_ids"),
}


def one_picture(value: str = "$image") -> str:
    """A labelling config for one picture per task, as Label Studio's template has it."""
    labels = "".join(f'<Label value="{name}"/>' for name in DOTS)
    return f'<View><Image name="img" value="{value}"/><KeyPointLabels name="kp-1" toName="img">{labels}</KeyPointLabels></View>'


def all_cameras(cameras: Sequence[str]) -> str:
    """A labelling config with one picture and one control per camera."""
    labels = "".join(f'<Label value="{name}"/>' for name in DOTS)
    pairs = "".join(
        f'<Image name="pic_{c}" value="${c}_url"/><KeyPointLabels name="pts_{c}" toName="pic_{c}">{labels}</KeyPointLabels>'
        for c in cameras
    )
    return f'<View><Header value="$trial"/>{pairs}</View>'


def truth(index: int, camera: int = 0) -> dict[str, tuple[float, float]]:
    """Where the dots are in the picture of a frame, pixels."""
    return {
        "Nose": (12.0 + 7 * index % 60 + 3 * camera, 12.0 + 5 * index % 31),
        "Tail": (20.0 + 11 * index % 62, 40.0 + 3 * index % 24 + 2 * camera),
    }


def picture(index: int, camera: int = 0) -> bytes:
    """A PNG with a coloured dot at every point, on ground that differs from frame to frame."""
    rng = np.random.default_rng([index, camera])
    image = rng.integers(90, 120, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for name, (x, y) in truth(index, camera).items():
        cv2.circle(image, (round(x), round(y)), 4, DOTS[name], -1)
    return bytes(cv2.imencode(".png", image)[1])


def region(control: str, name: str, x: float, y: float, label: str) -> dict[str, Any]:
    """One point as the editor saves it."""
    return {
        "id": secrets.token_urlsafe(7),
        "type": "keypointlabels",
        "from_name": control,
        "to_name": name,
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "origin": "manual",
        "value": {"x": 100 * x / SIZE[0], "y": 100 * y / SIZE[1], "width": 0.6, "keypointlabels": [label]},
    }


@dataclass
class OtherTeam:
    """One project, the file that its owner would write for Parallax, and the people who label it.

    pairs       control and picture name in the labelling config → number of the camera
    frame_of    what a task shows: its data → (frame, the cameras in it)
    """

    platform: Platform
    folder: Path
    client: Client
    number: int
    pairs: dict[tuple[str, str], int]
    frame_of: Callable[[dict[str, Any]], tuple[int, tuple[int, ...]]]
    settings: dict[str, Any] = field(default_factory=dict)
    people: list[Annotator] = field(default_factory=list)
    their_backend: TheirBackend | None = None

    @property
    def config(self) -> Path:
        """The parallax.yaml of this team, written anew."""
        path = self.folder / "parallax.yaml"
        content = {
            "label_studio": {"url": self.platform.url, "token": self.platform.token, "project": self.number},
            "store": f"sqlite:///{self.folder}/store.sqlite3",
            "backend": {"url": f"http://127.0.0.1:{free_port()}", "secret": "hush-hush"},
            "train": {"input_px": 64, "steps_first": 60, "steps_round": 30, "min_new_frames": 1, "weights": "none"},
            "sync": {"push_every_minutes": 0},
            **self.settings,
        }
        if not path.exists():
            path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    def person(self) -> Annotator:
        """Somebody new, signed up like any other."""
        someone = Annotator(self.platform.url, f"{secrets.token_hex(6)}@lab.test", "pw12345678")
        someone.sign_up(self.client.call("GET", "api/invite")["token"])
        self.people.append(someone)
        return someone

    def answer(self, task: dict[str, Any], *, off_px: float = 0.0) -> list[dict[str, Any]]:
        """What a careful person submits for a task."""
        (stored,) = self.client.tasks_by_id(self.number, [task["id"]], fields="id,data", raw=True)
        frame, cameras = self.frame_of(stored["data"])
        return [
            region(control, name, x + off_px, y, label)
            for (control, name), which in self.pairs.items()
            for camera in ([cameras[0]] if len(self.pairs) == 1 else [which])
            if camera in cameras
            for label, (x, y) in truth(frame, camera).items()
        ]

    def submit(self, someone: Annotator, task: dict[str, Any], result: list[dict[str, Any]]) -> int:
        """Submit as the editor does; the annotation's number."""
        answer = someone.submit({**task, "project": self.number}, result, 5.0)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def upload(self, names: Sequence[str], contents: Sequence[bytes]) -> None:
        """Put pictures into the project as dropping them on its page does."""
        with httpx.Client(base_url=self.platform.url, headers={"Authorization": f"Token {self.platform.token}"}) as http:
            files = {name: (name, content, "image/png") for name, content in zip(names, contents, strict=True)}
            http.post(f"/api/projects/{self.number}/import", files=files, timeout=120).raise_for_status()

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks, data as it is stored."""
        fields = (
            "id,data,annotations,result,completed_by,was_cancelled,ground_truth,lead_time,total_annotations,cancelled_annotations"
        )
        everything = [task["id"] for task in self.client.tasks(self.number, fields="id")]
        return list(self.client.tasks_by_id(self.number, everything, fields=fields, raw=True))

    def state(self) -> dict[str, Any]:
        """Everything in Label Studio that belongs to the project, field by field."""
        number = self.number
        project = {k: v for k, v in self.client.project(number).items() if k not in VOLATILE_PROJECT}
        listed = list(self._whole_tasks())
        return {
            "project": project,
            "webhooks": self.client.webhooks(number),
            # Label Studio asks them how they are at every listing, and notes when.
            "backends": [{**backend, "updated_at": None} for backend in self.client.backends(number)],
            "tabs": self.client.views(number),
            "local storages": self.client.local_storages(number),
            "S3 storages": self.client.call("GET", "api/storages/s3", params={"project": number}),
            "tasks": {t["id"]: {k: v for k, v in t.items() if k not in VOLATILE_TASK} for t in listed},
            "annotations": {a["id"]: _without_age(a) for t in listed for a in t["annotations"]},
            "predictions": {p["id"]: _without_age(p) for t in listed for p in t["predictions"]},
        }

    def _whole_tasks(self) -> Iterator[dict[str, Any]]:
        """Every task with all of its fields; nobody labels meanwhile, so that pages may be cut by their number."""
        everything = {"project": self.number, "fields": "all", "resolve_uri": "false", "page_size": PAGE}
        pages = math.ceil(self.client.project(self.number)["task_number"] / PAGE)
        for number in range(1, 1 + pages):
            yield from self.client.call("GET", "api/tasks", params={**everything, "page": number})["tasks"]

    def close(self) -> None:
        """End all sessions and servers."""
        for someone in self.people:
            someone.close()
        if self.their_backend is not None:
            self.their_backend.close()
        self.client.close()


def _without_age(item: dict[str, Any]) -> dict[str, Any]:
    """An annotation or prediction without the words that say how long ago it was made."""
    return {name: value for name, value in item.items() if name != "created_ago"}


def label_some(team: OtherTeam, count: int) -> set[int]:
    """Annotations as they pile up in a lab, by two people, on the first ``count`` tasks: one task is skipped, one submitted
    empty, one annotated by both, one twice by the same person, one with a label that the config no longer has; the tasks that
    have a pose in the end.
    """
    anna, ben = team.person(), team.person()
    todo = team.tasks()[:count]
    for place, task in enumerate(todo):
        first, second = (anna, ben) if place % 2 else (ben, anna)
        if place == 0:
            first.skip({**task, "project": team.number}).raise_for_status()
        elif place == 1:
            team.submit(first, task, [])
        else:
            old = [region(*next(iter(team.pairs)), 5, 5, UNKNOWN_LABEL)] if place == 4 else []
            team.submit(first, task, old + team.answer(task, off_px=10 if place == 3 else 0))
        if place == 2:
            team.submit(second, task, team.answer(task, off_px=1))
        if place == 3:
            team.submit(first, task, team.answer(task))
    return {task["id"] for task in todo[2:]}


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Every field that is not as it was, by its path."""
    yield from _differences("", before, after)


def _differences(path: str, before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            if key not in after or key not in before:
                yield f"{path}/{key} {'is gone' if key in before else 'is new'}"
            else:
                yield from _differences(f"{path}/{key}", before[key], after[key])
    elif before != after:
        yield f"{path}: {json.dumps(before, default=str)[:200]} → {json.dumps(after, default=str)[:200]}"

"""The oracle annotator: sees what Label Studio shows, knows the truth, and corrects as little as a person would."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from label_config.labelling.region_frame import POINT_WIDTH, to_percent, to_px
from plugins.demo.annotator_session import Annotator
from plugins.demo.box_correction import agreed_numbers, box_region, find_boxes
from plugins.demo.demo_recordings import DemoRecording

#: A shown point that is off by no more than this is left alone.
TOLERANCE_PX = 3.0
SKIP_RATE = 0.02
#: Seconds of a person's time, for the lead time: to look, and for every point that is put somewhere.
LOOK_S, POINT_S = 4.0, 1.5


@dataclass
class Oracle:
    """Takes one task at a time.  ``served`` and ``edits`` record what was seen and done, by Label Studio's own numbers."""

    annotator: Annotator
    source: DemoRecording
    seed: int
    served: list[dict[str, Any]] = field(default_factory=list)
    submitted: list[tuple[int, int]] = field(default_factory=list)  #: annotation, task

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def label_next(self, project: int, sizes: dict[str, tuple[int, int]]) -> bool:
        """Take the next task and submit or skip it; False when the stream is empty."""
        task = self.annotator.next_task(project)
        if task is None:
            return False
        shown = task["predictions"][0] if task.get("predictions") else None
        row = {"task": task["id"], "key": _key_of(task["data"]), "version": shown["model_version"] if shown else None}
        skip = bool(self.rng.random() < SKIP_RATE)
        self.served.append({**row, "skipped": skip})
        if skip:
            self.annotator.skip(task).raise_for_status()
            return True
        result, moved, kept = self.correct(task, sizes)
        answer = self.annotator.submit(task, result, LOOK_S + POINT_S * moved)
        answer.raise_for_status()
        self.served[-1] |= {"moved": moved, "kept": kept}
        self.submitted.append((int(answer.json()["id"]), task["id"]))
        return True

    def correct(self, task: dict[str, Any], sizes: dict[str, tuple[int, int]]) -> tuple[list[dict[str, Any]], int, int]:
        """The result to submit, how many points were placed or moved, and how many were left as shown."""
        frame = int(task["data"]["frame"])
        regions = [dict(region) for region in task["predictions"][0]["result"]] if task.get("predictions") else []
        truth = self.source.truth
        shown_boxes = find_boxes(regions, truth.px[frame], self.source.views, sizes) if truth.subjects > 1 else {}
        numbers = agreed_numbers(shown_boxes, truth.subjects)
        shown = {
            (region["to_name"], region.get("parentID"), region["value"]["keypointlabels"][0]): region
            for region in regions
            if region["type"] == "keypointlabels"
        }
        result: list[dict[str, Any]] = []
        moved = kept = 0
        for v, s in np.ndindex(len(self.source.views), truth.subjects):
            view = self.source.views[v]
            width, height = sizes[view]
            inside = np.asarray(((truth.px[frame, s, v] >= 0) & (truth.px[frame, s, v] < (width, height))).all(axis=-1))
            parent = None
            if truth.subjects > 1 and inside.any():
                around = truth.px[frame, s, v][inside]
                result.append(box_region(view, sizes[view], shown_boxes.get((s, v)), numbers.get(s), around))
                parent = result[-1]["id"]
            for k in np.flatnonzero(inside).tolist():
                name = self.source.skeleton.keypoints[k]
                x, y = truth.px[frame, s, v, k]
                region = shown.get((view, parent, name))
                value = {"x": to_percent(x, width), "y": to_percent(y, height), "width": POINT_WIDTH, "keypointlabels": [name]}
                if region is None:
                    result.append(self._new(view, sizes[view], value, parent))
                    moved += 1
                elif self._off_px(region, x, y, sizes[view]) > TOLERANCE_PX:
                    result.append({**region, "value": value, "origin": "prediction-changed"})
                    moved += 1
                else:
                    result.append({**region, "origin": "prediction"})
                    kept += 1
                if truth.occluded[frame, s, v, k]:
                    choice = {**result[-1], "type": "choices", "from_name": f"vis_{view}"}
                    choice["value"] = {**{name: value[name] for name in ("x", "y", "width")}, "choices": ["occluded"]}
                    result.append(choice)
        return result, moved, kept

    def delete_one(self) -> int:
        """Delete one of the own annotations; the task that is open again."""
        number, task = self.submitted.pop(int(self.rng.integers(len(self.submitted))))
        self.annotator.delete(number).raise_for_status()
        return task

    @staticmethod
    def _off_px(region: dict[str, Any], x: float, y: float, size: tuple[int, int]) -> float:
        dx = to_px(region["value"]["x"], size[0]) - x
        dy = to_px(region["value"]["y"], size[1]) - y
        return float(np.hypot(dx, dy))

    @staticmethod
    def _new(view: str, size: tuple[int, int], value: dict[str, Any], parent: str | None) -> dict[str, Any]:
        return {
            "id": secrets.token_urlsafe(7),
            "type": "keypointlabels",
            "from_name": f"kp_{view}",
            "to_name": view,
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "origin": "manual",
            "value": value,
            **({} if parent is None else {"parentID": parent}),
        }


def _key_of(data: dict[str, Any]) -> str:
    """The frame that a task shows: as Parallax wrote it, or as the one who made the task did."""
    return str(data.get("parallax_key") or f"{data['sequence']}/{int(data['frame']):06d}")

"""What the validation split of a project will be, before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from label_config.settings.spec import Spec
from label_config.values import FrameKey, ImageRef, IntArray
from ml_backend.labels.split import SplitRule
from ml_backend.project.splitting import VIDEO, decide_rules, evidence_of_numbers, evidence_of_pictures, in_words
from ml_backend.recordings import Recording
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_names import TaskNames

Shown = Mapping[FrameKey, ImageRef]


def shown_frames(client: Client, project: Mapping[str, Any] | None, names: TaskNames) -> dict[FrameKey, ImageRef]:
    """Frame → the picture of its first view, of the tasks that the project has."""
    found: dict[FrameKey, ImageRef] = {}
    if project is None:
        return found
    resolved = client.tasks(project["id"], fields="id,data", raw=False)
    for task, same in zip(client.tasks(project["id"], fields="id,data"), resolved, strict=False):
        reading = names.read(task["data"], same["data"] if same["id"] == task["id"] else None)
        if reading.key is not None and reading.views:
            found.setdefault(reading.key, ImageRef(next(iter(reading.views.values()))))
    return found


def plan_split(spec: Spec, recordings: Sequence[Recording], shown: Shown, lines: list[str]) -> dict[str, SplitRule]:
    """Sequence → rule; what it means is added to ``lines``.  Recordings of video, of pictures, and tasks each have their own."""
    of_recordings = {recording.sequence: recording for recording in recordings}
    kinds: list[tuple[bool, Shown]] = [
        (recording.fps is not None, {frame.key: next(iter(frame.images.values())) for frame in recording.frames})
        for recording in recordings
    ]
    kinds.append((False, {key: ref for key, ref in shown.items() if key.sequence not in of_recordings}))
    total = sum(len(pictures) for _, pictures in kinds)
    decided: dict[str, SplitRule] = {}
    for video, pictures in kinds:
        if not pictures:
            continue
        numbers = _numbers(pictures)
        evidence = VIDEO if video else evidence_of_pictures(spec, pictures.items()) or evidence_of_numbers(numbers)
        rules = decide_rules(spec, numbers, evidence, total)
        lines.append(in_words(rules, numbers, spec.train.seed))
        decided |= rules
    return decided


def _numbers(pictures: Shown) -> dict[str, IntArray]:
    found: dict[str, list[int]] = {}
    for key in sorted(pictures):
        found.setdefault(key.sequence, []).append(key.index)
    return {name: np.array(of, dtype=np.int64) for name, of in found.items()}

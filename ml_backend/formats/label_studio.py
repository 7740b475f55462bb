"""Label Studio's JSON export of keypoint tasks, and tasks with annotations that it imports.

The export does not hold the labelling config: what its regions name are the controls, pictures and labels
(``exported_config``).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from label_config.labelling import regions
from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config
from label_config.labelling.region_frame import Size
from label_config.values import FrameKey, ImageRef, PointState, Pose2D, Provenance
from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing
from ml_backend.formats.exported_config import bind_exported
from ml_backend.formats.json_file import load_json
from ml_backend.formats.label_records import LabelledImage, LabelSet, key_from_path

#: Region ids of this generation were never shown to anyone.
NEVER_SHOWN = 0


def read_label_studio(path: Path, words: Mapping[str, str] | None = None) -> LabelSet:
    """Every person's newest annotation of every task, skipped ones left out.

    words  choice, or second label of a point, → visible, occluded, absent or unlabelled, beside the words that are known

    Raises BadInputError naming file and task.
    """
    content = load_json(path)
    with refusing(LabelFileError, f"{path}: expected Label Studio's JSON export; one of its values is of another kind"):
        if not isinstance(content, list) or not all(isinstance(task, dict) and "data" in task for task in content):
            raise LabelFileError(f"{path}: expected Label Studio's JSON export: a list of tasks with 'data' and 'annotations'")
        binding = bind_exported(path, [r for task in content for a in _annotations(task) for r in a["result"]], words or {})
        labels = [label for task in content for label in _labels(path, task, binding)]
        notes = _notes(content, labels) + _left_out(content, binding)
        return LabelSet(binding.skeleton, tuple(labels), tuple(notes))


def _annotations(task: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each person's newest that was not skipped."""
    newest: dict[str, dict[str, Any]] = {}
    counted = [a for a in task.get("annotations") or [] if not a.get("was_cancelled") and isinstance(a.get("result"), list)]
    for annotation in sorted(counted, key=lambda a: str(a.get("updated_at") or "")):
        newest[_person(annotation)] = annotation
    yield from newest.values()


def _person(annotation: Mapping[str, Any]) -> str:
    who = annotation.get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    return "" if who is None else str(who)


def _labels(path: Path, task: Mapping[str, Any], binding: Binding) -> Iterator[LabelledImage]:
    key = task["data"].get("parallax_key")
    for annotation in _annotations(task):
        decoded = regions.decode(annotation["result"], binding)
        sizes = _sizes(annotation["result"])
        who = _person(annotation)
        for subject, pose in decoded.poses.items():
            for v, view in enumerate(binding.views):
                if not (pose.state[v] != PointState.UNLABELLED).any():
                    continue
                address = _address(path, task, view.image, binding)
                box = decoded.boxes_px.get(subject)
                yield LabelledImage(
                    ImageRef(address, size_px=sizes.get(view.image)),
                    pose.xy_px[v],
                    pose.state[v],
                    view=str(task["data"].get("parallax_view") or "") or (view.view if len(binding.views) > 1 else None),
                    key=FrameKey.parse(key) if isinstance(key, str) else key_from_path(address),
                    subject=subject,
                    box_px=_box(box[v]) if box is not None else None,
                    people=(who,) if who else (),
                )


def _box(frame: Any) -> tuple[float, float, float, float] | None:
    """From the frame of the points to that of boxes, whose edges count from the picture's own."""
    x, y, width, height = frame.tolist()
    return (x + 0.5, y + 0.5, width, height) if np.isfinite(frame).all() else None


def _address(path: Path, task: Mapping[str, Any], picture: str, binding: Binding) -> str:
    data = task["data"]
    if isinstance(data.get(picture), str):
        return str(data[picture])
    able = [value for name, value in data.items() if isinstance(value, str) and "/" in value + name and "." in value]
    if len(binding.views) == 1 and not able:
        able = [value for value in data.values() if isinstance(value, str) and "." in value]
    if len(binding.views) > 1 or len(able) != 1:
        raise LabelFileError(
            f"{path}: task {task.get('id')}: expected the address of picture {picture!r} in its data under that name, "
            f"got {', '.join(map(str, data)) or 'nothing'}"
        )
    return able[0]


def _sizes(result: Sequence[Any]) -> dict[str, Size]:
    return {
        region["to_name"]: (int(region["original_width"]), int(region["original_height"]))
        for region in result
        if isinstance(region, dict) and region.get("original_width") and region.get("original_height") and "to_name" in region
    }


def _notes(content: Sequence[Mapping[str, Any]], labels: Sequence[LabelledImage]) -> list[str]:
    notes = []
    skipped = sum(bool(a.get("was_cancelled")) for task in content for a in task.get("annotations") or [])
    predicted = sum(len(task.get("predictions") or []) for task in content)
    other = {
        str(r.get("type"))
        for task in content
        for a in _annotations(task)
        for r in a["result"]
        if isinstance(r, dict) and r.get("type") not in ("keypointlabels", "rectanglelabels", "choices", "relation")
    }
    if skipped:
        notes.append(f"{skipped} skipped annotations are left out")
    if predicted:
        notes.append(f"{predicted} predictions in the file are not labels and are left out")
    if other:
        notes.append(f"regions of other kinds are left out: {', '.join(sorted(other))}")
    people = {label.people for label in labels}
    if len(people) > 1:
        notes.append(f"annotations of {len(people)} people")
    return notes


def _left_out(content: Sequence[Mapping[str, Any]], binding: Binding) -> list[str]:
    """What could not be read of the annotations, one line for each kind of trouble, with how often it was met."""
    troubles = Counter(
        problem.text
        for task in content
        for annotation in _annotations(task)
        for problem in regions.decode(annotation["result"], binding).problems
    )
    counted = [f"{text} (in {count} annotation{'s' if count > 1 else ''})" for text, count in troubles.items()]
    return [*(problem.message for problem in binding.problems), *counted]


def given_regions(poses: Mapping[int, Pose2D], binding: Binding, sizes_px: Mapping[str, Size]) -> list[dict[str, Any]]:
    """The result of an annotation whose points nobody was shown."""
    result = regions.encode(poses, binding, sizes_px, NEVER_SHOWN)
    for region in result:
        region |= {"id": f"given{region['id'].removeprefix('px')}".replace(":", "_"), "origin": "manual"}
        region.pop("score", None)
    return result


def write_label_studio(labels: LabelSet, path: Path) -> None:
    """Tasks with annotations, one task per frame, for Label Studio's import; the config is that of ``build_label_config``.

    Pictures are written as the labels name them, and their sizes must be known.
    """
    views = tuple(dict.fromkeys(label.view or "image" for label in labels.labels)) or ("image",)
    binding = bind(build_label_config(labels.skeleton, views), labels.skeleton, views=views)
    grouped: dict[tuple[str, tuple[str, ...]], list[LabelledImage]] = defaultdict(list)
    for label in labels.labels:
        frame = str(label.key) if label.key is not None and label.view is not None else label.image.source
        grouped[frame, label.people].append(label)
    tasks: dict[str, dict[str, Any]] = {}
    for (frame, people), members in grouped.items():
        task = tasks.setdefault(frame, {"data": {}, "annotations": []})
        annotation: dict[str, Any] = {"result": _result(path, members, binding)}
        if len(people) == 1:
            annotation["completed_by"] = {"email": people[0]}
        task["annotations"].append(annotation)
        for label in members:
            task["data"][binding.views[views.index(label.view or "image")].data_key] = label.image.source
            if label.key is not None and label.view is not None:
                task["data"]["parallax_key"] = str(label.key)
    path.write_text(json.dumps(list(tasks.values()), allow_nan=False), encoding="utf-8")


def _result(path: Path, members: Sequence[LabelledImage], binding: Binding) -> list[dict[str, Any]]:
    sizes: dict[str, Size] = {}
    poses: dict[int, Pose2D] = {}
    for label in members:
        if label.image.size_px is None:
            raise LabelFileError(f"{path}: the size of picture {label.image.source!r} must be known to write percent of it")
        name = binding.names[[view.view for view in binding.views].index(label.view or "image")]
        v = binding.names.index(name)
        sizes[name] = label.image.size_px
        pose = poses.setdefault(label.subject, Pose2D.empty(len(binding.views), len(binding.skeleton)))
        pose.xy_px[v], pose.state[v] = label.xy_px, label.state
        pose.provenance[v] = np.where(label.state == PointState.UNLABELLED, Provenance.NONE, Provenance.PLACED)
    return given_regions(poses, binding, sizes)

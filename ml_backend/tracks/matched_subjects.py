"""Label files in which every camera, or every frame, numbers its subjects anew → one number for each subject everywhere.

Subjects are matched across calibrated cameras frame by frame (:mod:`ml_backend.geometry.association`), then from frame to frame
(:mod:`ml_backend.geometry.linking`).  Points stay as they are; only the numbers of subjects change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from label_config.values import BadInputError, FloatArray, IntArray
from label_config.values.errors import LabelFileError
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.geometry.association import arranged, associate
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.linking import REMEMBERED_FRAMES, link
from ml_backend.geometry.triangulation import triangulate_robust


@dataclass(frozen=True)
class MatchedSubjects:
    """labels    with the subject's number, the same in all cameras and frames, and the name of the camera
    frames       (n,) instants that any camera has
    subjects     how many there are in all
    count        (n,) subjects in each frame;  by_camera (n, V) instances that each camera shows
    alone        instances that no other camera agrees with, of several cameras
    unsure       frames in which another matching may agree as well
    renumbered   how often the number that a file gives changed within one subject of one camera
    """

    labels: LabelSet
    frames: IntArray
    subjects: int
    count: IntArray
    by_camera: IntArray
    alone: int
    unsure: int
    renumbered: int


def match_subjects(files: Mapping[str, LabelSet], rig: Rig | None, remembered: int = REMEMBERED_FRAMES) -> MatchedSubjects:
    """Labels or predictions by camera, of one recording; frames of all cameras correspond by their number.

    rig  the cameras, in pixels of the pictures that the files are about; None = one camera alone
    Raises BadInputError for cameras that the rig lacks, several cameras without one, other keypoints, pictures without a number.
    """
    views = tuple(files)
    if rig is None and len(views) > 1:
        raise BadInputError(f"cameras {', '.join(views)}: subjects are matched by geometry, expected a calibration")
    sets = list(files.values())
    skeleton = sets[0].skeleton
    for view, of_camera in files.items():
        if of_camera.skeleton.keypoints != skeleton.keypoints:
            named = f"{', '.join(of_camera.skeleton.keypoints)}, and {views[0]} {', '.join(skeleton.keypoints)}"
            raise LabelFileError(f"{view}: expected the keypoints of the first file, got {named}")
    notes = [note for part in sets for note in part.notes]
    seen = [
        _Instance(v, _number(view, label), label)
        for v, view in enumerate(views)
        for label in _of_one_kind(view, files[view].labels, notes)
        if np.isfinite(label.xy_px).any()
    ]
    if not seen:
        raise LabelFileError("the files have no placed points")
    frames = np.unique([one.frame for one in seen])
    xy, slots = _stacked(seen, frames, len(views), len(skeleton))
    alone = unsure = 0
    subject = np.where(np.isfinite(xy).all(axis=-1).any(axis=-1), np.arange(xy.shape[1])[:, None], -1)
    xyz = None
    if rig is not None and len(views) > 1:
        rig = rig.subset(views)
        found = associate(rig, xy)
        subject = np.stack([frame.subject for frame in found])
        unsure = sum(not frame.optimal for frame in found)
        together = arranged(xy, subject)
        xyz = triangulate_robust(rig, together).xyz_world
        alone = int((np.isfinite(together).all(axis=-1).any(axis=-1).sum(axis=-1) == 1).sum())
    else:
        together = xy
    number = link(together, frames, xyz, remembered=remembered)
    of_instance = np.take_along_axis(number, np.maximum(subject, 0).reshape(len(frames), -1), axis=1).reshape(subject.shape)
    labels = tuple(
        replace(one.label, subject=int(of_instance[i, s, one.view]), view=views[one.view] if len(views) > 1 else one.label.view)
        for one, (i, s) in zip(seen, slots, strict=True)
    )
    return MatchedSubjects(
        labels=LabelSet(skeleton, labels, tuple(dict.fromkeys(notes))),
        frames=frames,
        subjects=int(number.max()) + 1,
        count=(number >= 0).sum(axis=1),
        by_camera=(subject >= 0).sum(axis=1),
        alone=alone,
        unsure=unsure,
        renumbered=_renumbered(seen, [label.subject for label in labels]),
    )


def _of_one_kind(view: str, labels: Sequence[LabelledImage], notes: list[str]) -> Sequence[LabelledImage]:
    """What people labelled where a file has any of it, else what a network predicted: both may be of the same animal."""
    made = [label for label in labels if label.confidence is None]
    if made and len(made) < len(labels):
        notes.append(f"{view}: {len(labels) - len(made)} predicted instances beside {len(made)} labelled ones are left out")
    return made or labels


@dataclass(frozen=True)
class _Instance:
    view: int
    frame: int
    label: LabelledImage


def _number(view: str, label: LabelledImage) -> int:
    if label.image.frame_index is not None:
        return label.image.frame_index
    if label.key is not None:
        return label.key.index
    wanted = "expected pictures with a frame number, in a video or in their names"
    raise LabelFileError(f"{view}: {wanted}, got {label.image.source!r}")


def _stacked(seen: Sequence[_Instance], frames: IntArray, views: int, keypoints: int) -> tuple[FloatArray, list[tuple[int, int]]]:
    """(n, S, V, K, 2), and for every instance its frame and place there, in the order of the file."""
    position = {frame: i for i, frame in enumerate(frames.tolist())}
    taken: dict[tuple[int, int], int] = {}
    places = []
    for one in seen:
        key = (position[one.frame], one.view)
        places.append((key[0], taken.get(key, 0)))
        taken[key] = places[-1][1] + 1
    xy = np.full((len(frames), max(taken.values()), views, keypoints, 2), np.nan)
    for one, (i, s) in zip(seen, places, strict=True):
        xy[i, s, one.view] = one.label.xy_px
    return xy, places


def _renumbered(seen: Sequence[_Instance], subjects: Sequence[int]) -> int:
    """Changes of a file's own number from one instance of a subject to the next in the same camera."""
    last: dict[tuple[int, int], int] = {}
    changes = 0
    for one, subject in sorted(zip(seen, subjects, strict=True), key=lambda pair: pair[0].frame):
        key = (one.view, subject)
        changes += last.get(key, one.label.subject) != one.label.subject
        last[key] = one.label.subject
    return changes

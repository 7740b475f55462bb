"""The value that every format reads and writes.

Coordinates have their origin at the centre of the top-left pixel, as in DeepLabCut, Lightning Pose and COCO.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from label_config.labelling.label_match import keypoint_of
from label_config.values import DEFAULT_SUBJECT, FloatArray, FrameKey, ImageRef, IntArray, PointState
from label_config.values.errors import LabelFileError
from label_config.values.skeleton import Skeleton

PLACED = (PointState.VISIBLE, PointState.OCCLUDED)


@dataclass(frozen=True)
class LabelledImage:
    """The labels of one subject in one picture.

    image    the picture; ``source`` is the path as the file spells it, with forward slashes
    xy_px    (K, 2) pixels of the view; NaN exactly where the state is unlabelled or absent
    state    (K,) PointState
    view     name of the camera, None = not said
    key      instant of the recording, None = not said
    box_px   (x, y, width, height) around the subject, None = not said
    people   who placed the points, as the file names them
    confidence  (K,) in [0, 1] of points that a network placed, NaN = not said; None = they are a person's
    """

    image: ImageRef
    xy_px: FloatArray
    state: IntArray
    view: str | None = None
    key: FrameKey | None = None
    subject: int = DEFAULT_SUBJECT
    box_px: tuple[float, float, float, float] | None = None
    people: tuple[str, ...] = ()
    confidence: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.xy_px.ndim != 2 or self.xy_px.shape[1] != 2 or self.state.shape != self.xy_px.shape[:1]:
            raise LabelFileError(
                f"label of {self.image.source!r}: expected xy_px (K, 2) and state (K,), "
                f"got {self.xy_px.shape} and {self.state.shape}"
            )
        placed = (self.state == PointState.VISIBLE) | (self.state == PointState.OCCLUDED)
        wrong = np.flatnonzero(placed != np.isfinite(self.xy_px).all(axis=1))
        if len(wrong):
            raise LabelFileError(
                f"label of {self.image.source!r}: keypoint {wrong[0]} is {PointState(self.state[wrong[0]]).name.lower()} "
                f"at {self.xy_px[wrong[0]].tolist()}; placed points need coordinates and only they may have some"
            )

    @property
    def says_something(self) -> bool:
        """Whether any keypoint is placed or absent."""
        return bool((self.state != PointState.UNLABELLED).any())


class EmbeddedPicture(NamedTuple):
    """Where in a label file a picture is: number of the video, and frame in it."""

    file: Path
    video: int
    frame: int


@dataclass(frozen=True)
class LabelSet:
    """Labels of many pictures with one skeleton, in the order of the file.

    notes     what was assumed or left out, in words for a person
    embedded  (source, frame index) of a picture that is in the label file itself → where
    """

    skeleton: Skeleton
    labels: tuple[LabelledImage, ...]
    notes: tuple[str, ...] = ()
    embedded: Mapping[tuple[str, int | None], EmbeddedPicture] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for label in self.labels:
            if len(label.state) != len(self.skeleton):
                raise LabelFileError(
                    f"label of {label.image.source!r}: expected {len(self.skeleton)} keypoints of skeleton "
                    f"{self.skeleton.name!r}, got {len(label.state)}"
                )


def map_to_skeleton(
    labels: LabelSet, skeleton: Skeleton, aliases: Mapping[str, str] | None = None, *, leave_out: bool = False
) -> LabelSet:
    """The same labels in the order of another skeleton; keypoints that the file lacks are unlabelled.

    Names stand for keypoints as labels of a labelling config do: by ``aliases``, by name, by the only name that differs in case.
    leave_out  keypoints that ``skeleton`` does not have are left out, with a note; else they are an error

    Raises BadInputError for unknown keypoints, and when no name is known.
    """
    names = labels.skeleton.keypoints
    found = [keypoint_of(name, names, skeleton, aliases or {}) for name in names]
    taken = [k for k in found if k is not None]
    twice = [name for name, k in zip(names, found, strict=True) if k is not None and taken.count(k) > 1]
    unknown = [i for i, k in enumerate(found) if k is None]
    if twice:
        raise LabelFileError(f"keypoints {', '.join(twice)} stand for the same keypoint of skeleton {skeleton.name!r}")
    if unknown and (not leave_out or not taken):
        raise LabelFileError(
            f"keypoints {', '.join(names[i] for i in unknown)} are not in skeleton {skeleton.name!r} "
            f"({', '.join(skeleton.keypoints)}); add them to the skeleton, to aliases, or rename them in the file"
        )
    notes = [
        f"keypoint {names[i]!r} is not in skeleton {skeleton.name!r}: its {count} points are left out"
        for i in unknown
        if (count := sum(int(label.state[i] != PointState.UNLABELLED) for label in labels.labels))
    ]
    notes += [
        f"keypoint {name!r} of the file is taken for {skeleton.keypoints[k]!r}"
        for name, k in zip(names, found, strict=True)
        if k is not None and name != skeleton.keypoints[k]
    ]
    kept = [i for i, k in enumerate(found) if k is not None]
    spread = tuple(_spread(label, kept, taken, len(skeleton)) for label in labels.labels)
    return LabelSet(skeleton, spread, (*labels.notes, *notes))


def _spread(label: LabelledImage, kept: Sequence[int], position: Sequence[int], count: int) -> LabelledImage:
    xy = np.full((count, 2), np.nan)
    state = np.full(count, PointState.UNLABELLED, dtype=np.int64)
    xy[list(position)], state[list(position)] = label.xy_px[list(kept)], label.state[list(kept)]
    if label.confidence is None:
        return replace(label, xy_px=xy, state=state)
    confidence = np.full(count, np.nan)
    confidence[list(position)] = label.confidence[list(kept)]
    return replace(label, xy_px=xy, state=state, confidence=confidence)


def split_views(
    labels: LabelSet, suffixes: Mapping[str, str], crops: Mapping[str, tuple[int, int, int, int]] | None = None
) -> LabelSet:
    """One label per view out of labels whose keypoint names end in the view, as mirror rigs have them.

    suffixes  view → ending of its keypoint names, e.g. ``{"top": "_top", "bot": "_bot"}``
    crops     view → (x, y, width, height) of its part of the picture; its points then count from there

    The keypoints of the result are all names without their ending, in order of first appearance; one that a view does not
    name is unlabelled there.
    """
    endings = sorted(suffixes.items(), key=lambda item: -len(item[1]))
    place: dict[str, list[tuple[int, str]]] = {view: [] for view in suffixes}
    names: dict[str, int] = {}
    for index, name in enumerate(labels.skeleton.keypoints):
        view, ending = next(((v, e) for v, e in endings if e and name.endswith(e)), (None, ""))
        if view is None:
            raise LabelFileError(
                f"keypoint {name!r} ends in none of {', '.join(suffixes.values())}: which view does it belong to?"
            )
        base = name[: -len(ending)]
        names.setdefault(base, len(names))
        place[view].append((index, base))
    found = []
    for label in labels.labels:
        for view in suffixes:
            crop = (crops or {}).get(view)
            origin = np.array(crop[:2] if crop else (0, 0), dtype=np.float64)
            xy = np.full((len(names), 2), np.nan)
            state = np.full(len(names), PointState.UNLABELLED, dtype=np.int64)
            for index, base in place[view]:
                xy[names[base]], state[names[base]] = label.xy_px[index] - origin, label.state[index]
            image = replace(label.image, crop=crop, size_px=(crop[2], crop[3])) if crop else label.image
            found.append(replace(label, image=image, xy_px=xy, state=state, view=view, box_px=None, confidence=None))
    return LabelSet(Skeleton(labels.skeleton.name, tuple(names)), tuple(found), labels.notes)


def join_views(labels: LabelSet, suffixes: Mapping[str, str], keypoints: Sequence[str]) -> LabelSet:
    """Inverse of :func:`split_views`: the labels of one picture and subject together again, as ``keypoints`` name them."""
    skeleton = Skeleton(labels.skeleton.name, tuple(keypoints))
    joined: dict[tuple[str, int | None, int], tuple[LabelledImage, FloatArray, IntArray]] = {}
    for label in labels.labels:
        source = (label.image.source, label.image.frame_index, label.subject)
        if source not in joined:
            whole = replace(label.image, crop=None, size_px=None if label.image.crop else label.image.size_px)
            empty = np.full(len(skeleton), PointState.UNLABELLED, dtype=np.int64)
            joined[source] = (replace(label, image=whole, view=None, box_px=None), np.full((len(skeleton), 2), np.nan), empty)
        _, xy, state = joined[source]
        origin = np.array(label.image.crop[:2] if label.image.crop else (0, 0), dtype=np.float64)
        for k, name in enumerate(labels.skeleton.keypoints):
            index = skeleton.index.get(name + suffixes[label.view or ""])
            if index is not None:
                xy[index], state[index] = label.xy_px[k] + origin, label.state[k]
    return LabelSet(skeleton, tuple(replace(label, xy_px=xy, state=state) for label, xy, state in joined.values()), labels.notes)


def key_from_path(path: str) -> FrameKey | None:
    """Folder name and last number of the file name: ``labeled-data/m4s1/img0027.png`` → m4s1/000027; None without either."""
    parts = PurePosixPath(path)
    digits = re.findall(r"\d+", parts.stem)
    return FrameKey(parts.parent.name, int(digits[-1])) if digits and parts.parent.name else None


def keypoint_forest(count: int, edges: Sequence[tuple[int, int]], root: int = 0) -> tuple[tuple[int, int], ...]:
    """(parent, child) limbs out of undirected edges: edges that close a cycle go, the rest points away from ``root``.

    Other formats draw cycles (COCO's person has four); our limbs form a forest.
    """
    neighbours: dict[int, list[int]] = {node: [] for node in range(count)}
    for a, b in edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    limbs: list[tuple[int, int]] = []
    seen: set[int] = set()
    for start in (root, *range(count)):
        if start in seen:
            continue
        seen.add(start)
        queue = [start]
        for node in queue:
            for other in neighbours[node]:
                if other not in seen:
                    seen.add(other)
                    limbs.append((node, other))
                    queue.append(other)
    return tuple(limbs)


def with_one_label_each(path: str, labels: Sequence[tuple[str, LabelledImage]]) -> tuple[tuple[LabelledImage, ...], list[str]]:
    """Labels (place in the file, label) without repetitions; notes say how many repeated another.

    Raises BadInputError naming both places where two labels of one picture, view and subject contradict one another.
    """
    first: dict[tuple[str, int | None, str | None, int], tuple[str, LabelledImage]] = {}
    repeated = 0
    for place, label in labels:
        key = (label.image.source, label.image.frame_index, label.view, label.subject)
        if key not in first:
            first[key] = (place, label)
            continue
        where, other = first[key]
        if not (np.array_equal(other.xy_px, label.xy_px, equal_nan=True) and np.array_equal(other.state, label.state)):
            raise LabelFileError(
                f"{path}: {where} and {place} label the same picture {label.image.source!r} differently; delete one of them"
            )
        repeated += 1
    return tuple(label for _, label in first.values()), [f"{repeated} repeated rows were read once"] if repeated else []

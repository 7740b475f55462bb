"""Labels or predictions of one camera as arrays over time, which is how tools for whole recordings keep them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from label_config.values import FloatArray, ImageRef, IntArray, PointState
from label_config.values.file_names import file_name
from ml_backend.formats.label_records import PLACED, LabelledImage, LabelSet
from ml_backend.formats.matching import picture_parts


@dataclass(frozen=True)
class Track:
    """n frames of S subjects, coordinates in pixels of the source picture, NaN where nothing is placed.

    video       the file of the frames, with its folder; of pictures their recording and camera, as ``<recording>/<camera>``
    frames      (n,) numbers that rise: those of the video, of pictures the instants of the recording
    subjects    (S,) in ascending order
    confidence  (n, S, K), NaN = not said; of labels that people made it is nowhere said
    people      (n, S) who made them
    """

    video: str
    frames: IntArray
    subjects: tuple[int, ...]
    xy_px: FloatArray
    state: IntArray
    confidence: FloatArray
    people: tuple[tuple[tuple[str, ...], ...], ...]

    @property
    def name(self) -> str:
        """For a file: the video without its ending, or recording and camera."""
        parts = PurePosixPath(self.video).parts
        return file_name(PurePosixPath(parts[-1]).stem if PurePosixPath(self.video).suffix else "_".join(parts))


def picture_of(video: str, frame: int) -> ImageRef:
    """The picture of a frame: of a video where the name has an ending, else in the folder of that name."""
    if PurePosixPath(video).suffix:
        return ImageRef(video, frame_index=frame)
    return ImageRef(f"{video}/img{frame:06d}.png")


def tracks_of(labels: LabelSet) -> list[Track]:
    """One track per camera and recording, or video.  Where two videos have one name, the folder is part of it."""
    members: dict[str, list[tuple[int, LabelledImage]]] = defaultdict(list)
    for label in labels.labels:
        ref = label.image
        if ref.frame_index is not None:
            members[ref.source].append((ref.frame_index, label))
        else:
            sequence, index = (label.key.sequence, label.key.index) if label.key is not None else ("pictures", 0)
            members[f"{sequence}/{label.view}" if label.view else sequence].append((index, label))
    return [_track(name, of_video, len(labels.skeleton)) for name, of_video in members.items()]


def labels_of(track: Track, *, predicted: bool) -> tuple[LabelledImage, ...]:
    """Inverse of :func:`tracks_of`; subjects of a frame without a point or a state are left out."""
    found = []
    for i, frame in enumerate(track.frames.tolist()):
        for s, subject in enumerate(track.subjects):
            label = LabelledImage(
                picture_of(track.video, frame),
                track.xy_px[i, s],
                track.state[i, s],
                subject=subject,
                people=track.people[i][s],
                confidence=np.where(np.isin(track.state[i, s], PLACED), track.confidence[i, s], np.nan) if predicted else None,
            )
            if label.says_something:
                found.append(label)
    return tuple(found)


def _track(source: str, members: Sequence[tuple[int, LabelledImage]], keypoints: int) -> Track:
    numbers = sorted({number for number, _ in members})
    subjects = tuple(sorted({label.subject for _, label in members}))
    shape = (len(numbers), len(subjects), keypoints)
    xy, confidence = np.full((*shape, 2), np.nan), np.full(shape, np.nan)
    state = np.full(shape, PointState.UNLABELLED, dtype=np.int64)
    people: list[list[tuple[str, ...]]] = [[()] * len(subjects) for _ in numbers]
    place = {number: i for i, number in enumerate(numbers)}
    for number, label in members:
        i, s = place[number], subjects.index(label.subject)
        xy[i, s], state[i, s], people[i][s] = label.xy_px, label.state, label.people
        if label.confidence is not None:
            confidence[i, s] = label.confidence
    video = "/".join(picture_parts(source)[-2:]) if members[0][1].image.frame_index is not None else source
    frames = np.array(numbers, dtype=np.int64)
    return Track(video, frames, subjects, xy, state, confidence, tuple(map(tuple, people)))

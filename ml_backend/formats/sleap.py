"""SLEAP (``.slp``, ``.pkg.slp``), by sleap-io.

A point that SLEAP shows as not visible but that has coordinates is occluded.  What the format cannot say: absent points become
unlabelled; views and people have no place.  Tracks become subject numbers.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import ImageRef, IntArray, PointState
from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing
from label_config.values.skeleton import Skeleton
from ml_backend.child_processes.limited_child import read_limited
from ml_backend.formats.label_records import EmbeddedPicture, LabelledImage, LabelSet, key_from_path, keypoint_forest
from ml_backend.formats.point_table import clean_path


def read_sleap(path: Path) -> LabelSet:
    """People's instances, and the predicted ones that they did not replace (with ``confidence``).

    Subjects are numbered by track, without tracks in the order of each frame.
    Raises BadInputError, also when sleap-io is not installed.
    """
    _need_sleap_io(path)
    if not path.is_file():
        raise LabelFileError(f"{path}: no such file")
    found = read_limited("ml_backend.formats.sleap_file:read", path)
    with refusing(LabelFileError, f"{path}: expected a SLEAP label file; one of its values is of another kind"):
        return _label_set(path, found)


def _label_set(path: Path, found: dict[str, Any]) -> LabelSet:
    names = tuple(map(str, found["keypoints"]))
    pairs = tuple((a, b) for a, b in found["symmetries"])
    skeleton = Skeleton(found["name"], names, keypoint_forest(len(names), [(a, b) for a, b in found["edges"]]), pairs=pairs)
    labels, taken = [], dict[tuple[int, int], int]()
    inside: dict[tuple[str, int | None], EmbeddedPicture] = {}
    empty = 0
    for i, (video, frame, track) in enumerate(zip(*(found[n].tolist() for n in ("video", "frame", "track")), strict=True)):
        placed = np.isfinite(found["xy_px"][i]).all(axis=-1)
        if not placed.any():
            empty += 1
            continue
        subject = track
        if track < 0:
            subject = taken.get((video, frame), len(found["tracks"]))
            taken[video, frame] = subject + 1
        state: IntArray = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
        state[placed & (found["visible"][i] == 0)] = PointState.OCCLUDED
        image = _image(path, found["videos"][video], frame)
        width, height, frames = found["embedded"].get(str(video), (0, 0, ()))
        if frame in frames:
            image = replace(image, size_px=(width, height))
            inside[image.source, image.frame_index] = EmbeddedPicture(path, video, frame)
        labels.append(
            LabelledImage(
                image=image,
                xy_px=np.where(placed[:, None], found["xy_px"][i], np.nan),
                state=state,
                key=None if image.frame_index is not None else key_from_path(image.source),
                subject=subject,
                confidence=np.where(placed, np.clip(found["score"][i], 0.0, 1.0), np.nan) if found["predicted"][i] else None,
            )
        )
    return LabelSet(skeleton, tuple(labels), tuple(_notes(found["tracks"], labels, empty)), inside)


def embedded_pictures(path: Path) -> dict[tuple[int, int], bytes]:
    """(number of the video, frame) → PNG, of the pictures in a ``.pkg.slp`` file.  Raises BadInputError."""
    found = read_limited("ml_backend.formats.sleap_file:pictures", path)
    ends = np.cumsum(found["length"]).tolist()
    starts = [0, *ends[:-1]]
    places = zip(found["video"].tolist(), found["frame"].tolist(), strict=True)
    return {place: found["png"][a:b].tobytes() for place, a, b in zip(places, starts, ends, strict=True)}


def _image(path: Path, video: Any, frame: int) -> ImageRef:
    if not isinstance(video, list):
        return ImageRef(clean_path(video), frame_index=frame)
    if not 0 <= frame < len(video):
        raise LabelFileError(f"{path}: frame {frame} of a video of {len(video)} pictures")
    return ImageRef(clean_path(video[frame]))


def _notes(tracks: list[str], labels: list[LabelledImage], empty: int) -> list[str]:
    notes = []
    if len(tracks) > 1:
        notes.append(f"{len(tracks)} tracks: {', '.join(f'{name!r} is subject {i}' for i, name in enumerate(tracks))}")
    predicted = sum(label.confidence is not None for label in labels)
    if predicted:
        notes.append(f"{predicted} of {len(labels)} instances are SLEAP's predictions, not labels")
    if empty:
        notes.append(f"{empty} instances without a point are left out")
    return notes


def write_sleap(labels: LabelSet, path: Path, *, embed: bool = False) -> None:
    """A ``.slp`` file that refers to the pictures and videos by name.  Every subject is a track when there are several.

    embed  the pictures are put into the file, which must be called ``.pkg.slp``
    """
    _need_sleap_io(path)
    import sleap_io

    names, skeleton = labels.skeleton.keypoints, labels.skeleton
    ours = sleap_io.Skeleton(
        nodes=list(names),
        edges=[(names[a], names[b]) for a, b in skeleton.limbs],
        symmetries=[(names[a], names[b]) for a, b in skeleton.pairs],
        name=skeleton.name,
    )
    pictures = list(dict.fromkeys(label.image.source for label in labels.labels if label.image.frame_index is None))
    # Without this sleap-io writes a list of names that it cannot read back unless it can open the pictures.
    about = {"type": "ImageVideo", "filename": pictures[0], "filenames": pictures} if pictures else {}
    of_pictures = sleap_io.Video(filename=pictures, backend_metadata=about, open_backend=False) if pictures else None
    sources = dict.fromkeys(label.image.source for label in labels.labels if label.image.frame_index is not None)
    videos = {source: sleap_io.Video(filename=source, open_backend=False) for source in sources}
    position = {name: i for i, name in enumerate(pictures)}
    subjects = sorted({label.subject for label in labels.labels})
    tracks = {subject: sleap_io.Track(f"subject{subject}") for subject in subjects} if subjects != [0] else {}
    frames: dict[tuple[str, int], Any] = {}
    for label in labels.labels:
        picture = label.image.frame_index is None
        index = position[label.image.source] if picture else int(label.image.frame_index or 0)
        video = of_pictures if picture else videos[label.image.source]
        frame = frames.setdefault(
            ("" if picture else label.image.source, index), sleap_io.LabeledFrame(video=video, frame_idx=index, instances=[])
        )
        instance = _instance(label, ours, tracks.get(label.subject))
        frame.instances.append(instance)
    whole = sleap_io.Labels(labeled_frames=list(frames.values()), skeletons=[ours], tracks=list(tracks.values()))
    if embed and of_pictures is not None:
        of_pictures.open()
    sleap_io.save_slp(whole, str(path), embed=embed, verbose=False)


def _instance(label: LabelledImage, skeleton: Any, track: Any) -> Any:
    import sleap_io

    if label.confidence is None:
        instance = sleap_io.Instance.from_numpy(label.xy_px, skeleton=skeleton, track=track)
    else:
        scores, known = label.confidence, np.isfinite(label.confidence)
        instance = sleap_io.PredictedInstance.from_numpy(
            label.xy_px,
            skeleton=skeleton,
            track=track,
            point_scores=np.nan_to_num(scores),
            score=float(scores[known].mean()) if known.any() else 0.0,
        )
    instance.points["visible"] = label.state == PointState.VISIBLE
    return instance


def _need_sleap_io(path: Path) -> None:
    if importlib.util.find_spec("sleap_io") is None:
        raise LabelFileError(f"{path}: SLEAP files need sleap-io; install it with pip install 'label-studio-parallax[labels]'")

"""SLEAP's label files through sleap-io.  Reading runs in a child process with limits: HDF5 and its filters are C."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import sleap_io

from label_config.values.errors import LabelFileError

# Imported when first used otherwise: what the libraries need themselves does not count against the limits.
_LOAD = sleap_io.load_slp


def read(path: Path) -> dict[str, Any]:
    """Instances in the order of the file.

    keypoints, edges, symmetries  of the skeleton
    videos     file name, or list of picture names, of every video: the original one of embedded pictures
    embedded   number of a video → width, height and the frames whose pictures are in this file
    tracks     names
    video, frame, track, predicted  (n,) numbers; track −1 = none
    xy_px      (n, K, 2), NaN = none
    visible    (n, K)
    score      (n, K), NaN = none
    """
    labels = _LOAD(str(path), open_videos=False)
    skeleton = _skeleton(labels)
    names = [node.name for node in skeleton.nodes]
    rows = [(frame, instance) for frame in labels.labeled_frames for instance in _instances(frame)]
    count, tracks = len(rows), list(labels.tracks)
    xy, score = np.full((count, len(names), 2), np.nan), np.full((count, len(names)), np.nan)
    visible = np.zeros((count, len(names)), dtype=np.int64)
    for i, (_, instance) in enumerate(rows):
        order = [[node.name for node in instance.skeleton.nodes].index(name) for name in names]
        xy[i], visible[i] = instance.points["xy"][order], instance.points["visible"][order]
        if _is_predicted(instance):
            score[i] = instance.points["score"][order]
    return {
        "keypoints": names,
        "edges": [[names.index(a.name), names.index(b.name)] for a, b in skeleton.edges],
        "symmetries": [sorted(names.index(node.name) for node in pair.nodes) for pair in skeleton.symmetries],
        "name": str(skeleton.name or path.stem),
        "videos": [_original(video) for video in labels.videos],
        "embedded": {
            str(number): [*_size(inside), [int(frame) for frame in inside.backend.source_inds]]
            for number, inside in _embedded(path, labels)
        },
        "tracks": [str(track.name) for track in tracks],
        "video": np.array([labels.videos.index(frame.video) for frame, _ in rows], dtype=np.int64),
        "frame": np.array([int(frame.frame_idx) for frame, _ in rows], dtype=np.int64),
        "track": np.array([-1 if i.track is None else tracks.index(i.track) for _, i in rows], dtype=np.int64),
        "predicted": np.array([_is_predicted(instance) for _, instance in rows], dtype=np.int64),
        "xy_px": xy,
        "visible": visible,
        "score": score,
    }


def _skeleton(labels: Any) -> Any:
    used = {id(i.skeleton): i.skeleton for frame in labels.labeled_frames for i in frame.instances}
    found = list(used.values()) or list(labels.skeletons)
    if len({tuple(sorted(node.name for node in one.nodes)) for one in found}) != 1:
        raise LabelFileError(f"expected one skeleton, got {len(found)} with different nodes; split the file in SLEAP")
    return found[0]


def _instances(frame: Any) -> list[Any]:
    """What people placed, then the predictions that they did not replace."""
    people = [i for i in frame.instances if not _is_predicted(i)]
    replaced = {id(i.from_predicted) for i in people if i.from_predicted is not None}
    tracks = {id(i.track) for i in people if i.track is not None}
    return people + [
        i
        for i in frame.instances
        if _is_predicted(i) and id(i) not in replaced and (i.track is None or id(i.track) not in tracks)
    ]


def _is_predicted(instance: Any) -> bool:
    return isinstance(instance, sleap_io.PredictedInstance)


def pictures(path: Path) -> dict[str, Any]:
    """Pictures in the file as PNG, one after the other.

    video, frame  (n,) numbers, of the frame in the original video
    length        (n,) bytes of each
    png           (sum of lengths,)
    """
    found = [
        (number, int(frame), _encoded(inside[int(frame)]))
        for number, inside in _embedded(path, _LOAD(str(path), open_videos=False))
        for frame in inside.backend.source_inds
    ]
    return {
        "video": np.array([video for video, _, _ in found], dtype=np.int64),
        "frame": np.array([frame for _, frame, _ in found], dtype=np.int64),
        "length": np.array([len(png) for _, _, png in found], dtype=np.int64),
        "png": np.frombuffer(b"".join(png for _, _, png in found), dtype=np.uint8),
    }


def _embedded(path: Path, labels: Any) -> Iterator[tuple[int, Any]]:
    """Videos whose pictures are in the file, open.  Other files that it names are never opened."""
    for number, video in enumerate(labels.videos):
        dataset = (video.backend_metadata or {}).get("dataset")
        if dataset and Path(str(video.filename)) == path:
            inside = sleap_io.Video.from_filename(str(path), dataset=str(dataset))
            if inside.backend.source_inds is not None:
                yield number, inside


def _size(video: Any) -> tuple[int, int]:
    _, height, width, _ = video.shape
    return int(width), int(height)


def _encoded(picture: Any) -> bytes:
    """(h, w, 1 or 3) grey or RGB."""
    pixels = np.ascontiguousarray(picture[..., ::-1] if picture.shape[-1] == 3 else picture)
    done, png = cv2.imencode(".png", pixels)
    if not done:
        raise LabelFileError(f"a picture of shape {picture.shape} cannot be written")
    return png.tobytes()


def _original(video: Any) -> Any:
    while getattr(video, "source_video", None) is not None:
        video = video.source_video
    name = video.filename
    return [str(item) for item in name] if isinstance(name, list) else str(name)

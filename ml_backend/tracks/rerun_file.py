"""Tracks as a file of Rerun (.rrd): cameras, pictures, points in the pictures and in 3-D, over time.

Entities: ``cameras/<name>`` (place, lens without its distortion), ``cameras/<name>/picture`` and ``…/points``; ``points`` in
world coordinates, in the calibration's unit.  Timelines: ``frame``, and ``time`` where it is known.  In Rerun the corner of a
picture is (0, 0), here the centre of its first pixel.  Lenses that bend lines do so in the pictures, not in Rerun's cameras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from label_config.values import BadInputError, ByteArray, FloatArray, Frame
from label_config.values.atomic_files import replacing
from label_config.values.file_names import file_name
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Camera
from ml_backend.recordings import UnreadableImageError
from ml_backend.tracks.reading_ahead import ReadingAhead, Stream
from ml_backend.tracks.track_arrays import Tracks

#: Height of the pictures in the file, at most.
HEIGHT = 480
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]
_COLOURS = {"left": (60, 120, 255), "right": (255, 150, 70), "centre": (150, 150, 150)}


def rerun() -> Any:
    """The package.  Raises BadInputError where it is not installed."""
    try:
        import rerun as package
    except ImportError as error:
        raise BadInputError("--rerun needs rerun-sdk; install it: pip install 'label-studio-parallax[rerun]'") from error
    return package


def write_rerun(
    tracks: Tracks, frames: Sequence[Frame], stream: Stream, path: Path, *, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Every instant of the recording, whole or not at all.  Points and cameras are scaled with their pictures."""
    rr = rerun()
    places = [f"cameras/{file_name(view)}" for view in tracks.views]
    scales: list[FloatArray | None] = [None] * len(places)
    with replacing(path) as temporary, rr.RecordingStream("parallax", recording_id=tracks.sequence) as file:
        file.save(temporary)
        file.log("/", _keypoints(rr, tracks.skeleton), static=True)
        with ReadingAhead(frames, tracks.views, stream) as reader:
            for f in range(len(frames)):
                file.set_time("frame", sequence=int(tracks.index[f]))
                if tracks.times_s is not None and np.isfinite(tracks.times_s[f]):
                    file.set_time("time", duration=float(tracks.times_s[f]))
                for _, v, picture in reader.pictures(f + 1):
                    if isinstance(picture, UnreadableImageError):
                        continue
                    small, scale = _reduced(picture)
                    if scales[v] is None:
                        scales[v] = scale
                        _camera(rr, file, places[v], tracks, v, small)
                    file.log(f"{places[v]}/picture", rr.EncodedImage(contents=_jpeg(small), media_type="image/jpeg"))
                for v, place in enumerate(places):
                    scale_of_view = scales[v]
                    if scale_of_view is not None:
                        xy = (tracks.xy_px[f, v] + 0.5) * scale_of_view
                        _points(rr, file, f"{place}/points", xy, confidence=tracks.confidence[f, v])
                if tracks.world is not None:
                    _points(rr, file, "points", tracks.world.xyz_world[f])
                progress(f + 1)
        file.flush()


def _keypoints(rr: Any, skeleton: Skeleton) -> Any:
    """Names and colours of the keypoints, and the limbs, which Rerun draws itself."""
    named = [(k, name, _COLOURS[skeleton.side(k)]) for k, name in enumerate(skeleton.keypoints)]
    limbs = [(int(a), int(b)) for a, b in skeleton.limbs]
    body = rr.ClassDescription(info=(0, skeleton.name), keypoint_annotations=named, keypoint_connections=limbs)
    return rr.AnnotationContext([body])


def _camera(rr: Any, file: Any, place: str, tracks: Tracks, view: int, picture: ByteArray) -> None:
    """Where the camera stands and what it sees, at the size of the file's pictures."""
    by_name: dict[str, Camera] = {} if tracks.rig is None else {camera.name: camera for camera in tracks.rig.cameras}
    camera = by_name.get(tracks.views[view])
    if camera is None:
        return
    height, width = picture.shape[:2]
    matrix = camera.resized((width, height)).K.copy()
    matrix[:2, 2] += 0.5
    file.log(place, rr.Transform3D(translation=camera.centre, mat3x3=camera.R_cam_world.T), static=True)
    file.log(place, rr.Pinhole(image_from_camera=matrix, resolution=(width, height)), static=True)


def _points(rr: Any, file: Any, place: str, points: FloatArray, confidence: FloatArray | None = None) -> None:
    """(K, 2) or (K, 3); those that are NaN are left out."""
    there = np.flatnonzero(np.isfinite(points).all(axis=1))
    kind = rr.Points2D if points.shape[1] == 2 else rr.Points3D
    file.log(place, kind(points[there], keypoint_ids=there, class_ids=np.zeros(len(there), dtype=np.uint16)))
    if confidence is not None:
        file.log(place, rr.AnyValues(confidence=confidence[there]))


def _reduced(picture: ByteArray) -> tuple[ByteArray, FloatArray]:
    """The picture (h, w, 3) at most HEIGHT pixels high, and (2,) how much smaller it is."""
    height, width = picture.shape[:2]
    new = min(height, HEIGHT)
    size = (max(1, round(width * new / height)), new)
    small: ByteArray = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, np.array([size[0] / width, size[1] / height])


def _jpeg(picture: ByteArray) -> bytes:
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), _QUALITY)
    if not done:
        raise BadInputError(f"a picture of {picture.shape[1]} × {picture.shape[0]} pixels cannot be written as JPEG")
    return data.tobytes()

"""InterHand2.6M: hands in 3-D and their cameras → points in each picture.

``…_data.json`` lists pictures; ``…_joint_3d.json`` and ``…_camera.json`` beside it hold world coordinates (mm) by capture and
frame, and the cameras by capture: x = f · X/Z + c for X = R (P - position), no lens distortion.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import FloatArray, FrameKey, ImageRef, PointState
from label_config.values.errors import LabelFileError
from label_config.values.refusing import refusing
from label_config.values.skeleton import Skeleton, limbs_by_name
from ml_backend.formats.json_file import load_json
from ml_backend.formats.label_records import LabelledImage, LabelSet

ENDING = "_data.json"
_BESIDE = ("_joint_3d.json", "_camera.json")
_FINGERS = ("Thumb", "Index", "Middle", "Ring", "Pinky")


def interhand_skeleton() -> Skeleton:
    """42 keypoints: of either hand five fingers from the tip (4) to the base (1), then the wrist; right before left."""
    names, limbs, pairs = [], [], []
    for side in "RL":
        for finger in _FINGERS:
            names += [f"{side}_{finger}_{n}" for n in (4, 3, 2, 1)]
            limbs += [(f"{side}_Wrist", f"{side}_{finger}_1")]
            limbs += [(f"{side}_{finger}_{n}", f"{side}_{finger}_{n + 1}") for n in (1, 2, 3)]
        names.append(f"{side}_Wrist")
    pairs = [(i + 21, i) for i in range(21)]
    return Skeleton("interhand42", tuple(names), limbs_by_name(names, limbs), root=20, pairs=tuple(pairs))


def is_interhand(path: Path) -> bool:
    """By its name and those of the files beside it."""
    return path.name.endswith(ENDING) and all(_beside(path, ending).is_file() for ending in _BESIDE)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name.removesuffix(ENDING) + ending)


def read_interhand(path: Path) -> LabelSet:
    """Labels of every picture; the view is the camera's number, the recording ``<capture>/<sequence>``.  Raises BadInputError."""
    data, points, cameras = load_json(path), load_json(_beside(path, _BESIDE[0])), load_json(_beside(path, _BESIDE[1]))
    expected = "pictures of InterHand2.6M, with _joint_3d.json and _camera.json beside it"
    with refusing(LabelFileError, f"{path}: expected {expected}; one of its values is of another kind"):
        boxes = {annotation["image_id"]: annotation.get("bbox") for annotation in data["annotations"]}
        labels = [_label(path, image, points, cameras, boxes.get(image["id"])) for image in data["images"]]
    kept = tuple(label for label in labels if label.says_something)
    notes = ["points are the projections of the data set's 3-D points: whether they can be seen is not said"]
    if len(kept) < len(labels):
        notes.append(f"{len(labels) - len(kept)} pictures without a valid point are left out")
    return LabelSet(interhand_skeleton(), kept, tuple(notes))


def _label(path: Path, image: dict[str, Any], points: Any, cameras: Any, box: Any) -> LabelledImage:
    capture, camera, frame = str(image["capture"]), str(image["camera"]), str(image["frame_idx"])
    try:
        found, calibration = points[capture][frame], cameras[capture]
    except KeyError as error:
        raise LabelFileError(
            f"{path}: {image['file_name']}: capture {capture}, frame {frame} is missing beside it ({error})"
        ) from None
    world = np.array(found["world_coord"], dtype=np.float64).reshape(42, 3)
    valid = np.array(found["joint_valid"], dtype=np.bool_).reshape(42)
    xy = _projected(
        world, *(np.array(calibration[n][camera], dtype=np.float64) for n in ("camrot", "campos", "focal", "princpt"))
    )
    placed = valid & np.isfinite(xy).all(axis=1)
    return LabelledImage(
        image=ImageRef(str(image["file_name"]).replace("\\", "/"), size_px=(int(image["width"]), int(image["height"]))),
        xy_px=np.where(placed[:, None], xy, np.nan),
        state=np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
        view=camera,
        key=FrameKey(f"capture{capture}-{image['seq_name']}", int(image["frame_idx"])),
        box_px=(float(box[0]), float(box[1]), float(box[2]), float(box[3])) if box else None,
    )


def _projected(
    world: FloatArray, rotation: FloatArray, position: FloatArray, focal: FloatArray, centre: FloatArray
) -> FloatArray:
    """(K, 3) mm → (K, 2) pixels, NaN behind the camera."""
    inside = (world - position) @ rotation.T
    depth = np.where(inside[:, 2:] > 0, inside[:, 2:], np.nan)
    return np.asarray(focal * inside[:, :2] / depth + centre)

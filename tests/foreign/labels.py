"""Label files as other tools write them, by the libraries that these tools write with: frames 1 and 3 of a video.

DeepLabCut      pandas, as ``CollectedData`` with three header rows (four with several animals), CSV and HDF5
Lightning Pose  pandas, as DeepLabCut, with ``visible``
SLEAP           sleap-io, a video or pictures that are embedded
COCO            the format of cocodataset.org, with edges from 0, ``v`` of 0 and null
YOLO-pose       Ultralytics' data.yaml, ``images`` and ``labels``
Label Studio    its JSON export
movement        xarray, as ``ValidPosesInputs.to_dataset``
anipose         pandas, ``pose-2d`` with likelihood
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import xarray

from label_config.values import FloatArray, IntArray, PointState

KEYPOINTS = ["nose", "tail", "paw"]
FRAMES = (1, 3)
WIDTH, HEIGHT = 640, 480
#: (frames, keypoints, 2) pixels, the origin at the centre of the top-left one; nobody labelled the paw in frame 3.
XY_PX: FloatArray = np.array([[[10.25, 20.5], [30.75, 44.0], [100.0, 61.25]], [[12.5, 22.0], [33.0, 48.5], [np.nan, np.nan]]])
#: The tail is occluded in frame 1, where a tool has a word for that.
STATE: IntArray = np.array([[PointState.VISIBLE, PointState.OCCLUDED, PointState.VISIBLE], [1, 1, PointState.UNLABELLED]])


def name_of(frame: int, video: str) -> str:
    return f"labeled-data/{video}/img{frame:03d}.png"


def _table(video: str, *, individuals: bool = False, three_columns: bool = False) -> pd.DataFrame:
    outer = ["zoe", "mouse1"] if individuals else ["zoe"]
    names = ["scorer", *(["individuals"] if individuals else []), "bodyparts", "coords"]
    columns = pd.MultiIndex.from_tuples([(*outer, part, axis) for part in KEYPOINTS for axis in "xy"], names=names)
    paths = [name_of(frame, video) for frame in FRAMES]
    index = pd.MultiIndex.from_tuples([tuple(path.split("/")) for path in paths]) if three_columns else pd.Index(paths)
    return pd.DataFrame(XY_PX.reshape(len(FRAMES), -1), index=index, columns=columns)


def dlc_csv(folder: Path, video: str) -> Path:
    _table(video).to_csv(folder / "CollectedData_zoe.csv")
    return folder / "CollectedData_zoe.csv"


def dlc_three_columns(folder: Path, video: str) -> Path:
    _table(video, three_columns=True).to_csv(folder / "CollectedData_zoe.csv")
    return folder / "CollectedData_zoe.csv"


def dlc_h5(folder: Path, video: str) -> Path:
    _table(video, three_columns=True).to_hdf(folder / "CollectedData_zoe.h5", key="df_with_missing", mode="w")
    return folder / "CollectedData_zoe.h5"


def dlc_animals(folder: Path, video: str) -> Path:
    _table(video, individuals=True).to_csv(folder / "CollectedData_zoe.csv")
    return folder / "CollectedData_zoe.csv"


def lightning_pose(folder: Path, video: str) -> Path:
    """2 = visible, 1 = not, 0 = not labelled."""
    table = _table(video)
    for k, part in enumerate(KEYPOINTS):
        column = [{PointState.VISIBLE: 2, PointState.OCCLUDED: 1, PointState.UNLABELLED: 0}[PointState(s)] for s in STATE[:, k]]
        table.insert(3 * k + 2, ("zoe", part, "visible"), column)
    table.to_csv(folder / f"{video}.csv")
    return folder / f"{video}.csv"


def sleap(folder: Path, video: str) -> Path:
    import sleap_io

    skeleton = sleap_io.Skeleton(nodes=list(KEYPOINTS), edges=[("nose", "tail")], name="mouse")
    theirs = sleap_io.Video(filename=f"{video}.mp4", open_backend=False)
    frames = []
    for frame, xy, state in zip(FRAMES, XY_PX, STATE, strict=True):
        instance = sleap_io.Instance.from_numpy(xy, skeleton=skeleton)
        instance.points["visible"] = state == PointState.VISIBLE
        frames.append(sleap_io.LabeledFrame(video=theirs, frame_idx=frame, instances=[instance]))
    sleap_io.save_slp(sleap_io.Labels(frames), str(folder / "labels.slp"), embed=False, verbose=False)
    return folder / "labels.slp"


def write_video(path: Path) -> None:
    """Four grey frames."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (WIDTH, HEIGHT))
    for i in range(4):
        video.write(np.full((HEIGHT, WIDTH, 3), 60 * i, np.uint8))
    video.release()


def sleap_package(folder: Path, video: str) -> Path:
    """Pictures of the two frames are inside."""
    import sleap_io

    write_video(folder / f"{video}.mp4")
    whole = sleap_io.load_slp(str(sleap(folder, video)), open_videos=False)
    whole.replace_filenames(filename_map={f"{video}.mp4": str(folder / f"{video}.mp4")})
    whole.save(str(folder / "labels.pkg.slp"), embed="user", verbose=False)
    return folder / "labels.pkg.slp"


def coco(folder: Path, video: str) -> Path:
    def points(xy: FloatArray, state: IntArray) -> list[float | None]:
        pairs = zip(xy.tolist(), state.tolist(), strict=True)
        return [v for (x, y), s in pairs for v in ([None, None, 0] if s == PointState.UNLABELLED else [x, y, 3 - s])]

    images = [{"id": f, "file_name": name_of(f, video), "width": WIDTH, "height": HEIGHT} for f in FRAMES]
    people = [
        {
            "id": f,
            "image_id": f,
            "category_id": 1,
            "keypoints": points(xy, state),
            "num_keypoints": int(np.isfinite(xy[:, 0]).sum()),
        }
        for f, xy, state in zip(FRAMES, XY_PX, STATE, strict=True)
    ]
    category = {"id": 1, "name": "mouse", "keypoints": KEYPOINTS, "skeleton": [[0, 1], [1, 2]]}
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": people, "categories": [category]}))
    return folder / "coco.json"


def yolo(folder: Path, video: str) -> Path:
    for frame, xy, state in zip(FRAMES, XY_PX, STATE, strict=True):
        picture = folder / "images" / video / f"img{frame:03d}.png"
        text = folder / "labels" / video / f"img{frame:03d}.txt"
        for path in (picture, text):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        place = xy / (WIDTH, HEIGHT)  # as Ultralytics' own converter divides COCO's pixels by width and height
        points = " ".join("0 0 0" if np.isnan(x) else f"{x:.9f} {y:.9f} {3 - s}" for (x, y), s in zip(place, state, strict=True))
        text.write_text(f"0 0.1 0.1 0.15 0.15 {points}\n")
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images/{video}\nval: images/{video}\nkpt_shape: [3, 3]\nnames: {{0: mouse}}\n"
        f"kpt_names: {{0: [{', '.join(KEYPOINTS)}]}}\n"
    )
    return folder / "data.yaml"


def label_studio(folder: Path, video: str) -> Path:
    tasks = []
    for frame, xy, state in zip(FRAMES, XY_PX, STATE, strict=True):
        regions: list[dict[str, Any]] = [
            {
                "id": f"r{k}",
                "type": "keypointlabels",
                "from_name": "kp_left",
                "to_name": "left",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "value": {
                    "x": 100 * (x + 0.5) / WIDTH,
                    "y": 100 * (y + 0.5) / HEIGHT,
                    "width": 0.5,
                    "keypointlabels": [KEYPOINTS[k]],
                },
            }
            for k, (x, y) in enumerate(xy)
            if np.isfinite(x)
        ]
        hidden = [
            {"id": f"r{k}", "type": "choices", "from_name": "vis_left", "to_name": "left", "value": {"choices": ["occluded"]}}
            for k in np.flatnonzero(state == PointState.OCCLUDED)
        ]
        data = {"left": f"/data/local-files/?d={name_of(frame, video)}"}
        tasks.append({"id": frame, "data": data, "annotations": [{"id": frame, "completed_by": 1, "result": regions + hidden}]})
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder / "export.json"


def movement(folder: Path, video: str) -> Path:
    """Without a confidence, as of labels."""
    xarray.Dataset(
        {"position": (("time", "space", "keypoints", "individuals"), np.moveaxis(XY_PX, 2, 1)[..., None])},
        coords={
            "time": list(FRAMES),
            "space": ["x", "y"],
            "keypoints": list(KEYPOINTS),
            "individuals": ["a"],
        },
        attrs={"ds_type": "poses", "time_unit": "frames", "source_software": "DeepLabCut"},
    ).to_netcdf(folder / f"{video}.nc", engine="h5netcdf")
    return folder / f"{video}.nc"


def anipose(folder: Path, video: str) -> Path:
    """A row for each of frames 0 to 3; likelihood 0 where nothing was found."""
    columns = pd.MultiIndex.from_product([["net"], KEYPOINTS, ["x", "y", "likelihood"]], names=["scorer", "bodyparts", "coords"])
    values = np.zeros((4, 3, 3))
    values[..., :2] = np.nan
    values[list(FRAMES), :, :2], values[list(FRAMES), :, 2] = XY_PX, 0.75
    pd.DataFrame(values.reshape(4, -1), columns=columns).to_hdf(folder / f"{video}.h5", key="df_with_missing", mode="w")
    return folder / f"{video}.h5"


#: Name → writer into an empty folder, of a video; the rest of the command that imports it.
LABELS: dict[str, tuple[Callable[[Path, str], Path], tuple[str, ...]]] = {
    "deeplabcut csv": (dlc_csv, ()),
    "deeplabcut, path in three columns": (dlc_three_columns, ()),
    "deeplabcut h5": (dlc_h5, ()),
    "deeplabcut, several animals": (dlc_animals, ()),
    "lightning pose": (lightning_pose, ("--format", "lightning-pose")),
    "sleap": (sleap, ()),
    "sleap package": (sleap_package, ()),
    "coco": (coco, ()),
    "yolo": (yolo, ()),
    "label studio": (label_studio, ()),
    "movement": (movement, ()),
    "anipose": (anipose, ("--as-predictions", "net-1")),
}
#: Kinds that can say that a point is occluded.
SAY_OCCLUDED = ("lightning pose", "sleap", "sleap package", "coco", "yolo", "label studio")


def state_of(name: str) -> IntArray:
    """(frames, keypoints) as the files of this kind have it."""
    return STATE if name in SAY_OCCLUDED else np.minimum(STATE, PointState.VISIBLE)

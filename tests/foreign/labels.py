"""Label files as other tools write them, by the libraries that these tools write with: frames 1 and 3 of the video ``left``.

DeepLabCut      pandas, as ``CollectedData`` with three header rows (four with several animals), CSV and HDF5
Lightning Pose  pandas, as DeepLabCut
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

import cv2
import numpy as np
import pandas as pd
import xarray

from label_config.values import FloatArray

KEYPOINTS = ["nose", "tail", "paw"]
FRAMES = (1, 3)
WIDTH, HEIGHT = 640, 480
#: (frames, keypoints, 2) pixels, the origin at the centre of the top-left one; nobody labelled the paw in frame 3.
XY_PX: FloatArray = np.array([[[10.25, 20.5], [30.75, 44.0], [100.0, 61.25]], [[12.5, 22.0], [33.0, 48.5], [np.nan, np.nan]]])


def name_of(frame: int) -> str:
    return f"labeled-data/left/img{frame:03d}.png"


def _table(*, individuals: bool = False, three_columns: bool = False) -> pd.DataFrame:
    outer = ["zoe", "mouse1"] if individuals else ["zoe"]
    names = ["scorer", *(["individuals"] if individuals else []), "bodyparts", "coords"]
    columns = pd.MultiIndex.from_tuples([(*outer, part, axis) for part in KEYPOINTS for axis in "xy"], names=names)
    paths = [name_of(frame) for frame in FRAMES]
    index = pd.MultiIndex.from_tuples([tuple(path.split("/")) for path in paths]) if three_columns else pd.Index(paths)
    return pd.DataFrame(XY_PX.reshape(len(FRAMES), -1), index=index, columns=columns)


def dlc_csv(folder: Path) -> Path:
    _table().to_csv(folder / "CollectedData_zoe.csv")
    return folder / "CollectedData_zoe.csv"


def dlc_three_columns(folder: Path) -> Path:
    _table(three_columns=True).to_csv(folder / "CollectedData_zoe.csv")
    return folder / "CollectedData_zoe.csv"


def dlc_h5(folder: Path) -> Path:
    _table(three_columns=True).to_hdf(folder / "CollectedData_zoe.h5", key="df_with_missing", mode="w")
    return folder / "CollectedData_zoe.h5"


def dlc_animals(folder: Path) -> Path:
    _table(individuals=True).to_csv(folder / "CollectedData_zoe.csv")
    return folder / "CollectedData_zoe.csv"


def lightning_pose(folder: Path) -> Path:
    _table().to_csv(folder / "left.csv")
    return folder / "left.csv"


def sleap(folder: Path) -> Path:
    import sleap_io

    skeleton = sleap_io.Skeleton(nodes=list(KEYPOINTS), edges=[("nose", "tail")], name="mouse")
    video = sleap_io.Video(filename="left.mp4", open_backend=False)
    frames = [
        sleap_io.LabeledFrame(video=video, frame_idx=frame, instances=[sleap_io.Instance.from_numpy(xy, skeleton=skeleton)])
        for frame, xy in zip(FRAMES, XY_PX, strict=True)
    ]
    sleap_io.save_slp(sleap_io.Labels(frames), str(folder / "labels.slp"), embed=False, verbose=False)
    return folder / "labels.slp"


def sleap_package(folder: Path) -> Path:
    """Pictures of the two frames are inside."""
    import sleap_io

    video = cv2.VideoWriter(str(folder / "left.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (WIDTH, HEIGHT))
    for i in range(4):
        video.write(np.full((HEIGHT, WIDTH, 3), 60 * i, np.uint8))
    video.release()
    whole = sleap_io.load_slp(str(sleap(folder)), open_videos=False)
    whole.replace_filenames(filename_map={"left.mp4": str(folder / "left.mp4")})
    whole.save(str(folder / "labels.pkg.slp"), embed="user", verbose=False)
    return folder / "labels.pkg.slp"


def coco(folder: Path) -> Path:
    def points(xy: FloatArray) -> list[float | None]:
        return [v for x, y in xy for v in ([None, None, 0] if np.isnan(x) else [float(x), float(y), 2])]

    images = [{"id": f, "file_name": name_of(f), "width": WIDTH, "height": HEIGHT} for f in FRAMES]
    people = [
        {"id": f, "image_id": f, "category_id": 1, "keypoints": points(xy), "num_keypoints": int(np.isfinite(xy[:, 0]).sum())}
        for f, xy in zip(FRAMES, XY_PX, strict=True)
    ]
    category = {"id": 1, "name": "mouse", "keypoints": KEYPOINTS, "skeleton": [[0, 1], [1, 2]]}
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": people, "categories": [category]}))
    return folder / "coco.json"


def yolo(folder: Path) -> Path:
    for frame, xy in zip(FRAMES, XY_PX, strict=True):
        picture = folder / "images/left" / f"img{frame:03d}.png"
        text = folder / "labels/left" / f"img{frame:03d}.txt"
        for path in (picture, text):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(picture), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        place = xy / (WIDTH, HEIGHT)  # as Ultralytics' own converter divides COCO's pixels by width and height
        points = " ".join("0 0 0" if np.isnan(x) else f"{x:.9f} {y:.9f} 2" for x, y in place)
        text.write_text(f"0 0.1 0.1 0.15 0.15 {points}\n")
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images/left\nval: images/left\nkpt_shape: [3, 3]\nnames: {{0: mouse}}\n"
        f"kpt_names: {{0: [{', '.join(KEYPOINTS)}]}}\n"
    )
    return folder / "data.yaml"


def label_studio(folder: Path) -> Path:
    tasks = []
    for frame, xy in zip(FRAMES, XY_PX, strict=True):
        regions = [
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
        data = {"left": f"/data/local-files/?d={name_of(frame)}"}
        tasks.append({"id": frame, "data": data, "annotations": [{"id": frame, "completed_by": 1, "result": regions}]})
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder / "export.json"


def movement(folder: Path) -> Path:
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
    ).to_netcdf(folder / "left.nc", engine="h5netcdf")
    return folder / "left.nc"


def anipose(folder: Path) -> Path:
    """A row for each of frames 0 to 3; likelihood 0 where nothing was found."""
    columns = pd.MultiIndex.from_product([["net"], KEYPOINTS, ["x", "y", "likelihood"]], names=["scorer", "bodyparts", "coords"])
    values = np.zeros((4, 3, 3))
    values[..., :2] = np.nan
    values[list(FRAMES), :, :2], values[list(FRAMES), :, 2] = XY_PX, 0.75
    pd.DataFrame(values.reshape(4, -1), columns=columns).to_hdf(folder / "left.h5", key="df_with_missing", mode="w")
    return folder / "left.h5"


#: Name → writer into an empty folder; the rest of the command that imports it.
LABELS: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
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

"""Label files that other tools wrote, through ``init``, ``import`` and ``export`` of one live project, and back to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import sleap_io
import xarray
import yaml
from pycocotools.coco import COCO
from typer.testing import Result

from label_config.settings.spec import load_spec
from label_config.values import FloatArray, FrameKey, IntArray, PointState
from ml_backend.project.label_snapshot import collect
from ml_backend.store import tasks
from ml_backend.store.workspace import Workspace, open_workspace
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.pull import pull
from tests.foreign.labels import (
    FRAMES,
    HEIGHT,
    KEYPOINTS,
    LABELS,
    WIDTH,
    XY_PX,
    label_studio,
    sleap_package,
    state_of,
    write_video,
)
from tests.plugins.label_studio_sync.test_labels_there_and_back import snapshot_of

pytestmark = pytest.mark.ls

Run = Callable[..., Result]
#: (video, frame) → coordinates, states.
Points = dict[tuple[str, int], tuple[FloatArray, IntArray]]
U, V, H = PointState.UNLABELLED, PointState.VISIBLE, PointState.OCCLUDED


def words_of_a_lab(folder: Path, video: str) -> Path:
    """Label Studio's export of a config whose choice is called as people there call it."""
    path = label_studio(folder, video)
    path.write_text(path.read_text().replace("occluded", "verdeckt"))
    return path


#: Each labels a video of its own, camera ``left`` of a recording.
KINDS = {**LABELS, "label studio, words of a lab": (words_of_a_lab, ())}
VIDEOS = {name: f"left{n}" for n, name in enumerate(KINDS)}
ANNOTATED = [name for name in KINDS if name != "anipose"]


@dataclass
class Lab:
    """A project of the live Label Studio, a recording for each kind of file."""

    run: Run
    workspace: Workspace
    client: Client

    def expected(self, *, hidden: bool = True) -> Points:
        """What was imported; ``hidden``: as a tool has it that has a word for occluded."""
        found = {}
        for name in ANNOTATED:
            state = state_of("label studio" if name.startswith("label studio") else name)
            for i, frame in enumerate(FRAMES):
                found[VIDEOS[name], frame] = (XY_PX[i], state[i] if hidden else np.minimum(state[i], V))
        return found


@pytest.fixture
def lab(platform: Platform, run: Run, tmp_path: Path) -> Iterator[Lab]:
    write_video(tmp_path / "video.mp4")
    recordings = []
    for video in VIDEOS.values():
        views = {"left": f"{video}.mp4", "right": f"{video.replace('left', 'right')}.mp4"}
        for file in views.values():
            shutil.copy(tmp_path / "video.mp4", tmp_path / file)
        recordings.append({"sequence": f"run{video}", "views": {view: str(tmp_path / file) for view, file in views.items()}})
    settings = {
        "label_studio": {"url": platform.url, "token": platform.token, "title": "other people's labels"},
        "store": f"sqlite:///{tmp_path}/store.sqlite3",
        "arrays": str(tmp_path / "arrays"),
        "models": str(tmp_path / "models"),
        "documents_root": str(platform.documents.resolve()),
        "backend": {"secret": "hush"},
        "skeleton": {"name": "mouse", "keypoints": KEYPOINTS},
        "visibility": {"verdeckt": "occluded"},
        "recordings": recordings,
    }
    (tmp_path / "parallax.yaml").write_text(yaml.safe_dump(settings))
    made = run("init")
    assert made.exit_code == 0, made.output
    workspace = open_workspace(load_spec(tmp_path / "parallax.yaml"))
    client = Client(platform.url, platform.token)
    yield Lab(run, workspace, client)
    client.close()
    workspace.store.close()


def test_files_of_other_tools_are_imported_and_exported_for_them(lab: Lab, tmp_path: Path) -> None:
    for name, (write, options) in KINDS.items():
        (tmp_path / "their" / VIDEOS[name]).mkdir(parents=True)
        path = write(tmp_path / "their" / VIDEOS[name], VIDEOS[name])
        answer = lab.run("import", str(path), *options)
        made = "made 2 predictions of version net-1" if name == "anipose" else "made 2 annotations"
        assert (answer.exit_code, made in answer.stdout) == (0, True), (name, answer.output)
        again = lab.run("import", str(path), *options)
        assert ("made 0 annotations" in again.stdout) == (name != "anipose"), (name, again.output)
    assert lab.client.model_versions(lab.workspace.project.ls_project_id)["net-1"] == 2
    pull(lab.workspace, lab.client)
    as_trained(lab)
    snapshot_of(lab.workspace)
    for target, (format, read, hidden) in READ_BY_THEM.items():
        answer = lab.run("export", format, str(tmp_path / target))
        assert answer.exit_code == 0, (target, answer.output)
        assert f"{len(ANNOTATED) * len(FRAMES)} labelled pictures" in answer.stdout
        same(read(tmp_path / target), lab.expected(hidden=hidden), target)
    pictures_out_of_a_package(lab, tmp_path / "elsewhere")


def pictures_out_of_a_package(lab: Lab, folder: Path) -> None:
    """Of a video that the project does not have: they become frames, and Label Studio shows them."""
    folder.mkdir()
    path = sleap_package(folder, "monday_left")
    (folder / "monday_left.mp4").unlink()
    planned = lab.run("import", str(path), "--dry-run")
    assert "labels of 0 frames of the project and of 2 pictures that are new to it" in planned.stdout, planned.output
    assert "made 2 annotations" in lab.run("import", str(path)).stdout
    assert "made 0 annotations" in lab.run("import", str(path)).stdout
    pull(lab.workspace, lab.client)
    taken = collect(lab.workspace)
    for frame in FRAMES:
        i = taken.keys.index(FrameKey("monday", frame))
        np.testing.assert_allclose(taken.xy_px[i, 0], XY_PX[FRAMES.index(frame)], atol=0.01)
        (task,) = [task for task in tasks.list_tasks(lab.workspace.store) if task.key == f"monday/{frame:06d}"]
        address = lab.client.call("GET", f"api/tasks/{task.ls_task_id}")["data"]["left"]
        assert address.endswith(f"/monday/left/{frame:06d}.png")
        png = Path(str(lab.workspace.spec.documents_root)) / Path(address.partition("?d=")[2])
        assert abs(np.asarray(cv2.imread(str(png))).mean() - 60 * frame) < 5


def as_trained(lab: Lab) -> None:
    """What people said arrives where a training reads it, coordinates and states."""
    taken = collect(lab.workspace)
    found = {(key.sequence.removeprefix("run"), key.index): i for i, key in enumerate(taken.keys)}
    assert FrameKey("runleft0", 1) in taken.keys
    points = {place: (taken.xy_px[i, 0], np.where(taken.human[i, 0], taken.state[i, 0], U)) for place, i in found.items()}
    same(points, lab.expected(), "the training set")


def same(found: Points, expected: Points, what: str) -> None:
    assert found.keys() == expected.keys(), what
    for place, (xy, state) in expected.items():
        np.testing.assert_array_equal(found[place][1], state, err_msg=f"{what} {place}")
        np.testing.assert_allclose(found[place][0], xy, atol=0.01, err_msg=f"{what} {place}")


def _place(picture: str) -> tuple[str, int]:
    """Of ``labeled-data/left3/img000001.png``, or the recording's name where pictures are written."""
    return Path(picture).parent.name.removeprefix("run"), int(Path(picture).stem.removeprefix("img"))


def read_dlc(folder: Path) -> Points:
    """As DeepLabCut does, the HDF5 tables."""
    found: Points = {}
    for table in (folder / "labeled-data").glob("*/CollectedData_*.h5"):
        for row, values in pd.read_hdf(table).iterrows():
            xy = values.to_numpy(dtype=float).reshape(-1, 2)
            found[_place("/".join(row))] = (xy, np.isfinite(xy[:, 0]).astype(np.int64))
    return found


def read_lightning_pose(folder: Path) -> Points:
    """As its ``parse_label_csv``; a picture without a point is of a camera that nobody labelled."""
    assert len(pd.read_csv(folder / "right.csv", header=[0, 1, 2], index_col=0)) == len(ANNOTATED) * len(FRAMES)
    found: Points = {}
    for picture, row in pd.read_csv(folder / "left.csv", header=[0, 1, 2], index_col=0).iterrows():
        x, y, visible = row.to_numpy(dtype=float).reshape(-1, 3).T
        found[_place(str(picture))] = (np.stack((x, y), axis=-1), np.array([U, H, V])[visible.astype(int)])
    return found


def read_coco(path: Path) -> Points:
    labels = COCO(str(path))
    found: Points = {}
    for person in labels.loadAnns(labels.getAnnIds()):
        (image,) = labels.loadImgs(person["image_id"])
        x, y, v = np.array(person["keypoints"], dtype=float).reshape(-1, 3).T
        xy = np.where(v[:, None] > 0, np.stack((x, y), axis=-1), np.nan)
        found[_place(image["file_name"])] = (xy, np.array([U, H, V])[v.astype(int)])
    return found


def read_sleap(path: Path) -> Points:
    labels = sleap_io.load_slp(str(path), open_videos=False)
    found: Points = {}
    for frame in labels.labeled_frames:
        (instance,) = frame.instances
        xy, visible = instance.points["xy"], instance.points["visible"]
        state = np.where(np.isnan(xy[:, 0]), U, np.where(visible, V, H))
        found[Path(frame.video.filename).stem, int(frame.frame_idx)] = (xy, state)
    return found


def read_sleap_package(path: Path) -> Points:
    """With the picture of each frame."""
    found: Points = {}
    for frame in sleap_io.load_slp(str(path)).labeled_frames:
        name = _place(frame.video.source_video.filename[frame.frame_idx])
        assert frame.image.shape[:2] == (HEIGHT, WIDTH)
        assert abs(frame.image.mean() - 60 * name[1]) < 5
        (instance,) = frame.instances
        xy, visible = instance.points["xy"], instance.points["visible"]
        found[name] = (xy, np.where(np.isnan(xy[:, 0]), U, np.where(visible, V, H)))
    return found


def read_yolo(folder: Path) -> Points:
    """By its definition: class, box, then x, y and visibility of every keypoint; the pictures are there."""
    found: Points = {}
    for file in folder.rglob("labels/**/*.txt"):
        assert len(list(folder.glob(f"images/**/{file.parent.name}/{file.stem}.*"))) == 1
        x, y, v = np.array(file.read_text().split(), dtype=float)[5:].reshape(-1, 3).T
        xy = np.where(v[:, None] > 0, np.stack((x * WIDTH, y * HEIGHT), axis=-1), np.nan)
        found[_place(str(file))] = (xy, np.array([U, H, V])[v.astype(int)])
    return found


def read_label_studio(path: Path) -> Points:
    found: Points = {}
    for task in json.loads(path.read_text()):
        (annotation,) = task["annotations"]
        said = {r["id"]: r["value"]["choices"] for r in annotation["result"] if r["type"] == "choices"}
        xy, state = np.full((len(KEYPOINTS), 2), np.nan), np.full(len(KEYPOINTS), U, dtype=np.int64)
        for region in (r for r in annotation["result"] if r["type"] == "keypointlabels"):
            k, value = KEYPOINTS.index(region["value"]["keypointlabels"][0]), region["value"]
            xy[k] = value["x"] / 100 * WIDTH - 0.5, value["y"] / 100 * HEIGHT - 0.5
            state[k] = H if said.get(region["id"]) == ["occluded"] else V
        found[_place(task["data"]["left"])] = (xy, state)
    return found


def read_movement(folder: Path) -> Points:
    found: Points = {}
    for file in folder.glob("*.nc"):
        data: Any = xarray.load_dataset(file)
        xy = data["position"].transpose("time", "keypoints", "space", "individuals").values[..., 0]
        for frame, points in zip(data["time"].values.tolist(), xy, strict=True):
            found[file.stem, int(frame)] = (points, np.isfinite(points[:, 0]).astype(np.int64))
    return found


#: What is written → format; how that tool reads it; whether it has a word for occluded.  anipose has no file of labels.
READ_BY_THEM: dict[str, tuple[str, Callable[[Path], Points], bool]] = {
    "dlc": ("dlc", read_dlc, False),
    "lp": ("lightning-pose", read_lightning_pose, True),
    "coco.json": ("coco", read_coco, True),
    "labels.slp": ("sleap", read_sleap, True),
    "labels.pkg.slp": ("sleap", read_sleap_package, True),
    "yolo": ("yolo", read_yolo, True),
    "tasks.json": ("label-studio", read_label_studio, True),
    "movement": ("movement", read_movement, False),
}

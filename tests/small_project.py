"""A small project in a folder, as ``parallax init`` and one push leave it, without Label Studio."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.skeleton_files import load_skeleton
from label_config.settings.spec import load_spec
from label_config.values import FrameKey, ImageRef, PointState, Pose2D, Provenance
from ml_backend.store import frames, generations, projects, tasks, versions
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

SECRET = "a-secret-that-nobody-guesses"
VIEWS = ("left", "right")
KEYPOINTS = ("nose", "tail", "paw")
SKELETON = {"name": "mouse", "keypoints": list(KEYPOINTS)}
SIZE = (640, 480)
#: Frame 2 is a random pick that is served without points; frame 5 is in no order.
BLIND, OUTSIDE = 2, 5


def pose_of(index: int, views: int = len(VIEWS)) -> Pose2D:
    """Points that tell frame, view and keypoint from their place."""
    view, keypoint = np.meshgrid(np.arange(views), np.arange(len(KEYPOINTS)), indexing="ij")
    xy = np.stack([10.0 + index + 100 * view + 7 * keypoint, 20.0 + 30 * keypoint], axis=-1)
    shape = (views, len(KEYPOINTS))
    state = np.full(shape, PointState.VISIBLE, dtype=np.int64)
    return Pose2D(xy, np.full(shape, 0.5), state, np.full(shape, Provenance.PREDICTED, dtype=np.int64))


def write_spec(folder: Path, *, store: str = "sqlite:///project.sqlite3", project: int | None = 7, more: str = "") -> Path:
    """A parallax.yaml; ``more`` is appended as it is."""
    path = folder / "parallax.yaml"
    number = "" if project is None else f"\n  project: {project}"
    path.write_text(f"label_studio:\n  url: http://127.0.0.1:9{number}\nstore: {store}\n{more}", encoding="utf-8")
    return path


def make_project(folder: Path, *, one_camera_per_task: bool = False, store: str = "sqlite:///project.sqlite3") -> Workspace:
    """Six frames; tasks 100 … 105 (or, with one camera per task, 100/200 … for left/right); generation px-1.1 is served."""
    more = "views: [left, right]\n" if one_camera_per_task else ""
    spec = load_spec(write_spec(folder, store=store, more=more))
    opened = open_store(spec.store)
    skeleton = load_skeleton(SKELETON)
    xml = build_label_config(skeleton, VIEWS[:1] if one_camera_per_task else VIEWS)
    project = projects.register(opened, spec.label_studio.url, 7, "2026-01-01T00:00:00Z", title="mice")
    projects.change(opened.of_project(project.id), binding=bind(xml, skeleton).to_json())
    workspace = Workspace(spec, opened.of_project(project.id), ArrayStore(Path(spec.arrays)))
    frames.save_sequence(opened.of_project(project.id), SequenceRow("s", None, True))
    keys = [FrameKey("s", index) for index in range(6)]
    images = {key: {view: ImageRef(f"/nowhere/{view}.mp4", key.index, size_px=SIZE) for view in VIEWS} for key in keys}
    frames.add_frames(opened.of_project(project.id), [(key, images[key], "train") for key in keys])
    ids = frames.ids_by_key(opened.of_project(project.id))
    rows = []
    for key in keys:
        if one_camera_per_task:
            rows += [
                {"ls_task_id": 100 * (v + 1) + key.index, "frame_id": ids[key], "views": [view]} for v, view in enumerate(VIEWS)
            ]
        else:
            rows.append({"ls_task_id": 100 + key.index, "frame_id": ids[key]})
    tasks.save(opened.of_project(project.id), rows)
    version = add_version(workspace, "m-1", validation_px=4.0)
    order = [
        PickRow(rank, ids[key], rank / 5, key.index == BLIND, False, "because", None, {"0": pose_of(key.index).to_json()}, None)
        for rank, key in enumerate(keys[:OUTSIDE])
    ]
    generation = generations.add(opened.of_project(project.id), version, order)
    generations.switch(opened.of_project(project.id), generation.number)
    return workspace


def add_version(workspace: Workspace, path: str, **metrics: float) -> int:
    """A live model without files; its row id."""
    attempt = workspace.project.live_attempt + 1
    row = versions.add(workspace.store, attempt=attempt, snapshot_id=None, path=path, sha256="0" * 64, metrics=metrics)
    assert versions.publish(workspace.store, row.id, attempt)
    return row.id

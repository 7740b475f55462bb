"""A project as the web page sees it after some time: frames of a rig, versions, predictions, labels, pseudo-labels, jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.spec import Spec
from label_config.values import FrameKey, ImageRef, PointState, Pose2D, Provenance
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.edit_distance import edit_distance
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, presence, projects, pseudo_labels, submissions, tasks, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

SEQUENCE = "walk/1"
POSTURES, SHARD, WINDOW, LABELLED = 8, 64, 50, 30


def make_web_project(folder: Path, n_frames: int, n_versions: int = 3, size_px: tuple[int, int] = (160, 120)) -> Workspace:
    """Frames repeat eight pictures of the capture studio; without frames there are no versions, labels and jobs either."""
    stage = CaptureStudio(seed=3, n_frames=POSTURES, n_views=4, size_px=size_px)
    written = stage.write(folder / "recording")
    spec = Spec.model_validate(
        {
            "label_studio": {"url": "http://127.0.0.1:9", "token": "t", "project": 5},
            "store": f"sqlite:///{folder}/store.sqlite3",
            "models": str(folder / "models"),
            "arrays": str(folder / "arrays"),
            "cache": {"folder": str(folder / "cache")},
        }
    )
    opened = open_store(spec.store)
    project = projects.register(opened, spec.label_studio.url, 5, "2026-01-01T00:00:00Z", title="mice in a box")
    store = opened.of_project(project.id)
    projects.change(store, binding=bind(build_label_config(stage.skeleton, stage.rig.names), stage.skeleton).to_json())
    workspace = Workspace(spec, store, ArrayStore(Path(spec.arrays)))
    if n_frames:
        _fill(workspace, stage, [frame.images for frame in written], n_frames, n_versions)
    return workspace


def _fill(workspace: Workspace, stage: CaptureStudio, pictures: list[Mapping[str, ImageRef]], n: int, n_versions: int) -> None:
    store = workspace.store
    frames.save_sequence(store, SequenceRow(SEQUENCE, stage.rig.to_json(), True))
    frames.add_frames(store, [(FrameKey(SEQUENCE, i), pictures[i % POSTURES], "train") for i in range(n)])
    ids = [row for _, row in sorted(frames.ids_by_key(store).items())]
    for number in range(n_versions):
        labels = 10 * (number + 1)
        snapshot = versions.save_snapshot(store, sha256=f"{number}", path=f"s{number}", n_frames=labels)
        metrics = {"validation_px": 2.0 + 30.0 / labels**0.5, "previous_px": 3.0, "gate": "better by 0.4 px"}
        attempt = number + 1
        row = versions.add(store, attempt=attempt, snapshot_id=snapshot.id, path=f"m{number}", sha256="", metrics=metrics)
        assert versions.publish(store, row.id, attempt)
        version = row.id
    _predict(workspace, stage, ids, version)
    poses = [_pose(stage, i, Provenance.PREDICTED, shift=1.0) for i in range(POSTURES)]
    order = [
        PickRow(
            rank, ids[i], rank / (2 * WINDOW), rank % 10 == 9, False, f"cameras disagree on left ankle ({rank + 2}.5 px)", None,
            {"0": poses[i % POSTURES].to_json()}, None,
        )
        for rank, i in enumerate(np.linspace(0, n - 1, min(n, WINDOW)).astype(int).tolist())
    ]  # fmt: skip
    current = generations.add(store, version, order)
    generations.switch(store, current.number)
    for rank, pick in enumerate(order[:LABELLED]):
        _label(workspace, stage, rank, pick, current.number)
    _pseudo(workspace, stage, [pick.frame_id for pick in order[LABELLED:]])
    tasks.save(store, [{"ls_task_id": 1000, "check": "head in cam2: 31 px off; 3 cameras see it at 40, 50"}])
    work.request(store, "retrain")
    job = work.claim(store, work.open_jobs(store)[0].id, "train@here:1")
    assert job is not None
    work.heartbeat(store, job, {"stage": "training", "step": 120, "steps": 400, "loss": 0.0123, "eta_s": 95.0})
    presence.beat(store, "sync@here:1")
    presence.tell(store, "px-3 is live")


def _pose(stage: CaptureStudio, posture: int, provenance: Provenance, shift: float) -> Pose2D:
    xy = stage.truth_xy[posture] + np.random.default_rng(posture).normal(0, shift, stage.truth_xy[posture].shape)
    full = np.ones(xy.shape[:2], dtype=np.int64)
    return Pose2D(xy, np.full(xy.shape[:2], 0.8), full * PointState.VISIBLE, full * provenance)


def _predict(workspace: Workspace, stage: CaptureStudio, ids: list[int], version: int) -> None:
    """What the live version said of every frame, in shards."""
    runs = [ids[start : start + SHARD] for start in range(0, len(ids), SHARD)]
    described = [{"sequence": SEQUENCE, "frame_ids": run, "halo_ids": [[], []]} for run in runs]
    work.add_shards(workspace.store, version, 0, described)
    rng = np.random.default_rng(0)
    start = 0
    xy = stage.truth_xy + rng.normal(0, 1.0, stage.truth_xy.shape)
    world = triangulate_robust(stage.rig, xy)
    while (shard := work.claim_shard(workspace.store, version, 0, "infer@here:1")) is not None:
        at = np.arange(start, start + len(shard.frame_ids))
        arrays = {
            "frame_ids": np.array(shard.frame_ids),
            "index": at,
            "xy_px": xy[at % POSTURES],
            "confidence": np.clip(
                0.8 + 0.1 * np.sin(at / 40)[:, None, None] + rng.normal(0, 0.02, (len(at), *xy.shape[1:3])), 0, 1
            ),
            "xyz_world": world.xyz_world[at % POSTURES],
            "raw.mc": 1.5 + np.sin(at / 25) + rng.normal(0, 0.1, len(at)),
        }
        path, _ = workspace.arrays.save(f"shards/{version}", arrays)
        work.close_shard(workspace.store, shard, path=path)
        start += len(at)


def _label(workspace: Workspace, stage: CaptureStudio, rank: int, pick: PickRow, generation: int) -> None:
    number = 1000 + rank
    tasks.save(workspace.store, [{"ls_task_id": number, "frame_id": pick.frame_id, "is_labeled": True}])
    task = tasks.by_ls_id(workspace.store, number)
    assert task is not None
    shown = Pose2D.from_json(pick.poses["0"])
    said = _pose(stage, (rank * 3) % POSTURES, Provenance.PLACED, shift=0.5)
    said = Pose2D(shown.xy_px + (said.xy_px - said.xy_px.mean(axis=(0, 1))) * 0.02, said.confidence, said.state, said.provenance)
    row = {
        "ls_annotation_id": 5000 + rank,
        "task_id": task.id,
        "updated_at": "2026-01-01T00:00:00.000000Z",
        "person": 1,
        "cancelled": False,
        "poses": {"0": said.to_json()},
        "problems": [],
        "lead_time_s": 45.0,
        "shown_generation": generation,
        "edit": {"0": edit_distance(shown, said).to_json()},
        "round": 0,
        "seen_at": time.time(),
    }
    submissions.save(workspace.store, [row])


def _pseudo(workspace: Workspace, stage: CaptureStudio, ids: list[int]) -> None:
    rows = [
        {
            "frame_id": frame,
            "generation": 1,
            "whole": True,
            "xyz_world": stage.truth_xyz[0].tolist(),
            "pose": _pose(stage, 0, Provenance.PSEUDO, shift=0.0).to_json(),
            "weight": 0.25,
        }
        for frame in ids
    ]
    pseudo_labels.replace_round(workspace.store, 3, rows)

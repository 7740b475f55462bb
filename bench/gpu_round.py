"""A whole round: retrain, rescore thousands of frames of 8 cameras, select, with the time of each stage.

The capture studio as videos, PoseResNet-50 at 256 × 256, one worker.  Inside rescoring the network's own time (crops on the
device to maps on the device, waited for) is set against all the rest: decoding, cropping, reading maps out, triangulation,
scores, the store.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.spec import Spec
from label_config.values import FrameKey, PointState, Pose2D, Provenance
from ml_backend.jobs import rescore_job
from ml_backend.jobs.run_job import run_here
from ml_backend.pose.infer import Predictor
from ml_backend.project.load_model import load_predictor
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, projects, submissions, tasks, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace


def make_workspace(folder: Path, studio: CaptureStudio, train: dict[str, Any]) -> Workspace:
    """The studio's recording as a project without Label Studio."""
    spec = Spec.model_validate(
        {
            "label_studio": {"url": "http://127.0.0.1:1", "token": "none", "project": 1},
            "store": f"sqlite:///{folder}/store.sqlite3",
            "models": str(folder / "models"),
            "arrays": str(folder / "arrays"),
            "cache": {"folder": str(folder / "cache")},
            "documents_root": str(folder / "documents"),
            "selection": {"candidates_per_round": studio.n_frames},
            "train": train,
        }
    )
    store = open_store(spec.store)
    project = projects.register(store, spec.label_studio.url, 1, "t0")
    binding = bind(build_label_config(studio.skeleton, studio.rig.names), studio.skeleton)
    of_project = store.of_project(project.id)
    projects.change(of_project, binding=binding.to_json())
    frames.save_sequence(of_project, SequenceRow(studio.sequence, studio.rig.to_json(), True))
    recorded = studio.write(folder / "recording", "video")
    frames.add_frames(of_project, [(f.key, f.images, "val" if f.key.index % 500 < 50 else "train") for f in recorded])
    return Workspace(spec, of_project, ArrayStore(Path(spec.arrays)))


def label(workspace: Workspace, studio: CaptureStudio, indices: list[int]) -> None:
    """The truth, as one person would submit it."""
    ids = frames.ids_by_key(workspace.store)
    number_of = {ids[FrameKey(studio.sequence, index)]: index for index in indices}
    rows = [{"ls_task_id": 1 + index, "frame_id": frame, "is_labeled": True} for frame, index in number_of.items()]
    tasks.save(workspace.store, rows)
    said = []
    for task in tasks.list_tasks(workspace.store):
        xy = studio.truth_xy[number_of[task.frame_id]]
        shape = xy.shape[:2]
        pose = Pose2D(xy, np.ones(shape), np.full(shape, PointState.VISIBLE), np.full(shape, Provenance.PLACED))
        said.append(
            {
                "ls_annotation_id": 1 + number_of[task.frame_id],
                "task_id": task.id,
                "updated_at": "2026-01-01T00:00:00.000000Z",
                "person": 1,
                "cancelled": False,
                "poses": {"0": pose.to_json()},
                "problems": [],
                "round": 0,
                "seen_at": 1.0,
            }
        )
    submissions.save(workspace.store, said)


class Stopwatch:
    """Seconds inside the network."""

    def __init__(self) -> None:
        self.seconds = self._started = 0.0

    def attach(self, model: Predictor) -> Predictor:
        """Wait for the device before and after every forward pass."""
        model.network.register_forward_pre_hook(lambda *rest: self._start(model.device))
        model.network.register_forward_hook(lambda *rest: self._stop(model.device))
        return model

    def _start(self, device: torch.device) -> None:
        _wait(device)
        self._started = time.perf_counter()

    def _stop(self, device: torch.device) -> None:
        _wait(device)
        self.seconds += time.perf_counter() - self._started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def watched(stopwatch: Stopwatch) -> Iterator[None]:
    """Every model that rescoring loads is watched."""
    load: Callable[..., Predictor] = load_predictor
    rescore_job.load_predictor = lambda *rest: stopwatch.attach(load(*rest))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        rescore_job.load_predictor = load  # type: ignore[attr-defined]


def stages(workspace: Workspace) -> dict[str, float]:
    """Seconds of every job of the round, and of the network inside rescoring."""
    found: dict[str, float] = {}
    stopwatch = Stopwatch()
    work.request(workspace.store, "retrain")
    with watched(stopwatch):
        while jobs := work.open_jobs(workspace.store):
            start = time.perf_counter()
            run_here(workspace, jobs[0], lambda progress: None)
            found[jobs[0].kind] = time.perf_counter() - start
    live = versions.live(workspace.store)
    if live is None or "rescore" not in found:
        raise SystemExit("the round led to no live model")
    shards = work.list_shards(workspace.store, live.id, versions.current_round(workspace.store))
    if any(shard.status != "done" for shard in shards):
        raise SystemExit(f"shards failed: {next(shard.error for shard in shards if shard.status != 'done')}")
    return {**found, "network": stopwatch.seconds}


def measure(studio: CaptureStudio, labels: int, train: dict[str, Any]) -> dict[str, float]:
    """Print the table; seconds of each stage and the share of rescoring that is not the network's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = time.perf_counter()
        workspace = make_workspace(folder, studio, train)
        label(workspace, studio, np.linspace(0, studio.n_frames - 1, labels).astype(int).tolist())
        views = len(studio.rig.names)
        print(f"  {studio.n_frames} frames x {views} views, made in {time.perf_counter() - start:.0f} s", flush=True)
        seconds = stages(workspace)
        workspace.store.close()
    share = 1 - seconds["network"] / seconds["rescore"]
    for stage in ("retrain", "rescore", "select"):
        print(f"  {stage:<28} {seconds[stage]:9.1f} s")
    print(f"  {'of it in the network':<28} {seconds['network']:9.1f} s, the rest is {share:.0%}")
    print(f"  {'rescored':<28} {studio.n_frames * views / seconds['rescore']:9.1f} pictures/s")
    return {**seconds, "rest of rescoring": share}

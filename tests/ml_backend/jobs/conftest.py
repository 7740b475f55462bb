"""A project in a store of its own, from a small studio recording; no Label Studio, no Redis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.spec import Spec
from label_config.values import FrameKey, PointState, Pose2D, Provenance
from ml_backend.jobs import run_job
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, projects, submissions, tasks, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace
from tests.ml_backend.jobs.rounds_by_hand import Project

N_FRAMES, N_VIEWS, SIZE = 40, 3, (64, 64)


@pytest.fixture(scope="session")
def studio() -> CaptureStudio:
    return CaptureStudio(seed=3, n_frames=N_FRAMES, n_views=N_VIEWS, size_px=SIZE)


@pytest.fixture(scope="session")
def recorded(studio: CaptureStudio, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return studio.write(tmp_path_factory.mktemp("recording"))


@pytest.fixture
def make_workspace(tmp_path: Path, studio: CaptureStudio, recorded: Any) -> Callable[..., Workspace]:
    """Builds a workspace; keyword arguments are sections of parallax.yaml."""

    def make(*, calibrated: bool = True, val_from: int = 32, **sections: Any) -> Workspace:
        base: dict[str, Any] = {
            "label_studio": {"url": "http://127.0.0.1:1", "token": "t", "project": 5},
            "store": f"sqlite:///{tmp_path}/store.sqlite3",
            "models": str(tmp_path / "models"),
            "arrays": str(tmp_path / "arrays"),
            "cache": {"folder": str(tmp_path / "cache")},
            "documents_root": str(tmp_path / "documents"),
            "train": {"input_px": 32, "steps_first": 8, "steps_round": 4, "batch": 4, "min_new_frames": 4},
            "selection": {"window": 12, "random_every": 4, "exclusion_frames": 0},
        }
        for name, section in sections.items():
            base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
        spec = Spec.model_validate(base)
        store = open_store(spec.store)
        project = projects.register(store, spec.label_studio.url, 5, "t0")
        binding = bind(build_label_config(studio.skeleton, studio.rig.names), studio.skeleton)
        projects.change(store.of_project(project.id), binding=binding.to_json())
        rig = studio.rig.to_json() if calibrated else None
        frames.save_sequence(store.of_project(project.id), SequenceRow(studio.sequence, rig, True))
        rows = [(f.key, f.images, "val" if f.key.index >= val_from else "train") for f in recorded]
        frames.add_frames(store.of_project(project.id), rows)
        return Workspace(spec, store.of_project(project.id), ArrayStore(Path(spec.arrays)))

    return make


@pytest.fixture
def label(studio: CaptureStudio) -> Callable[..., None]:
    """Submits the truth for frames, as a person would."""

    def submit(workspace: Workspace, indices: list[int], *, hide: dict[int, int] | None = None, person: int = 1) -> None:
        ids = frames.ids_by_key(workspace.store)
        for index in indices:
            number = 1000 + index
            frame = ids[FrameKey(studio.sequence, index)]
            tasks.save(workspace.store, [{"ls_task_id": number, "frame_id": frame, "is_labeled": True}])
            task = tasks.by_ls_id(workspace.store, number)
            assert task is not None
            xy = studio.truth_xy[index].copy()
            state = np.full(xy.shape[:2], PointState.VISIBLE, dtype=np.int64)
            if hide and index in hide:  # this person did not look at one camera
                xy[hide[index]], state[hide[index]] = np.nan, PointState.UNLABELLED
            placed = state == PointState.VISIBLE
            pose = Pose2D(xy, np.where(placed, 1.0, np.nan), state, np.where(placed, Provenance.PLACED, Provenance.NONE))
            row = {
                "ls_annotation_id": 10 * number + person,
                "task_id": task.id,
                "updated_at": "2026-01-01T00:00:00.000000Z",
                "person": person,
                "cancelled": False,
                "poses": {"0": pose.to_json()},
                "problems": [],
                "round": versions.current_round(workspace.store),
                "seen_at": 1.0,
            }
            submissions.save(workspace.store, [row])

    return submit


@pytest.fixture
def work_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[Workspace], list[str]]:
    """Runs open jobs, and those that they lead to, in this process; the kinds in order."""

    def go(workspace: Workspace) -> list[str]:
        monkeypatch.setattr(run_job, "open_from_environment", lambda: workspace)
        done: list[str] = []
        while (open_jobs := work.open_jobs(workspace.store)) and len(done) < 20:
            run_job.run_job(open_jobs[0].id)
            done.append(open_jobs[0].kind)
        return done

    return go


@pytest.fixture
def project(
    make_workspace: Callable[..., Workspace], studio: CaptureStudio, label: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Project]:
    """Rounds made by hand in a workspace with these settings of the stop advice."""
    monkeypatch.setattr(generations, "time", SimpleNamespace(time=lambda: 0.5))  # before every label of these tests
    return lambda **stop: Project(make_workspace(stop=stop, gate={"min_frames": 1}), studio, label)

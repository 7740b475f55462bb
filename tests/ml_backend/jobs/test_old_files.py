"""Weights and shards of old models go, their rows stay, and nothing that is needed goes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from label_config.values import ParallaxError
from ml_backend.jobs import old_files
from ml_backend.jobs.old_files import remove_old_files, shard_group
from ml_backend.store import generations, versions, work
from ml_backend.store.workspace import Workspace
from tests.small_project import add_version, make_project


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """px-1 … px-6, all once live, px-6 now; the order that is shown is of px-6."""
    made = make_project(tmp_path)
    for number in range(2, 7):
        add_version(made, f"m-{number}", validation_px=float(number))
    for row in versions.list_versions(made.store):
        (made.models / row.path).mkdir(parents=True)
        (made.models / row.path / "weights.safetensors").write_bytes(b"w")
        path, _ = made.arrays.save(shard_group(row.id), {"frame_ids": np.array([row.number])})
        work.add_shards(made.store, row.id, 0, [{"sequence": "s", "frame_ids": [1], "halo_ids": [[], []]}])
        shard = work.claim_shard(made.store, row.id, 0, "w")
        assert shard is not None
        work.close_shard(made.store, shard, path=path)
    show(made, "px-6")
    yield made
    made.store.close()


def number_of(workspace: Workspace, name: str) -> int:
    return {f"px-{row.number}": row.id for row in versions.list_versions(workspace.store)}[name]


def show(workspace: Workspace, name: str) -> None:
    """Annotators are served an order of this version."""
    new = generations.add(workspace.store, number_of(workspace, name), [])
    generations.switch(workspace.store, new.number)


def kept(workspace: Workspace) -> list[str]:
    """Versions with all of their files, after checking that the others have none."""
    found = []
    for row in versions.list_versions(workspace.store):
        shards = work.list_shards(workspace.store, row.id, 0)
        parts = {
            (workspace.models / row.path / "weights.safetensors").exists(),
            (workspace.arrays.folder / shard_group(row.id)).exists(),
            bool(shards),
            row.removed_at is None,
        }
        assert len(parts) == 1, f"px-{row.number} is neither kept nor removed"
        if parts == {True}:
            found.append(f"px-{row.number}")
            assert workspace.arrays.load(shards[0].path or "")["frame_ids"].tolist() == [row.number]
    return found


def test_the_live_version_and_two_before_it_keep_their_files(workspace: Workspace) -> None:
    remove_old_files(workspace)
    assert kept(workspace) == ["px-4", "px-5", "px-6"]
    rows = versions.list_versions(workspace.store)
    assert [row.metrics["validation_px"] for row in rows] == [4.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    remove_old_files(workspace)  # a second time changes nothing
    assert kept(workspace) == ["px-4", "px-5", "px-6"]


def test_what_a_person_pinned_stays_with_the_newest_beside_it(workspace: Workspace) -> None:
    versions.pin(workspace.store, number_of(workspace, "px-2"))
    remove_old_files(workspace)
    assert kept(workspace) == ["px-2", "px-5", "px-6"]


def test_the_version_that_annotators_are_shown_stays_until_the_next_order(workspace: Workspace) -> None:
    show(workspace, "px-1")
    remove_old_files(workspace)
    assert kept(workspace) == ["px-1", "px-4", "px-5", "px-6"]
    show(workspace, "px-6")
    remove_old_files(workspace)
    assert kept(workspace) == ["px-4", "px-5", "px-6"]


@pytest.mark.parametrize("name", ["version_id", "parent"])
def test_what_an_open_job_goes_on_from_stays(workspace: Workspace, name: str) -> None:
    job = work.request(workspace.store, "rescore", {name: number_of(workspace, "px-2")})
    remove_old_files(workspace)
    assert kept(workspace) == ["px-2", "px-4", "px-5", "px-6"]
    claimed = work.claim(workspace.store, job.id, "w")
    assert claimed is not None
    work.finish(workspace.store, claimed)
    remove_old_files(workspace)
    assert kept(workspace) == ["px-4", "px-5", "px-6"]


def test_shards_in_a_workers_hands_stay(workspace: Workspace) -> None:
    version = number_of(workspace, "px-3")
    work.add_shards(workspace.store, version, 1, [{"sequence": "s", "frame_ids": [1], "halo_ids": [[], []]}])
    assert work.claim_shard(workspace.store, version, 1, "w") is not None
    remove_old_files(workspace)
    assert kept(workspace) == ["px-3", "px-4", "px-5", "px-6"]


def test_nothing_goes_while_a_training_may_write_into_a_folder(workspace: Workspace) -> None:
    work.request(workspace.store, "retrain")
    remove_old_files(workspace)
    assert len(kept(workspace)) == 6


def test_a_refused_model_goes_and_before_the_first_model_nothing_does(workspace: Workspace, tmp_path: Path) -> None:
    row = versions.add(workspace.store, attempt=99, snapshot_id=None, path="m-7", sha256="", metrics={})
    versions.reject(workspace.store, row.id, "worse")
    remove_old_files(workspace)
    assert versions.get(workspace.store, row.id).removed_at is not None
    assert versions.get(workspace.store, row.id).note == "worse"


@pytest.mark.parametrize("place", ["versions retired", "files removed"])
def test_whoever_is_killed_in_between_is_only_behind(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    class KilledError(BaseException):
        pass

    def die(reached: str) -> None:
        if reached == place:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(old_files, "reach", die)
        with pytest.raises(KilledError):
            remove_old_files(workspace)
    # What is half removed can no longer become live, whoever asks.
    with pytest.raises(ParallaxError, match=r"px-1 cannot be made live.*still px-4, px-5, px-6"):
        versions.pin(workspace.store, number_of(workspace, "px-1"))
    assert not versions.publish(workspace.store, number_of(workspace, "px-1"), 99)
    remove_old_files(workspace)
    assert kept(workspace) == ["px-4", "px-5", "px-6"]


def test_a_disk_that_refuses_is_tried_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(path)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        remove_old_files(workspace)
    remove_old_files(workspace)
    assert kept(workspace) == ["px-4", "px-5", "px-6"]


def test_a_model_trained_once_more_is_there_again(workspace: Workspace) -> None:
    remove_old_files(workspace)
    again = versions.add(workspace.store, attempt=99, snapshot_id=None, path="m-2", sha256="2", metrics={})
    assert (again.number, again.removed_at, again.sha256) == (2, None, "2")
    assert versions.publish(workspace.store, again.id, 99)


@pytest.mark.parametrize("path", ["../outside", ".", ""])
def test_nothing_outside_the_folder_of_models_is_touched(workspace: Workspace, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    workspace.models.parent.joinpath("outside").mkdir(exist_ok=True)
    old_files._remove(workspace.models, path)
    assert workspace.models.exists()
    assert workspace.models.parent.joinpath("outside").exists()


def test_a_finished_job_removes_what_is_old(workspace: Workspace, work_off: Callable[[Workspace], list[str]]) -> None:
    from ml_backend.jobs import run_job

    def nothing(*_: object) -> None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_job, "select_window", nothing)
        work.request(workspace.store, "select")
        assert work_off(workspace) == ["select"]
    assert kept(workspace) == ["px-4", "px-5", "px-6"]

"""The stop rules of parallax.yaml: each has its own frames, evaluated by a model that had not learnt them in that round."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from label_config.values import FrameKey, PointState, Pose2D, Provenance
from ml_backend.evaluation import stop_advice as advice
from ml_backend.evaluation.stop_advice import stop_advice
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, versions, work
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]


class Project:
    """Rounds made by hand: labels, a snapshot, a version with predictions of all frames."""

    def __init__(self, workspace: Workspace, studio: CaptureStudio, label: Label) -> None:
        self.workspace, self.studio, self.label = workspace, studio, label
        self.ids = frames.ids_by_key(workspace.store)

    def id_of(self, index: int) -> int:
        return self.ids[FrameKey(self.studio.sequence, index)]

    def train(self, wrong: set[int]) -> int:
        """A version that is exact but for the frames in ``wrong``, which it puts nowhere near."""
        store, project = self.workspace.store, self.workspace.store.project_id
        round_ = versions.current_round(store.of_project(project))
        snapshot = versions.save_snapshot(store.of_project(project), sha256=str(round_), path="p", n_frames=1)
        row = versions.add(
            store.of_project(project), attempt=round_ + 1, snapshot_id=snapshot.id, path=f"m{round_}", sha256="0", metrics={}
        )
        assert versions.publish(store.of_project(project), row.id, round_ + 1)
        indices = list(range(len(self.ids)))
        xy = self.studio.truth_xy[indices] + np.isin(indices, list(wrong))[:, None, None, None] * 1e4
        frame_ids = np.array([self.id_of(index) for index in indices])
        layout = [{"sequence": self.studio.sequence, "frame_ids": frame_ids.tolist(), "halo_ids": [[], []]}]
        work.add_shards(store.of_project(project), row.id, round_ + 1, layout)
        shard = work.claim_shard(store, row.id, round_ + 1, "me")
        assert shard is not None
        path, _ = self.workspace.arrays.save(f"shards/{row.id}", {"frame_ids": frame_ids, "xy_px": xy})
        work.close_shard(store, shard, path=path)
        return row.id

    def serve(self, version: int, kinds: dict[int, str], wrong: set[int]) -> None:
        """An order of these frames with the reason why each is in it; "" = pseudo-labelled."""
        picks = []
        for rank, (index, kind) in enumerate(kinds.items()):
            xy = self.studio.truth_xy[index] + 1e4 * (index in wrong)
            shape = xy.shape[:2]
            pose = Pose2D(xy, np.ones(shape), np.full(shape, PointState.VISIBLE), np.full(shape, Provenance.PREDICTED))
            record = {"task_id": "t", "round": 0, "model_id": "px", "final": None, "components": [], "kind": kind}
            poses = {"0": pose.to_json()}
            picks.append(PickRow(rank, self.id_of(index), rank / 64, False, not kind, "", record if kind else None, poses, None))
        row = generations.add(self.workspace.store, version, picks)
        generations.switch(self.workspace.store, row.number)


@pytest.fixture
def project(make_workspace: Make, studio: CaptureStudio, label: Label, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    monkeypatch.setattr(generations, "time", SimpleNamespace(time=lambda: 0.5))  # before every label of these tests
    return lambda **stop: Project(make_workspace(stop=stop, gate={"min_frames": 1}), studio, label)


def test_min_is_the_mean_of_what_was_served_whatever_it_was_chosen_for(project: Callable[..., Project]) -> None:
    made = project(rule="sc_min", rounds=1)
    made.label(made.workspace, [0])
    kinds = {2: "diverse", 4: "ranked", 6: "random", 8: "diverse", 10: ""}
    made.serve(made.train(set()), kinds, wrong={4})
    made.label(made.workspace, [2, 4, 6, 10])
    found = stop_advice(made.workspace)
    assert (found.rule, found.frames, found.figure) == ("sc_min", 3, pytest.approx(2 / 3))
    assert not found.met
    assert stop_advice(project(rule="sc_min", rounds=1, oks=0.6).workspace).met


def test_quantile_looks_at_random_picks_alone(project: Callable[..., Project]) -> None:
    made = project(rounds=1)
    made.label(made.workspace, [0])
    made.serve(made.train(set()), {2: "diverse", 4: "ranked", 6: "random"}, wrong={4})
    made.label(made.workspace, [2, 4, 6])
    found = stop_advice(made.workspace)
    assert (found.rule, found.frames, found.figure, found.met) == ("sc_quantile", 1, 1.0, True)


def test_all_is_every_labelled_frame_seen_by_the_model_before_the_round(project: Callable[..., Project]) -> None:
    made = project(rule="sc_all", rounds=2)
    made.label(made.workspace, [0, 2])
    made.train(wrong=set())
    assert math.isnan(stop_advice(made.workspace).figure), "nobody has labelled under this version"
    made.label(made.workspace, [4, 6])
    first = stop_advice(made.workspace)
    assert (first.frames, first.figure, first.rounds_met, first.met) == (4, 1.0, 1, False)
    made.train(wrong={2, 8, 30})  # has forgotten a frame that it learnt; 8 is not labelled
    assert stop_advice(made.workspace) == first, "the new version has nothing to show yet"
    made.label(made.workspace, [10])
    second = stop_advice(made.workspace)
    assert (second.rule, second.frames, second.figure, second.met) == ("sc_all", 5, pytest.approx(4 / 5), False)
    made.train(wrong=set())
    made.label(made.workspace, [12])
    made.train(wrong=set())
    made.label(made.workspace, [14])
    last = stop_advice(made.workspace)
    assert (last.rounds_met, last.met, last.figure) == (2, True, 1.0)
    assert len(advice._of_all_labelled(made.workspace)) == 4

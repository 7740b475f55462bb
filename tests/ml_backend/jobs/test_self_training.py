"""Self-training over rounds (Feng et al., alg. 2): the newest pseudo-labels are trained on, once, and none when switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from label_config.values import Triangulation
from ml_backend.jobs.self_training import Proposal, propose_pseudo, store_pseudo
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.label_snapshot import collect, pseudo_in_force
from ml_backend.project.round_state import RoundState
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, versions
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]


class Rounds:
    """A project whose network is exact everywhere: every frame could be a pseudo-label, two per round may."""

    def __init__(self, workspace: Workspace, studio: CaptureStudio, label: Label) -> None:
        self.workspace, self.studio, self.label = workspace, studio, label
        self.rows = frames.list_frames(workspace.store)
        self.next_labels = list(range(8, 32))

    def train(self, *, refused: bool = False) -> Snapshot:
        """Four new labels, a training set of this moment, and the version that came of it."""
        self.label(self.workspace, self.next_labels[-4:])
        del self.next_labels[-4:]
        store, snapshot = self.workspace.store, collect(self.workspace)
        path, _ = self.workspace.arrays.save("snapshots", snapshot.to_arrays())
        row = versions.save_snapshot(store, sha256=f"{len(versions.list_snapshots(store))}", path=path, n_frames=4)
        number = len(versions.list_versions(store)) + 1
        version = versions.add(store, attempt=number, snapshot_id=row.id, path=f"m{number}", sha256=f"{number}", metrics={})
        if refused:
            versions.reject(store, version.id, "the gate")
        else:
            assert versions.publish(store, version.id, number)
        return snapshot

    def switch(self, enabled: bool) -> None:
        """As a person does in parallax.yaml."""
        spec = self.workspace.spec
        settings = spec.pseudo_labels.model_copy(update={"enabled": enabled})
        self.workspace = replace(self.workspace, spec=spec.model_copy(update={"pseudo_labels": settings}))

    def select(self, *, agree: bool = True) -> Proposal:
        """What the live model proposes in the round of its own rescan."""
        n, views, keypoints = len(self.rows), len(self.workspace.views), len(self.studio.skeleton)
        found = Triangulation(
            xyz_world=self.studio.truth_xyz,
            inlier=np.full((n, views, keypoints), agree),
            reprojection_px=np.full((n, views, keypoints), 0.1),
            covariance=np.zeros((n, keypoints, 3, 3)),
            angle_deg=np.full((n, keypoints), 60.0),
            consensus=np.full((n, keypoints), agree),
        )
        state = RoundState(self.workspace)
        proposal = propose_pseudo(state, self.rows, [found], state.round, set())
        store_pseudo(self.workspace, proposal, state.round, 1)
        return proposal


@pytest.fixture
def rounds(make_workspace: Make, studio: CaptureStudio, label: Label) -> Callable[..., Rounds]:
    return lambda **pseudo: Rounds(make_workspace(pseudo_labels={"max_ratio": 0.5, **pseudo}), studio, label)


def test_pseudo_labels_are_trained_on_once(rounds: Callable[..., Rounds]) -> None:
    made = rounds()
    assert len(made.train().pseudo_ids) == 0, "nothing was proposed yet"
    proposal = made.select()
    assert made.train().pseudo_ids.tolist() == sorted(proposal.frame_ids)
    assert len(made.train().pseudo_ids) == 0, "the live model was trained on them; it has proposed none itself"


def test_a_proposal_without_any_takes_the_place_of_the_last_one(rounds: Callable[..., Rounds]) -> None:
    made = rounds()
    made.train()
    made.select()
    made.train()
    assert made.select(agree=False).frame_ids == []
    assert len(made.train().pseudo_ids) == 0


def test_a_refused_version_leaves_the_pseudo_labels_of_the_live_one_in_force(rounds: Callable[..., Rounds]) -> None:
    made = rounds()
    made.train()
    proposal = made.select()
    made.train(refused=True)
    assert made.train().pseudo_ids.tolist() == sorted(proposal.frame_ids), "the live model has never been trained on them"


def test_what_the_live_model_was_trained_on_sits_out_whatever_the_number_of_its_round(rounds: Callable[..., Rounds]) -> None:
    made = rounds()
    made.train()
    first = made.select()
    made.train(refused=True)
    made.train()
    second = made.select()
    assert len(second.frame_ids) == 2
    assert not set(second.frame_ids) & set(first.frame_ids)
    made.train()
    assert set(made.select().frame_ids) == set(first.frame_ids), "every second round, as printed"


def test_nothing_is_in_force_once_it_is_switched_off(rounds: Callable[..., Rounds]) -> None:
    made = rounds()
    made.train()
    made.select()
    assert len(pseudo_in_force(RoundState(made.workspace))) == 2
    made.switch(False)
    assert pseudo_in_force(RoundState(made.workspace)) == []
    assert len(made.train().pseudo_ids) == 0
    made.select()
    made.switch(True)
    assert pseudo_in_force(RoundState(made.workspace)) == [], "old ones do not come back"

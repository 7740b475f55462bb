"""Rounds made by hand: labels, training sets, versions with predictions of all frames, orders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from label_config.values import FrameKey, PointState, Pose2D, Provenance
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, versions, work
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace


class Project:
    """Rounds made by hand: labels, a snapshot, a version with predictions of all frames."""

    def __init__(self, workspace: Workspace, studio: CaptureStudio, label: Callable[..., None]) -> None:
        self.workspace, self.studio, self.label = workspace, studio, label
        self.ids = frames.ids_by_key(workspace.store)

    def id_of(self, index: int) -> int:
        return self.ids[FrameKey(self.studio.sequence, index)]

    def train(self, wrong: set[int], off_px: float = 1e4) -> int:
        """A version that is exact but for the frames in ``wrong``, whose points are off by so much in x and in y."""
        store = self.workspace.store
        round_ = versions.current_round(store)
        snapshot = versions.save_snapshot(store, sha256=str(round_), path="p", n_frames=1)
        row = versions.add(store, attempt=round_ + 1, snapshot_id=snapshot.id, path=f"m{round_}", sha256="0", metrics={})
        assert versions.publish(store, row.id, round_ + 1)
        indices = list(range(len(self.ids)))
        xy = self.studio.truth_xy[indices] + np.isin(indices, list(wrong))[:, None, None, None] * off_px
        frame_ids = np.array([self.id_of(index) for index in indices])
        layout = [{"sequence": self.studio.sequence, "frame_ids": frame_ids.tolist(), "halo_ids": [[], []]}]
        work.add_shards(store, row.id, round_ + 1, layout)
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

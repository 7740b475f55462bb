"""What the live model has predicted, joined from the shards of its newest rescan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from label_config.values import DEFAULT_SUBJECT
from ml_backend.project.round_state import RoundState
from ml_backend.project.subject_rows import arrays_of_subject
from ml_backend.store import work
from ml_backend.store.frames import FrameRow
from ml_backend.store.statuses import WorkStatus
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class ScoredShards:
    """Frames in the order of their keys; ``arrays`` have one row per frame; ``round`` is that of the rescan."""

    rows: list[FrameRow]
    arrays: Arrays
    round: int


def newest_scored_shards(state: RoundState, version: VersionRow, round_: int) -> ScoredShards | None:
    """That of ``round_`` or the last one before; None when there is none."""
    for number in range(round_, -1, -1):
        shards = [
            row
            for row in work.list_shards(state.workspace.store, version.id, number)
            if row.status is WorkStatus.DONE and row.path
        ]
        if shards:
            break
    else:
        return None
    arrays = _joined([state.workspace.arrays.load(row.path) for row in shards if row.path])
    rows = [state.frames[int(frame)] for frame in arrays["frame_ids"]]
    order = sorted(range(len(rows)), key=lambda i: rows[i].key)
    return ScoredShards([rows[i] for i in order], {name: array[order] for name, array in arrays.items()}, number)


def predicted_points(
    workspace: Workspace, version_id: int, frame_ids: Collection[int], round_: int
) -> dict[int, npt.NDArray[np.float64]]:
    """Frame → (V, K, 2) px of subject 0, what the network of a version put there, uncorrected; newest rescan up to ``round_``.

    Frames that it never scored, or whose shards are gone, are left out.
    """
    found: dict[int, npt.NDArray[np.float64]] = {}
    for number in range(round_, -1, -1):
        for shard in work.list_shards(workspace.store, version_id, number):
            if shard.status is WorkStatus.DONE and shard.path and (set(shard.frame_ids) & set(frame_ids)) - set(found):
                arrays = workspace.arrays.load(shard.path)
                mine = zip(arrays["frame_ids"].tolist(), arrays_of_subject(arrays, DEFAULT_SUBJECT)["xy_px"], strict=True)
                found |= {frame: xy for frame, xy in mine if frame in frame_ids and frame not in found}
    return found


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """One array per name; a shard that lacks it, such as the triangulation of a recording without calibration, says nothing."""
    samples = {name: part[name] for part in parts for name in part}
    return {
        name: np.concatenate([part[name] if name in part else _nothing_like(sample, len(part["frame_ids"])) for part in parts])
        for name, sample in samples.items()
    }


def _nothing_like(sample: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """(count, ...) NaN, or 0 for an array that cannot hold it (support, inliers)."""
    empty = np.nan if np.issubdtype(sample.dtype, np.floating) else 0
    return np.full((count, *sample.shape[1:]), empty, dtype=sample.dtype)

"""What labels and predictions say about the cameras themselves: one that moved during a session, one whose frames come late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from label_config.values import BadInputError, FloatArray
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.diagnosis import all_view_error, frame_offsets, suspect_camera
from ml_backend.project.label_snapshot import collect_labels
from ml_backend.project.round_state import RoundState
from ml_backend.store import page_rows
from ml_backend.store.workspace import Workspace

#: Labelled frames of a recording before its beginning and its end are compared, a third of them each.
LABELLED = 24
#: The end is worse than the beginning when its error is so many times as large, and so many pixels larger.
TIMES, MORE_PX = 1.5, 1.0
#: Shifts that are tried, in frames of the pool, on so many files of predictions of each recording.
MOST_OFFSET, FILES = 5, 6
#: Consecutive frames without which no shift is looked for.
CONSECUTIVE = 60


@dataclass(frozen=True)
class RigFinding:
    """``seen``: what does not fit, in words; ``fix``: what may be done."""

    seen: str
    fix: str


def rig_findings(workspace: Workspace) -> list[RigFinding]:
    """Of every calibrated recording."""
    now = RoundState(workspace)
    if not now.rigs:
        return []
    snapshot = collect_labels(now)
    points = np.where(snapshot.human[..., None], snapshot.xy_px, np.nan)
    found = list[RigFinding]()
    for name, rig in now.rigs.items():
        rows = [i for i, key in enumerate(snapshot.keys) if key.sequence == name]
        found += _drift(name, rig, points[rows])
        found += _late(now, name, rig)
    return found


def _drift(name: str, rig: Rig, xy_px: FloatArray) -> Iterator[RigFinding]:
    """Labels (m, V, K, 2) of one recording in order of time."""
    third = len(xy_px) // 3
    if len(xy_px) < LABELLED:
        return
    first, last = all_view_error(rig, xy_px[:third]), all_view_error(rig, xy_px[-third:])
    if not last > max(TIMES * first, first + MORE_PX):
        return
    camera = suspect_camera(rig, xy_px[-third:]).camera if len(rig) > 2 else None
    who = f"{camera} seems to have moved" if camera else "a camera seems to have moved"
    yield RigFinding(
        f"{name}: labels of the last third of its frames lie {last:.1f} px from where the cameras together see them, those "
        f"of the first third {first:.1f} px; {who}",
        "calibrate anew and split the recording there, or see with `parallax calibration check` whether it fits this session",
    )


def _late(now: RoundState, name: str, rig: Rig) -> Iterator[RigFinding]:
    """Predictions of consecutive frames fit better when one camera's are shifted."""
    run, step = _consecutive(now, name)
    if run is None:
        return
    try:
        offsets = frame_offsets(rig, run, MOST_OFFSET).offset
    except BadInputError:
        return
    for v, offset in enumerate(offsets.tolist()):
        if offset:
            yield RigFinding(
                f"{name}: the pictures of {now.views[v]} fit those of the other cameras best when they are taken "
                f"{abs(offset) * step} frames {'later' if offset > 0 else 'earlier'}",
                "check `pairing` and the recording's start in parallax.yaml",
            )


def _consecutive(now: RoundState, name: str) -> tuple[FloatArray | None, int]:
    """((n, V, K, 2) predictions of the longest run of evenly spaced frames, their distance); None when it is too short."""
    version = now.project.live_version_id
    shards = [] if version is None or name not in now.videos else page_rows.shard_paths(now.workspace.store, version, name)
    parts = []
    for path in shards[:FILES]:
        try:
            parts.append(now.workspace.arrays.load_only(path, ("index", "xy_px")))
        except BadInputError:  # removed meanwhile
            continue
    if not parts:
        return None, 1
    index = np.concatenate([part["index"] for part in parts])
    step = int(np.median(np.diff(index))) if len(index) > 1 else 1
    ends = np.flatnonzero(np.diff(index, prepend=index[0] - 2 * step, append=index[-1] + 2 * step) != step)
    longest = int(np.diff(ends).argmax()) if len(ends) > 1 else 0
    start, end = (int(ends[longest]), int(ends[longest + 1])) if len(ends) > 1 else (0, len(index))
    if end - start < CONSECUTIVE or step < 1:
        return None, 1
    return np.concatenate([part["xy_px"] for part in parts])[start:end].astype(np.float64), step

"""How good a network is against the truth, and what its labels cover."""

from __future__ import annotations

import numpy as np

from label_config.values import FloatArray, IntArray
from label_config.values.masked import mean_of
from ml_backend.acquisition.features import known_points, pose3d_features
from ml_backend.metrics.curve_summaries import coverage_radius, pose_entropy
from ml_backend.metrics.mpjpe import position_error
from ml_backend.metrics.oks import pose_oks
from ml_backend.metrics.protocols import protocol_figures
from ml_backend.simulation.experiments.data import TrueRecording
from ml_backend.simulation.experiments.learner import Scan


def frame_error(recording: TrueRecording, seen: Scan) -> FloatArray:
    """(c,) mean keypoint error of each frame: in 3-D with a rig, else over the views, in pixels of the original picture."""
    if seen.triangulated is not None and recording.xyz is not None:
        return position_error(seen.triangulated.xyz_world, recording.xyz[seen.rows]).per_frame
    error = np.linalg.norm(seen.xy_px - recording.xy_px[seen.rows], axis=-1) * recording.scale[seen.rows][..., None]
    known = np.isfinite(error)
    count = known.sum(axis=(1, 2))
    total = np.where(known, error, 0.0).sum(axis=(1, 2))
    return np.asarray(np.divide(total, count, out=np.full(len(error), np.nan), where=count > 0))


def errors_of(recording: TrueRecording, seen: Scan) -> dict[str, float]:
    """Errors on test frames.  ``error`` weighs rare and common frames as an unbiased test would hold them."""
    error = frame_error(recording, seen)
    rare = recording.rare[seen.rows]
    figures = {"error_common": mean_of(error[~rare]), "error_rare": mean_of(error[rare])}
    share = recording.rare_share
    figures["error"] = figures["error_common"]
    if rare.any():
        figures["error"] = (1 - share) * figures["error_common"] + share * figures["error_rare"]
    if seen.triangulated is not None:
        figures["coverage"] = float(known_points(seen.triangulated.xyz_world).mean())
    figures["val_oks_q05"] = float(np.quantile(frame_oks(recording, seen), 0.05))
    return figures | _protocol(recording, seen)


def _protocol(recording: TrueRecording, seen: Scan) -> dict[str, float]:
    """The figures of published protocols, over all pictures; NaN where the skeleton or the recording has not what they take."""
    points = seen.xy_px.shape[-2:]
    flat = protocol_figures(seen.xy_px.reshape(-1, *points), recording.xy_px[seen.rows].reshape(-1, *points), recording.skeleton)
    figures = {
        "test_pckh": flat.head.overall if flat.head else np.nan,
        "test_torso_pck": flat.torso.overall if flat.torso else np.nan,
        "test_pcp": flat.strict.mean if flat.strict else np.nan,
    }
    if seen.triangulated is not None and recording.xyz is not None:
        world = protocol_figures(seen.triangulated.xyz_world, recording.xyz[seen.rows], recording.skeleton)
        figures["test_pcp_3d"] = world.strict.mean if world.strict else np.nan
    return figures


def frame_oks(recording: TrueRecording, seen: Scan) -> FloatArray:
    """(c,) OKS of each frame, mean over views; the area is that of the box around the true points."""
    truth = recording.xy_px[seen.rows]
    value = pose_oks(seen.xy_px, truth, known_points(truth), np.array(recording.skeleton.sigmas))
    return np.nan_to_num(value, nan=0.0)


def covered(recording: TrueRecording, labelled: IntArray) -> dict[str, float]:
    """What the labelled frames cover of the pool's true poses."""
    figures = {"rare_share": mean_of(recording.rare[labelled].astype(np.float64))}
    if recording.xyz is not None:
        poses, root = recording.xyz[recording.pool], recording.skeleton.root
        figures["entropy"] = pose_entropy(poses, labelled, root=root)
        aligned = pose3d_features(poses, recording.skeleton)
        figures["radius"] = coverage_radius(aligned, labelled, root=root)
    return figures

"""All scores by name: making them from settings, the default weights, and the table in the documentation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from label_config.values import BadInputError
from label_config.values.prediction import Output
from ml_backend.acquisition.score import Context, Score
from ml_backend.acquisition.scores.auxiliary import Aleatoric, LearningLoss
from ml_backend.acquisition.scores.confidence import LeastConfidence, Margin, MultiplePeakEntropy
from ml_backend.acquisition.scores.coreset import CoresetDistance
from ml_backend.acquisition.scores.disagreement import EnsembleVariance
from ml_backend.acquisition.scores.heatmap import HeatmapEntropy, Unimodality
from ml_backend.acquisition.scores.link_peaks import LinkLikelihood, VL4Pose
from ml_backend.acquisition.scores.links import LinkLength
from ml_backend.acquisition.scores.multi_view import MaxError, MultiViewConsistency, OutlierRatio, TriangulationCovariance
from ml_backend.acquisition.scores.pictorial_entropy import PictorialLogDet
from ml_backend.acquisition.scores.pose_prior import PoseMahalanobis, WholeBodyUnnaturalness
from ml_backend.acquisition.scores.random_order import Random
from ml_backend.acquisition.scores.subject_matching import AssignmentAmbiguity, CountChange, CountDisagreement
from ml_backend.acquisition.scores.temporal import Jitter3D, TemporalHeatmapContinuity, TemporalPoseChange
from ml_backend.acquisition.scores.uncalibrated_views import AffineResidual, EpipolarResidual

_CLASSES: tuple[Callable[..., Score], ...] = (
    Random,
    LeastConfidence,
    Margin,
    MultiplePeakEntropy,
    HeatmapEntropy,
    Unimodality,
    MultiViewConsistency,
    OutlierRatio,
    MaxError,
    TriangulationCovariance,
    EpipolarResidual,
    AffineResidual,
    TemporalPoseChange,
    TemporalHeatmapContinuity,
    Jitter3D,
    LinkLength,
    LinkLikelihood,
    VL4Pose,
    PoseMahalanobis,
    WholeBodyUnnaturalness,
    PictorialLogDet,
    EnsembleVariance,
    Aleatoric,
    LearningLoss,
    CoresetDistance,
    CountDisagreement,
    CountChange,
    AssignmentAmbiguity,
)

#: Name → what makes the score; its parameters are keyword arguments.
SCORES: Mapping[str, Callable[..., Score]] = {make().name: make for make in _CLASSES}


def make_scores(wanted: Iterable[str] | Mapping[str, Mapping[str, Any] | None]) -> tuple[Score, ...]:
    """Scores by name, in the order given.

    wanted  names, or name → parameters (None or {} for the defaults)

    Raises BadInputError for an unknown score or parameter, with the names that exist.
    """
    settings = wanted if isinstance(wanted, Mapping) else dict.fromkeys(wanted)
    return tuple(_make(name, parameters or {}) for name, parameters in settings.items())


def _make(name: str, parameters: Mapping[str, Any]) -> Score:
    if name not in SCORES:
        raise BadInputError(f"scores: {name!r} is not a score; known: {', '.join(SCORES)}")
    known = list(inspect.signature(SCORES[name]).parameters)
    for parameter in parameters:
        if parameter not in known:
            raise BadInputError(f"score {name!r}: {parameter!r} is not a parameter; known: {', '.join(known) or 'none'}")
    return SCORES[name](**parameters)


def default_weights(*, has_rig: bool, has_video: bool, n_views: int) -> dict[str, float]:
    """Weights of the fused score for what a project has; scores that have nothing to say drop out of the mean by themselves.

    has_rig    cameras are calibrated (means something with two views or more)
    has_video  frames have neighbours in time
    n_views    pictures per frame

    None of them reads heatmaps (docs/decisions/0014-default-weights-without-heatmaps.md).
    """
    prior = {"link_length": 0.5, "pose_mahalanobis": 0.5}
    if n_views > 1 and has_rig:
        weights = {"outlier_ratio": 3.0, "mc": 2.0, **prior, "least_confidence": 0.5}
        return weights | {"jitter_3d": 1.0} if has_video else weights
    if n_views > 1:
        return {"epipolar_residual": 2.0, **prior, "least_confidence": 1.0}
    if has_video:
        return {"tpc": 1.0, **prior, "least_confidence": 0.5}
    return {**prior, "least_confidence": 1.0}


def render_table() -> str:
    """Markdown table of every score with its default parameters, one line each."""
    lines = ["| score | what it says | unit | needs | neighbours | source |", "|---|---|---|---|---|---|"]
    for name, make in SCORES.items():
        score = make()
        needs = ", ".join(member.value for member in (*Output, *Context) if member in score.requires) or "–"
        summary = (inspect.getdoc(make) or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        halo = str(score.halo) if score.halo else "–"
        lines.append(f"| `{name}` | {summary} | {score.unit} | {needs} | {halo} | {score.source} |")
    return "\n".join(lines) + "\n"

"""Why a frame was picked, in one line that names the view and the keypoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from label_config.labelling.box_numbers import number_word
from label_config.values import BadInputError, BoolArray, FloatArray
from ml_backend.acquisition.score_record import ComponentRecord, PointDetail

#: A component below this percentile is not a reason.
NOTABLE = 0.8
#: Longest line that fits the tab of a task list.
LONGEST = 160

RANDOM = "picked at random to measure the model fairly"
DIVERSE = "unlike the labelled frames: check every point"
UNSCORED = "no score yet; unlike the labelled frames: check every point"
RANKED = "next by score"

#: score -> (text when a point is known, text otherwise).  {point} is "left wrist (cam5: 84 px)", {value} the frame's score.
_TEMPLATES: dict[str, tuple[str, str]] = {
    "outlier_ratio": ("{views} on {point}", "cameras disagree on {value} of the points"),
    "mc": ("cameras disagree on {point}", "cameras disagree by {value}"),
    "max_error": ("cameras disagree on {point}", "cameras disagree by up to {value}"),
    "triangulation_covariance": ("depth of {keypoint} is uncertain", "depth is uncertain ({value})"),
    "epipolar_residual": ("views do not match on {point}", "views do not match by {value}"),
    "affine_residual": ("views do not match on {point}", "views do not match by {value}"),
    "tpc": ("{point} jumps between frames", "points jump between frames"),
    "thc": ("heatmap of {keypoint} changes abruptly ({view})", "heatmaps change abruptly"),
    "jitter_3d": ("{keypoint} jumps in 3-D", "pose jumps in 3-D"),
    "link_length": ("limb at {keypoint} has an unusual length ({view})", "limbs have unusual lengths"),
    "link_likelihood": ("limb at {keypoint} is unlikely ({view})", "limbs are unlikely"),
    "vl4pose": ("limb at {keypoint} is unlikely in this picture ({view})", "limbs are unlikely in this picture"),
    "pose_mahalanobis": ("unusual pose, most at {keypoint} ({view})", "unusual pose"),
    "wpu": ("unnatural pose, most at {keypoint} ({view})", "unnatural pose"),
    "pictorial_logdet": ("{keypoint} cannot be located in 3-D", "body cannot be located in 3-D"),
    "ensemble_variance": ("models disagree on {point}", "models disagree"),
    "aleatoric": ("{keypoint} is expected to be off ({view})", "points are expected to be off"),
    "learning_loss": ("expected to be predicted badly", "expected to be predicted badly"),
    "least_confidence": ("low confidence on {keypoint} ({view})", "low confidence"),
    "margin": ("two candidates for {keypoint} ({view})", "two candidates for a point"),
    "mpe": ("several candidates for {keypoint} ({view})", "several candidates for points"),
    "heatmap_entropy": ("blurred heatmap of {keypoint} ({view})", "blurred heatmaps"),
    "unimodality": ("odd heatmap of {keypoint} ({view})", "odd heatmaps"),
    "coreset_distance": ("pose far from the labelled ones ({value})", "pose far from the labelled ones ({value})"),
    "count_disagreement": ("cameras show different numbers of subjects",) * 2,
    "count_change": ("the number of subjects changes from frame to frame",) * 2,
    "assignment_ambiguity": ("cameras may show another subject in its place",) * 2,
    "random": ("drawn at random", "drawn at random"),
}
_PIXELS = ("px", "px^2")


def worst_point(
    per_point: FloatArray,
    views: Sequence[str],
    keypoints: Sequence[str],
    *,
    residual_px: FloatArray | None = None,
    inlier: BoolArray | None = None,
) -> PointDetail | None:
    """The point that stands out most in one frame; None when no value is finite.

    per_point    (V, K) from ``Scores.per_point``
    residual_px  (V, K) reprojection errors, inlier (V, K) from the triangulation

    The keypoint with the largest value, of equal ones that with the largest sum over views; then its view with the
    largest value, of equal ones that with the largest residual.
    """
    shape = (len(views), len(keypoints))
    for name, array in {"per_point": per_point, "residual_px": residual_px, "inlier": inlier}.items():
        if array is not None and array.shape != shape:
            raise BadInputError(f"worst_point: {name} must have shape {shape} (views, keypoints), got {array.shape}")
    value = np.where(np.isfinite(per_point), per_point, -np.inf)
    if np.isneginf(value).all():
        return None
    total = np.where(np.isfinite(per_point), per_point, 0.0).sum(axis=0)
    # lexsort: last key first, stable; reversing the names of the positions makes the lowest win.
    k = int(np.lexsort((-np.arange(shape[1]), total, value.max(axis=0)))[-1])
    residual = np.zeros(shape[0]) if residual_px is None else np.nan_to_num(residual_px[:, k], nan=-1.0)
    v = int(np.lexsort((-np.arange(shape[0]), residual, value[:, k]))[-1])
    detail = PointDetail(views[v], keypoints[k], float(per_point[v, k]))
    if residual_px is None:
        return detail
    seen = np.isfinite(residual_px[:, k])
    return PointDetail(
        detail.view,
        detail.keypoint,
        detail.value,
        residual_px=float(residual_px[v, k]),
        disagreeing=None if inlier is None else int((seen & ~inlier[:, k]).sum()),
        views=None if inlier is None else int(seen.sum()),
    )


def reasons(
    components: Sequence[ComponentRecord], kind: str = "ranked", without_points: bool = False, stands_for: int | None = None
) -> tuple[str, ...]:
    """The two strongest counted components of a frame in words, strongest first; then how many frames it stands for.

    Only components at percentile 0.8 or higher are reasons.  Random picks get a neutral text, because a hint would bias
    whoever labels them.
    """
    if without_points or kind == "random":
        return (RANDOM,)
    notable = [item for item in components if item.weight > 0 and item.pct >= NOTABLE]
    strongest = sorted(notable, key=lambda item: -item.weight * item.pct)
    texts = tuple(dict.fromkeys(_of_subject(item, _text(item)) for item in strongest[:2]))
    texts = texts or (_without_reason(components, kind),)
    return (*texts, f"stands for {stands_for} frames like it") if stands_for is not None and stands_for > 1 else texts


def _without_reason(components: Sequence[ComponentRecord], kind: str) -> str:
    """What nothing stands out in; where some point is known to be the least sure one, it is named."""
    text = {"diverse": DIVERSE, "unscored": UNSCORED}.get(kind, RANKED)
    known = [item for item in components if item.weight > 0 and item.worst is not None and math.isfinite(item.pct)]
    item = max(known, key=lambda item: item.weight * item.pct, default=None)
    if kind != "diverse" or item is None or item.worst is None:
        return text
    point = _point(item, item.worst, _words(item.worst.keypoint))
    return f"{text}, first {point}" if item.subject is None else f"{text}, first {subject_words(item.subject)}, {point}"


def reason_line(texts: Sequence[str]) -> str:
    """The reasons as one line of at most 160 characters; a second reason that does not fit is left out."""
    line = texts[0] if texts else ""
    for text in texts[1:]:
        if len(line) + 2 + len(text) <= LONGEST:
            line = f"{line}; {text}"
    return line if len(line) <= LONGEST else line[: LONGEST - 1].rstrip() + "…"


def subject_words(subject: int) -> str:
    """A subject as people read it: they count from one."""
    return f"subject {number_word(subject)}"


def _of_subject(item: ComponentRecord, text: str) -> str:
    return text if item.subject is None else f"{subject_words(item.subject)}: {text}"


def _text(item: ComponentRecord) -> str:
    generic = (f"{_words(item.name)} is high on {{point}}", f"{_words(item.name)} is high ({{value}})")
    with_point, without = _TEMPLATES.get(item.name, generic)
    value = _amount(item.raw, item.unit)
    if item.worst is None:
        return without.format(value=value)
    worst = item.worst
    keypoint = _words(worst.keypoint)
    return with_point.format(
        value=value, keypoint=keypoint, view=worst.view, views=_disagreement(worst), point=_point(item, worst, keypoint)
    )


def _point(item: ComponentRecord, worst: PointDetail, keypoint: str) -> str:
    if math.isfinite(worst.residual_px) and item.unit not in _PIXELS:
        return f"{keypoint} ({worst.view}: {_amount(worst.residual_px, 'px')})"
    if item.unit in _PIXELS and math.isfinite(worst.value):
        return f"{keypoint} ({worst.view}: {_amount(worst.value, item.unit)})"
    return f"{keypoint} ({worst.view})"


def _disagreement(worst: PointDetail) -> str:
    if worst.disagreeing is None or worst.views is None:
        return "cameras disagree"
    verb = "disagrees" if worst.disagreeing == 1 else "disagree"
    return f"{worst.disagreeing} of {worst.views} views {verb}"


def _amount(value: float, unit: str) -> str:
    """ "84 px", "4.2 mm", "22 %"; squared pixels are shown as their root."""
    if not math.isfinite(value):
        return "not known"
    if unit == "px^2":
        value, unit = math.sqrt(max(value, 0.0)), "px"
    if unit == "1":
        return f"{100 * value:.0f} %" if 0 <= value <= 1 else f"{value:.3g}"
    digits = f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"
    return f"{digits} {unit}"


def _words(name: str) -> str:
    return name.replace("_", " ")

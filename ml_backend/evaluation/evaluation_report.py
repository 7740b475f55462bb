"""An evaluation as a file: every figure with its unit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.evaluation.version_metrics import AREA_OF, FOUND_OKS, PCK_ALPHAS, PCK_REFERENCE, Evaluation
from ml_backend.metrics.mpjpe import PositionError
from ml_backend.metrics.pck import Pck
from ml_backend.metrics.protocols import HEAD_ALPHA, PCP_ALPHA, TORSO_ALPHA, ProtocolFigures


def as_json(found: Evaluation) -> dict[str, Any]:
    """Every figure with its unit as a plain JSON value; null = not known."""
    names, similarity, bins, world = found.skeleton.keypoints, found.oks, found.reliability, found.world
    limbs = [f"{names[a]} – {names[b]}" for a, b in found.skeleton.limbs]
    edges = np.linspace(0, 1, len(bins.count) + 1).round(6).tolist()
    columns = (edges[:-1], edges[1:], bins.count.tolist(), bins.confidence.tolist(), bins.correct.tolist())
    figures = {
        "version": found.version,
        "frames": found.frames,
        "pictures": found.pictures,
        "unreadable_pictures": found.unreadable,
        "error": {
            "unit": "px",
            **asdict(found.error),
            "mean_95": list(found.interval),
            "interval": "bootstrap of whole blocks of time",
            "per_keypoint": _named(names, map(asdict, found.per_keypoint)),
        },
        "pck": {
            "unit": "share of labelled points",
            "reference": PCK_REFERENCE,
            "points": found.pck[PCK_ALPHAS[0]].count,
            "at": [
                {"alpha": alpha, "share": value.overall, "per_keypoint": _named(names, value.per_keypoint.tolist())}
                for alpha, value in found.pck.items()
            ],
        },
        **protocol_json(found.protocol, names, limbs, found.limbs),
        "oks": {
            "unit": "1",
            "area_source": similarity.ap.area_source,
            "area": AREA_OF,
            "sigmas": _named(names, found.skeleton.sigmas),
            "subjects": similarity.count.subjects,
            "mean": similarity.mean,
            "ap": similarity.ap.ap,
            "ap50": similarity.ap.at[0.5],
            "ap75": similarity.ap.at[0.75],
            "ar": similarity.ap.ar,
            "ap_at": {str(threshold): value for threshold, value in similarity.asked.items()},
            "ospa": similarity.ospa,
        },
        "person_count": {
            "unit": f"matched_share: share of subjects, OKS ≥ {FOUND_OKS}; mean_count_error: subjects per picture",
            **asdict(similarity.count),
        },
        "identities": found.identities
        and {"unit": "mota, idf1: 1; the others: subjects in pictures", **asdict(found.identities)},
        "confidence": {
            "unit": "1",
            "correct": f"PCK@{PCK_ALPHAS[0]}",
            "points": int(bins.count.sum()),
            "ece": bins.ece,
            "bins": [_named(("from", "to", "points", "confidence", "correct"), row) for row in zip(*columns, strict=True)],
        },
        "mpjpe": world
        and {
            "unit": world.unit,
            "points": world.points,
            "root": names[found.skeleton.root],
            "pcp_strict": world.protocol.strict and world.protocol.strict.mean,
            "pcp_loose": world.protocol.loose and world.protocol.loose.mean,
            **{str(alignment): _position(error, names) for alignment, error in world.by_alignment.items()},
        },
    }
    return dict(_without_nan(figures))


def protocol_json(found: ProtocolFigures, names: Sequence[str], limbs: Sequence[str], labelled_limbs: int) -> dict[str, Any]:
    """PCKh, torso-PCK and PCP; null where the skeleton does not name what it takes."""
    return {
        "pckh": found.head and _pck_json(found.head, names, HEAD_ALPHA, "distance of the skeleton's head pair"),
        "torso_pck": found.torso and _pck_json(found.torso, names, TORSO_ALPHA, "distance of the skeleton's torso pair"),
        "pcp": found.strict
        and found.loose
        and {
            "unit": "share of limbs, mean over the limbs of the skeleton",
            "rule": "strict: both ends; loose: the mean of both",
            "alpha": PCP_ALPHA,
            "limbs": labelled_limbs,
            "mean": found.strict.mean,
            "per_limb": _named(limbs, found.strict.per_limb.tolist()),
            "loose": found.loose.mean,
        },
    }


def _pck_json(found: Pck, names: Sequence[str], alpha: float, reference: str) -> dict[str, Any]:
    per_keypoint = _named(names, found.per_keypoint.tolist())
    about = {"unit": "share of labelled points", "reference": reference, "alpha": alpha, "points": found.count}
    return {**about, "share": found.overall, "per_keypoint": per_keypoint}


def _position(error: PositionError, names: Sequence[str]) -> dict[str, Any]:
    per_keypoint = _named(names, error.per_keypoint.tolist())
    return {"mean": error.mean, "median": error.median, "coverage": error.coverage, "per_keypoint": per_keypoint}


def _named(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(found: Evaluation, target: Path) -> None:
    """The figures of :func:`as_json` as a file."""
    target.write_text(json.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")

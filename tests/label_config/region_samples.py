"""A small config, poses on its pictures, and regions as Label Studio returns them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config
from label_config.values import PointState, Pose2D, Provenance
from label_config.values.skeleton import Skeleton

SKELETON = Skeleton("s", ("head", "left hand", "right hand"), pairs=((1, 2),))
VIEWS = ("A", "B")
SIZES = {"A": (640, 480), "B": (301, 977)}
GENERATION = 12


def binding(*, views: tuple[str, ...] = VIEWS, visibility: bool = True, boxes: bool = False) -> Binding:
    return bind(build_label_config(SKELETON, views, visibility=visibility, boxes=boxes), SKELETON, views=views)


def pose(seed: int = 0, views: tuple[str, ...] = VIEWS) -> Pose2D:
    """Random points all over the pictures, with confidences, nothing missing."""
    rng = np.random.default_rng(seed)
    sizes = np.array([SIZES[view] for view in views], dtype=np.float64)
    empty = Pose2D.empty(len(views), len(SKELETON))
    return Pose2D(
        xy_px=rng.uniform(0, 1, (len(views), len(SKELETON), 2)) * sizes[:, None] - 0.5,
        confidence=rng.uniform(0, 1, (len(views), len(SKELETON))),
        state=empty.state + PointState.VISIBLE,
        provenance=empty.provenance + Provenance.PREDICTED,
    )


def submitted(regions: list[dict[str, Any]], origin: str = "prediction") -> list[dict[str, Any]]:
    """The regions as Label Studio returns them: through JSON, with an origin."""
    return [{**region, "origin": origin} for region in json.loads(json.dumps(regions))]


def same(a: Pose2D, b: Pose2D) -> None:
    np.testing.assert_allclose(a.xy_px, b.xy_px, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(a.state, b.state)


def region(**changes: Any) -> dict[str, Any]:
    plain = {
        "id": "abc",
        "type": "keypointlabels",
        "from_name": "kp_A",
        "to_name": "A",
        "original_width": 640,
        "original_height": 480,
        "image_rotation": 0,
        "origin": "manual",
        "value": {"x": 50.0, "y": 25.0, "width": 0.8, "keypointlabels": ["head"]},
    }
    value = {**plain["value"], **changes.pop("value", {})}  # type: ignore[dict-item]
    return {**plain, "value": value, **changes}


def words(decoded: Any) -> str:
    return "\n".join(f"{p.severity}: {p.text}" for p in decoded.problems)

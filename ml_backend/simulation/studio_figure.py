"""The studio's figure: skeleton, angles of the limbs → keypoints in 3-D, and the capsules that clothe them.

World frame: millimetres, z up, floor at z = 0.  Body frame: x forward, y to the figure's left, z up.
Angles are in radians and 0 everywhere is a person standing with hanging arms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from label_config.values import BoolArray, FloatArray
from label_config.values.skeleton import Skeleton, limbs_by_name

Real = TypeVar("Real", np.float32, np.float64)

KEYPOINTS = (
    "pelvis", "neck", "head",
    "left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle",
    "right_shoulder", "right_elbow", "right_wrist", "right_hip", "right_knee", "right_ankle",
)  # fmt: skip
#: Points that carry capsules but are not labelled.
EXTRA_POINTS = ("crown", "nose", "chin", "left_toe", "right_toe", "left_hand", "right_hand")
POINTS = KEYPOINTS + EXTRA_POINTS

_LIMBS = [("pelvis", "neck"), ("neck", "head")]
for _side in ("left", "right"):
    _LIMBS += [
        ("neck", f"{_side}_shoulder"),
        (f"{_side}_shoulder", f"{_side}_elbow"),
        (f"{_side}_elbow", f"{_side}_wrist"),
        ("pelvis", f"{_side}_hip"),
        (f"{_side}_hip", f"{_side}_knee"),
        (f"{_side}_knee", f"{_side}_ankle"),
    ]

#: 15 keypoints.  Left and right differ in colour alone, so a mirrored picture is not a valid example.
STUDIO_SKELETON = Skeleton(
    name="studio",
    keypoints=KEYPOINTS,
    limbs=limbs_by_name(KEYPOINTS, _LIMBS),
    root=0,
    pairs=tuple((KEYPOINTS.index(f"left_{part}"), KEYPOINTS.index(f"right_{part}"))
                for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")),
    flip_augment=False,
    head=(KEYPOINTS.index("head"), KEYPOINTS.index("neck")),
    torso=(KEYPOINTS.index("left_shoulder"), KEYPOINTS.index("right_hip")),
)  # fmt: skip

#: Angles that a motion may set; those of arms and legs exist once per side as ``left_…`` and ``right_…``.
TRUNK_ANGLES = ("yaw", "pitch", "roll", "bend", "lean", "twist", "nod", "look")
SIDE_ANGLES = ("arm_flex", "arm_out", "arm_turn", "elbow", "hip_flex", "hip_out", "knee", "foot")
ANGLES = TRUNK_ANGLES + tuple(f"{side}_{angle}" for side in ("left", "right") for angle in SIDE_ANGLES)

SPINE_MM, SHOULDER_MM, UPPER_ARM_MM, FOREARM_MM, HAND_MM = 490.0, 190.0, 290.0, 260.0, 90.0
HIP_MM, THIGH_MM, SHANK_MM, FOOT_MM, NECK_MM = 100.0, 430.0, 410.0, 150.0, 190.0

LEFT_RGB, RIGHT_RGB = (232, 140, 20), (20, 110, 190)
LEFT_DARK_RGB, RIGHT_DARK_RGB = (190, 80, 25), (25, 65, 150)
SHIRT_RGB, BELT_RGB, SKIN_RGB, HAIR_RGB = (96, 140, 92), (74, 74, 84), (216, 168, 138), (70, 48, 38)


@dataclass(frozen=True)
class Capsule:
    """A sphere of ``radius_mm`` swept from point ``start`` to point ``end`` (indices into an array of points)."""

    start: int
    end: int
    radius_mm: float
    rgb: tuple[int, int, int]
    stripes: float = 0.0  #: number of texture stripes along the axis


def _capsules() -> tuple[Capsule, ...]:
    rows: list[tuple[str, str, float, tuple[int, int, int], float]] = [
        ("pelvis", "neck", 112.0, SHIRT_RGB, 5.0),
        ("left_shoulder", "right_shoulder", 66.0, SHIRT_RGB, 0.0),
        ("left_hip", "right_hip", 92.0, BELT_RGB, 0.0),
        ("neck", "head", 52.0, SKIN_RGB, 0.0),
        ("head", "crown", 92.0, HAIR_RGB, 0.0),
        ("chin", "nose", 62.0, SKIN_RGB, 0.0),
    ]
    for side, light, dark in (("left", LEFT_RGB, LEFT_DARK_RGB), ("right", RIGHT_RGB, RIGHT_DARK_RGB)):
        rows += [
            (f"{side}_shoulder", f"{side}_elbow", 54.0, light, 3.0),
            (f"{side}_elbow", f"{side}_wrist", 43.0, dark, 0.0),
            (f"{side}_wrist", f"{side}_hand", 38.0, SKIN_RGB, 0.0),
            (f"{side}_hip", f"{side}_knee", 76.0, light, 4.0),
            (f"{side}_knee", f"{side}_ankle", 56.0, dark, 0.0),
            (f"{side}_ankle", f"{side}_toe", 44.0, BELT_RGB, 0.0),
        ]
    return tuple(Capsule(POINTS.index(a), POINTS.index(b), radius, rgb, stripes) for a, b, radius, rgb, stripes in rows)


CAPSULES = _capsules()


def keypoint_depth_mm() -> FloatArray:
    """(K,) how deep below the body's own surface each keypoint lies: the largest radius of the capsules that end there."""
    depth = np.zeros(len(POINTS))
    for capsule in CAPSULES:
        for point in (capsule.start, capsule.end):
            depth[point] = max(depth[point], capsule.radius_mm)
    return depth[: len(KEYPOINTS)]


def _rotation(axis: int, angle: FloatArray) -> FloatArray:
    """(n, 3, 3) right-handed rotation about a coordinate axis by ``angle`` (n,)."""
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.zeros((len(angle), 3, 3))
    matrix[:, axis, axis] = 1.0
    matrix[:, a, a] = matrix[:, b, b] = np.cos(angle)
    matrix[:, b, a] = np.sin(angle)
    matrix[:, a, b] = -matrix[:, b, a]
    return matrix


def _along(frame: FloatArray, x: float, y: float, z: float) -> FloatArray:
    """(n, 3) a constant body-frame vector seen from the world through ``frame`` (n, 3, 3)."""
    return np.asarray(frame @ np.array([x, y, z]))


def pose_points(angles: Mapping[str, FloatArray], floor_xy: FloatArray, lift_mm: FloatArray) -> FloatArray:
    """Angles of the limbs → all points of the figure.

    angles    name → (n,) radians, every name of ANGLES
    floor_xy  (n, 2) mm, where the pelvis is seen from above
    lift_mm   (n,) height of the lowest point of the body above the floor
    Returns (n, P, 3) mm in the world frame, in the order of POINTS.
    """
    g = angles
    trunk = _rotation(2, g["yaw"]) @ _rotation(1, g["pitch"]) @ _rotation(0, g["roll"])
    chest = trunk @ _rotation(1, g["bend"]) @ _rotation(0, g["lean"]) @ _rotation(2, g["twist"])
    head = chest @ _rotation(1, g["nod"]) @ _rotation(2, g["look"])
    at: dict[str, FloatArray] = {"pelvis": np.zeros((len(floor_xy), 3))}
    at["neck"] = at["pelvis"] + _along(chest, 0, 0, SPINE_MM)
    at["head"] = at["neck"] + _along(head, 0, 0, NECK_MM)
    at["crown"] = at["head"] + _along(head, -12, 0, 28)
    at["nose"] = at["head"] + _along(head, 48, 0, 0)
    at["chin"] = at["head"] + _along(head, 40, 0, -32)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        upper = chest @ _rotation(1, -g[f"{side}_arm_flex"]) @ _rotation(0, sign * g[f"{side}_arm_out"])
        upper = upper @ _rotation(2, -sign * g[f"{side}_arm_turn"])
        fore = upper @ _rotation(1, -g[f"{side}_elbow"])
        at[f"{side}_shoulder"] = at["neck"] + _along(chest, 0, sign * SHOULDER_MM, -35)
        at[f"{side}_elbow"] = at[f"{side}_shoulder"] + _along(upper, 0, 0, -UPPER_ARM_MM)
        at[f"{side}_wrist"] = at[f"{side}_elbow"] + _along(fore, 0, 0, -FOREARM_MM)
        at[f"{side}_hand"] = at[f"{side}_wrist"] + _along(fore, 0, 0, -HAND_MM)
        thigh = trunk @ _rotation(1, -g[f"{side}_hip_flex"]) @ _rotation(0, sign * g[f"{side}_hip_out"])
        shank = thigh @ _rotation(1, g[f"{side}_knee"])
        foot = shank @ _rotation(1, g[f"{side}_foot"])
        at[f"{side}_hip"] = at["pelvis"] + _along(trunk, 0, sign * HIP_MM, -30)
        at[f"{side}_knee"] = at[f"{side}_hip"] + _along(thigh, 0, 0, -THIGH_MM)
        at[f"{side}_ankle"] = at[f"{side}_knee"] + _along(shank, 0, 0, -SHANK_MM)
        at[f"{side}_toe"] = at[f"{side}_ankle"] + _along(foot, FOOT_MM, 0, -25)
    points = np.stack([at[name] for name in POINTS], axis=1)
    offset = np.concatenate([floor_xy, (lift_mm - _lowest(points))[:, None]], axis=1)
    return np.asarray(points + offset[:, None, :])


def _lowest(points: FloatArray) -> FloatArray:
    """(n,) height of the lowest spot of the body's surface."""
    tips = [points[:, [c.start, c.end], 2].min(axis=1) - c.radius_mm for c in CAPSULES]
    return np.min(tips, axis=0)  # type: ignore[no-any-return]


def hidden(points_cam: FloatArray, keypoints_cam: FloatArray, capsules: tuple[Capsule, ...], depth_mm: FloatArray) -> BoolArray:
    """Which keypoints a capsule hides from a camera at the origin.

    points_cam  (n, P, 3) capsule points in the camera's frame
    keypoints_cam  (n, K, 3)
    depth_mm    (K,) from :func:`keypoint_depth_mm`; a keypoint is hidden when some surface lies further than this in front of it
    Returns (n, K).
    """
    distance = np.linalg.norm(keypoints_cam, axis=-1)
    ray = keypoints_cam / distance[..., None]
    covered = np.zeros(distance.shape, dtype=bool)
    for capsule in capsules:
        reach, _ = capsule_distance(points_cam[:, None, capsule.start], points_cam[:, None, capsule.end], capsule.radius_mm, ray)
        covered |= reach < distance - 1.25 * depth_mm
    return covered


def capsule_distance(
    start: npt.NDArray[Real], end: npt.NDArray[Real], radius: float, ray: npt.NDArray[Real]
) -> tuple[npt.NDArray[Real], npt.NDArray[Real]]:
    """Where unit rays from the origin first meet a capsule.

    start, end  (..., 3) axis ends; ray  (..., 3) unit vectors, broadcast against each other
    Returns (...) distance along the ray, inf where it misses, and (...) position along the axis from 0 (start) to 1 (end).

    With the components along the axis u removed, |t d − a| = r reads A t² − 2 B t + C = 0 (the infinite cylinder);
    where that point lies beyond an end of the axis, the sphere at that end is met instead.
    """
    axis = end - start
    length2, ray_axis, start_axis = _dot(axis, axis), _dot(ray, axis), _dot(start, axis)
    ray_start, ray_end = _dot(ray, start), _dot(ray, end)
    a = length2 - ray_axis * ray_axis
    b = length2 * ray_start - start_axis * ray_axis
    c = length2 * (_dot(start, start) - radius * radius) - start_axis * start_axis
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (b - np.sqrt(b * b - a * c)) / a
        s = (t * ray_axis - start_axis) / length2
        # along the axis, and by rounding at the outline, the division says nothing: the nearer end is met first
        unknown = (a < 1e-5 * length2) | np.isnan(s)
        past_end = np.where(unknown, ray_end < ray_start, s > 0.5)
        cap_ray = np.where(past_end, ray_end, ray_start)
        cap2 = np.where(past_end, _dot(end, end), _dot(start, start))
        t_cap = cap_ray - np.sqrt(cap_ray * cap_ray - cap2 + radius * radius)
    t = np.where((s > 0) & (s < 1) & ~unknown, t, t_cap)
    return np.where(t > 0, t, np.inf), np.where(unknown, past_end, np.clip(s, 0, 1)).astype(t.dtype)


def _dot(u: npt.NDArray[Real], v: npt.NDArray[Real]) -> npt.NDArray[Real]:
    return np.einsum("...i,...i->...", u, v)  # type: ignore[no-any-return]

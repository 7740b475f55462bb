"""Continuous motion made of bouts: long common actions, and now and then a short rare one.

A bout is a stretch of frames in which one action sets the angles of the limbs; neighbouring bouts are cross-faded, so the
figure never jumps.  Everything is drawn from one generator: the same seed gives the same motion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from label_config.values import BoolArray, FloatArray
from ml_backend.simulation.studio_figure import ANGLES

#: Angles of an action that are not 0, plus ``speed`` (mm/s forwards), ``spin`` (rad/s about the vertical), ``lift`` (mm).
Angles = dict[str, FloatArray | float]
Action = Callable[[FloatArray, float, float], Angles]

COMMON_FRAMES = (45, 95)
RARE_FRAMES = (18, 30)
BLEND_FRAMES = 14
#: The figure is drawn back to the middle of the floor at this rate, so it never strays further than speed / rate.
HOMING_PER_S = 1.6
_EXTRA = ("speed", "spin", "lift")


def _both(value: FloatArray | float, *names: str) -> Angles:
    return {f"{side}_{name}": value for name in names for side in ("left", "right")}


def _side(which: float) -> tuple[str, str]:
    return ("left", "right") if which > 0 else ("right", "left")


def _walk(t: FloatArray, size: float, which: float) -> Angles:
    step = 2 * np.pi * 0.9 * t
    swing = 0.5 * size * np.sin(step)
    return {
        "left_hip_flex": swing,
        "right_hip_flex": -swing,
        "left_knee": 0.15 + 0.45 * size * (1 + np.cos(step)),
        "right_knee": 0.15 + 0.45 * size * (1 - np.cos(step)),
        "left_arm_flex": -0.9 * swing,
        "right_arm_flex": 0.9 * swing,
        **_both(0.12, "arm_out"),
        **_both(0.35, "elbow"),
        "twist": -0.2 * swing,
        "bend": 0.05,
        "speed": 620.0 * size,
        "spin": 0.55 * which,
    }


def _wave(t: FloatArray, size: float, which: float) -> Angles:
    hand, other = _side(which)
    return {
        f"{hand}_arm_out": 1.75 + 0.15 * np.sin(5 * t),
        f"{hand}_elbow": 1.0 + 0.55 * size * np.sin(9 * t),
        f"{hand}_arm_turn": 1.4,
        f"{other}_arm_out": 0.12,
        f"{other}_elbow": 0.2,
        "lean": 0.06 * which * np.sin(2 * t),
        "look": 0.3 * np.sin(1.5 * t),
        "spin": 0.25 * which,
    }


def _turn(t: FloatArray, size: float, which: float) -> Angles:
    shift = 0.22 * size * np.sin(2 * np.pi * 0.8 * t)
    return {
        "spin": 1.3 * which * size,
        "look": 0.45 * which,
        **_both(0.3, "arm_out"),
        **_both(0.5, "elbow"),
        "left_hip_flex": shift,
        "right_hip_flex": -shift,
        "left_knee": np.maximum(shift, 0),
        "right_knee": np.maximum(-shift, 0),
    }


def _gesture(t: FloatArray, size: float, which: float) -> Angles:
    hand, other = _side(which)
    return {
        f"{hand}_arm_flex": 0.9 * size * (1 - np.cos(2.4 * t)) / 2 + 0.2,
        f"{hand}_elbow": 1.1 + 0.5 * np.sin(3.1 * t),
        f"{other}_arm_flex": 0.35 + 0.2 * np.sin(2.0 * t),
        f"{other}_elbow": 0.9,
        **_both(0.15, "arm_out"),
        **_both(0.5, "arm_turn"),
        "twist": 0.25 * np.sin(1.7 * t),
        "bend": 0.06,
        "nod": 0.15 * np.sin(2.6 * t),
        "spin": -0.3 * which,
    }


def _crouch(t: FloatArray, size: float, which: float) -> Angles:
    return {
        **_both(1.9 * size, "hip_flex"),
        **_both(2.1 * size, "knee"),
        **_both(0.3, "hip_out"),
        **_both(0.9, "arm_flex"),
        **_both(0.7, "elbow"),
        "bend": 0.55 + 0.1 * np.sin(3 * t),
        "nod": -0.3,
        "spin": 0.4 * which,
    }


def _kick(t: FloatArray, size: float, which: float) -> Angles:
    leg, other = _side(which)
    swing = np.sin(2 * np.pi * 0.8 * t)
    return {
        f"{leg}_hip_flex": 0.55 + 1.0 * size * swing,
        f"{leg}_knee": 0.5 - 0.45 * swing,
        f"{leg}_foot": 0.5,
        f"{other}_knee": 0.12,
        **_both(0.9, "arm_out"),
        **_both(0.5, "elbow"),
        "bend": -0.18,
        "spin": 0.3 * which,
    }


def _handstand(t: FloatArray, size: float, which: float) -> Angles:
    sway = 0.25 * np.sin(3.0 * t)
    return {
        "pitch": np.pi,
        **_both(2.9, "arm_flex"),
        **_both(0.15, "arm_out"),
        "left_hip_flex": 0.35 * size + sway,
        "right_hip_flex": -0.45 * size - sway,
        **_both(0.35, "knee"),
        **_both(0.8, "foot"),
        "nod": -0.5,
        "spin": 0.35 * which,
    }


def _arms_overhead(t: FloatArray, size: float, which: float) -> Angles:
    return {
        **_both(2.75 + 0.2 * np.sin(3 * t), "arm_out"),
        **_both(0.35 * size, "elbow"),
        **_both(0.25, "hip_out"),
        "lean": 0.3 * np.sin(2.5 * t),
        "nod": -0.25,
        "spin": 0.4 * which,
    }


def _bow(t: FloatArray, size: float, which: float) -> Angles:
    hand, other = _side(which)
    return {
        "bend": 1.55 * size + 0.1 * np.sin(3 * t),
        "nod": 0.3,
        **_both(0.25, "knee"),
        f"{hand}_arm_flex": 1.5,
        f"{other}_arm_flex": -0.8,
        **_both(0.3, "arm_out"),
        "twist": 0.4 * which,
        **_both(0.15, "hip_flex"),
    }


def _lunge(t: FloatArray, size: float, which: float) -> Angles:
    front, back = _side(which)
    return {
        f"{front}_hip_flex": 1.25 * size,
        f"{front}_knee": 1.25 * size,
        f"{back}_hip_flex": -0.7 * size,
        f"{back}_knee": 0.5,
        f"{back}_foot": 0.6,
        f"{front}_arm_flex": 1.5,
        f"{back}_arm_out": 1.5,
        "twist": 0.5 * which + 0.15 * np.sin(4 * t),
        "bend": 0.15,
    }


def _star_jump(t: FloatArray, size: float, which: float) -> Angles:
    open_ = (1 - np.cos(2 * np.pi * 0.9 * t)) / 2
    return {
        **_both(0.4 + 1.6 * open_, "arm_out"),
        **_both(0.75 * size * open_, "hip_out"),
        "lift": 170.0 * open_,
        "spin": 0.3 * which,
    }


COMMON_ACTIONS: Mapping[str, Action] = {"walk": _walk, "wave": _wave, "turn": _turn, "gesture": _gesture}
RARE_ACTIONS: Mapping[str, Action] = {
    "crouch": _crouch, "kick": _kick, "handstand": _handstand, "arms_overhead": _arms_overhead,
    "bow": _bow, "lunge": _lunge, "star_jump": _star_jump,
}  # fmt: skip


@dataclass(frozen=True)
class Bout:
    """One action over the frames ``start`` ≤ i < ``stop``."""

    action: str
    start: int
    stop: int
    size: float  #: amplitude of the movement, about 1
    which: float  #: +1 or −1: the side that acts, the way it turns

    @property
    def rare(self) -> bool:
        """The action is one of the rare ones."""
        return self.action in RARE_ACTIONS


@dataclass(frozen=True)
class Motion:
    """The figure's movement.

    angles    name → (n,) radians for every name of ``body.ANGLES``
    floor_xy  (n, 2) mm
    lift_mm   (n,)
    action    (n,) name of the action
    rare      (n,) the action is a rare one
    """

    angles: Mapping[str, FloatArray]
    floor_xy: FloatArray
    lift_mm: FloatArray
    action: tuple[str, ...]
    rare: BoolArray


def draw_bouts(rng: np.random.Generator, n_frames: int, rare_fraction: float) -> list[Bout]:
    """Common bouts with rare ones between them, such that about ``rare_fraction`` of the frames so far are rare."""
    bouts: list[Bout] = []
    start = rare_frames = 0
    names: dict[bool, list[str]] = {False: [], True: []}
    while start < n_frames:
        rare = bool(bouts) and rare_frames < rare_fraction * start
        if not names[rare]:  # every action comes once before any comes again
            names[rare] = [str(name) for name in rng.permutation(list(RARE_ACTIONS if rare else COMMON_ACTIONS))]
        length = int(rng.integers(*(RARE_FRAMES if rare else COMMON_FRAMES)))
        which = 1.0 if rng.random() < 0.5 else -1.0
        bouts.append(Bout(names[rare].pop(), start, min(start + length, n_frames), float(rng.uniform(0.85, 1.1)), which))
        start += length
        rare_frames += rare * length
    return bouts


def make_motion(rng: np.random.Generator, n_frames: int, fps: float, rare_fraction: float) -> Motion:
    """A continuous movement of ``n_frames`` frames."""
    bouts = draw_bouts(rng, n_frames, rare_fraction)
    curves: dict[str, FloatArray] = {name: np.zeros(n_frames) for name in (*ANGLES, *_EXTRA)}
    frame = np.arange(n_frames)
    for bout in bouts:
        weight = _fade(frame, bout.start, rises=bout.start > 0) - _fade(frame, bout.stop, rises=bout.stop < n_frames)
        action = {**COMMON_ACTIONS, **RARE_ACTIONS}[bout.action]
        for name, value in action((frame - bout.start) / fps, bout.size, bout.which).items():
            curves[name] = curves[name] + weight * value
    spin, speed, lift = curves.pop("spin"), curves.pop("speed"), curves.pop("lift")
    curves["yaw"] = curves["yaw"] + rng.uniform(0, 2 * np.pi) + np.cumsum(spin) / fps
    which_bout = np.searchsorted([bout.stop for bout in bouts], frame, side="right")
    return Motion(
        angles=curves,
        floor_xy=_path(curves["yaw"], speed, fps),
        lift_mm=lift,
        action=tuple(bouts[i].action for i in which_bout),
        rare=np.array([bouts[i].rare for i in which_bout], dtype=bool),
    )


def _fade(frame: np.typing.NDArray[np.int64], edge: int, rises: bool) -> FloatArray:
    """(n,) smooth step from 0 to 1 centred on ``edge``; at the first frame it is 1 throughout, at the last 0."""
    if not rises:
        return np.full(len(frame), 1.0 if edge == 0 else 0.0)
    u = np.clip((frame - edge) / BLEND_FRAMES + 0.5, 0, 1)
    return u * u * (3 - 2 * u)


def _path(yaw: FloatArray, speed: FloatArray, fps: float) -> FloatArray:
    """(n, 2) mm: walking along the heading while being drawn back to the middle."""
    position = np.zeros((len(yaw), 2))
    heading = np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    for i in range(1, len(yaw)):
        position[i] = position[i - 1] + (speed[i, None] * heading[i] - HOMING_PER_S * position[i - 1]) / fps
    return position

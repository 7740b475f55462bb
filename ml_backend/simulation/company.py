"""Where several figures of the studio stand: they cross, come close and hide one another, and some leave and come back."""

from __future__ import annotations

import numpy as np

from label_config.values import BoolArray, FloatArray

#: How far from the middle up to four figures go, and how near they come to each other before they step aside, in mm.
ROAM_MM, APART_MM = 700.0, 480.0
#: Rounds per second of the two sides of a figure's path.
ROUNDS_PER_S = (0.05, 0.11)
#: A figure follows its path at this rate, and steps aside at most at this speed.
FOLLOW_PER_S, ASIDE_MM_PER_S = 2.0, 2500.0
IN_FRAMES, OUT_FRAMES = (60, 120), (20, 50)


def paths(rng: np.random.Generator, steps_mm: FloatArray, fps: float) -> FloatArray:
    """(n, S, 2) mm from what each figure walks by itself, ``steps_mm`` (n, S, 2); continuous, nobody walks through another."""
    n, figures = steps_mm.shape[:2]
    rounds = rng.uniform(*ROUNDS_PER_S, (figures, 2))
    start = rng.uniform(0, 1, (figures, 2))
    time_s = np.arange(n)[:, None, None] / fps
    roam_mm = ROAM_MM * np.sqrt(max(1.0, figures / 4))  # many need more room
    wanted = roam_mm * np.sin(2 * np.pi * (rounds * time_s + start)) + steps_mm
    position = np.empty_like(wanted)
    position[0] = _spread(wanted[0])
    for i in range(1, n):
        before = position[i - 1]
        position[i] = before + (FOLLOW_PER_S * (wanted[i] - before) + ASIDE_MM_PER_S * _aside(before)) / fps
    return np.asarray(position)


def presence(rng: np.random.Generator, n_frames: int, figures: int) -> BoolArray:
    """(n, S) who is in the room: the first figure always, each other one with pauses."""
    here = np.ones((n_frames, figures), dtype=np.bool_)
    for figure in range(1, figures):
        frame = int(rng.integers(*IN_FRAMES))
        while frame < n_frames:
            back = frame + int(rng.integers(*OUT_FRAMES))
            here[frame:back, figure] = False
            frame = back + int(rng.integers(*IN_FRAMES))
    return here


def _aside(position: FloatArray) -> FloatArray:
    """(S, 2) in which direction, and how urgently from 0 to 1 for each neighbour, a figure steps aside."""
    away = position[:, None] - position[None]
    distance = np.linalg.norm(away, axis=-1)
    urgent = np.clip(1 - distance / APART_MM, 0, 1) * (distance > 0)
    return np.asarray((urgent[..., None] * away / np.maximum(distance, 1.0)[..., None]).sum(axis=1))


def _spread(position: FloatArray) -> FloatArray:
    """The same positions, moved apart until nobody stands in another's way."""
    for _ in range(200):
        position = position + 0.2 * APART_MM * _aside(position)
    return position

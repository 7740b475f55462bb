"""A Kalman smoother over points in time: constant velocity, forwards and backwards (Rauch, Tung & Striebel 1965).

Every keypoint by itself.  State: place and velocity; between frames an unknown acceleration acts, white noise of density q
(Bar-Shalom, Li & Kirubarajan 2001, §6.2.2).  A point is measured with covariance s²·C, where C is given: that of triangulation,
for one pixel of noise, or the identity.  s² and the ratio q/s² come from the recording: of several ratios the one by which each
frame is best predicted from those before it, with s² in closed form, both insensitive to wrong points.  A point that lies far
outside what is predicted is left out, but for a few in a row: then the keypoint really is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from label_config.values import BoolArray, FloatArray, IntArray

#: q / s² that are tried, relative to the typical covariance.
_RATIOS = 10.0 ** np.arange(-4.0, 2.1, 0.5)
#: Frames from which s² and the ratio are estimated: the stretch with most points.
_FITTED_FRAMES = 1500
#: A wrong point is one in so many that are right; after so many in a row the next one is taken.
_GATE, _MOST_REJECTED = 1e-4, 5
#: Gaps up to so many frames are bridged, longer ones stay.
LONGEST_GAP = 10
#: Numbers that the covariances of a run of frames may take, so that an hour of many keypoints stays in memory.
_BLOCK = 25_000_000


@dataclass(frozen=True)
class SmoothPoints:
    """xyz (n, K, D) with covariance (n, K, D, D); NaN before the first point, after the last, and in long gaps.

    noise  (K,) s², of points without a covariance in their unit squared
    """

    xyz: FloatArray
    covariance: FloatArray
    noise: FloatArray


def smooth_points(points: FloatArray, covariance: FloatArray | None = None) -> SmoothPoints:
    """points (n, K, D), NaN = none; covariance (n, K, D, D) up to a common factor, None = the same in all directions."""
    n, keypoints, d = points.shape
    if covariance is None:
        covariance = np.broadcast_to(np.eye(d), (n, keypoints, d, d))
    known = np.asarray(np.isfinite(points).all(axis=-1) & np.isfinite(covariance).all(axis=(-2, -1)))
    out = SmoothPoints(np.full_like(points, np.nan), np.full((n, keypoints, d, d), np.nan), np.full(keypoints, np.nan))
    usable = np.flatnonzero(known.sum(axis=0) >= 3)
    step = max(1, _BLOCK // max(n * (2 * d) ** 2, 1))
    for at in (usable[i : i + step] for i in range(0, len(usable), step)):
        xyz, spread, noise = _smooth(points[:, at], covariance[:, at], known[:, at])
        shown = _near_a_point(known[:, at])
        out.xyz[:, at] = np.where(shown[..., None], xyz, np.nan)
        out.covariance[:, at] = np.where(shown[..., None, None], spread, np.nan)
        out.noise[at] = noise
    return out


def _smooth(points: FloatArray, covariance: FloatArray, known: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    trace = np.trace(covariance, axis1=2, axis2=3) / points.shape[-1]
    typical = np.array([np.median(trace[known[:, k], k]) for k in range(points.shape[1])])
    first_noise = _noise_of_differences(points, covariance, known)
    noise, ratio = _fit(points, covariance, known, typical, first_noise)
    filtered = _filter(points, covariance, known, ratio * noise * typical, noise)
    mean, spread = _backwards(filtered, ratio * noise * typical)
    d = points.shape[-1]
    return mean[..., :d], spread[..., :d, :d], noise


def _noise_of_differences(points: FloatArray, covariance: FloatArray, known: BoolArray) -> FloatArray:
    """(K,) s² from how far points lie from the middle of their neighbours: of motion the most that it can be."""
    residual = points[1:-1] - 0.5 * (points[:-2] + points[2:])
    whole = known[1:-1] & known[:-2] & known[2:]
    spread = covariance[1:-1] + 0.25 * (covariance[:-2] + covariance[2:])
    d = points.shape[-1]
    found = np.empty(points.shape[1])
    for k in range(points.shape[1]):
        r, c = residual[whole[:, k], k], spread[whole[:, k], k]
        squares = np.einsum("ni,ni->n", r, np.linalg.solve(c, r[..., None])[..., 0]) if len(r) else np.ones(1)
        found[k] = np.median(squares) / chi2.median(d)
    return np.maximum(found, 1e-12)


def _fit(
    points: FloatArray, covariance: FloatArray, known: BoolArray, typical: FloatArray, noise: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(K,) s² and q/s² that predict each frame best from those before it."""
    window = slice(*_densest(known))
    n_ratios, keypoints, d = len(_RATIOS), points.shape[1], points.shape[-1]
    tile = np.tile(np.arange(keypoints), n_ratios)
    ratio = np.repeat(_RATIOS, keypoints)
    p, c, k = points[window][:, tile], covariance[window][:, tile], known[window][:, tile]
    run = _filter(p, c, k, ratio * noise[tile] * typical[tile], noise[tile], keep=False)
    squares, logdet = run.squares, run.logdet  # of the innovations, with s² = noise
    used = np.isfinite(squares)
    scale = np.ones(len(tile))
    for i in range(len(tile)):
        if used[:, i].any():
            scale[i] = max(float(np.median(squares[used[:, i], i])) / chi2.median(d), 1e-12)
    cut = np.minimum(squares / scale, chi2.isf(_GATE, d))
    cost = np.where(used, logdet + d * np.log(scale) + cut, 0.0).sum(axis=0) / np.maximum(used.sum(axis=0), 1)
    best = cost.reshape(n_ratios, keypoints).argmin(axis=0)
    return noise * scale.reshape(n_ratios, keypoints)[best, np.arange(keypoints)], _RATIOS[best]


def _densest(known: BoolArray) -> tuple[int, int]:
    if len(known) <= _FITTED_FRAMES:
        return 0, len(known)
    total = np.concatenate([[0], known.sum(axis=1).cumsum()])
    start = int((total[_FITTED_FRAMES:] - total[:-_FITTED_FRAMES]).argmax())
    return start, start + _FITTED_FRAMES


@dataclass(frozen=True)
class _Filtered:
    """States after each frame, (n, K, 2D) and (n, K, 2D, 2D); squares and logdet (n, K) of the innovations, NaN = none."""

    mean: FloatArray
    spread: FloatArray
    squares: FloatArray
    logdet: FloatArray


def _filter(
    points: FloatArray, covariance: FloatArray, known: BoolArray, q: FloatArray, noise: FloatArray, *, keep: bool = True
) -> _Filtered:
    """Forwards.  A keypoint begins at its first point, standing still with a velocity that anything may be."""
    n, keypoints, d = points.shape
    step, shake = _motion(d), _shake(d)[None] * q[:, None, None]
    mean: FloatArray = np.zeros((keypoints, 2 * d))
    spread: FloatArray = np.zeros((keypoints, 2 * d, 2 * d))
    begun, rejected = np.zeros(keypoints, dtype=np.bool_), np.zeros(keypoints, dtype=np.int64)
    out = _Filtered(
        np.full((n if keep else 0, keypoints, 2 * d), np.nan),
        np.full((n if keep else 0, keypoints, 2 * d, 2 * d), np.nan),
        np.full((n, keypoints), np.nan),
        np.full((n, keypoints), np.nan),
    )
    gate = chi2.isf(_GATE, d)
    eye = np.eye(2 * d)
    for t in range(n):
        mean, spread = mean @ step.T, step @ spread @ step.T + shake
        measured = known[t] & begun
        if measured.any():
            at = np.flatnonzero(measured)
            r = noise[at, None, None] * covariance[t, at]
            innovation, s = points[t, at] - mean[at, :d], spread[at, :d, :d] + r
            gain = np.swapaxes(np.linalg.solve(s, spread[at][:, :d, :]), 1, 2)
            squares = np.einsum("ki,ki->k", innovation, np.linalg.solve(s, innovation[..., None])[..., 0])
            out.squares[t, at], out.logdet[t, at] = squares, np.linalg.slogdet(s)[1]
            wrong = squares > gate
            rejected[at] = np.where(wrong, rejected[at] + 1, 0)
            again = at[wrong & (rejected[at] > _MOST_REJECTED)]
            begun[again], rejected[again] = False, 0
            good = ~wrong
            taken, gain = at[good], gain[good]
            mean[taken] += np.einsum("kij,kj->ki", gain, innovation[good])
            left = eye - np.concatenate([gain, np.zeros((len(taken), 2 * d, d))], axis=2)
            spread[taken] = left @ spread[taken] @ np.swapaxes(left, 1, 2) + gain @ r[good] @ np.swapaxes(gain, 1, 2)
        fresh = np.flatnonzero(known[t] & ~begun)
        if len(fresh):
            r = noise[fresh, None, None] * covariance[t, fresh]
            mean[fresh] = np.concatenate([points[t, fresh], np.zeros((len(fresh), d))], axis=1)
            spread[fresh] = 0.0
            spread[fresh[:, None, None], np.arange(d)[:, None], np.arange(d)] = r
            wide = 1e4 * (np.trace(r, axis1=1, axis2=2) / d + q[fresh])
            spread[fresh[:, None], np.arange(d, 2 * d), np.arange(d, 2 * d)] = wide[:, None]
            begun[fresh] = True
        if keep:
            out.mean[t], out.spread[t] = np.where(begun[:, None], mean, np.nan), np.where(begun[:, None, None], spread, np.nan)
    return out


def _backwards(filtered: _Filtered, q: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean, spread = filtered.mean.copy(), filtered.spread.copy()
    d = mean.shape[-1] // 2
    step, shake = _motion(d), _shake(d)[None] * q[:, None, None]
    for t in range(len(mean) - 2, -1, -1):
        at = np.flatnonzero(np.isfinite(filtered.mean[t, :, 0]))
        if not len(at):
            break
        ahead = step @ filtered.spread[t, at] @ step.T + shake[at]
        gain = np.swapaxes(np.linalg.solve(ahead, step @ filtered.spread[t, at]), 1, 2)
        mean[t, at] += np.einsum("kij,kj->ki", gain, mean[t + 1, at] - filtered.mean[t, at] @ step.T)
        spread[t, at] += gain @ (spread[t + 1, at] - ahead) @ np.swapaxes(gain, 1, 2)
    return mean, spread


def _motion(d: int) -> FloatArray:
    """One frame further."""
    return np.block([[np.eye(d), np.eye(d)], [np.zeros((d, d)), np.eye(d)]])


def _shake(d: int) -> FloatArray:
    """What white acceleration of density 1 adds in one frame."""
    return np.kron(np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]]), np.eye(d))


def _near_a_point(known: BoolArray) -> BoolArray:
    """(n, K) between the first and the last point, and not in a gap of more than LONGEST_GAP frames."""
    number: IntArray = np.arange(len(known))[:, None]
    before = np.maximum.accumulate(np.where(known, number, -1), axis=0)
    after = np.minimum.accumulate(np.where(known, number, len(known))[::-1], axis=0)[::-1]
    return np.asarray((before >= 0) & (after < len(known)) & (after - before <= LONGEST_GAP + 1))

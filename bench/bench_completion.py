"""Cross-view completion: how near a completed point lies, and how many clicks a frame takes.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_completion [--data FOLDER]

The hand-labelled mouse of dannce (six cameras, 22 keypoints) and the walking person of pose2sim (four cameras, 15 keypoints;
triangulated detections are the reference).  A click lies beside the reference by noise of 5 px (2 px for the person), standard
deviation of each coordinate.  The model is a stand-in, not a trained network: the reference with noise of 6 px, and one
point in twenty 60 px off ("good"), or 15 px and one in five ("weak").  Its errors are independent
of one another, which a network's are not.

*Distance*: a keypoint is clicked in one camera, then in a second; the distance of the completed points to the reference in the
cameras that were not clicked.  *Clicks*: a simulated person clicks the point that is farthest off until none is farther from the
reference than a share of the diagonal of the subject's box in that picture; a point that was clicked counts as right.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from label_config.values import BoolArray, FloatArray
from ml_backend.geometry.calibration import read_calibration
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.cross_view import complete_frame
from plugins.demo.demo_recordings import real_recording

FRAMES, MOST_CLICKS = 12, 200
MODELS = {"none": None, "weak": (15.0, 0.2), "good": (6.0, 0.05)}
GROSS_PX = 60.0
SHARES = (0.01, 0.02)
SIZE_PX = (1152, 1024)


#: Number of a frame and its reference (V, K, 2), with chance → what the model says (V, K, 2), NaN = nothing.
Model = Callable[[int, FloatArray, np.random.Generator], FloatArray]


@dataclass(frozen=True)
class Take:
    """A recording with its reference (m, V, K, 2) px, NaN = not known."""

    name: str
    rig: Rig
    reference: FloatArray
    click_px: float


def takes(folder: Path) -> Iterator[Take]:
    path = folder / "dannce_mouse_6cam/markerless_mouse_1/label3d_dannce.mat"
    rig = read_calibration(path, sizes_px={f"Camera{i}": SIZE_PX for i in range(1, 7)}).rig
    cells = [cell[0, 0] for cell in loadmat(path, variable_names=["labelData"])["labelData"].ravel()]
    xy = np.stack([cell["data_2d"].reshape(-1, 22, 2) for cell in cells], axis=1)
    yield Take("dannce_mouse_6cam", rig, _spread(xy), 5.0)
    with tempfile.TemporaryDirectory() as work:
        person = real_recording(folder / "pose2sim_single_4cam", Path(work))
    if person.rig is None:
        raise SystemExit("pose2sim_single_4cam: expected a calibration")
    yield Take("pose2sim_single_4cam", person.rig, _spread(np.asarray(person.truth.px)), 2.0)


def _spread(xy: FloatArray) -> FloatArray:
    """Frames over the whole recording in which most points are known."""
    known = np.isfinite(xy).all(axis=-1).mean(axis=(1, 2))
    good = np.flatnonzero(known > 0.8)
    chosen: FloatArray = xy[good[np.linspace(0, len(good) - 1, min(FRAMES, len(good))).astype(int)]]
    return chosen


def predicted(reference: FloatArray, model: tuple[float, float] | None, rng: np.random.Generator) -> FloatArray:
    """(V, K, 2) what the stand-in for a model says."""
    if model is None:
        return np.full(reference.shape, np.nan)
    noise, gross = model
    xy = reference + rng.normal(0, noise, reference.shape)
    wild = rng.random(reference.shape[:2]) < gross
    angle = rng.uniform(0, 2 * np.pi, wild.sum())
    xy[wild] += GROSS_PX * np.stack((np.cos(angle), np.sin(angle)), axis=-1)
    return xy


def stand_in(model: tuple[float, float] | None) -> Model:
    """The reference with noise, in place of a network."""
    return lambda _, reference, rng: predicted(reference, model, rng)


def distances(take: Take, name: str) -> None:
    """One click, then a second one in another camera, of every keypoint."""
    rng = np.random.default_rng(0)
    off: dict[int, list[float]] = {1: [], 2: []}
    possible = {1: 0, 2: 0}
    own: list[float] = []
    for reference in take.reference:
        model = predicted(reference, MODELS[name], rng)
        own += np.linalg.norm(model - reference, axis=-1).ravel().tolist()
        for k in range(reference.shape[1]):
            seen = np.flatnonzero(np.isfinite(reference[:, k]).all(axis=-1))
            if len(seen) < 3:
                continue
            clicked = np.full(reference.shape, np.nan)
            for number, view in enumerate(rng.permutation(seen)[:2], start=1):
                clicked[view, k] = reference[view, k] + rng.normal(0, take.click_px, 2)
                found = complete_frame(take.rig, clicked, model, np.arange(reference.shape[1]) == k, newest=int(view))
                open_ = np.isnan(clicked[seen, k, 0])
                distance = np.linalg.norm(found.xy_px[seen, k] - reference[seen, k], axis=-1)[open_]
                possible[number] += len(distance)
                off[number] += distance[np.isfinite(distance)].tolist()
    line = f"  {take.name:22} model {name:5} (off by {np.nanmedian(own) if np.isfinite(own).any() else np.nan:4.1f} px)"
    for number in (1, 2):
        part = np.array(off[number])
        text = "nothing" if not part.size else f"{np.median(part):5.1f} px median, {np.percentile(part, 90):5.1f} 90 %"
        line += f" | {number} click: {text}, {len(part) / possible[number]:.0%} completed"
    print(line, flush=True)


def clicks(take: Take, says: Model, share: float, completion: bool) -> tuple[float, float]:
    """Mean clicks in pictures and accepted suggestions (ticks) per frame until it is finished."""
    rng = np.random.default_rng(1)
    totals, ticks = [], []
    for place, reference in enumerate(take.reference):
        known: BoolArray = np.asarray(np.isfinite(reference).all(axis=-1))
        limit = share * np.array([_diagonal(view) for view in reference])
        model = says(place, reference, rng)
        now, clicked = model.copy(), np.full(reference.shape, np.nan)
        number = accepted = 0
        while number < MOST_CLICKS:
            off = np.linalg.norm(now - reference, axis=-1)
            off = np.where(np.isnan(off), np.inf, off)
            wrong = np.where(known & np.isnan(clicked[..., 0]) & (off > limit[:, None]), off, -1.0)
            if wrong.max() < 0:
                break
            view, k = (int(place) for place in np.unravel_index(_first(wrong, clicked), wrong.shape))
            clicked[view, k] = now[view, k] = reference[view, k] + rng.normal(0, take.click_px, 2)
            number += 1
            if completion:
                found = complete_frame(take.rig, clicked, model, np.arange(len(now[0])) == k, newest=view).xy_px
                given = np.isfinite(found).all(axis=-1) & known
                better = np.linalg.norm(found - reference, axis=-1)
                # The person accepts what is an improvement as a whole.
                before = np.where(given, np.minimum(off, 1e3), 0.0).sum()
                if given.any() and np.where(given, better, 0.0).sum() < before:
                    now[given] = found[given]
                    accepted += 1
        totals.append(number)
        ticks.append(accepted)
    return float(np.mean(totals)), float(np.mean(ticks))


def _first(wrong: FloatArray, clicked: FloatArray) -> int:
    """The farthest point, those of keypoints that were clicked elsewhere first: two clicks settle a keypoint."""
    begun = np.isfinite(clicked[..., 0]).any(axis=0)
    order = np.where(wrong >= 0, np.minimum(wrong, 1e6) + np.where(begun, 1e7, 0.0), -1.0)
    return int(order.argmax())


def _diagonal(xy_px: FloatArray) -> float:
    extent = np.nanmax(xy_px, axis=0) - np.nanmin(xy_px, axis=0)
    return float(np.hypot(*extent))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    folder = parser.parse_args().data
    for take in takes(folder):
        for name in MODELS:
            distances(take, name)
        for share in SHARES:
            for name in MODELS:
                says = stand_in(MODELS[name])
                alone, _ = clicks(take, says, share, completion=False)
                helped, ticks = clicks(take, says, share, completion=True)
                print(
                    f"  {take.name:22} within {share:.0%}, model {name:5}: {alone:6.1f} clicks without, {helped:5.1f} with "
                    f"completion ({ticks:.1f} ticks)",
                    flush=True,
                )


if __name__ == "__main__":
    main()

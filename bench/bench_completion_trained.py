"""Clicks per finished frame with a network that was really trained, in place of the stand-in of ``bench_completion``.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_completion_trained [--frames 60] [--input 128] [--steps 1500]

The walking person of pose2sim (four full-HD cameras, 15 keypoints; the reference is what another network detected, triangulated)
and the capture studio (four cameras of 192 × 192 pixels, exact).  The network is trained on the first frames with their reference
as labels and predicts the last ones, some frames after these.  What is on the screen at first is what the loop shows: the
place that the cameras agree on, where they do, else the prediction.  Click noise is 2 px for the person, 0.4 px in the studio.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from bench.bench_completion import SHARES, Take, clicks
from label_config.settings.recording_settings import RecordingSettings
from label_config.values import ByteArray, FloatArray, Frame, ImageRef, TrainingTarget
from ml_backend.geometry.consistency import agreed_place
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import train
from ml_backend.recordings import UnreadableImageError, iter_images, open_recording, read_image
from plugins.demo.demo_recordings import DemoRecording, capture_studio, real_recording

#: Frames between those that are learnt from and those that are predicted.
GAP = 5
MOST_PREDICTED = 16


def read(ref: ImageRef) -> ByteArray:
    """The picture."""
    return read_image(ref)


def targets(source: DemoRecording, frames: list[Frame], truth: FloatArray) -> list[TrainingTarget]:
    """One per picture; ``truth`` (n, V, K, 2)."""
    return [
        TrainingTarget(frame.images[view], xy[v], np.isfinite(xy[v]).all(axis=-1).astype(np.float64), key=frame.key, view=view)
        for frame, xy in zip(frames, truth, strict=True)
        for v, view in enumerate(source.views)
        if np.isfinite(xy[v]).all(axis=-1).any()
    ]


def predictions(source: DemoRecording, frames: list[Frame], model: Predictor) -> FloatArray:
    """(n, V, K, 2) px."""
    places = [(f, v) for f in range(len(frames)) for v in range(len(source.views))]
    found = np.full((len(frames), len(source.views), len(source.skeleton), 2), np.nan)
    for number, picture in iter_images([frames[f].images[source.views[v]] for f, v in places]):
        if not isinstance(picture, UnreadableImageError):
            found[places[number]] = model.predict([picture]).xy_px[0]
    return found


def measure(source: DemoRecording, click_px: float, config: TrainConfig, count: int, folder: Path) -> None:
    """Train, predict, and let the simulated person click."""
    if source.rig is None:
        raise SystemExit(f"{source.title}: expected a calibration")
    entry = RecordingSettings.model_validate({**source.entry, "stride": 1})
    every = list(open_recording(entry).frames)[: len(source.truth.px)]
    later = np.linspace(count + GAP, len(every) - 1, MOST_PREDICTED).astype(int)
    result = train(config, targets(source, every[:count], source.truth.px[:count]), source.skeleton, read, folder)
    raw = predictions(source, [every[i] for i in later], Predictor.load(result.folder, "cpu"))
    reference = source.truth.px[later]
    agreed = agreed_place(source.rig, triangulate_robust(source.rig, raw))
    shown = np.where(np.isfinite(agreed), agreed, raw)
    off, off_raw = (np.linalg.norm(xy - reference, axis=-1) for xy in (shown, raw))
    extent = np.nanmax(reference, axis=2) - np.nanmin(reference, axis=2)
    share = off / np.hypot(extent[..., 0], extent[..., 1])[..., None]
    known = share[np.isfinite(share)]
    print(
        f"  {source.title}: {count} frames, {config.steps} steps at {config.input_px[0]} px; median error "
        f"{np.nanmedian(off_raw):.1f} px predicted, {np.nanmedian(off):.1f} px shown = {np.median(known):.2%} of the box; "
        f"farther than 1 %: {np.mean(known > 0.01):.0%}, 2 %: {np.mean(known > 0.02):.0%}",
        flush=True,
    )
    by_keypoint = np.nanmean(share > 0.02, axis=(0, 1))
    worst = [source.skeleton.keypoints[k] for k in np.argsort(-by_keypoint)[:4]]
    print(f"    farthest off: {', '.join(worst)}", flush=True)
    take = Take(source.title, source.rig, reference, click_px)
    for name, points in (("as predicted", raw), ("as agreed", shown)):
        says = partial(_of_frame, points)
        for limit in SHARES:
            alone, _ = clicks(take, says, limit, completion=False)
            helped, ticks = clicks(take, says, limit, completion=True)
            print(f"    shown {name}, within {limit:.0%}: {alone:5.1f} clicks, {helped:5.1f} with completion ({ticks:.1f} ticks)")


def _of_frame(points: FloatArray, place: int, reference: FloatArray, rng: np.random.Generator) -> FloatArray:
    return np.asarray(points[place])


def main() -> None:
    """Both recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--input", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--only", choices=("studio", "person"))
    given = parser.parse_args()
    config = TrainConfig(input_px=(given.input, given.input), sigma_hm=1.5, steps=given.steps, threads=1, device="cpu")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if given.only != "person":
            measure(capture_studio(work, 0, pool=100), 0.4, config, given.frames, work / "studio-model")
        if given.only != "studio":
            person = real_recording(given.data / "pose2sim_single_4cam", work)
            measure(person, 2.0, config, given.frames, work / "person-model")


if __name__ == "__main__":
    main()

"""Training and inference of PoseResNet-50: what the loop does against a plain eager float32 loop, in one run.

Pictures of 256 × 256 pixels with 17 points, augmented as in training.  The plain loop makes its crops in the same process, in
turn with the steps, and computes in float32 without TF32; "crops ready" spares it even that.  Figures are pictures per second on
the wall, medians over the parts of a run after the first, which holds compilation and warm-up.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from label_config.values import ByteArray, ImageRef, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.dataset import Batch, CropDataset
from ml_backend.pose.device import to_network
from ml_backend.pose.heads import make_head, pose_losses
from ml_backend.pose.infer import Predictor
from ml_backend.pose.networks import build_network
from ml_backend.pose.training import Progress, train

KEYPOINTS, SIDE = 17, 256
SKELETON = Skeleton("body", tuple(f"point {k}" for k in range(KEYPOINTS)))
PARTS = 5


def picture(ref: ImageRef) -> ByteArray:
    """Noise; what it shows takes no part in the time."""
    return np.random.default_rng(int(ref.source)).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)


def targets(count: int) -> list[TrainingTarget]:
    """Points anywhere in their pictures."""
    rng = np.random.default_rng(0)
    box = (0.0, 0.0, float(SIDE), float(SIDE))
    return [
        TrainingTarget(ImageRef(str(i)), rng.uniform(8, SIDE - 8, (KEYPOINTS, 2)), np.ones(KEYPOINTS), box_px=box)
        for i in range(count)
    ]


def report(name: str, per_second: float, reference: float) -> float:
    """One line of the table; the factor against the plain loop."""
    print(f"  {name:<52} {per_second:9.1f} pictures/s  {per_second / reference:6.2f} x plain", flush=True)
    return per_second / reference


def parts_of(call: Callable[[int], object], count: int, steps: int, device: str) -> float:
    """``count`` pictures per step, each step timed in PARTS parts after one that does not count."""
    rates = []
    for part in range(PARTS + 1):
        start = time.perf_counter()
        for step in range(part * steps, (part + 1) * steps):
            call(step)
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(steps * count / (time.perf_counter() - start))
    return float(np.median(rates[1:]))


def plain_training(config: TrainConfig, data: CropDataset, device: str, *, ready: bool, steps: int) -> float:
    """The eager float32 loop that anybody would write first."""
    network = build_network(config.network, KEYPOINTS, **config.network_args).to(device).train()
    head = make_head(network, config)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    made: list[Batch] = [data.batch(0, config.batch)] if ready else []

    def step(number: int) -> None:
        batch = made[0] if made else data.batch(number * config.batch, config.batch)
        output = network(to_network(batch.crops, torch.device(device)).contiguous())
        target, weight = torch.from_numpy(batch.target).to(device), torch.from_numpy(batch.weight).to(device)
        loss = pose_losses(head, output, target, weight).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return parts_of(step, config.batch, steps, device)


def our_training(config: TrainConfig, folder: Path, count: int, steps: int) -> float:
    """``train`` itself, between its reports."""
    seen: list[tuple[int, float]] = []

    def note(progress: Progress) -> None:
        seen.append((progress.step, time.perf_counter()))

    config = config.but(steps=max((PARTS + 1) * steps, 60), checkpoint_every_s=1e9)
    train(config, targets(count), SKELETON, picture, folder, progress=note)
    number, when = np.array(seen).T
    rates = config.batch * np.diff(number) / np.diff(when)
    return float(np.median(rates[len(rates) // 3 :]))


def plain_inference(config: TrainConfig, device: str, steps: int) -> float:
    """The network alone in float32, crops ready, maps left on the device."""
    network = build_network(config.network, KEYPOINTS, **config.network_args).to(device).eval()
    crops = np.stack([picture(ImageRef(str(i))) for i in range(config.batch)])

    def step(number: int) -> None:
        with torch.inference_mode():
            network(to_network(crops, torch.device(device)).contiguous())

    return parts_of(step, config.batch, steps, device)


def our_inference(config: TrainConfig, folder: Path, device: str, steps: int) -> float:
    """``Predictor.predict``: crops out, points in pixels of the picture back."""
    model = Predictor.load(folder, device, batch=config.batch)
    images = [picture(ImageRef(str(i))) for i in range(config.batch)]
    return parts_of(lambda number: model.predict(images), config.batch, steps, device)


def compare(config: TrainConfig, device: str, steps: int, count: int) -> dict[str, float]:
    """Print the whole table; ours as factors of the plain loop."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    head = make_head(build_network(config.network, KEYPOINTS, **config.network_args), config)
    data = CropDataset(targets(count), SKELETON, head, config, picture)
    plain = plain_training(config, data, device, ready=False, steps=steps)
    print(f"  training, {config.network}, {config.input_px[0]} x {config.input_px[1]}, batch {config.batch}, {device}")
    report("plain eager float32 loop", plain, plain)
    report("plain eager float32 loop, crops ready", plain_training(config, data, device, ready=True, steps=steps), plain)
    factors = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        factors["training"] = report("ours", our_training(config, folder / "eager", count, steps), plain)
        if device == "cuda":
            compiled = our_training(config.but(compile=True), folder / "compiled", count, steps)
            factors["training, compiled"] = report("ours, compiled", compiled, plain)
        plain = plain_inference(config, device, steps)
        print("  inference")
        report("plain eager float32 network, crops ready", plain, plain)
        found = our_inference(config, folder / "eager", device, steps)
        factors["inference"] = report("ours, pictures to points", found, plain)
    return factors

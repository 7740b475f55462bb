"""The training engine: one resumable run from targets to a model folder.

1. read every picture once into the crop cache (unreadable ones are skipped and reported)
2. build the network, take over the weights to start from
3. go on from a checkpoint of the very same run, if the folder has one
4. steps; every random number is a function of (seed, position), so a resumed run repeats the uninterrupted one
5. weights and manifest into the folder, checkpoint away
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from label_config.skeleton import Skeleton
from label_config.values import BadInputError, ParallaxError, TrainingTarget
from ml_backend.pose import checkpoint
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.dataset import CropDataset, LoadImage, Skipped
from ml_backend.pose.device import autocast, choose_device, free_memory, is_out_of_memory, threads, to_network
from ml_backend.pose.heads import Head, make_head
from ml_backend.pose.networks import Part, PoseNetwork, build_network, part_of
from ml_backend.pose.prefetch import Prefetcher
from ml_backend.pose.schedules import learning_rate, since_best
from ml_backend.pose.weights import MANIFEST_NAME, Manifest, load_model, read_manifest, read_tensors, save_model, warm_start

log = logging.getLogger(__name__)

#: Steps between two reports; losses stay on the device in between.
REPORT_EVERY = 20

Ending = Literal["done", "time", "early", "asked"]


@dataclass(frozen=True)
class Progress:
    """Where a run is.  loss is the mean of the last report's steps; validation_px the newest mean error in image pixels."""

    step: int
    steps: int
    eta_s: float
    loss: float
    validation_px: float | None
    batch: int


@dataclass(frozen=True)
class TrainResult:
    """folder holds the model unless ``ending`` is "asked"; then it holds a checkpoint, and the same call goes on from it.

    losses has one entry per step; seconds counts the steps of all attempts; batch is smaller than configured after memory
    ran out; validations are mean errors in image pixels, oldest first.
    """

    folder: Path
    ending: Ending
    steps: int
    seconds: float
    batch: int
    losses: tuple[float, ...]
    validations: tuple[float, ...]
    skipped: tuple[Skipped, ...]
    manifest: Manifest | None


def train(
    config: TrainConfig,
    targets: Sequence[TrainingTarget],
    skeleton: Skeleton,
    load_image: LoadImage,
    folder: Path,
    *,
    init: Path | None = None,
    validation: Sequence[TrainingTarget] = (),
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> TrainResult:
    """Train one network in ``folder``; see the module.

    init         model folder or weights file to start from, None = fresh
    validation   targets for plateau decay and early stopping (``config.validate_every``)
    should_stop  asked before every step; True leaves a checkpoint and returns with ending "asked"
    extra        kept in the manifest
    Raises BadInputError for unusable targets, configuration or weights, ParallaxError when the loss is no number any more.
    """
    run = run_hash(config, targets, validation, skeleton, init)
    finished = _finished(folder, run, config)
    if finished is not None:
        return finished
    with threads(config.threads):
        return _Run(config, targets, skeleton, load_image, folder, init, validation, run).go(progress, should_stop, extra or {})


def run_hash(
    config: TrainConfig,
    targets: Sequence[TrainingTarget],
    validation: Sequence[TrainingTarget],
    skeleton: Skeleton,
    init: Path | None,
) -> str:
    """sha256 over everything that decides how a run goes."""
    digest = hashlib.sha256()
    digest.update(json.dumps([config.to_json(), skeleton.keypoints, skeleton.pairs], sort_keys=True).encode())
    for target in (*targets, *validation):
        digest.update(json.dumps([target.image.to_json(), target.box_px], sort_keys=True).encode())
        digest.update(np.ascontiguousarray(target.xy_px, dtype=np.float64).tobytes())
        digest.update(np.ascontiguousarray(target.weight, dtype=np.float64).tobytes())
    digest.update(str(len(targets)).encode())
    if init is not None:
        known = (init / MANIFEST_NAME).is_file()
        digest.update(json.dumps(dict(read_manifest(init).files)).encode() if known else str(init).encode())
    return digest.hexdigest()


def _finished(folder: Path, run: str, config: TrainConfig) -> TrainResult | None:
    """The result of the same run when it ended before, as after a crash between training and publishing."""
    if not (folder / MANIFEST_NAME).is_file():
        return None
    try:
        _, manifest = load_model(folder, plugins=config.plugins)
    except BadInputError:
        return None
    if manifest.run != run:
        return None
    metrics = manifest.metrics
    return TrainResult(
        folder, "done", int(metrics["steps"]), metrics["seconds"], int(metrics["batch"]), (metrics["loss"],), (), (), manifest
    )


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        targets: Sequence[TrainingTarget],
        skeleton: Skeleton,
        load_image: LoadImage,
        folder: Path,
        init: Path | None,
        validation: Sequence[TrainingTarget],
        run: str,
    ) -> None:
        self.config, self.skeleton, self.folder = config, skeleton, folder
        self.device = choose_device(config.device)
        torch.manual_seed(config.seed)
        network = build_network(config.network, len(skeleton), plugins=config.plugins, **config.network_args)
        if init is not None:
            start = warm_start(network, read_tensors(init), str(init))
            log.info("training: %d tensors from %s, %d fresh", start.taken, init, len(start.fresh))
        self.network: PoseNetwork = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = make_head(self.network, config)
        self.data = CropDataset(targets, skeleton, self.head, config, load_image)
        self.validation = CropDataset(validation, skeleton, self.head, config, load_image) if validation else None
        self.optimizer = make_optimizer(self.network, config)
        self.position = checkpoint.Position(run, config.batch)
        self.best: dict[str, Tensor] | None = None
        resumed = checkpoint.load_checkpoint(folder, run, self.network, self.optimizer)
        if resumed is not None:
            self.position, self.best = resumed
            log.info("training: going on from step %d of %d", self.position.step, config.steps)
        self.forward: Any = torch.compile(self.network) if config.compile and self.device.type == "cuda" else self.network

    def go(
        self, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None, extra: Mapping[str, Any]
    ) -> TrainResult:
        ending: Ending | None = None
        pending: list[Tensor] = []
        saved_at = started = time.monotonic()
        before = self.position.seconds
        with Prefetcher(self.data, self.device.type == "cuda") as batches:
            while ending is None:
                ending = self._ending(should_stop)
                if ending is None:
                    pending.append(self._step(batches))
                    self.position.seconds = before + time.monotonic() - started
                    validated = self._validate()
                    if validated or len(pending) >= REPORT_EVERY or self.position.step >= self.config.steps:
                        self._flush(pending, progress)
                if ending == "asked" or (ending is None and time.monotonic() - saved_at >= self.config.checkpoint_every_s):
                    self._flush(pending, None)
                    checkpoint.save_checkpoint(self.folder, self.network, self.optimizer, self.position, self.best)
                    saved_at = time.monotonic()
        self._flush(pending, None)
        manifest = None if ending == "asked" else self._publish(extra)
        position = self.position
        return TrainResult(
            folder=self.folder,
            ending=ending,
            steps=position.step,
            seconds=position.seconds,
            batch=position.batch,
            losses=tuple(position.losses),
            validations=tuple(position.validations),
            skipped=tuple(self.data.skipped),
            manifest=manifest,
        )

    def _ending(self, should_stop: Callable[[], bool] | None) -> Ending | None:
        position, config = self.position, self.config
        if position.step >= config.steps:
            return "done"
        if self._share_of_time() >= 1:
            return "time"
        if config.stop_patience is not None and since_best(position.validations) > config.stop_patience:
            return "early"
        return "asked" if should_stop is not None and should_stop() else None

    def _share_of_time(self) -> float:
        limit = self.config.max_minutes
        return 0.0 if limit is None else self.position.seconds / (60 * limit)

    def _step(self, batches: Prefetcher) -> Tensor:
        """One optimiser step; halves the batch until it fits the memory."""
        while True:
            try:
                return self._try_step(batches)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.position.batch == 1:
                    raise
            self.optimizer.zero_grad(set_to_none=True)
            free_memory(self.device)
            self.position.batch //= 2
            log.warning("training: out of memory; going on with a batch of %d", self.position.batch)

    def _try_step(self, batches: Prefetcher) -> Tensor:
        position, config = self.position, self.config
        torch.manual_seed(step_seed(config.seed, position.step))  # for dropout
        # A squeezed schedule still ends with small rates when time, not steps, runs out.
        done = max(position.step / config.steps, self._share_of_time())
        rate = learning_rate(config, done, position.drawn / len(self.data), position.validations)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        batch = batches.get(position.drawn, position.batch)
        self.network.train()
        with autocast(self.device, config.precision):
            prediction = self.forward(to_network(batch.crops, self.device)).prediction
        target = torch.from_numpy(batch.target).to(self.device)
        weight = torch.from_numpy(batch.weight).to(self.device)
        loss = self.head.loss(prediction.float(), target, weight)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        position.step += 1
        position.drawn += position.batch
        return loss.detach()

    def _flush(self, pending: list[Tensor], progress: Callable[[Progress], None] | None) -> None:
        if not pending:
            return
        losses = [float(value) for value in torch.stack(pending).cpu()]
        pending.clear()
        if not all(map(math.isfinite, losses)):
            raise ParallaxError(
                f"training: the loss is no number any more near step {self.position.step}; expected a finite loss; "
                f"lower train.lr (now {self.config.lr:g}) or start from other weights"
            )
        self.position.losses += losses
        if progress is not None:
            progress(self._progress(float(np.mean(losses))))

    def _progress(self, loss: float) -> Progress:
        position, config = self.position, self.config
        eta = position.seconds / position.step * (config.steps - position.step)
        if config.max_minutes is not None:
            eta = min(eta, 60 * config.max_minutes - position.seconds)
        newest = position.validations[-1] if position.validations else None
        return Progress(position.step, config.steps, max(eta, 0.0), loss, newest, position.batch)

    def _validate(self) -> bool:
        config, position = self.config, self.position
        if self.validation is None or not config.validate_every or position.step % config.validate_every:
            return False
        position.validations.append(mean_error_px(self.network, self.head, self.validation, self.device, config))
        if since_best(position.validations) == 0:
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        return True

    def _publish(self, extra: Mapping[str, Any]) -> Manifest:
        if self.best is not None:
            self.network.load_state_dict(self.best)
        position = self.position
        metrics = {
            "loss": float(np.mean(position.losses[-REPORT_EVERY:])),
            "steps": float(position.step),
            "seconds": position.seconds,
            "batch": float(position.batch),
            "skipped": float(len(self.data.skipped)),
        }
        if position.validations:
            metrics["validation_px"] = min(position.validations)
        manifest = Manifest(
            skeleton=self.skeleton,
            config=replace(self.config, network_args=dict(self.config.network_args)),
            two_stage=self.data.two_stage,
            subject_px=self.data.subject_px,
            run=position.run,
            metrics=metrics,
            extra=extra,
        )
        written = save_model(self.folder, self.network, manifest)
        checkpoint.remove_checkpoint(self.folder)
        return written


def step_seed(seed: int, step: int) -> int:
    """A seed for torch's own generator that differs between steps and runs."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def make_optimizer(network: PoseNetwork, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser with one group per part of the network; each group's ``factor`` multiplies the learning rate."""
    factors = dict(zip((Part.BACKBONE, Part.DECODER, Part.FINAL), config.lr_parts, strict=True))
    members: dict[Part, list[torch.nn.Parameter]] = {part: [] for part in factors}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            members[part_of(name)].append(parameter)
    groups = [{"params": found, "factor": factors[part]} for part, found in members.items() if found]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.RMSprop(groups, lr=config.lr, weight_decay=config.weight_decay)


def mean_error_px(network: PoseNetwork, head: Head, data: CropDataset, device: torch.device, config: TrainConfig) -> float:
    """Mean distance to the labels over all weighted keypoints, image pixels; a keypoint without prediction counts as
    half the crop's side."""
    network.eval()
    distances = []
    for first in range(0, len(data), config.batch):
        batch = data.plain(first, config.batch)
        with torch.inference_mode(), autocast(device, config.precision):
            prediction = network(to_network(batch.crops, device)).prediction.float().cpu().numpy()
        error_hm = np.linalg.norm(head.decode(prediction).xy_hm - batch.xy_hm, axis=-1)
        error_hm = np.where(np.isnan(error_hm), 0.5 * max(head.size_hm), error_hm)
        distances.append((error_hm * batch.px_per_hm[:, None])[batch.weight > 0])
    return float(np.mean(np.concatenate(distances)))

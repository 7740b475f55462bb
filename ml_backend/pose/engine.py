"""The inside of a training run: its state, one step, and what is reported, saved and published."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from label_config.values import ParallaxError, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose import checkpoint
from ml_backend.pose.auxiliaries import AuxiliaryStep, attach
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.dataset import Batch, CropDataset, LoadImage, Skipped
from ml_backend.pose.device import autocast, choose_device, free_memory, is_out_of_memory, to_network
from ml_backend.pose.distributed import Group
from ml_backend.pose.heads import check_outputs, make_head, pose_losses
from ml_backend.pose.networks import PoseNetwork, PoseOutput, build_network
from ml_backend.pose.networks.strided import check_convolutions
from ml_backend.pose.optimizer import make_optimizer, step_seed
from ml_backend.pose.prefetch import Prefetcher
from ml_backend.pose.schedules import learning_rate, since_best
from ml_backend.pose.validation import mean_error_px
from ml_backend.pose.weights import (
    Manifest,
    WarmStart,
    read_manifest,
    read_tensors,
    save_model,
    warm_start,
    without_pretrained,
)

log = logging.getLogger("parallax.pose")

#: Steps between two reports; losses stay on the device in between.
REPORT_EVERY = 20
#: Crops whose labels tell the auxiliary network for links where to start.
START_CROPS = 64

Ending = Literal["done", "time", "early", "asked"]
_ENDINGS: tuple[Ending, ...] = get_args(Ending)


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

    losses has one entry per step; seconds counts the steps of all attempts; batch is that of the last step, smaller than
    configured after memory ran out; validations are mean errors in image pixels, oldest first.
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


class Run:
    """One run of ``train``."""

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
        at_most: int,
    ) -> None:
        """``at_most`` crops per step, whatever configuration and checkpoint say; the others as ``train`` takes them."""
        self.config, self.skeleton, self.folder = config, skeleton, folder
        self.device = choose_device(config.device)
        self.group = Group.current()
        torch.manual_seed(config.seed)
        arguments = config.network_args if init is None else without_pretrained(config, config.plugins)
        network = build_network(config.network, len(skeleton), plugins=config.plugins, **arguments)
        self.head = make_head(network, config)
        check_outputs(network, self.head, config, len(skeleton))
        self.auxiliary = attach(network, config, skeleton)
        check_convolutions(network, self.device)
        start = WarmStart(0, tuple(network.state_dict()))
        if init is not None:
            start = warm_start(network, read_tensors(init), str(init))
            log.info("training: %d tensors from %s, %d fresh", start.taken, init, len(start.fresh))
        self.data = CropDataset(targets, skeleton, self.head, config, load_image)
        self.validation = CropDataset(validation, skeleton, self.head, config, load_image) if validation else None
        if self.auxiliary is not None and any(name.startswith("auxiliary.links") for name in start.fresh):
            some = self.data.batch(0, min(len(self.data), START_CROPS))
            self.auxiliary.start_at(some.xy_hm, some.weight)
        self.network: PoseNetwork = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(self.network, config)
        self.position = checkpoint.Position(run, config.batch)
        self.best: dict[str, Tensor] | None = None
        resumed = checkpoint.load_checkpoint(folder, run, self.network, self.optimizer)
        if resumed is not None:
            self.position, self.best = resumed
            log.info("training: going on from step %d of %d", self.position.step, config.steps)
        self.position.batch = min(self.position.batch, at_most)
        self.forward: Any = torch.compile(self.network) if config.compile and self.device.type == "cuda" else self.network

    def go(
        self, progress: Callable[[Progress], None] | None, should_stop: Callable[[], bool] | None, extra: Mapping[str, Any]
    ) -> TrainResult:
        ending: Ending | None
        pending: list[Tensor] = []
        saved_at = started = time.monotonic()
        before = self.position.seconds
        with Prefetcher(self.data, self.device.type == "cuda", self.group.size) as batches:
            while True:
                due = time.monotonic() - saved_at >= self.config.checkpoint_every_s
                ending, save = self._agreed(self._ending(should_stop), due)
                if save:
                    self._flush(pending, progress if ending is None else None)
                    self._save()
                    saved_at = time.monotonic()
                if ending is not None:
                    break
                pending.append(self._step(batches))
                self.position.seconds = before + time.monotonic() - started
                validated = self._validate()
                if validated or len(pending) >= REPORT_EVERY or self.position.step >= self.config.steps:
                    self._flush(pending, progress)
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

    def _agreed(self, ending: Ending | None, due: bool) -> tuple[Ending | None, bool]:
        """How the run ends, None = not yet, and whether a checkpoint is to be written, by the process that leads."""
        code = -1 if ending is None else _ENDINGS.index(ending)
        led = self.group.agree(self.device, code, self.position.seconds, due)
        self.position.seconds = led[1]  # rates follow the time that is left
        agreed = None if led[0] < 0 else _ENDINGS[int(led[0])]
        return agreed, agreed == "asked" or (agreed is None and led[2] > 0)

    def _save(self) -> None:
        self.group.average_buffers(self.network)
        if self.group.leads:
            checkpoint.save_checkpoint(self.folder, self.network, self.optimizer, self.position, self.best)
        self.group.wait()  # whoever comes back to it must find it

    def _share_of_time(self) -> float:
        limit = self.config.max_minutes
        return 0.0 if limit is None else self.position.seconds / (60 * limit)

    def _step(self, batches: Prefetcher) -> Tensor:
        """One optimiser step; every process halves its batch until the step fits the memory of all of them."""
        tried = self._gradients(batches)
        # Agreed on before gradients are exchanged: nobody may wait for some that never come.
        while self.group.any(self.device, tried is None) or tried is None:
            tried = None
            self._halve_batch()
            tried = self._gradients(batches)
        losses, packed = tried
        self.group.average_gradients(self.network, packed)
        self.optimizer.step()
        self.position.step += 1
        self.position.drawn += self.position.batch * self.group.size
        return losses

    def _halve_batch(self) -> None:
        """Forget the try.  Running statistics that it moved stay: they are averages of what these very crops show again."""
        self.optimizer.zero_grad(set_to_none=True)
        free_memory(self.device)
        if self.position.batch == 1:
            raise ParallaxError(
                f"training: memory ran out in step {self.position.step + 1} with a batch of 1; expected room for one crop on "
                f"{self.device}; lower train.input_px, choose a smaller train.network, or end what else uses this memory"
            )
        self.position.batch //= 2
        log.warning("training: going on with a batch of %d", self.position.batch)

    def _gradients(self, batches: Prefetcher) -> tuple[Tensor, Tensor | None] | None:
        """(2,) losses of the crops whose turn it is, and their gradients ready for the exchange; None when memory ran out."""
        position, config = self.position, self.config
        torch.manual_seed(step_seed(config.seed, position.step))  # for dropout
        # A squeezed schedule still ends with small rates when time, not steps, runs out.
        done = max(position.step / config.steps, self._share_of_time())
        rate = learning_rate(config, done, position.drawn / len(self.data), position.validations)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.network.train()
        try:
            batch = batches.get(position.drawn + self.group.rank * position.batch, position.batch)
            losses = self._losses(batch)
            self.optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            return losses.detach(), self.group.pack_gradients(self.network)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("training: out of memory with a batch of %d: %s", position.batch, error)
            return None

    def _losses(self, batch: Batch) -> Tensor:
        """(2,) loss of the pose network, and of its auxiliary networks."""
        with autocast(self.device, self.config.precision, training=True):
            output: PoseOutput = self.forward(to_network(batch.crops, self.device))
        target = torch.from_numpy(batch.target).to(self.device)
        weight = torch.from_numpy(batch.weight).to(self.device)
        losses = pose_losses(self.head, output, target, weight)
        beside = losses.new_zeros(())
        if self.auxiliary is not None:
            step = AuxiliaryStep(self.head, output.prediction.detach().float(), batch.xy_hm, weight, losses.detach())
            beside = self.auxiliary.loss(self.auxiliary(output.maps), step)
        return torch.stack([losses.mean(), beside])

    def _flush(self, pending: list[Tensor], progress: Callable[[Progress], None] | None) -> None:
        if not pending:
            return
        values = self.group.mean(torch.stack(pending)).cpu()
        pending.clear()
        losses: list[float] = values[:, 0].tolist()
        if not bool(torch.isfinite(values).all()):
            raise ParallaxError(
                f"training: the loss is no number any more near step {self.position.step}; expected a finite loss; "
                f"lower train.lr (now {self.config.lr:g}) or start from other weights"
            )
        self.position.losses += losses
        if progress is not None and self.group.leads:
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
        self.group.average_buffers(self.network)
        error = 0.0
        if self.group.leads:
            error = mean_error_px(self.network, self.head, self.validation, self.device, config, position.batch)
        position.validations += self.group.agree(self.device, error)
        if since_best(position.validations) == 0:
            self.best = {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}
        return True

    def _publish(self, extra: Mapping[str, Any]) -> Manifest:
        self.group.average_buffers(self.network)
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
        if self.group.leads:
            save_model(self.folder, self.network, manifest)
            checkpoint.remove_checkpoint(self.folder)
        self.group.wait()
        return read_manifest(self.folder)

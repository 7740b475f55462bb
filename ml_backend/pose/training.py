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
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import BadInputError, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.dataset import LoadImage
from ml_backend.pose.device import threads
from ml_backend.pose.distributed import KilledError, together
from ml_backend.pose.engine import Progress, Run, TrainResult
from ml_backend.pose.weights import MANIFEST_NAME, load_model, read_manifest

__all__ = ["Progress", "TrainResult", "run_hash", "train"]

log = logging.getLogger("parallax.pose")


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
    processes: int = 1,
    batch: int | None = None,
) -> TrainResult:
    """Train one network in ``folder``; see the module.

    init         model folder or weights file to start from, None = fresh
    validation   targets for plateau decay and early stopping (``config.validate_every``)
    should_stop  asked before every step; True leaves a checkpoint and returns with ending "asked"
    extra        kept in the manifest
    processes    of this host that train together, each on a device of its own with its own ``config.batch`` crops; ``load_image``
                 is pickled for them
    batch        at most so many crops per step, where ``config.batch`` was too many for an earlier try; it stays the same run,
                 and goes on from its checkpoint
    When memory runs out the batch is halved, also when the system killed one of several processes for it.
    Raises BadInputError for unusable targets, configuration or weights, ParallaxError when the loss is no number any more, and
    when memory runs out with a batch of 1.
    """
    run = run_hash(config, targets, validation, skeleton, init)
    finished = _finished(folder, run, config)
    if finished is not None:
        return finished
    at_most = config.batch if batch is None else batch
    while True:
        build = partial(Run, config, targets, skeleton, load_image, folder, init, validation, run, at_most)
        task = partial(_run, build, config.threads, extra or {})
        if processes == 1:
            return task(progress, should_stop)
        try:
            return together(processes, config.device, task, progress, should_stop)
        except KilledError as error:
            if at_most == 1:
                raise
            at_most //= 2
            log.warning("%s; going on from the last checkpoint with a batch of at most %d", error, at_most)


def _run(
    build: Callable[[], Run],
    n_threads: int,
    extra: Mapping[str, Any],
    progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> TrainResult:
    with threads(n_threads):
        return build().go(progress, should_stop, extra)


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

"""Is this a pose that the subject takes?  Autoencoder (WPU) and Mahalanobis distance on limb vectors and angles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from label_config.values import BoolArray, FloatArray
from label_config.values.masked import divide, masked_mean
from label_config.values.skeleton import Skeleton
from ml_backend.acquisition.features import paper_features, released_triples
from ml_backend.acquisition.score import Chunk, Context, Labelled, Need, Scores, State
from ml_backend.acquisition.scores.aggregation import nothing
from ml_backend.acquisition.scores.autoencoder import AutoEncoder, train
from ml_backend.acquisition.scores.body_features import Body
from ml_backend.acquisition.scores.links import at_child
from ml_backend.geometry.cameras import Rig

#: Standard deviations below this (of features that are about 1) are no more than rounding.
_STD_FLOOR = 1e-3


def _standardise(features: FloatArray, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, BoolArray]:
    """z-scores with missing features at their mean, and which are really there."""
    valid = np.isfinite(features)
    return np.where(valid, (features - mean) / std, 0.0), valid


def _moments(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, D) → mean (D,) and standard deviation (D,) over the finite entries; 0 and 1 where there are none."""
    mean, _ = masked_mean(features, axis=0)
    variance, _ = masked_mean((features - mean) ** 2, axis=0)
    std = np.where(np.isfinite(variance), np.maximum(np.sqrt(np.nan_to_num(variance)), _STD_FLOOR), 1.0)
    return np.nan_to_num(mean, nan=0.0), std


@dataclass(frozen=True)
class WholeBodyUnnaturalness:
    """How badly an autoencoder of labelled poses reproduces this one (WPU).

    ``fixed``: limb vectors and signed turn angles, z-scored, linear output, error over the features that are there.
    ``paper``: positions in units of the box height (of the picture's height where there is no box), angles between lines,
    sigmoid output, plain features.  One network serves all views, trained on the labelled poses.  Where the common model of
    ``train.weights`` brings poses of its own, it is trained on these and then fine-tuned on the labelled ones, as published.

    min_poses  with fewer poses (over all views) nothing is fitted
    tuning_epochs, tuning_batch, tuning_rate  of the fine-tuning
    angles     "limbs" all pairs of limbs that follow each other; "released" the eight of VATL4Pose's code, for COCO's keypoints
    """

    mode: Literal["fixed", "paper"] = "fixed"
    min_poses: int = 20
    epochs: int = 300
    batch: int = 64
    learning_rate: float = 1e-3
    tuning_epochs: int = 20
    tuning_batch: int = 10
    tuning_rate: float = 8e-4
    angles: Literal["limbs", "released"] = "limbs"
    seed: int = 0

    name: ClassVar[str] = "wpu"
    unit: ClassVar[str] = "mean squared z"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "Taketsugu & Ukita 2024, §4.2"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Weights of the network, mean and spread of the features."""
        source = labelled.source
        body = Body.from_labels(labelled.xy_px if source is None else source.xy_px, skeleton)
        if self.angles == "released":
            body = replace(body, triples=released_triples(skeleton))
        mine = self._poses(body, labelled.xy_px, labelled.box_px, labelled.size_px)
        first = mine if source is None else self._poses(body, source.xy_px, source.box_px, None)
        if len(first) < self.min_poses:
            return None
        mean, std = _moments(first)
        if self.mode == "paper":
            mean, std = np.zeros_like(mean), np.ones_like(std)
        filled, valid = _standardise(first, mean, std)
        sigmoid = self.mode == "paper"
        network = train(
            filled,
            valid,
            sigmoid=sigmoid,
            seed=self.seed,
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
        )
        if source is not None and len(mine):
            filled, valid = _standardise(mine, mean, std)
            network = train(
                filled,
                valid,
                sigmoid=sigmoid,
                seed=self.seed,
                epochs=self.tuning_epochs,
                batch=self.tuning_batch,
                learning_rate=self.tuning_rate,
                begin_from=network,
            )
        return {"mean": mean, "std": std} | body.to_state() | network.to_state()

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over features, then over views; ``per_point`` is the mean over the x and y that belong to a keypoint.

        In fixed mode those of the limb that ends there.
        """
        if state is None:
            return nothing(chunk)
        body = Body.from_state(state)
        xy, confidence = chunk.xy_px[chunk.core], chunk.confidence[chunk.core]
        box = chunk.prediction.box_px[chunk.core]
        z, valid = _standardise(self._features(body, xy, confidence, box, chunk.size_px), state["mean"], state["std"])
        network = AutoEncoder.from_state(state, sigmoid=self.mode == "paper")
        squared = np.where(valid, (network.reconstruct(z.reshape(-1, z.shape[-1])).reshape(z.shape) - z) ** 2, np.nan)
        raw, _ = masked_mean(masked_mean(squared, axis=2)[0], axis=1)
        support = valid.sum(axis=(1, 2))
        return Scores(raw, support, self._per_point(squared, body, xy.shape[2]))

    def _poses(self, body: Body, xy: FloatArray, box: FloatArray | None, size_px: FloatArray | None) -> FloatArray:
        """(p, D) features of the labelled poses of all views that have any."""
        size = np.full((xy.shape[1], 2), np.nan) if size_px is None else size_px
        features = self._features(body, xy, None, box, size)
        return _known(features.reshape(-1, features.shape[-1]))

    def _features(
        self, body: Body, xy: FloatArray, confidence: FloatArray | None, box: FloatArray | None, size_px: FloatArray
    ) -> FloatArray:
        if self.mode == "fixed":
            return body.features(xy)
        picture = np.broadcast_to(size_px[:, 1], xy.shape[:2])
        height = picture if box is None else np.where(box[..., 3] > 0, box[..., 3], picture)
        return paper_features(xy, confidence, body.triples, height)

    def _per_point(self, squared: FloatArray, body: Body, n_keypoints: int) -> FloatArray:
        pairs = squared[..., : squared.shape[-1] - len(body.triples)]
        mean, _ = masked_mean(pairs.reshape(*pairs.shape[:-1], pairs.shape[-1] // 2, 2), axis=3)
        return at_child(mean, body.limbs, n_keypoints) if self.mode == "fixed" else mean


@dataclass(frozen=True)
class PoseMahalanobis:
    """Squared Mahalanobis distance of limb vectors and angles from the labelled poses, divided by their number.

    Only features that are there take part (the exact marginal of the Gaussian), so it is about 1 for an ordinary pose whatever
    is missing.  Each view has its own Gaussian where it has ``min_poses`` labelled poses, else that of all views together; the
    covariance is drawn towards its diagonal by D / (D + poses).
    """

    min_poses: int = 20

    name: ClassVar[str] = "pose_mahalanobis"
    unit: ClassVar[str] = "mean squared z"
    requires: ClassVar[frozenset[Need]] = frozenset({Context.LABELS})
    halo: ClassVar[int] = 0
    source: ClassVar[str] = "sibling of Taketsugu & Ukita 2024, §4.2, with a Gaussian for the autoencoder"

    def fit(self, labelled: Labelled, rig: Rig | None, skeleton: Skeleton) -> State | None:
        """Mean, spread and correlation of the features for each view."""
        body = Body.from_labels(labelled.xy_px, skeleton)
        features = body.features(labelled.xy_px)
        views = [_known(features[:, v]) for v in range(features.shape[1])]
        together = np.concatenate(views) if views else features[:, 0]
        if len(together) < self.min_poses:
            return None
        gaussians = [_gaussian(own if len(own) >= self.min_poses else together) for own in views]
        mean, std, correlation = (np.stack(part) for part in zip(*gaussians, strict=True))
        return {"mean": mean, "std": std, "correlation": correlation} | body.to_state()

    def score(self, chunk: Chunk, state: State | None) -> Scores:
        """Mean over views; no single keypoint owns it."""
        if state is None:
            return nothing(chunk)
        features = Body.from_state(state).features(chunk.xy_px[chunk.core])
        z, valid = _standardise(features, state["mean"], state["std"])
        distance = [_mahalanobis(z[:, v], valid[:, v], state["correlation"][v]) for v in range(z.shape[1])]
        raw, _ = masked_mean(np.stack(distance, axis=1), axis=1)
        return Scores(raw, valid.sum(axis=(1, 2)))


def _known(features: FloatArray) -> FloatArray:
    return np.asarray(features[np.isfinite(features).any(axis=1)])


def _gaussian(features: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(n, D) → mean (D,), standard deviation (D,), shrunk and positive definite correlation (D, D)."""
    mean, std = _moments(features)
    z, valid = _standardise(features, mean, std)
    shared = valid.T.astype(np.float64) @ valid
    correlation = np.nan_to_num(divide(z.T @ z, shared), nan=0.0)
    size = features.shape[1]
    shrink = size / (size + len(features))
    correlation = (1 - shrink) * correlation + shrink * np.eye(size)
    values, vectors = np.linalg.eigh(correlation)  # pairwise-complete entries need not be positive definite
    return mean, std, (vectors * np.maximum(values, _STD_FLOOR)) @ vectors.T


def _mahalanobis(z: FloatArray, valid: BoolArray, correlation: FloatArray) -> FloatArray:
    """(n, D) → (n,) squared distance over the valid features divided by their number, NaN without any."""
    squared = np.empty(len(z))
    complete = valid.all(axis=1)
    squared[complete] = (z[complete] * np.linalg.solve(correlation, z[complete].T).T).sum(axis=1)
    step = max(1, (1 << 22) // max(correlation.size, 1))
    holes = np.flatnonzero(~complete)
    for start in range(0, len(holes), step):
        rows = holes[start : start + step]
        both = valid[rows, :, None] & valid[rows, None, :]
        # the identity on missing features leaves the rest of the system alone
        system = np.where(both, correlation, np.eye(len(correlation)))
        solved = np.linalg.solve(system, z[rows, :, None])[..., 0]
        squared[rows] = (z[rows] * solved).sum(axis=1)
    return divide(squared, valid.sum(axis=1))

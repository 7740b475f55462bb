"""The generic embedding as the space of the hybrid strategy: uncertain frames, one of each kind of scene."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from label_config.values import ByteArray, FrameKey
from ml_backend.acquisition.feature_spaces import FeatureSet
from ml_backend.acquisition.fusion import Component, fuse
from ml_backend.acquisition.hybrid import filter_views
from ml_backend.acquisition.large_pools import ShardedRows
from ml_backend.acquisition.order_window import Params, Strategy
from ml_backend.acquisition.pool import Pool
from ml_backend.acquisition.selection import select
from ml_backend.pose.embedding import Embedder
from ml_backend.pose.networks import build_network


def scene(kind: int, rng: np.random.Generator) -> ByteArray:
    """Stripes, a disc or a dark frame, a little different every time."""
    picture = np.full((64, 64, 3), 150.0)
    if kind == 0:
        picture[:, ::8] = 20
    elif kind == 1:
        cv2.circle(picture, (32, 32), 20, (250, 60, 60), -1)
    else:
        picture *= 0.2
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def test_uncertain_frames_of_every_scene_are_picked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], [8, 8, 6])
    torch.manual_seed(0)
    embedder = Embedder(build_network("unet_small", 1), input_px=(64, 64), device="cpu")
    embedded = embedder.embed([scene(kind, rng) for kind in kinds])
    # Nobody is found in the dark frames; in every other frame of the rest a third of the keypoints is missed.
    confidence = np.full((len(kinds), 6), 0.9)
    confidence[::2, :2] = 0.1
    confidence[kinds == 2] = 0.05
    # The stripes are the most uncertain by far: by score alone nothing else would come up.
    uncertainty = np.where(kinds == 0, 0.9, 0.2) + 0.01 * rng.random(len(kinds))
    passing = filter_views(confidence[:, None], uncertainty, 4, empty_share=1.0)
    assert passing.sum() == 4 + 4 + 4
    pool = Pool.from_keys([FrameKey("trial", 10 * i) for i in range(len(kinds))])
    fused = fuse([Component("doubt", uncertainty, 1.0)], len(kinds))

    def picked(features: FeatureSet | None, strategy: Strategy) -> set[int]:
        params = Params(window=3, batch=3, strategy=strategy, random_every=0, shortlist=100)
        selection = select(pool, fused, params, features=features, eligible=passing)
        assert all(passing[pick.position] for pick in selection.picks)
        return {int(kinds[pick.position]) for pick in selection.picks}

    assert picked(None, Strategy.TOP) == {0}
    assert picked(FeatureSet(embedded, name="embedding"), Strategy.HYBRID) == {0, 1, 2}
    # The same from shards on disk, as pools larger than memory are read.
    np.save(tmp_path / "a.npy", embedded[:10])
    np.save(tmp_path / "b.npy", embedded[10:])
    shards = ShardedRows.open([tmp_path / "a.npy", tmp_path / "b.npy"])
    assert picked(FeatureSet(shards, name="embedding"), Strategy.HYBRID) == {0, 1, 2}

"""Real pictures: twenty labelled frames of a mouse are learnt to below two pixels on one core within a minute."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from label_config.values import ByteArray, ImageRef, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.pose.config import AugmentConfig, TrainConfig
from ml_backend.pose.infer import Predictor
from ml_backend.pose.training import train
from tests.recorded_data import needed


@pytest.mark.data
def test_twenty_frames_are_learnt_to_below_two_pixels(tmp_path: Path) -> None:
    folder = needed("lp_mirror_mouse")
    with (folder / "CollectedData.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    skeleton = Skeleton("mouse", tuple(rows[1][1::2]))
    targets = []
    for row in rows[3:23]:
        xy = np.array([float(value) if value else np.nan for value in row[1:]]).reshape(-1, 2)
        targets.append(TrainingTarget(ImageRef(str(folder / row[0])), xy, np.isfinite(xy).all(axis=1).astype(float)))

    def load(ref: ImageRef) -> ByteArray:
        stored = cv2.imread(ref.source)
        assert stored is not None
        return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), dtype=np.uint8)

    config = TrainConfig(input_px=(192, 192), steps=300, device="cpu", augment=AugmentConfig.none())
    started = time.process_time()  # what the one core did, however busy the machine is
    train(config, targets, skeleton, load, tmp_path)
    assert time.process_time() - started < 60
    found = Predictor.load(tmp_path, "cpu").predict([load(target.image) for target in targets])
    error = np.linalg.norm(found.xy_px - np.stack([target.xy_px for target in targets]), axis=-1)
    assert np.nanmean(error) < 2

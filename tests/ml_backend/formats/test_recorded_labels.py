"""Real DeepLabCut and Lightning Pose files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_backend.formats.dlc import read_dlc, read_dlc_predictions, write_dlc
from ml_backend.formats.label_records import join_views, split_views
from ml_backend.formats.lightning_pose import read_lightning_pose
from tests.recorded_data import DATA, needed

pytestmark = pytest.mark.data


def body(path: Any) -> Any:
    """Rows below the header, numbers as numbers."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[3:]
    return [[row[0], *(float(cell) if cell else None for cell in row[1:])] for row in rows]


def test_openfield_labels_survive_a_round_trip(tmp_path: Path) -> None:
    path = needed("dlc_openfield/labeled-data/m4s1/CollectedData_Pranav.csv")
    labels = read_dlc(path)
    assert labels.skeleton.keypoints == ("snout", "leftear", "rightear", "tailbase")
    assert len(labels.labels) == 116
    assert all((item.state == 1).all() for item in labels.labels)  # every point is labelled
    assert str(labels.labels[3].key) == "m4s1/000003"
    assert (DATA / "dlc_openfield" / labels.labels[0].image.source).exists()
    write_dlc(labels, tmp_path / "again.csv", scorer="Pranav")
    assert body(tmp_path / "again.csv") == body(path)


def test_mirror_mouse_splits_into_two_views_and_joins_again(tmp_path: Path) -> None:
    path = needed("lp_mirror_mouse/CollectedData.csv")
    labels = read_dlc(path)
    assert len(labels.labels) == 90
    assert len(labels.skeleton) == 17
    missing = np.mean([np.isnan(item.xy_px[:, 0]).mean() for item in labels.labels])
    assert missing == pytest.approx(0.088, abs=0.001)
    views = split_views(labels, {"top": "_top", "bot": "_bot"})
    assert len(views.labels) == 180
    assert views.skeleton.keypoints[:7] == ("paw1LH", "paw2LF", "paw3RF", "paw4RH", "tailBase", "tailMid", "nose")
    both = sum((a.state[:7] * b.state[:7]).sum() for a, b in zip(views.labels[::2], views.labels[1::2], strict=True))
    assert both == 603  # pairs seen in both views, as counted in the recording's description
    joined = join_views(views, {"top": "_top", "bot": "_bot"}, labels.skeleton.keypoints)
    write_dlc(joined, tmp_path / "again.csv", scorer="rick")
    assert body(tmp_path / "again.csv") == body(path)


def test_lightning_pose_reads_the_same_file_alike() -> None:
    path = needed("lp_mirror_mouse/CollectedData.csv")
    a, b = read_dlc(path), read_lightning_pose({None: path})
    for x, y in zip(a.labels, b.labels, strict=True):
        np.testing.assert_array_equal(x.xy_px, y.xy_px)
        assert x.state.tolist() == y.state.tolist()


def test_predictions_of_a_fly() -> None:
    path = needed("eks/fly/05272019_fly4_0_R1C24_Cam-A_rot-ccw-0.06_sec.rng=0.csv")
    predictions = read_dlc_predictions(path)
    n, keypoints = predictions.confidence.shape
    assert predictions.xy_px.shape == (n, keypoints, 2)
    assert np.array_equal(predictions.frame_index, np.arange(n))
    assert np.isfinite(predictions.xy_px).all()
    assert predictions.confidence.min() >= 0
    assert predictions.confidence.max() <= 1
    assert n > 100

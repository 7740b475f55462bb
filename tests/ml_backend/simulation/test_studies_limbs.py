"""Limbs and scores of single pictures: the nearest of several maxima, and the study by its command."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from label_config.values import BadInputError
from ml_backend.simulation.studies.limb_likelihoods import NAMES, LimbStudy, nearest
from plugins.cli.commands.study import app

TINY = ["labelled=[4]", "pool_frames=8", "test_frames=6", "steps=4", "side_px=64", "width=4", "stride=1"]


def test_nearest_is_the_distance_of_the_nearest_maximum() -> None:
    peaks = np.array([[[[3.0, 4.0], [0.0, 1.0]], [[np.nan, np.nan], [np.nan, np.nan]]]])
    np.testing.assert_array_equal(nearest(peaks, np.zeros((1, 2, 2))), [[1.0, np.inf]])


@pytest.mark.parametrize("change", [{"labelled": (0,)}, {"labelled": ()}, {"labelled": (500,)}, {"test_frames": 2}])
def test_studies_that_cannot_be_run_are_refused(change: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadInputError, match="limb study: expected"):
        LimbStudy(**change)


def test_the_command_runs_and_goes_on(tmp_path: Path) -> None:
    command = ["limbs", "--out", str(tmp_path), *(word for setting in TINY for word in ("--set", setting))]
    first = CliRunner().invoke(app, [*command, "--seeds", "1"])
    assert first.exit_code == 0, first.output
    assert "Rank correlation of each score" in first.output
    again = CliRunner().invoke(app, [*command, "--seeds", "2"])
    assert again.exit_code == 0, again.output
    assert "seed 0" not in again.output
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(NAMES)
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert all(float(row["best"]) <= float(row["largest"]) for row in rows)

"""How a model takes blur, light and size."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from label_config.values import Box, ByteArray, FloatArray, ParallaxError
from label_config.values.prediction import Output, Prediction
from ml_backend.evaluation.perturbed_pictures import compare, errors_under, measure, write_report
from ml_backend.jobs.run_job import run_here
from ml_backend.metrics.perturbation import PERTURBATIONS
from ml_backend.store import versions, work
from ml_backend.store.workspace import Workspace


class BrightestPixel:
    """A model that points at the brightest pixel: moved by zooming, not by light."""

    outputs: frozenset[Output] = frozenset()
    keypoints: tuple[str, ...] = ("spot",)

    def predict(
        self, images: Sequence[ByteArray], boxes_px: Sequence[Box | None] | None = None, *, heatmaps: bool = False
    ) -> Prediction:
        rows_columns = [np.unravel_index(int(image[..., 0].argmax()), image.shape[:2]) for image in images]
        xy = np.array([[[column, row]] for row, column in rows_columns], dtype=np.float64)
        return Prediction(xy, np.ones((len(images), 1)), np.zeros((len(images), 4)))


def spots(places: Sequence[tuple[int, int]]) -> tuple[list[ByteArray], FloatArray]:
    """Pictures of 101 × 81 pixels with one soft bright spot each, and where it is."""
    column, row = np.meshgrid(np.arange(101), np.arange(81))
    images = []
    for x, y in places:
        spot = 180 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 3.0**2))
        images.append(np.repeat(spot[..., None], 3, axis=2).astype(np.uint8))
    return images, np.array(places, dtype=np.float64)[:, None, :]


def test_errors_are_in_pixels_of_the_unperturbed_picture() -> None:
    images, truth = spots([(50, 40), (70, 30), (2, 3)])
    for perturbation in PERTURBATIONS:
        error = errors_under(perturbation, BrightestPixel(), images, truth + [3.0, 4.0])[:, 0]
        # The model is right to a pixel of the perturbed picture, the truth that it is held to is 5 px off.
        assert np.abs(error[:2] - 5).max() < 1.2, perturbation.name
        assert math.isnan(error[2]) == (perturbation.name == "zoom in"), "(5, 7) leaves the picture when zoomed by 1.4"


def test_the_change_is_taken_over_points_that_both_pictures_have() -> None:
    clean = np.array([[1.0, 9.0], [2.0, np.nan], [3.0, 3.0]])
    zoomed = np.array([[2.0, np.nan], [4.0, 7.0], [3.0, 5.0]])
    first, second = compare({"clean": clean, "zoom": zoomed}, np.array([0, 0, 1]))
    assert (first.points, first.change.delta) == (5, 0.0)
    assert (second.points, second.error_px, second.clean_px) == (4, 14 / 4, 9 / 4)
    assert second.change.delta == pytest.approx((1 + 2 + 1) / 3)  # of the pictures' means


def test_the_report_is_a_table(tmp_path: Path) -> None:
    rows = compare({"clean": np.ones((4, 1)), "dark": np.full((4, 1), 3.0)}, np.arange(4))
    write_report(rows, tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["perturbation"] for row in table] == ["clean", "dark"]
    assert float(table[1]["error_px"]) - float(table[1]["clean_px"]) == float(table[1]["change_px"]) == 2.0


def test_a_whole_project(make_workspace: Callable[..., Workspace], label: Callable[..., None]) -> None:
    workspace = make_workspace()
    label(workspace, [0, 5, 10])
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    live = versions.live(workspace.store)
    assert live is not None
    with pytest.raises(ParallaxError, match="no validation frame"):
        measure(workspace, live)
    label(workspace, [33, 36])
    rows = measure(workspace, live)
    assert [row.name for row in rows] == [perturbation.name for perturbation in PERTURBATIONS]
    assert rows[0].points == 2 * 3 * 15
    assert all(math.isfinite(row.error_px) for row in rows)
    assert rows[0].change.delta == 0

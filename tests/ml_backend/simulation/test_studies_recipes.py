"""Training recipes side by side: the study by its command, and its unit."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from label_config.values import BadInputError
from ml_backend.simulation.studies.training_recipes import NAMES, RecipeStudy
from plugins.cli.commands.study import app

TINY = [
    'dataset="studio"',
    "views=1",
    "labelled=[3]",
    "pool_frames=8",
    "steps=3",
    "width=4",
    'recipes=["rotation 10","rotation 45, batch 4"]',
]


@pytest.mark.parametrize("change", [{"recipes": ("best",)}, {"recipes": ()}, {"labelled": (0,)}, {"dataset": "zoo"}])
def test_studies_that_cannot_be_run_are_refused(change: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadInputError, match="recipe study: expected"):
        RecipeStudy(**change)


def test_the_command_compares_recipes_and_goes_on(tmp_path: Path) -> None:
    command = ["recipes", "--out", str(tmp_path), "--seeds", "1", *(word for setting in TINY for word in ("--set", setting))]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.output
    assert "studio: mean error on the test frames, px, 1 seeds" in " ".join(first.output.split()), "one camera has no 3-D error"
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(NAMES)
    assert [row["recipe"] for row in rows] == ["rotation 10", "rotation 45, batch 4"]
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "seed 0" not in again.output

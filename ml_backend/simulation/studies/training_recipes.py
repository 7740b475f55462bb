"""Which training recipe gives the best points for a number of labels?  Paired: the same recording, labels and seed for each.

Networks start from random weights and learn from labelled frames drawn at random; the test is that of the experiments.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from label_config.values import BadInputError
from ml_backend.pose.config import AugmentConfig
from ml_backend.simulation.experiments.accuracy import frame_error
from ml_backend.simulation.experiments.data import TrueRecording, load_recording
from ml_backend.simulation.experiments.design import DESIGNS, Dataset, Design
from ml_backend.simulation.experiments.learner import Recipe, TrainingSet, predict, train_network
from ml_backend.simulation.experiments.shared_files import claim
from ml_backend.simulation.experiments.simulated_annotator import annotate
from ml_backend.simulation.studies.study_table import add_rows, read_rows

#: Recipe → fields of the training configuration that differ from the default one with rotations of ±10°.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "rotation 10": {"augment": AugmentConfig(rotation_deg=10)},
    "rotation 45": {"augment": AugmentConfig(rotation_deg=45)},
    "rotation 180": {"augment": AugmentConfig(rotation_deg=180)},
    "rotation 45, scale 0.3": {"augment": AugmentConfig(rotation_deg=45, scale=0.3)},
    "rotation 45, batch 4": {"augment": AugmentConfig(rotation_deg=45), "batch": 4},
    "rotation 45, sigma 1.5": {"augment": AugmentConfig(rotation_deg=45), "sigma_hm": 1.5},
}
NAMES = ("dataset", "unit", "seed", "labelled", "recipe", "mean", "median", "seconds")


@dataclass(frozen=True)
class RecipeStudy:
    """Everything that decides the figures.

    labelled  numbers of labelled frames, a network for each and for each recipe
    recipes   names of RECIPES, the first of which the others are compared with
    views     of the capture studio
    """

    dataset: Dataset = "dlc_openfield"
    labelled: tuple[int, ...] = (20, 60)
    recipes: tuple[str, ...] = ("rotation 10", "rotation 45", "rotation 180")
    steps: int = 1500
    views: int = 2
    pool_frames: int = 400
    width: int = 16
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        for name in ("labelled", "recipes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = [name for name in self.recipes if name not in RECIPES]
        if unknown or not self.recipes or not self.labelled or min(self.labelled) < 1 or self.dataset not in DESIGNS:
            raise BadInputError(
                f"recipe study: expected a dataset among {', '.join(DESIGNS)}, recipes among {', '.join(RECIPES)} and numbers of "
                f"labels of at least 1, got {self.dataset}, {list(self.recipes)}, {list(self.labelled)}"
            )

    @property
    def design(self) -> Design:
        """The experiments' recording."""
        return DESIGNS[self.dataset].but(
            views=self.views, pool_frames=self.pool_frames, width=self.width, precision=self.precision
        )


def run(
    study: RecipeStudy, seeds: Sequence[int], folder: Path, data: Path | None, tell: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """One row per seed, number of labels and recipe, those of earlier calls too; what is finished is not done again.

    Raises BadInputError when ``folder`` holds a study with other settings, or where the recording is not in ``data``.
    """
    claim(folder / "study.json", asdict(study))
    path = folder / "results.csv"
    for seed in seeds:
        done = {(row["labelled"], row["recipe"]) for row in read_rows(path) if row["seed"] == seed}
        missing = [(n, recipe) for n in study.labelled for recipe in study.recipes if (n, recipe) not in done]
        recording = load_recording(study.design, seed, folder / "pictures", data) if missing else None
        for count, recipe in missing:
            assert recording is not None
            row = _row(study, recording, count, recipe, seed, folder / "models" / f"{seed}-{count}")
            add_rows(
                path,
                NAMES,
                [{"dataset": study.dataset, "unit": recording.unit, "seed": seed, "labelled": count, "recipe": recipe, **row}],
            )
            tell(f"{study.dataset}, seed {seed}, {count} labels, {recipe}: {row['mean']:.2f} {recording.unit}")
    return read_rows(path)


def _row(study: RecipeStudy, recording: TrueRecording, count: int, recipe: str, seed: int, folder: Path) -> dict[str, float]:
    drawn = np.sort(
        np.random.default_rng([seed, count, 67]).choice(recording.pool, min(count, len(recording.pool)), replace=False)
    )
    training_set: TrainingSet = annotate(study.design, recording, drawn)
    seconds = train_network(
        study.design,
        recording,
        training_set,
        folder,
        init=None,
        steps=study.steps,
        seed=seed,
        recipe=Recipe(changes=RECIPES[recipe]),
    )
    error = frame_error(recording, predict(study.design, recording, folder, recording.test))
    shutil.rmtree(folder)
    return {"mean": float(np.nanmean(error)), "median": float(np.nanmedian(error)), "seconds": seconds}

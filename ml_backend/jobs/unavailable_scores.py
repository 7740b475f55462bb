"""Scores that were chosen and cannot say anything: which, why, and what helps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from label_config.values.prediction import Output
from ml_backend.acquisition.score import Context, Need, Score
from ml_backend.jobs.scoring import choose_scores
from ml_backend.pose.config import AUXILIARY_OUTPUT
from ml_backend.project.round_state import RoundState
from ml_backend.store import presence
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

#: What a project lacks whatever its model is, with the remedy; the first that applies is the reason.
_OF_THE_PROJECT: Mapping[Context, str] = {
    Context.SUBJECTS: "it compares the subjects of a frame, and there is one; take it out of `scores`, or set `subjects.max`",
    Context.VIEWS: "it compares cameras, and there is one; take it out of `scores` in parallax.yaml",
    Context.RIG: "it needs calibrated cameras; give `recordings` a `calibration` in parallax.yaml and run `parallax init`",
    Context.NEIGHBOURS: "it needs frames that follow each other in time, and there are single pictures; take it out of `scores`",
}
#: What the model lacks, likewise.
_OF_THE_MODEL: Mapping[Need, str] = {
    Output.ENSEMBLE: "it compares models, and there is one; it is available from the second published version on",
    **dict.fromkeys(AUXILIARY_OUTPUT.values(), "it needs an auxiliary network; one is trained with the next version"),
    **dict.fromkeys(
        (Output.HEATMAPS, Output.PEAKS), "it needs heatmaps, which this network does not give; choose another `train.network`"
    ),
    Context.LABELS: "it learns from labelled frames, and there are too few so far; it is available when there are more",
}
_NO_TERM = "no frame has anything that it could score"


def unmet(state: RoundState) -> dict[str, str]:
    """Score name → what the project lacks for it, known before there is any model.

    Raises BadInputError for an unknown score or parameter.
    """
    several = len(state.views) > 1
    have = {Context.VIEWS: several, Context.RIG: bool(state.rigs), Context.NEIGHBOURS: bool(state.videos)}
    have[Context.SUBJECTS] = state.spec.subjects.max > 1
    lacking = {need: why for need, why in _OF_THE_PROJECT.items() if not have[need]}
    if not several:
        lacking[Context.RIG] = lacking[Context.VIEWS]
    return {
        score.name: next(why for need, why in lacking.items() if need in score.requires)
        for score in choose_scores(state).scores
        if score.requires & set(lacking)
    }


def unavailable_scores(
    state: RoundState, scores: tuple[Score, ...], arrays: Mapping[str, npt.NDArray[np.generic]]
) -> dict[str, str]:
    """Score name → why it says nothing about any frame of ``arrays`` (``scoring.score_chunk``)."""
    lacking = unmet(state)
    return {
        score.name: lacking.get(score.name) or _of_the_model(score, f"raw.{score.name}" in arrays)
        for score in scores
        if not np.isfinite(np.asarray(arrays.get(f"raw.{score.name}", np.nan), dtype=np.float64)).any()
    }


def note_unavailable(workspace: Workspace, scores: tuple[Score, ...], unavailable: Mapping[str, str]) -> None:
    """Write to the event log, once, which of the chosen scores are unavailable; take it back when one has values."""
    for score in scores:
        key = f"score {score.name}"
        if workspace.spec.scores != "auto" and score.name in unavailable:
            text = f"the score {score.name!r} says nothing about any frame: {unavailable[score.name]}"
            presence.tell(workspace.store, text, level=EventLevel.WARNING, key=key)
        else:
            presence.settle(workspace.store, key)


def _of_the_model(score: Score, asked: bool) -> str:
    """``asked``: the score was asked, so all but its labels was there."""
    lacking = {need: why for need, why in _OF_THE_MODEL.items() if (need is Context.LABELS) == asked}
    return " – or ".join(why for need, why in lacking.items() if need in score.requires) or _NO_TERM

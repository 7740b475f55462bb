"""Every score that parallax.yaml may name scores frames, or the event log says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from label_config.settings.spec import Spec
from label_config.values import BadInputError
from label_config.values.prediction import Output, Prediction
from ml_backend.acquisition.score import Context, Need
from ml_backend.acquisition.score_registry import SCORES, make_scores
from ml_backend.jobs.scoring import choose_scores, make_kit, score_chunk, score_subjects_together
from ml_backend.jobs.unavailable_scores import note_unavailable, unavailable_scores, unmet
from ml_backend.project.label_snapshot import collect
from ml_backend.project.round_state import RoundState
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, presence
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace
from tests.predictions import peaks

Make = Callable[..., Workspace]
Label = Callable[..., None]
CORE = np.arange(1, 5)
LABELLED = list(range(32))


def seen_of(studio: CaptureStudio, indices: range) -> Prediction:
    """What a network that tells everything might say: the truth with some noise, the same on every call."""
    rng = np.random.default_rng(7)
    xy = studio.truth_xy[indices.start : indices.stop]
    (n, views, joints), limbs = xy.shape[:3], len(studio.skeleton.limbs)
    xy = xy + rng.normal(0, 2, xy.shape)
    second = xy + rng.normal(0, 6, xy.shape)
    confidence = rng.uniform(0.4, 0.9, (n, views, joints))
    size = np.broadcast_to(np.array([64.0, 64.0]), (n, views, 2))
    return Prediction(
        xy_px=xy,
        confidence=confidence,
        box_px=np.concatenate([np.zeros_like(size), size], axis=-1),
        size_px=size,
        outputs={
            Output.PEAKS: peaks(np.stack([xy, second], axis=3), np.stack([confidence, 0.5 * confidence], axis=3)),
            Output.FEATURES: rng.normal(size=(n, views, 8)).astype(np.float32),
            Output.HEATMAPS: rng.uniform(0, 1, (n, views, joints, 12, 12)).astype(np.float32),
            Output.LINKS: np.stack([rng.uniform(5, 9, (n, views, limbs)), np.zeros((n, views, limbs))], -1),
            Output.VARIANCE: rng.normal(size=(n, views, joints)),
            Output.LEARNING_LOSS: rng.normal(size=(n, views)),
            Output.ENSEMBLE: np.stack([xy, second], axis=3),
        },
    )


def scored(workspace: Workspace, studio: CaptureStudio, without: Need | None = None) -> dict[str, Any]:
    kit = make_kit(RoundState(workspace), collect(workspace))
    indices = range(33, 39)
    seen = seen_of(studio, indices)
    outputs = {output: array for output, array in seen.outputs.items() if output is not without}
    prediction = replace(seen, outputs=outputs)
    arrays = score_chunk(workspace, kit, studio.sequence, indices, CORE, prediction)
    both = np.stack((seen.xy_px, seen.xy_px + 20.0), axis=1)[:, : workspace.spec.subjects.max]
    there = np.ones((both.shape[0], both.shape[2]), dtype=np.bool_)
    together = score_subjects_together(workspace, kit, studio.sequence, indices, CORE, both, there) if both.shape[1] > 1 else {}
    return {**arrays, **together}


def subjects_for(name: str) -> dict[str, int]:
    return {"max": 2 if Context.SUBJECTS in SCORES[name]().requires else 1}


@pytest.mark.parametrize("name", SCORES)
def test_a_project_may_name_any_score_alone(name: str, make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace(scores={name: 2.0}, subjects=subjects_for(name))
    label(workspace, LABELLED)
    arrays = scored(workspace, studio)
    assert np.isfinite(arrays[f"raw.{name}"]).all()
    assert arrays[f"raw.{name}"].shape == (4,)
    assert (arrays[f"support.{name}"] > 0).all()
    assert unavailable_scores(RoundState(workspace), choose_scores(RoundState(workspace)).scores, arrays) == {}
    assert unmet(RoundState(workspace)) == {}


#: Need → a word of the reason without it.
WORDS: dict[Need, str] = {
    Context.SUBJECTS: "subjects.max",
    Context.RIG: "calibrat",
    Context.NEIGHBOURS: "time",
    Context.LABELS: "labelled frames",
    Output.PEAKS: "heatmaps",
    Output.HEATMAPS: "heatmaps",
    Output.LINKS: "auxiliary network",
    Output.VARIANCE: "auxiliary network",
    Output.LEARNING_LOSS: "auxiliary network",
    Output.ENSEMBLE: "compares models",
}
PAIRS = [(name, need) for name in SCORES for need in sorted(SCORES[name]().requires - {Output.FEATURES, Context.VIEWS})]


def project_without(need: Need, make_workspace: Make, label: Label, studio: CaptureStudio, **settings: Any) -> Workspace:
    """A project that lacks cameras' calibration, labels, or the order in time."""
    workspace = make_workspace(calibrated=need is not Context.RIG, **settings)
    if need is not Context.LABELS:
        label(workspace, LABELLED)
    if need is Context.NEIGHBOURS:
        frames.save_sequence(workspace.store, SequenceRow(studio.sequence, studio.rig.to_json(), False))
    return workspace


@pytest.mark.parametrize(("name", "need"), PAIRS, ids=[f"{name}-{need}" for name, need in PAIRS])
def test_a_score_without_its_input_is_nan_and_says_why(
    name: str, need: Need, make_workspace: Make, label: Label, studio: CaptureStudio
) -> None:
    subjects = {"max": 1} if need is Context.SUBJECTS else subjects_for(name)
    workspace = project_without(need, make_workspace, label, studio, scores={name: 1.0}, subjects=subjects)
    arrays = scored(workspace, studio, need)
    assert not np.isfinite(arrays.get(f"raw.{name}", np.nan)).any(), "never a silent zero"
    reason = unavailable_scores(RoundState(workspace), choose_scores(RoundState(workspace)).scores, arrays)[name]
    assert WORDS[need] in reason
    assert (need is Context.LABELS) == ("labelled frames" in reason)
    assert WORDS[need] == "heatmaps" or "heatmaps" not in reason or name == "vl4pose"


@pytest.mark.parametrize("name", [name for name in SCORES if Context.VIEWS in SCORES[name]().requires])
def test_a_score_of_several_views_has_no_value_with_one(
    name: str, make_workspace: Make, label: Label, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(scores={name: 1.0}, subjects=subjects_for(name))
    label(workspace, LABELLED)
    monkeypatch.setattr(RoundState, "views", ("only",))
    assert "one" in unmet(RoundState(workspace))[name]


def test_only_what_somebody_chose_is_complained_of_and_only_once(
    make_workspace: Make, label: Label, studio: CaptureStudio
) -> None:
    workspace = make_workspace(scores={"mc": 1.0, "least_confidence": 1.0}, calibrated=False)
    scores = choose_scores(RoundState(workspace)).scores
    reasons = unavailable_scores(RoundState(workspace), scores, scored(workspace, studio))
    for _ in range(2):
        note_unavailable(workspace, scores, reasons)
    (event,) = presence.list_events(workspace.store)
    assert event.level == "warning"
    assert "'mc' says nothing" in event.text
    assert "calibration" in event.text
    note_unavailable(workspace, scores, {})
    assert presence.list_events(workspace.store) == []
    note_unavailable(replace(workspace, spec=workspace.spec.model_copy(update={"scores": "auto"})), scores, reasons)
    assert presence.list_events(workspace.store) == []


def test_parameters_of_a_score_may_be_set(make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace(scores={"mc": {"weight": 2, "power": 1}, "mpe": {"norm": "softmax_x30"}, "tpc": 0})
    chosen = choose_scores(RoundState(workspace))
    assert dict(chosen.weights) == {"mc": 2.0, "mpe": 1.0, "tpc": 0.0}
    assert chosen.scores == make_scores({"mc": {"power": 1}, "mpe": {"norm": "softmax_x30"}, "tpc": None})
    distance = scored(workspace, studio)["point.mc"]
    squared = scored(make_workspace(scores={"mc": 1}), studio)["point.mc"]
    np.testing.assert_allclose(distance**2, squared, rtol=1e-5)


@pytest.mark.parametrize(
    ("scores", "message"),
    [({"mcc": 1}, "'mcc' is not a score"), ({"mc": {"pow": 1}}, "'pow' is not a parameter; known: power, relative")],
)
def test_unknown_names_are_named(scores: Any, message: str, make_workspace: Make) -> None:
    workspace = make_workspace()
    spec = Spec.model_validate({**workspace.spec.model_dump(exclude_unset=True), "scores": scores})
    with pytest.raises(BadInputError, match=message):
        unmet(RoundState(replace(workspace, spec=spec)))

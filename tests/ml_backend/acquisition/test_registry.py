"""Scores by name, default weights, and the table in the documentation."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from label_config.values import BadInputError
from ml_backend.acquisition.score import Context, Need
from ml_backend.acquisition.score_registry import SCORES, default_weights, make_scores, render_table

DOCS = Path(__file__).resolve().parents[3] / "docs/scores.md"


def test_every_score_is_registered_under_its_own_name() -> None:
    assert all(make().name == name for name, make in SCORES.items())
    assert len(SCORES) == 28
    assert len(set(SCORES.values())) == 28


def test_scores_by_name_and_with_parameters() -> None:
    assert [s.name for s in make_scores(["mc", "thc"])] == ["mc", "thc"]
    mc, thc = make_scores({"mc": {"power": 1}, "thc": None})
    assert (mc.unit, thc.halo) == ("px", 1)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["mcc"], "'mcc' is not a score; known: random, "),
        ({"mc": {"pow": 1}}, "'pow' is not a parameter; known: power, relative"),
        ({"thc": {"sigma": 1}}, "'sigma' is not a parameter; known: none"),
    ],
)
def test_unknown_names_are_named(wanted: object, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        make_scores(wanted)  # type: ignore[arg-type]


def test_default_weights_name_scores_that_can_be_computed() -> None:
    for has_rig, has_video, n_views in itertools.product((False, True), (False, True), (1, 3)):
        inputs: set[Need] = {Context.LABELS}
        inputs |= {Context.VIEWS} if n_views > 1 else set()
        inputs |= {Context.RIG} if has_rig and n_views > 1 else set()
        inputs |= {Context.NEIGHBOURS} if has_video else set()
        weights = default_weights(has_rig=has_rig, has_video=has_video, n_views=n_views)
        assert all(score.requires <= inputs for score in make_scores(list(weights)))
        assert all(weight > 0 for weight in weights.values())
        assert weights["link_length"] + weights["pose_mahalanobis"] == 1  # the pose prior


def test_default_weights_by_situation() -> None:
    def weights(rig: bool, video: bool, views: int) -> dict[str, float]:
        found = default_weights(has_rig=rig, has_video=video, n_views=views)
        return {name: weight for name, weight in found.items() if name not in {"link_length", "pose_mahalanobis"}}

    calibrated = {"outlier_ratio": 3, "mc": 2, "least_confidence": 0.5}
    assert weights(True, False, 4) == calibrated
    assert weights(True, True, 4) == calibrated | {"jitter_3d": 1}
    assert weights(False, False, 2) == {"epipolar_residual": 2, "least_confidence": 1}
    assert weights(False, True, 1) == {"tpc": 1, "least_confidence": 0.5}
    assert weights(True, False, 1) == {"least_confidence": 1}


def test_the_documented_table_is_the_registry() -> None:
    text = DOCS.read_text(encoding="utf-8")
    begin, end = "<!-- table of scores: begin -->\n", "<!-- table of scores: end -->"
    documented = text[text.index(begin) + len(begin) : text.index(end)]
    assert documented.strip() == render_table().strip(), "docs/scores.md: put the output of registry.render_table() there"

"""Strategies by composition: the words, what is refused, and every registered score as an arm for one tiny round."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from label_config.values import BadInputError
from label_config.values.prediction import Output
from ml_backend.acquisition.order_window import Strategy
from ml_backend.acquisition.score import Context
from ml_backend.acquisition.score_registry import SCORES
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.metrics.curve_summaries import area_under_learning_curve
from ml_backend.pose.config import AUXILIARY_OUTPUT
from ml_backend.simulation.experiments import trial as trial_module
from ml_backend.simulation.experiments.arms import OPTIONS, SELECTIONS, TERMS, WHOLE, Arm, parse_arms
from ml_backend.simulation.experiments.campaign import Campaign, run
from ml_backend.simulation.experiments.data import load_recording, source_takes
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import Recipe, Scan, predict, train_network
from ml_backend.simulation.experiments.precision import pool_alc, pool_precision
from ml_backend.simulation.experiments.results_table import read_rows
from ml_backend.simulation.experiments.simulated_annotator import annotate
from ml_backend.simulation.experiments.strategies import Knowledge, check_arm, pick
from ml_backend.simulation.experiments.trial import run_trial
from plugins.cli.main import app
from tests.predictions import predicted

TINY = Design(
    initial=10, batch=3, rounds=1, pool_frames=24, test_frames=6, views=3, rare_fraction=0.4, input_px=(32, 32), width=4,
    steps_first=3, steps_round=2, steps_full=3, scan_stride=1, exclusion_frames=0, threshold_share=0.5,
)  # fmt: skip
PRODUCT = {"mc": 2.0, "outlier_ratio": 3.0}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("renders")


@pytest.fixture(scope="module")
def recording(cache: Any) -> Any:
    return load_recording(TINY, 5, cache, cache)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The first models, which all arms share."""
    return tmp_path_factory.mktemp("models")


def rows_of(recording: Any, models: Any, text: Any, design: Any = TINY, source: Any = None) -> Any:
    found: list[Any] = []
    run_trial(design, recording, Arm.parse(text), 5, models, found.append, source)
    return found


#: Those that compare the figures of a frame are in test_experiments_several.py.
OF_ONE_FIGURE = [name for name, make in SCORES.items() if name not in WHOLE and Context.SUBJECTS not in make().requires]


@pytest.mark.parametrize("score", OF_ONE_FIGURE)
def test_every_registered_score_is_an_arm(recording: Any, models: Any, score: Any) -> None:
    design = TINY.but(rounds=2 if score == "ensemble_variance" else 1)  # which takes two models
    rows = rows_of(recording, models, score, design)
    assert [row["labels"] for row in rows] == [10 + 3 * round_ for round_ in range(len(rows))]
    assert rows[-1]["scored"] > 0.8  # the network gave the score what it reads


def test_auxiliary_networks_leave_the_pose_network_as_it_is(recording: Any, tmp_path: Path) -> None:
    training_set = annotate(TINY, recording, recording.pool[:6])
    outputs = {}
    for auxiliary in ((), tuple(AUXILIARY_OUTPUT)):
        folder = tmp_path / str(len(auxiliary))
        train_network(TINY, recording, training_set, folder, init=None, steps=3, seed=1, recipe=Recipe(auxiliary=auxiliary))
        outputs[len(auxiliary)] = predict(TINY, recording, folder, recording.pool[:4], heatmaps=True).prediction
    np.testing.assert_array_equal(outputs[0].xy_px, outputs[3].xy_px)
    assert set(outputs[3].outputs) - set(outputs[0].outputs) == set(AUXILIARY_OUTPUT.values())
    assert Output.HEATMAPS in outputs[0].outputs


def test_words_come_in_any_order_and_are_written_in_one() -> None:
    text = "2*thc+wpu+duw_paper+lambda:0.01+fixed+features+minmax+acft+randaugment+pseudo:0.2+views2#3"
    words, draw = text.split("#")
    assert str(Arm.parse("+".join(reversed(words.split("+"))) + "#" + draw)) == text.replace("2*thc+wpu", "wpu+2*thc")
    assert str(Arm.parse(text)) == text
    arm = Arm.parse(text)
    assert arm.weights(PRODUCT) == {"thc": 2.0, "wpu": 1.0}
    assert arm.strategy is Strategy.DUW_PAPER


@pytest.mark.parametrize(
    ("text", "strategy", "weights"),
    [
        ("thc+wpu", Strategy.TOP, {"thc": 1, "wpu": 1}),
        ("composite", Strategy.K_MEDIAN, PRODUCT),
        ("composite+top", Strategy.TOP, PRODUCT),
        ("composite+2*mc", Strategy.K_MEDIAN, {"mc": 4, "outlier_ratio": 3}),
        ("k_median", Strategy.K_MEDIAN, {}),
        ("kcenter", Strategy.K_CENTER, {}),
        ("coreset", Strategy.K_CENTER, {}),
        ("k_means+features", Strategy.K_MEANS, {}),
        ("duw", Strategy.DUW, PRODUCT),
        ("hybrid", Strategy.HYBRID, {"least_confidence": 1}),
        ("mpe+hybrid", Strategy.HYBRID, {"mpe": 1}),
        ("random+scratch+pseudo:1", Strategy.RANDOM, {}),
    ],
)
def test_what_a_strategy_means(text: Any, strategy: Any, weights: Any) -> None:
    assert Arm.parse(text).strategy is strategy
    assert Arm.parse(text).weights(PRODUCT) == weights
    assert str(Arm.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("best", "'best' is not known"),
        ("mc+", "'' is not known"),
        ("mc+mc", "twice"),
        ("x*mc", "expected a number"),
        ("2*random", "not known"),
        ("mc+duw+kcenter", "one at most"),
        ("mc+pseudo+pseudo_repeat", "one at most"),
        ("random+mc", "choose by themselves"),
        ("full+acft", "trained once"),
        ("mc+kcenter", "reads no scores"),
        ("top", "expected a score"),
        ("acft", "expected a score"),
        ("mc+fixed", "duw"),
        ("mc+lambda:1", "duw"),
        ("mc+lambda:high", "expected a number"),
        ("mc+poses", "distances"),
        ("kcenter+minmax", "scales scores"),
        ("mc#x", "one '#'"),
    ],
)
def test_what_means_nothing_is_refused_with_what_exists(text: Any, why: Any) -> None:
    with pytest.raises(BadInputError) as refusal:
        Arm.parse(text)
    assert why in str(refusal.value)
    for word in (*TERMS, *SELECTIONS, *OPTIONS, *WHOLE):
        assert word in str(refusal.value)


def test_all_wrong_strategies_are_named_at_once_and_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["simulate", "--strategies", "mc,best,thc+magic"])
    assert result.exit_code != 0
    with pytest.raises(BadInputError, match=r"(?s)'best' is not known.*'magic' is not known"):
        parse_arms("mc,best,thc+magic")
    assert not list(tmp_path.iterdir())


def test_a_recording_that_cannot_serve_a_strategy_is_refused_before_training(
    recording: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(recording, rig=None, xyz=None, video=False, pictures=recording.pictures[:1])
    for text, lack in (("mc", "rig"), ("thc", "neighbours"), ("epipolar_residual", "views"), ("kcenter+poses", "3-D"),
                       ("mpe+pseudo", "rig"), ("random+views2", "rig")):  # fmt: skip
        with pytest.raises(BadInputError, match=lack):
            check_arm(bare, Arm.parse(text))
        check_arm(recording, Arm.parse(text))
    with pytest.raises(BadInputError, match="limbs"):
        check_arm(replace(recording, skeleton=replace(recording.skeleton, limbs=())), Arm.parse("vl4pose"))
    monkeypatch.setattr("ml_backend.simulation.experiments.campaign.load_recording", lambda *_: bare)
    with pytest.raises(BadInputError, match="lacks"):
        run(Campaign(TINY, (Arm.parse("random"), Arm.parse("mc")), (5,), tmp_path, tmp_path, tmp_path), tell=lambda _: None)
    assert not (tmp_path / "models").exists()


def seen_with(recording: Any, xyz_order: Any) -> Any:
    """Exact points of the pool, with features that follow ``xyz_order`` (n,)."""
    rows = recording.pool
    views = recording.xy_px.shape[1]
    features = np.repeat(np.asarray(xyz_order, np.float32)[:, None, None], views, axis=1)
    xy = recording.xy_px[rows]
    return Scan(rows, predicted(xy, np.full(xy.shape[:3], 0.9), {Output.FEATURES: features}), None)


def picked(recording: Any, text: Any, raw: Any, *, performance: Any = 0.5, batch: Any = 1, labelled: Any = (0,)) -> Any:
    training_set = annotate(TINY, recording, np.array(labelled))
    known = Knowledge(training_set, np.zeros(len(recording.pool)), performance, 0)
    seen = seen_with(recording, np.arange(len(recording.pool)) ** 2)
    return pick(TINY.but(batch=batch), recording, seen, raw, Arm.parse(text), known).tolist()


def test_weights_decide_what_is_picked(recording: Any) -> None:
    n = len(recording.pool)
    raw = {"mc": np.arange(n, dtype=float), "mpe": np.arange(n, dtype=float)[::-1].copy()}
    assert picked(recording, "2*mc+mpe", raw) == [n - 1]
    assert picked(recording, "mc+2*mpe", raw) == [1]  # frame 0 is labelled


def test_duw_without_g_is_distance_plus_lambda_times_score(recording: Any) -> None:
    """By hand: distances to frame 0 are (i²), the score is 1 for frame 5 alone; frame 23 lies 529 away, frame 5 25."""
    n = len(recording.pool)
    raw = {"mc": (np.arange(n) == 5).astype(float)}
    for text, best in {
        "mc+duw_paper+fixed+features": n - 1,  # 529 > 25 + 1
        "mc+duw_paper+fixed+lambda:503+features": n - 1,  # 25 + 503 < 529
        "mc+duw_paper+fixed+lambda:505+features": 5,
        "mc+duw_paper+increase+lambda:505+features": n - 1,  # lambda · 1/24
        "mc+duw_paper+increase+lambda:12120+features": 5,  # lambda · 1/24 = 505
        "mc+duw_paper+decrease+lambda:505+features": n - 1,  # lambda · 23/24 = 484
        "mc+duw_paper+decrease+lambda:527+features": 5,  # 505.04
        "mc+duw_paper+lambda:505+features": 5,  # G = 1/2
    }.items():
        assert picked(recording, text, raw) == [best], text
    assert picked(recording, "mc+duw_paper+lambda:1e9".replace("1e9", "1000000000") + "+features", raw, performance=0.0) == [
        n - 1
    ]


def test_a_schedule_labels_its_shares_of_the_pool(recording: Any, models: Any) -> None:
    design = TINY.but(schedule=(0.5, 0.75, 1.0))
    assert design.last_round == 3
    rows = rows_of(recording, models, "random", design)
    assert [row["labels"] for row in rows] == [10, 12, 18, 24]
    assert rows[-1]["pool_ap"] == pytest.approx(1.0)
    with pytest.raises(BadInputError, match="increase"):
        TINY.but(schedule=(0.5, 0.5))


def test_a_generic_model_knows_the_pool_before_any_label(
    cache: Any, recording: Any, models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = TINY.but(initial=0, generic_takes=2, generic_frames=5, rounds=2, acft_theta=0.0, acft_alpha=2.0)
    trained = []
    original = train_network

    def counted(design: Any, recording: Any, training_set: Any, folder: Any, **kwargs: Any) -> Any:
        trained.append((len(training_set.rows), kwargs["init"] and kwargs["init"].name, kwargs["recipe"]))
        return original(design, recording, training_set, folder, **kwargs)

    monkeypatch.setattr(trial_module, "train_network", counted)
    source = source_takes(design, 5, cache)
    assert source is not None
    assert len(source.pool) == 10
    rows = rows_of(recording, models / "generic", "wpu+acft", design, source)
    assert [row["labels"] for row in rows] == [0, 3, 6]
    assert rows[0]["scored"] == 1.0  # the prior comes from the other takes
    assert [(count, init) for count, init, _ in trained[:2]] == [(10, None), (3, "first")]
    recipes = [recipe for *_, recipe in trained]
    assert [recipe.preset for recipe in recipes] == ["", "acft", "acft"]
    assert [recipe.mean_oks for recipe in recipes[1:]] == [pytest.approx(row["batch_oks"]) for row in rows[:2]]
    assert trained[2][0] >= 3


def test_acft_leaves_out_what_is_estimated_well(recording: Any, tmp_path: Path) -> None:
    rows = recording.pool[:4]
    full = annotate(TINY, recording, rows)
    state = trial_module.State(1, rows, full, 0.0, 0, 0.9, 1, np.array([0.99, 0.2, np.nan, 0.99]), [])
    for theta, kept in {0.8: [1, 2, 3], 1.0: [0, 1, 2, 3]}.items():
        cell = trial_module.Cell(TINY.but(acft_theta=theta), recording, Arm.parse("mc+acft"), 0, tmp_path)
        assert trial_module._replayed(cell, state, full).rows.tolist() == rows[kept].tolist()


def test_labelled_frames_count_as_right(recording: Any) -> None:
    rows = recording.pool
    wrong = recording.xy_px[rows] + 1000.0
    seen = Scan(rows, predicted(wrong, np.full(wrong.shape[:3], 0.9), {}), None)
    assert pool_precision(recording, seen, rows[:0])["pool_ap60"] == 0.0
    assert pool_precision(recording, seen, rows)["pool_ap"] == pytest.approx(1.0)
    # By hand: half of the pictures right and first in order, precision is 1 up to recall 1/2, 0 beyond: 51 of 101 places.
    assert pool_precision(recording, seen, rows[:12])["pool_ap80"] == pytest.approx(51 / 101)


def test_area_over_the_labelled_share() -> None:
    labels, ap = np.array([0.0, 5.0, 10.0]), np.array([0.5, 0.5, 0.5])
    # By hand: a straight line from (0.5, 0.5) to (1, 1) after a constant half.
    assert pool_alc(labels, ap, 20) == pytest.approx(0.5 * 0.5 + 0.5 * 0.75)
    assert pool_alc(labels, ap, 20) == area_under_learning_curve(np.array([0, 0.25, 0.5, 1]), np.array([0.5, 0.5, 0.5, 1]))
    assert pool_alc(np.array([0.0, 20.0]), np.array([0.0, 0.3]), 20) == pytest.approx(0.5)


def test_recipes_and_pseudo_labels_reach_the_training(recording: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    original = train_network

    def seen(design: Any, recording: Any, training_set: Any, folder: Any, **kwargs: Any) -> Any:
        given.append((kwargs["init"] is None, kwargs["recipe"], folder.name))
        return original(design, recording, training_set, folder, **kwargs)

    monkeypatch.setattr(trial_module, "train_network", seen)
    rows = rows_of(recording, tmp_path, "random+scratch+randaugment+pseudo:1")
    assert [fresh for fresh, *_ in given] == [True, True]
    assert {recipe for _, recipe, _ in given} == {Recipe("scratch", None, True), Recipe("scratch", rows[0]["batch_oks"], True)}
    assert given[0][2] == "first+scratch+randaugment"


def test_names_of_a_campaign_are_read_back_from_its_table(recording: Any, cache: Any, tmp_path: Path) -> None:
    arms = parse_arms("thc+wpu+duw_paper+features+minmax,random#1")
    assert run(Campaign(TINY, arms, (5,), tmp_path, cache, cache), tell=lambda _: None)
    assert {str(row["strategy"]) for row in read_rows(tmp_path / "results.csv")} == {str(arm) for arm in arms}


def test_models_are_tested_before_cameras_that_nothing_is_trained_on(
    cache: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    design = TINY.but(views=3, unseen_views=2, rounds=0, test_frames=40)  # common and rare ones
    recording = load_recording(design, 5, cache, cache)
    away = recording.unseen
    assert away is not None
    assert (len(recording.pictures), len(away.pictures), recording.xy_px.shape[1], away.xy_px.shape[1]) == (3, 2, 3, 2)
    centres = {tuple(np.round(camera.centre, 6)) for rig in (recording.rig, away.rig) for camera in (rig.cameras if rig else ())}
    assert len(centres) == 5
    np.testing.assert_array_equal(recording.xyz, away.xyz)
    for part in (recording, away):  # points are where their own cameras see them
        assert part.rig is not None
        assert part.xyz is not None
        np.testing.assert_allclose(part.rig.project(part.xyz[3]), part.xy_px[3], atol=1e-6)
    moved = {len(recording.pictures): 10.0, len(away.pictures): 30.0}  # mm: whoever predicts is off by that much in the world

    def predict(design: Any, recording: Any, folder: Any, rows: Any, **_: Any) -> Any:
        xyz = recording.xyz[rows] + [0, 0, moved[len(recording.pictures)]]
        xy = recording.rig.project(xyz)
        return Scan(rows, predicted(xy, np.ones(xy.shape[:3]), {}), triangulate_robust(recording.rig, xy, threshold_px=1.0))

    monkeypatch.setattr(trial_module, "predict", predict)
    figures = trial_module._tested(design, recording, tmp_path)
    assert (figures["error"], figures["unseen_error"]) == pytest.approx((10, 30), abs=1e-3)


def test_one_view_of_the_studio_is_measured_in_pixels(cache: Any, tmp_path: Path) -> None:
    design = TINY.but(views=1, test_frames=40)
    recording = load_recording(design, 5, cache, cache)
    rows = rows_of(recording, tmp_path, "least_confidence", design)
    assert recording.unit == "px"
    assert all(np.isfinite(row["error"]) and np.isfinite(row["rho_own"]) for row in rows)
    with pytest.raises(BadInputError, match="rig"):
        check_arm(recording, Arm.parse("mc"))
    with pytest.raises(BadInputError, match="two views"):
        TINY.but(views=1, unseen_views=2)

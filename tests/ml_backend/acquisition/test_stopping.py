import math

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.acquisition.stopping import Rule, advise, forecast, sc_min, sc_quantile

NAN = math.nan


@pytest.mark.parametrize(
    ("oks", "expected"),
    [
        ([0.9, 0.9], (True, True, True)),
        ([0.7, 1.0], (True, False, False)),
        ([0.8, 0.8], (False, False, False)),  # the threshold itself is not above it
        ([0.81] * 19 + [0.0], (False, False, True)),  # mean .7695; 19 of 20 are 95 %
        ([0.9] * 18 + [0.0] * 2, (True, False, False)),  # mean .81
        ([0.9, NAN], (True, True, True)),
        ([NAN], (False, False, False)),
        ([], (False, False, False)),
    ],
)
def test_criteria(oks: list[float], expected: tuple[bool, bool, bool]) -> None:
    values = np.array(oks, dtype=float)
    assert (sc_min(values, 0.8), sc_quantile(values, 0.8, 1.0), sc_quantile(values, 0.8)) == expected


def test_min_is_weaker_than_all_and_quantile_lies_between() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        oks = rng.beta(9, 1, size=8)
        assert sc_quantile(oks, 0.8, 1.0) <= sc_quantile(oks, 0.8, 0.9)
        assert sc_quantile(oks, 0.8, 1.0) <= sc_min(oks, 0.8)


def test_two_rounds_in_a_row_are_needed() -> None:
    good, bad = np.full(10, 0.9), np.full(10, 0.1)
    for rounds, expected in (([], 0), ([good], 1), ([good, bad], 0), ([good, bad, good], 1), ([bad, good, good], 2)):
        advice = advise(rounds)
        assert (advice.rounds_met, advice.met) == (expected, expected >= 2)
    assert "you may stop" in advise([good, good]).text
    assert "labelling still pays" in advise([good]).text
    for rule in ("sc_min", "sc_all", "sc_quantile"):
        text = advise([good], rule=Rule(rule), patience=3, min_frames=20).text
        assert text.endswith("; to stop, it must be met in 3 in a row, on at least 20 frames in all")


def test_no_advice_to_stop_rests_on_a_handful_of_frames() -> None:
    pair = np.full(2, 0.9)
    few = advise([pair] * 4, min_frames=20)
    assert (few.met, few.rounds_met, few.frames) == (False, 4, 8), "the frames of all four rounds count"
    assert "not enough frames to say yet, 8 of 20" in few.text
    assert advise([pair] * 10, min_frames=20).met


def test_share_has_wilsons_interval() -> None:
    # Wilson's 95 % interval of 6 in 6: lower end n / (n + z^2) = 6 / (6 + 3.8415) = 0.6097.
    advice = advise([np.full(6, 0.9)])
    assert (advice.figure, advice.frames) == (1.0, 6)
    assert advice.hi == pytest.approx(1.0)
    assert advice.lo == pytest.approx(6 / (6 + 1.959964**2))
    assert "1.00 (0.61 to 1.00) on 6 frames" in advice.text


def test_mean_has_a_seeded_bootstrap_interval() -> None:
    oks = np.random.default_rng(1).normal(0.8, 0.1, size=400)
    advice = advise([oks], rule=Rule.MIN, seed=3)
    # Normal theory: half width 1.96 * s / sqrt(n), within a tenth of itself for 2,000 resamples.
    half = 1.96 * oks.std() / 20
    assert advice.figure == pytest.approx(oks.mean())
    assert advice.hi - advice.lo == pytest.approx(2 * half, rel=0.1)
    assert advise([oks], rule=Rule.MIN, seed=3) == advice


def test_all_needs_every_frame_and_nothing_to_evaluate_is_said() -> None:
    mostly = np.array([0.9] * 99 + [0.1])
    assert advise([mostly, mostly]).met
    assert not advise([mostly, mostly], rule=Rule.ALL).met
    empty = advise([np.array([NAN])])
    assert math.isnan(empty.figure)
    assert "no advice yet" in empty.text
    with pytest.raises(BadInputError, match="patience"):
        advise([], patience=0)


@pytest.mark.parametrize(("a", "b", "c", "rounds"), [(60.0, 0.5, 0.0, 4), (60.0, 0.7, 3.0, 8), (20.0, 0.3, 0.0, 6)])
def test_forecast_of_an_exact_power_law(a: float, b: float, c: float, rounds: int) -> None:
    labels = 20.0 * 1.5 ** np.arange(rounds, dtype=np.float64)
    result = forecast(labels, a * labels**-b + c, ahead=100)
    assert result is not None
    gain = a * labels[-1] ** -b - a * (labels[-1] + 100) ** -b
    # The grid of exponents is 3 % wide.
    assert result.gain == pytest.approx(gain, rel=0.05)
    assert result.b == pytest.approx(b, rel=0.1)
    assert result.lo <= result.gain * 1.05
    assert "the next 100 frames buy about" in result.text("mm")


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    labels = np.array([20.0, 40, 60, 80, 100, 140, 180, 220])
    truth = 40 * labels**-0.5 + 2
    gain = 40 * (220**-0.5 - 320**-0.5)
    hits = 0
    for seed in range(60):
        noisy = truth * (1 + np.random.default_rng(seed).normal(0, 0.05, 8))
        result = forecast(labels, noisy, seed=seed, resamples=200)
        assert result is not None
        hits += result.lo <= gain <= result.hi
    # A nominal 95 % interval of a three-parameter fit to eight points; far from never, and not trivially wide.
    assert hits >= 45


def test_flat_curve_promises_nothing() -> None:
    result = forecast(np.array([20.0, 40, 60, 80, 100, 120]), np.full(6, 5.0))
    assert result is not None
    assert result.gain == pytest.approx(0, abs=1e-6)
    rising = forecast(np.array([20.0, 40, 60, 80, 100, 120]), np.array([5.0, 5.1, 5.2, 5.3, 5.4, 5.5]))
    assert rising is not None
    assert rising.gain == pytest.approx(0, abs=1e-6)


def test_too_little_to_forecast_from() -> None:
    assert forecast(np.array([20.0, 40.0]), np.array([5.0, 4.0])) is None
    assert forecast(np.array([20.0, 40.0, 60.0]), np.array([5.0, NAN, 4.0])) is None
    assert forecast(np.array([20.0, 20.0, 20.0]), np.array([5.0, 4.0, 6.0])) is None
    with pytest.raises(BadInputError, match="shape"):
        forecast(np.zeros(3), np.zeros(4))

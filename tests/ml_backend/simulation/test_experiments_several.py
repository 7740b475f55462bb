"""Experiments on frames with several figures: what a row is, what a frame is, and a campaign of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.simulation.experiments.arms import Arm
from ml_backend.simulation.experiments.campaign import Campaign, run
from ml_backend.simulation.experiments.data import TrueRecording, load_recording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.results_table import read_rows
from ml_backend.simulation.experiments.strategies import by_frame, check_arm, mean_of_frame

TINY = Design(
    initial=5, batch=4, rounds=1, pool_frames=130, test_frames=6, views=3, figures=3, rare_fraction=0.4, input_px=(32, 32),
    width=4, steps_first=4, steps_round=3, steps_full=4, scan_stride=2, exclusion_frames=0, threshold_share=0.5,
)  # fmt: skip
ARMS = ("composite+max", "hybrid", "count_disagreement+count_change+assignment_ambiguity+k_median")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("renders")


@pytest.fixture(scope="module")
def recording(cache: Path) -> TrueRecording:
    return load_recording(TINY, 5, cache, None)


def test_every_figure_of_a_frame_is_a_row(recording: TrueRecording) -> None:
    assert recording.subject is not None
    assert recording.box_px is not None
    assert recording.found is not None
    frames = recording.frame_of[recording.pool]
    assert recording.count_frames(recording.pool) == 130
    assert 130 < len(recording.pool) < 3 * 130, "all but the first leave the room now and then"
    rows = recording.rows_of(frames[:1])
    assert {recording.keys[row].index for row in rows} == {0}
    assert len(set(recording.subject[rows].tolist())) == len(rows)
    low, high = recording.box_px[..., None, :2], recording.box_px[..., None, :2] + recording.box_px[..., None, 2:]
    assert ((recording.xy_px > low) & (recording.xy_px < high)).all()
    assert 0.5 < recording.found.mean() < 1.0, "some are hidden by others"


def test_values_of_rows_become_those_of_frames(recording: TrueRecording) -> None:
    rows = recording.pool[3:11]
    values = np.arange(8, dtype=np.float64)
    found, first = by_frame(recording, rows, values)
    frames = recording.frame_of[rows]
    assert recording.frame_of[rows[first]].tolist() == sorted(set(frames.tolist()))
    assert np.nansum(found) == values.sum()
    wanted = np.array([values[frames == frame].mean() for frame in frames.tolist()])
    np.testing.assert_allclose(mean_of_frame(recording, rows, values), wanted)


@pytest.mark.parametrize(
    ("text", "lacks"), [("composite+pseudo", "frames of one figure"), ("composite+views2", "frames of one figure")]
)
def test_what_several_figures_cannot_serve_is_refused(recording: TrueRecording, text: str, lacks: str) -> None:
    with pytest.raises(BadInputError, match=lacks):
        check_arm(recording, Arm.parse(text))


@pytest.mark.parametrize(("text", "lacks"), [("composite+max", "several figures"), ("count_disagreement", "subjects")])
def test_what_one_figure_cannot_serve_is_refused(cache: Path, text: str, lacks: str) -> None:
    alone = load_recording(TINY.but(figures=1, pool_frames=8, test_frames=2), 0, cache, None)
    with pytest.raises(BadInputError, match=lacks):
        check_arm(alone, Arm.parse(text))


def test_a_campaign_labels_whole_frames_and_measures_every_figure(tmp_path: Path, cache: Path) -> None:
    arms = tuple(map(Arm.parse, ARMS))
    assert run(Campaign(TINY, arms, (5,), tmp_path, cache, None), tell=lambda _: None)
    rows = read_rows(tmp_path / "results.csv")
    for arm in map(str, arms):
        mine = [row for row in rows if row["strategy"] == arm]
        assert [row["labels"] for row in mine] == [5, 9]
        assert all(row["pool"] == 130 for row in mine)
        assert all(0 <= float(row["test_count"]) <= 1 for row in mine)
        assert all(np.isfinite(float(row["error"])) for row in mine)
    chosen = [row for row in rows if row["strategy"] == str(arms[2])]
    assert all(row["scored"] == 1.0 for row in chosen), "every frame shows somebody"

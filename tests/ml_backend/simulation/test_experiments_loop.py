"""Annotation simulation end to end, tiny: it repeats itself exactly, survives being killed, and never redoes a finished cell."""

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import typer
from typer.testing import CliRunner

from label_config.values import BadInputError
from ml_backend.simulation.experiments import trial as trial_module
from ml_backend.simulation.experiments.arms import Arm
from ml_backend.simulation.experiments.campaign import Campaign, run
from ml_backend.simulation.experiments.data import load_recording
from ml_backend.simulation.experiments.design import Design
from ml_backend.simulation.experiments.learner import train_network
from ml_backend.simulation.experiments.report import write_report
from ml_backend.simulation.experiments.results_table import read_rows
from ml_backend.simulation.experiments.trial import run_trial
from plugins.cli.commands.simulate import simulate

TINY = Design(
    initial=4, batch=3, rounds=2, pool_frames=40, test_frames=8, views=3, rare_fraction=0.4, input_px=(32, 32), width=4,
    steps_first=4, steps_round=3, steps_full=4, scan_stride=1, exclusion_frames=0, threshold_share=0.5,
)  # fmt: skip
ARMS = ("random", "composite+pseudo", "mc", "full")
TIMES = ("train_s", "scan_s")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("renders")


def campaign(folder: Any, cache: Any, arms: Any = ARMS, design: Any = TINY) -> Any:
    return Campaign(design, tuple(map(Arm.parse, arms)), (5,), folder, cache, folder / "nothing")


def untimed(row: Any) -> Any:
    return {name: value for name, value in row.items() if name not in TIMES}


def same(first: Any, second: Any) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        a, b = untimed(a), untimed(b)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, cache: Any) -> Any:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run(campaign(folder, cache), tell=lambda _: None)
    return folder


def test_every_cell_is_there_once_and_labels_grow_by_the_batch(undisturbed: Any) -> None:
    rows = read_rows(undisturbed / "results.csv")
    assert len(rows) == 3 * 3 + 1
    for arm in ARMS[:3]:
        assert [row["labels"] for row in rows if row["strategy"] == arm] == [4, 7, 10]
    assert [row["labels"] for row in rows if row["strategy"] == "full"] == [40]
    first = [row["error"] for row in rows if row["round"] == 0 and row["strategy"] != "full"]
    assert len(set(first)) == 1  # all strategies start from the same model
    assert not list((undisturbed / "models").rglob("*.safetensors")) or {
        path.parent.name for path in (undisturbed / "models").rglob("*.safetensors")
    } == {"first"}


def test_the_same_seed_gives_the_same_figures(undisturbed: Any, tmp_path: Path, cache: Any) -> None:
    run(campaign(tmp_path, cache), tell=lambda _: None)
    same(read_rows(undisturbed / "results.csv"), read_rows(tmp_path / "results.csv"))


def test_a_second_run_redoes_nothing(undisturbed: Any, tmp_path: Path, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class StopError(Exception):
        pass

    def stop(text: Any) -> None:
        if text.startswith("[2/"):
            raise StopError

    with pytest.raises(StopError):
        run(campaign(tmp_path, cache), tell=stop)
    taught = []
    original = train_network

    def counted(*args: Any, **kwargs: Any) -> Any:
        taught.append(kwargs["steps"])
        return original(*args, **kwargs)

    monkeypatch.setattr(trial_module, "train_network", counted)
    run(campaign(tmp_path, cache), tell=lambda _: None)
    # what is left: "mc" (the first model is asked for and found finished, two rounds) and "full"
    assert taught == [4, 3, 3, 4]
    same(read_rows(undisturbed / "results.csv"), read_rows(tmp_path / "results.csv"))
    taught.clear()
    assert run(campaign(tmp_path, cache), tell=lambda _: None)
    assert taught == []


def _die_in_round_one(folder: Any, cache: Any) -> None:
    recording = load_recording(TINY, 5, cache, folder)

    def emit(row: Any) -> None:
        if row["round"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    run_trial(TINY, recording, Arm.parse("composite+pseudo"), 5, folder / "models" / "seed5", emit)


@pytest.mark.chaos
def test_a_killed_cell_goes_on_with_the_next_round(
    undisturbed: Any, tmp_path: Path, cache: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_in_round_one, args=(tmp_path, cache))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    taught = []
    original = train_network

    def counted(*args: Any, **kwargs: Any) -> Any:
        taught.append(kwargs["steps"])
        return original(*args, **kwargs)

    monkeypatch.setattr(trial_module, "train_network", counted)
    found: list[Any] = []
    recording = load_recording(TINY, 5, cache, tmp_path)
    run_trial(TINY, recording, Arm.parse("composite+pseudo"), 5, tmp_path / "models" / "seed5", found.append)
    assert taught == [3]  # round 2 only
    expected = [row for row in read_rows(undisturbed / "results.csv") if row["strategy"] == "composite+pseudo"]
    assert [row["round"] for row in found] == [0, 1, 2]
    for row, known in zip(found, expected, strict=True):
        assert row["error"] == pytest.approx(known["error"], rel=1e-5)
        assert row["rare_share"] == pytest.approx(known["rare_share"], rel=1e-5)


def _a_long_campaign(folder: Any, cache: Any) -> None:
    design = TINY.but(steps_first=10_000)
    run(campaign(folder, cache, ("random", "random#2"), design), processes=2, tell=lambda _: None)


@pytest.mark.chaos
def test_the_processes_of_a_killed_campaign_end_with_it(tmp_path: Path, cache: Any) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_a_long_campaign, args=(tmp_path, cache))
    process.start()
    teaching = tmp_path / "models" / "seed5" / "first"
    while not teaching.exists():
        process.join(0.1)
        assert process.exitcode is None
    workers = [child for child in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in str(child.cmdline())]
    assert len(workers) == 2
    process.kill()
    process.join()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_report_names_every_strategy_and_needs_nothing_else(undisturbed: Any) -> None:
    text = write_report(undisturbed).read_text(encoding="utf-8")
    for arm in ARMS[:3]:
        assert f"<td>{arm}</td>" in text
    assert "All labels of the pool" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert text.count("data:image/png;base64,") >= 4
    assert (undisturbed / "curves.csv").read_text().count("\n") == 1 + 3 * 3


def test_report_without_random_picks_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"design\.json"):
        write_report(tmp_path)
    (tmp_path / "design.json").write_text(json.dumps(TINY.to_json()))
    with pytest.raises(BadInputError, match="strategy 'random'"):
        write_report(tmp_path)


def test_a_folder_holds_one_experiment(undisturbed: Any, cache: Any) -> None:
    with pytest.raises(BadInputError, match="another experiment"):
        run(campaign(undisturbed, cache, design=TINY.but(batch=2)), tell=lambda _: None)


def test_labelling_two_of_three_views_costs_as_many_pictures_and_reaches_more_frames(tmp_path: Path, cache: Any) -> None:
    design = TINY.but(batch=2)
    run(campaign(tmp_path, cache, ("random", "random+views2"), design), tell=lambda _: None)
    rows = {(row["strategy"], row["round"]): row for row in read_rows(tmp_path / "results.csv")}
    for round_ in range(3):
        assert rows["random", round_]["labels"] == rows["random+views2", round_]["labels"] == 4 + 2 * round_
    assert rows["random", 0]["error"] == rows["random+views2", 0]["error"]  # the first frames are labelled in all views
    # 2 frames of 3 pictures a round, or 3 frames of 2: shares of rare frames are multiples of 1/8 and of 1/10
    for arm, frames in (("random", 8), ("random+views2", 10)):
        assert (rows[arm, 2]["rare_share"] * frames) % 1 == pytest.approx(0, abs=1e-4)


def test_command_runs_and_reports(undisturbed: Any, tmp_path: Path, cache: Any) -> None:
    app = typer.Typer()
    app.command()(simulate)
    values = [f"--set={name}={json.dumps(value)}" for name, value in TINY.but(rounds=0).to_json().items() if name != "precision"]
    arguments = ["--strategies=random", "--seeds=1", "--first-seed=5", f"--out={tmp_path}", f"--cache={cache}", *values]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "random seed 5" in result.output
    assert (tmp_path / "report.html").is_file()
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "0 of 1 cells to run" in again.output
    with pytest.raises(BadInputError, match="lp_mirror_mouse"):
        CliRunner().invoke(app, ["--dataset=panoptic"], catch_exceptions=False)

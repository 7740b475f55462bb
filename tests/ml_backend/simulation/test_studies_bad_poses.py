"""Corrupted poses: what each corruption does is known exactly; AUROC against counting pairs; the study and its command."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from label_config.values import BadInputError
from ml_backend.acquisition.features import pose_size_px
from ml_backend.acquisition.scores.links import limb_lengths_px
from ml_backend.simulation.studies import bad_poses
from ml_backend.simulation.studies.bad_poses import (
    CORRUPTIONS,
    DETECTORS,
    JUMP,
    BadPosesStudy,
    auroc,
    displaced,
    drawn_poses,
    leg_copied,
    run,
    shuffled,
)
from ml_backend.simulation.studies.summary import bad_poses_sections
from ml_backend.simulation.studio_figure import KEYPOINTS, STUDIO_SKELETON
from plugins.cli.commands.study import app

TINY = BadPosesStudy(labelled=(40, 80), test=60, takes=2, frames=60, views=4)


@pytest.fixture(scope="module")
def poses() -> Any:
    return drawn_poses(TINY, 3, 50, np.random.default_rng(1))


def rng() -> Any:
    return np.random.default_rng(7)


@pytest.mark.parametrize("count", [1, 3])
def test_displaced_joints_go_exactly_their_share_of_the_size(poses: Any, count: Any) -> None:
    moved = np.linalg.norm(displaced(poses, count, rng()) - poses, axis=-1)
    assert ((moved > 0).sum(axis=1) == count).all()
    distance = moved.sum(axis=1) / count
    np.testing.assert_allclose(distance, JUMP * pose_size_px(poses), rtol=1e-12)


def test_displaced_joints_and_directions_vary(poses: Any) -> None:
    step = displaced(poses, 1, rng()) - poses
    keypoint = np.abs(step).sum(axis=-1).argmax(axis=1)
    assert len(set(keypoint.tolist())) > 5
    angle = np.arctan2(*step[np.arange(len(step)), keypoint].T)
    assert min(angle) < -2
    assert max(angle) > 2


def test_leg_copy_puts_one_leg_on_the_other_and_changes_nothing_else(poses: Any) -> None:
    copied = leg_copied(poses, rng())
    legs = {side: [KEYPOINTS.index(f"{side}_{keypoint}") for keypoint in ("hip", "knee", "ankle")] for side in ("left", "right")}
    np.testing.assert_array_equal(copied[:, legs["left"]], copied[:, legs["right"]])
    others = np.setdiff1d(np.arange(len(KEYPOINTS)), legs["left"] + legs["right"])
    np.testing.assert_array_equal(copied[:, others], poses[:, others])
    stayed = {side: (copied[:, legs[side]] == poses[:, legs[side]]).all(axis=(1, 2)) for side in legs}
    assert (stayed["left"] ^ stayed["right"]).all()
    assert 5 < stayed["left"].sum() < 45


def test_leg_copy_leaves_the_lengths_of_the_copied_leg_alone(poses: Any) -> None:
    copied = leg_copied(poses, rng())
    names = [(KEYPOINTS[a], KEYPOINTS[b]) for a, b in STUDIO_SKELETON.limbs]
    limbs = np.array(STUDIO_SKELETON.limbs)
    before, after = limb_lengths_px(poses, limbs), limb_lengths_px(copied, limbs)
    for part in (("hip", "knee"), ("knee", "ankle")):
        left, right = (names.index((f"{side}_{part[0]}", f"{side}_{part[1]}")) for side in ("left", "right"))
        np.testing.assert_array_equal(after[:, left], after[:, right])
        kept = np.where(copied[:, KEYPOINTS.index("left_hip")] == poses[:, KEYPOINTS.index("left_hip")], left, right)[:, 0]
        np.testing.assert_array_equal(after[:, left], before[np.arange(len(before)), kept])


def test_shuffle_is_a_permutation_that_leaves_no_joint_in_its_place(poses: Any) -> None:
    mixed = shuffled(poses, rng())
    where = (mixed[:, :, None] == poses[:, None]).all(axis=-1)
    assert (where.sum(axis=1) == 1).all()
    assert (where.sum(axis=2) == 1).all()
    assert not where[:, np.arange(len(KEYPOINTS)), np.arange(len(KEYPOINTS))].any()
    assert len({tuple(order) for order in where.argmax(axis=2).tolist()}) > 40


def test_auroc_counts_pairs_and_ties_by_half() -> None:
    random = np.random.default_rng(3)
    clean, bad = random.integers(0, 8, 37).astype(float), random.integers(2, 11, 23).astype(float)
    pairs = [1.0 if b > c else 0.5 if b == c else 0.0 for b in bad for c in clean]
    assert any(pair == 0.5 for pair in pairs)
    assert auroc(clean, bad) == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    assert auroc(clean, clean + 100) == 1.0
    assert auroc(clean, clean) == 0.5


def test_poses_of_other_takes_are_other_poses() -> None:
    first, second = (drawn_poses(TINY, take, 400, rng()) for take in (0, 100))
    assert len(np.unique(first.reshape(400, -1), axis=0)) == 400
    assert not (first[:, None] == second[None]).all(axis=(-1, -2)).any()


def test_no_take_both_trains_and_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(study: Any, first: Any, *rest: Any) -> Any:
        asked.append(first)
        return drawn_poses(study, first, *rest)

    monkeypatch.setattr(bad_poses, "drawn_poses", noted)
    run(TINY, (0, 1), tmp_path, lambda _: None)
    takes = [take for first in asked for take in range(first, first + TINY.takes)]
    assert len(takes) == len(set(takes)) == 2 * 2 * TINY.takes


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("bad")
    return folder, run(TINY, (0, 1), folder, lambda _: None)


def test_study_has_every_cell_once_and_shuffled_poses_are_found(found: Any) -> None:
    folder, rows = found
    assert len({(r["seed"], r["labelled"], r["score"], r["corruption"]) for r in rows}) == len(rows)
    assert len(rows) == 2 * 2 * len(DETECTORS) * len(CORRUPTIONS)
    sure = [r["auroc"] for r in rows if r["corruption"] == "shuffle" and r["score"] in ("pose_mahalanobis", "link_length")]
    assert min(sure) > 0.95
    with (folder / "results.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [float(row["auroc"]) for row in written] == pytest.approx([row["auroc"] for row in rows], abs=1e-5)


def test_one_maximum_per_joint_makes_the_likelihood_of_maxima_that_of_the_points(found: Any) -> None:
    _, rows = found
    value = {name: [r["auroc"] for r in rows if r["score"] == name] for name in ("link_length", "link_likelihood")}
    np.testing.assert_allclose(value["link_length"], value["link_likelihood"], atol=1e-9)


def test_table_holds_the_means_over_seeds(found: Any) -> None:
    _, rows = found
    sections = bad_poses_sections(rows)
    assert [section.columns for section in sections] == [("score", "jump", "jump3", "leg copy", "shuffle")] * 2
    line = next(line for line in sections[1].lines if line[0] == "wpu, paper")
    values = [r["auroc"] for r in rows if r["labelled"] == 80 and r["score"] == "wpu, paper" and r["corruption"] == "jump"]
    assert line[1].startswith(f"{np.mean(values):.3f} (")


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(BadInputError, match="takes · frames · views = 16"):
        BadPosesStudy(labelled=(20,), test=5, takes=2, frames=4, views=2)
    with pytest.raises(BadInputError, match="1 to 500 takes"):
        BadPosesStudy(takes=501)


def test_command_prints_and_writes(tmp_path: Path) -> None:
    outer = typer.Typer()
    outer.add_typer(app, name="study")
    settings = ["--set=labelled=[30]", "--set=test=20", "--set=takes=1", "--set=frames=40", "--set=views=2"]
    arguments = ["study", "bad-poses", "--seeds=1", f"--out={tmp_path}", *settings]
    result = CliRunner().invoke(outer, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "30 labelled poses, 1 seeds" in result.output
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 1 + len(DETECTORS) * len(CORRUPTIONS)
    with pytest.raises(BadInputError, match="other settings"):
        CliRunner().invoke(outer, ["study", "bad-poses", f"--out={tmp_path}"], catch_exceptions=False)
    with pytest.raises(BadInputError, match="colour=3: expected field=value with a field among labelled, test"):
        CliRunner().invoke(outer, ["study", "bad-poses", "--set=colour=3"], catch_exceptions=False)

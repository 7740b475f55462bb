"""The harvest study: its parts against what is known exactly, and a tiny one end to end that is killed and goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from label_config.values import BadInputError
from ml_backend.labels.harvested_labels import Detections, body_from_poses
from ml_backend.simulation.experiments.learner import Recipe, train_network
from ml_backend.simulation.studies import harvesting
from ml_backend.simulation.studies.harvesting import STEPS, HarvestStudy, most_confident, run
from ml_backend.simulation.studies.reconstruction import METHODS, figures, neighbours, reconstructed
from ml_backend.simulation.studies.study_table import changed, in_words, over_seeds, read_rows, write_rows
from ml_backend.simulation.studies.summary import harvest_sections
from ml_backend.simulation.studies.takes import enlarged, enlarged_px, recorded, reduced_px, together
from ml_backend.simulation.studio import CaptureStudio
from plugins.cli.commands.study import app

TINY = HarvestStudy(
    takes=2, take_frames=6, take_stride=9, pool_frames=6, test_frames=3, stride=3, body_frames=5, views=3, steps=50,
    side_px=32, camera_px=160, width=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def studio() -> Any:
    return CaptureStudio(seed=2, n_frames=40, n_views=4, size_px=(48, 48))


def quiet(_: Any) -> None:
    pass


# --- parts


def test_a_take_is_the_studio_itself(studio: Any) -> None:
    take = recorded(studio, np.array([1, 5, 30]), 2)
    np.testing.assert_array_equal(take.pictures[3][1], studio.render(5, 3))
    np.testing.assert_array_equal(take.xy_px, studio.truth_xy[[1, 5, 30]])
    assert [key.index for key in take.keys] == [1, 5, 30]
    assert take.pool.tolist() == [0, 1]
    assert take.test.tolist() == [2]


def test_takes_together_keep_order_and_have_no_rig(studio: Any) -> None:
    first, second = recorded(studio, np.array([1, 5]), 2), recorded(studio, np.array([7]), 1)
    both = together([first, second])
    np.testing.assert_array_equal(both.pictures[2][2], second.pictures[2][0])
    np.testing.assert_array_equal(both.xy_px[:2], first.xy_px)
    assert both.rig is None
    assert both.pool.tolist() == [0, 1, 2]


def test_enlarged_cameras_see_enlarged_points(studio: Any) -> None:
    small, large = studio.truth_xy[:3], enlarged(studio.rig, 5).project(studio.truth_xyz[:3])
    np.testing.assert_allclose(enlarged_px(small, 5), large, atol=1e-9)
    np.testing.assert_allclose(reduced_px(large, 5), small, atol=1e-9)
    assert enlarged_px(np.array([-0.5, 47.5]), 5).tolist() == [-0.5, 239.5]  # corners stay corners


def test_neighbouring_cameras_of_a_ring() -> None:
    assert neighbours(4, 2) == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert neighbours(4, 3) == [[0, 1, 2], [1, 2, 3], [2, 3, 0], [3, 0, 1]]
    assert neighbours(4, 4) == [[0, 1, 2, 3]]


def test_exact_points_of_some_views_give_the_exact_pose(studio: Any) -> None:
    rig, xyz = enlarged(studio.rig, 10), studio.truth_xyz[:4]
    xy = rig.project(xyz)
    xy[:, 0] += 100.0  # the first camera is not asked
    seen = Detections(xy, np.ones(xy.shape[:3]), np.full(xy.shape[:2], 15.0))
    body = body_from_poses(studio.truth_xyz[::8], studio.skeleton)
    found, kept = reconstructed(rig, body, studio.frames[:4], seen, [1, 2, 3], 0.5)
    assert tuple(found) == METHODS
    for poses in (found["linear"], found["robust"]):
        np.testing.assert_allclose(poses, xyz, atol=1e-6)
    near = np.linalg.norm(found["pictorial"] - xyz, axis=-1)
    assert np.median(near) < 1e-6  # refined wherever the views agree with the grid
    assert (kept.sum(axis=0) == 2).all()


def test_figures_of_known_errors() -> None:
    truth = np.zeros((4, 2, 3))
    truth[:, 1, 0] = 100.0
    xyz = truth + [0.0, 0.0, 30.0]  # all of it 30 too high
    xyz[0, 1, 2] += 30.0
    xyz[1, 1, 2] += 50.0
    rare = np.array([True, False, False, False])
    told = figures(xyz, truth, rare, [(0, 1)])
    assert told["error"] == pytest.approx((6 * 30 + 60 + 80) / 8)
    assert told["median"] == pytest.approx(30)
    assert told["aligned"] == pytest.approx((2 * 15 + 2 * 25) / 8)
    assert told["rare"] == pytest.approx((30 + 60) / 2)
    assert told["pcp"] == pytest.approx(75)  # the mean of 30 and 60 is within half of 100, that of 30 and 80 is not
    some = np.where(np.arange(4)[:, None, None] > 0, truth, np.nan)
    assert figures(xyz, some, rare, [(0, 1)])["share"] == pytest.approx(0.75)
    assert figures(xyz, some, rare, [(0, 1)])["pcp"] == pytest.approx(100 * 2 / 3)


def test_most_confident_of_every_keypoint() -> None:
    confidence = np.array([[[0.9, 0.2], [0.05, 0.8]], [[0.3, 0.7], [0.6, 0.09]]])  # 2 frames, 2 views, 2 keypoints
    kept = most_confident(confidence, 0.7)
    # keypoint 0: .9, .6, .3 are opinions, the best 3 of 3 · 0.7 rounded up; keypoint 1: .8, .7, .2
    assert kept[..., 0].tolist() == [[True, False], [True, True]]
    assert kept[..., 1].tolist() == [[True, True], [True, False]]
    fewer = most_confident(confidence, 0.5)
    assert fewer[..., 0].tolist() == [[True, False], [False, True]]
    assert fewer[..., 1].tolist() == [[False, True], [True, False]]


# --- tables


def test_differences_are_paired_over_seeds() -> None:
    rows = [{"seed": s, "step": step, "error": value} for step, values in (("a", (1, 2, 3)), ("b", (2, 4, 6)))
            for s, value in enumerate(values)]  # fmt: skip
    found = over_seeds(
        [*rows, {"seed": 9, "step": "b", "error": 70}], "error", lambda r: r["step"] == "b", lambda r: r["step"] == "a"
    )
    assert (found.delta, found.n) == (2.0, 3)
    assert 1 <= found.lo < found.delta < found.hi <= 3
    assert in_words(over_seeds(rows[:1], "error", lambda r: True)) == "+1.0"
    assert in_words(found).startswith("+2.0 (+1")


def test_rows_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, ("seed", "name", "value"), [{"seed": 3, "name": "ps", "value": 0.25}, {"seed": 4, "name": "hm"}])
    first, second = read_rows(path)
    assert first == {"seed": 3, "name": "ps", "value": 0.25}
    assert isinstance(first["seed"], int)
    assert np.isnan(second["value"])


def test_settings_are_read_as_json() -> None:
    assert changed(TINY, ["views=2", "known=true"]) == HarvestStudy(**{**vars(TINY), "views": 2, "known": True})
    with pytest.raises(BadInputError, match="JSON value"):
        changed(TINY, ["views=two"])
    with pytest.raises(BadInputError, match="views must be at least 2, got 1"):
        changed(TINY, ["views=1"])
    with pytest.raises(BadInputError, match="multiple of side_px"):
        changed(TINY, ["camera_px=161"])


# --- end to end


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("harvest")
    return folder, run(TINY, (1,), folder, quiet)


def test_every_step_is_evaluated_by_every_method(finished: Any) -> None:
    folder, rows = finished
    cells = {(r["step"], r["views"], r["method"], r["keypoints"]) for r in rows}
    assert len(cells) == len(rows) == (2 + len(STEPS) - 1) * len(METHODS) * 2
    assert {r["views"] for r in rows if r["step"] == "generic"} == {2, 3}
    assert {r["labels_px"] for r in rows if r["step"] == "truth"} == {0}
    assert all(r["labels_px"] > 0 for r in rows if r["step"] in ("hm", "hm_sel", "ps", "ps_sel"))
    share = {r["step"]: r["labels_share"] for r in rows}
    assert share["hm_sel"] < share["hm"]
    assert share["ps_sel"] < share["ps"]
    assert share["truth"] == 1
    assert not list(folder.rglob("*.safetensors"))


def test_a_killed_study_goes_on_and_a_finished_one_does_nothing(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = []
    original = train_network

    def counted(*args: Any, **kwargs: Any) -> Any:
        taught.append((args[3].name, kwargs.get("recipe")))
        return original(*args, **kwargs)

    class KilledError(Exception):
        pass

    def die(text: Any) -> None:
        if "hm_sel" in text:
            raise KilledError

    with pytest.raises(KilledError):
        run(TINY, (1,), tmp_path, die)
    monkeypatch.setattr(harvesting, "train_network", counted)
    rows = run(TINY, (1,), tmp_path, quiet)
    # the generic network is asked for and found finished
    assert taught == [("generic", None), *((step, Recipe("personalise")) for step in STEPS[3:])]
    for row, known in zip(rows, finished[1], strict=True):
        np.testing.assert_equal(row, known)
    taught.clear()
    said: list[str] = []
    run(TINY, (1,), tmp_path, said.append)
    assert taught == []
    assert said == ["seed 1: done before"]


def test_a_folder_holds_one_study(finished: Any) -> None:
    with pytest.raises(BadInputError, match="other settings"):
        run(HarvestStudy(**{**vars(TINY), "views": 2}), (1,), finished[0], quiet)


def test_command_goes_on_with_what_is_there(finished: Any) -> None:
    folder, rows = finished
    outer = typer.Typer()
    outer.add_typer(app, name="study")
    values = [f"--set={name}={json.dumps(value)}" for name, value in vars(TINY).items()]
    arguments = ["study", "harvest", "--seeds=1", "--first-seed=1", f"--out={folder}", *values]
    result = CliRunner().invoke(outer, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "seed 1: done before" in result.output
    assert "Generic network on a new take" in result.output
    views, steps = harvest_sections(rows)
    assert [line[:2] for line in views.lines] == [(str(v), m) for v in (2, 3) for m in METHODS]
    assert [line[0] for line in steps.lines] == list(STEPS)
    for column, method in ((5, "pictorial"), (8, "linear")):
        truth = next(r for r in rows if (r["step"], r["method"], r["keypoints"]) == ("truth", method, "all"))
        assert steps.lines[-1][column] == f"{truth['error']:.1f}"

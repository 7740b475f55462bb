"""Harvesting on the capture studio: poses in space, targets for training, and the whole job."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from label_config.values import BadInputError, BoolArray, FloatArray, FrameKey, ImageRef, ParallaxError, TrainingTarget
from label_config.values.skeleton import Skeleton
from ml_backend.formats.limb_lengths import read_limb_lengths, write_limb_lengths
from ml_backend.formats.points_world import write_points_world
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.pictorial_body import LimbLengths
from ml_backend.geometry.triangulation import triangulate_linear
from ml_backend.jobs.harvest_job import harvest, last_harvest
from ml_backend.jobs.job_context import JobContext
from ml_backend.jobs.run_job import run_here
from ml_backend.labels.harvested_labels import (
    MIN_POSES,
    Detections,
    Harvest,
    body_from_lengths,
    body_from_poses,
    confirmed_poses,
    harvest_points,
    harvest_targets,
    summarise,
)
from ml_backend.pose.config import TrainConfig
from ml_backend.pose.training import TrainResult, train
from ml_backend.project.job_arguments import HarvestOptions
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import presence, versions, work
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]

STUDIO = CaptureStudio(seed=5, n_frames=24, n_views=4)
BODY = body_from_poses(STUDIO.truth_xyz[::4], STUDIO.skeleton)
NOISE_PX = 1.5
#: Training frames that a person labelled, in the tests of the job.
LABELLED = (0, 5, 10, 15, 20, 25)


def seen(noise_px: float = NOISE_PX) -> FloatArray:
    """What a good network might say: the truth with noise."""
    return STUDIO.truth_xy + np.random.default_rng(0).normal(0.0, noise_px, STUDIO.truth_xy.shape)


def reap(xy_px: FloatArray, rig: Rig = STUDIO.rig) -> Harvest:
    detections = Detections(xy_px, np.full(xy_px.shape[:-1], 0.9), np.full(xy_px.shape[:2], 3.0))
    return harvest_points(BODY, rig, STUDIO.frames, detections)


def error_mm(xyz: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(xyz - STUDIO.truth_xyz, axis=-1))


@pytest.fixture(scope="module")
def with_outliers() -> Harvest:
    """A fifth of all points lies somewhere else in the picture."""
    rng = np.random.default_rng(1)
    xy = seen()
    wrong = rng.random(xy.shape[:3]) < 0.2
    xy[wrong] = rng.uniform(40, 216, (int(wrong.sum()), 2))
    return reap(xy).select(0.7)


def test_exact_points_of_all_views_give_exact_poses() -> None:
    # The grid has voxels of 65 mm; only the refinement by the agreeing views can be this good.
    assert error_mm(reap(STUDIO.truth_xy).xyz_world).max() < 0.01


def test_kept_joints_are_better_than_all(with_outliers: Harvest) -> None:
    error = error_mm(with_outliers.xyz_world)
    assert error[with_outliers.kept].mean() < 0.9 * error.mean()


def test_each_joint_keeps_the_share_that_was_asked_for() -> None:
    found = reap(seen())
    assert (found.agreeing == 4).mean() > 0.99
    for fraction, expected in ((0.7, 17), (0.5, 12), (1.0, 24)):
        np.testing.assert_array_equal(found.select(fraction).kept.sum(axis=0), expected)  # ⌈0.7 · 24⌉ = 17
    doubt = found.select(0.5)
    for k in range(doubt.kept.shape[1]):
        assert doubt.logdet[doubt.kept[:, k], k].max() <= doubt.logdet[~doubt.kept[:, k], k].min()


def test_a_corrupted_view_hurts_pictorial_structures_less_than_plain_triangulation() -> None:
    xy = seen()
    xy[:, 0] = xy[:, 0][:, list(STUDIO.skeleton.mirror)]  # left and right exchanged: confident and wrong
    plain = error_mm(triangulate_linear(STUDIO.rig, xy)).mean()
    assert error_mm(reap(xy).xyz_world).mean() < 0.5 * plain


def test_blobs_as_wide_as_heatmaps_do_not_hide_that_two_views_agree() -> None:
    """The mean of a broad marginal is off by up to a voxel: more pixels, in a picture of this size, than points may disagree."""
    studio = CaptureStudio(seed=2, n_frames=300, n_views=4, size_px=(480, 480))
    rig, rows = studio.rig.subset(["cam1", "cam2"]), np.arange(5, 300, 60)
    xy = rig.project(studio.truth_xyz[rows])
    seen_wide = Detections(xy, np.ones(xy.shape[:3]), np.full(xy.shape[:2], 24.0))
    body = body_from_poses(studio.truth_xyz[::30], studio.skeleton)
    found = harvest_points(body, rig, [studio.frames[i] for i in rows], seen_wide)
    np.testing.assert_allclose(found.xyz_world, studio.truth_xyz[rows], atol=1e-6)
    assert (found.agreeing == 2).all()


def test_the_printed_share_is_of_all_poses_whether_views_agree_or_not() -> None:
    xy = seen()
    xy[:, 1:, 5] = np.nan
    kept = reap(xy).select(0.7, unconfirmed=True).kept
    np.testing.assert_array_equal(kept.sum(axis=0), 17)


def test_joints_that_only_one_view_confirms_are_never_kept() -> None:
    xy = seen()
    xy[:, 1:, 5] = np.nan  # three of four cameras never see the left wrist
    found = reap(xy).select(1.0)
    assert not found.kept[:, 5].any()
    others = np.delete(np.arange(15), 5)
    assert found.kept[:, others].mean() > 0.95


def test_heatmaps_say_the_same_as_points() -> None:
    size, stride = (64, 64), 4
    column, row = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    frames, views = 3, 4
    xy = STUDIO.truth_xy[:frames]
    hm = (xy + 0.5) / stride - 0.5
    maps = np.exp(-0.5 * ((column - hm[..., :1, None]) ** 2 + (row - hm[..., 1:, None]) ** 2) / 1.5**2).astype(np.float32)
    affine = np.tile(np.array([[1 / stride, 0, 0.5 / stride - 0.5], [0, 1 / stride, 0.5 / stride - 0.5]]), (frames, views, 1, 1))
    detections = Detections(xy, np.ones(xy.shape[:-1]), np.ones(xy.shape[:2]), maps, affine)
    found = harvest_points(BODY, STUDIO.rig, STUDIO.frames[:frames], detections)
    assert np.linalg.norm(found.xyz_world - STUDIO.truth_xyz[:frames], axis=-1).max() < 0.01
    maps_of_another_frame = replace(detections, heatmaps=np.roll(maps, 32, axis=-1))
    assert harvest_points(BODY, STUDIO.rig, STUDIO.frames[:frames], maps_of_another_frame).logdet.mean() > found.logdet.mean()


def test_targets_project_kept_joints_into_every_view_and_mask_the_rest() -> None:
    keep: BoolArray = np.random.default_rng(2).random((24, 15)) < 0.5
    keep[3] = False
    truth = replace(reap(STUDIO.truth_xy), xyz_world=STUDIO.truth_xyz, kept=keep)
    images = [{name: ImageRef(f"{name}/{i}.jpg") for name in STUDIO.rig.names} for i in range(24)]
    del images[7]["cam2"]
    targets = harvest_targets(truth, STUDIO.rig, images, STUDIO.rig.names, weight=0.25)
    assert len(targets) == 4 * 23 - 1
    for target in targets:
        assert target.key is not None
        assert target.view is not None
        frame, view = target.key.index, STUDIO.rig.names.index(target.view)
        assert target.image.source == f"{target.view}/{frame}.jpg"
        np.testing.assert_array_equal(target.weight, 0.25 * keep[frame])
        np.testing.assert_allclose(target.xy_px[keep[frame]], STUDIO.truth_xy[frame, view, keep[frame]], atol=1e-6)
        assert np.isnan(target.xy_px[~keep[frame]]).all()


def test_a_target_has_the_box_of_its_subject_where_prediction_will_have_it() -> None:
    truth = replace(reap(STUDIO.truth_xy), xyz_world=STUDIO.truth_xyz).select(1.0)
    images = [{name: ImageRef(name) for name in STUDIO.rig.names}] * 24
    boxes = np.full((24, 4, 4), np.nan)
    boxes[3, 1] = (10.0, 20.0, 30.0, 40.0)
    targets = harvest_targets(truth, STUDIO.rig, images, STUDIO.rig.names, box_px=boxes)
    given = {(target.key.index, target.view): target.box_px for target in targets if target.key and target.box_px}
    assert given == {(3, "cam2"): (10.0, 20.0, 30.0, 40.0)}


def test_views_agree_within_what_parallax_yaml_says() -> None:
    seen = STUDIO.truth_xy + np.random.default_rng(0).normal(0, 1.0, STUDIO.truth_xy.shape)
    detections = Detections(seen, np.ones(seen.shape[:-1]), np.full(seen.shape[:2], 2.0))
    by_rule, strict = (harvest_points(BODY, STUDIO.rig, STUDIO.frames, detections, limit) for limit in (None, 1e-6))
    assert (by_rule.agreeing >= 2).mean() > 0.9
    assert (strict.agreeing < 2).all(), "no two noisy points agree within a millionth of a pixel"


def test_a_projection_outside_the_picture_has_no_weight() -> None:
    small = Rig((replace(STUDIO.rig.cameras[0], size_px=(128, 256)), *STUDIO.rig.cameras[1:]))
    found = replace(reap(STUDIO.truth_xy), xyz_world=STUDIO.truth_xyz).select(1.0)
    images = [{name: ImageRef(name) for name in small.names}] * 24
    for target in harvest_targets(found, small, images, small.names):
        assert target.key is not None
        inside = (STUDIO.truth_xy[target.key.index, 0, :, 0] <= 127.5) | (target.view != "cam1")
        np.testing.assert_array_equal(target.weight > 0, inside)


def test_a_harvest_comes_back_from_disk_as_it_was(with_outliers: Harvest, tmp_path: Path) -> None:
    np.savez(tmp_path / "h.npz", allow_pickle=False, **with_outliers.to_arrays())
    with np.load(tmp_path / "h.npz") as file:
        back = Harvest.from_arrays(dict(file))
    assert back.keys == with_outliers.keys
    for name in ("xyz_world", "covariance", "logdet", "residual_px", "agreeing", "kept"):
        np.testing.assert_array_equal(getattr(back, name), getattr(with_outliers, name))


def test_the_summary_is_of_kept_poses() -> None:
    found = reap(STUDIO.truth_xy)
    residual = np.arange(24.0)[:, None, None] * np.ones((24, 4, 15))
    kept = np.arange(24)[:, None] < np.full((24, 15), 11)
    lines = summarise(replace(found, residual_px=residual, kept=kept, logdet=np.full((24, 15), 6 * np.log(7.0))))
    assert all(line.kept == 11 / 24 and line.residual_px == 5.0 and line.spread_world == pytest.approx(7.0) for line in lines)


def test_limb_lengths_need_poses() -> None:
    with pytest.raises(BadInputError, match=f"{MIN_POSES} poses"):
        body_from_poses(STUDIO.truth_xyz[: MIN_POSES - 1], STUDIO.skeleton)


def limb_lengths(scale: float = 1.0) -> list[tuple[str, str, float]]:
    """Of the figure, as a person would measure them."""
    names, pose = STUDIO.skeleton.keypoints, STUDIO.truth_xyz[0]
    return [(names[a], names[b], scale * float(np.linalg.norm(pose[a] - pose[b]))) for a, b in STUDIO.skeleton.limbs]


def test_measured_lengths_do_what_labels_do() -> None:
    body = body_from_lengths(limb_lengths()[::-1], STUDIO.skeleton)
    detections = Detections(STUDIO.truth_xy, np.full(STUDIO.truth_xy.shape[:-1], 0.9), np.full(STUDIO.truth_xy.shape[:2], 3.0))
    assert error_mm(harvest_points(body, STUDIO.rig, STUDIO.frames, detections).xyz_world).max() < 0.01
    extent = STUDIO.truth_xyz.max(axis=1) - STUDIO.truth_xyz.min(axis=1)
    assert body.side_world >= extent.max(), "every pose fits into the box of the subject stretched out"


def test_the_box_of_a_chain_is_its_length_and_of_separate_limbs_their_sum() -> None:
    chain = Skeleton("chain", ("a", "b", "c", "d", "e"), limbs=((0, 1), (1, 2), (3, 4)))
    body = body_from_lengths([("a", "b", 2.0), ("c", "b", 3.0), ("d", "e", 0.5)], chain)
    assert body.side_world == pytest.approx(5.5)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (limb_lengths()[1:], "missing"),
        ([*limb_lengths()[1:], (*limb_lengths()[0][:2], -1.0)], r"-1\.0"),
        ([*limb_lengths(), ("head", "left_ankle", 1.0)], "head–left_ankle: no limb"),
        ([("head", "tail", 1.0)], "'tail' is not a keypoint"),
    ],
)
def test_lengths_that_are_not_those_of_the_limbs_are_named(lengths: list[tuple[str, str, float]], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        body_from_lengths(lengths, STUDIO.skeleton)


def test_only_what_three_cameras_agree_about_makes_a_length() -> None:
    xy = STUDIO.truth_xy.copy()
    xy[:, 2:, 5] = np.nan  # two of four cameras see the left wrist
    xy[:, 0, 6] += 60.0  # three agree about the next one
    poses = confirmed_poses(STUDIO.rig, xy)
    assert np.isnan(poses[:, 5]).all()
    others = np.delete(np.arange(15), 5)
    np.testing.assert_allclose(poses[:, others], STUDIO.truth_xyz[:, others], atol=1e-3)
    assert np.isfinite(confirmed_poses(STUDIO.rig.subset(STUDIO.rig.names[:2]), xy[:, :2])[:, 5]).all()


def test_lengths_go_to_another_project_as_a_file(tmp_path: Path) -> None:
    path, known = tmp_path / "lengths.csv", LimbLengths.from_labels(STUDIO.truth_xyz, STUDIO.skeleton.limbs).length_world
    write_limb_lengths(path, STUDIO.skeleton, known)
    found = read_limb_lengths(path)
    assert [row[:2] for row in found] == [row[:2] for row in limb_lengths()]
    np.testing.assert_allclose([row[2] for row in found], [row[2] for row in limb_lengths()], rtol=1e-5)
    path.write_text("from;to;length\nneck;nose;1,5\n", encoding="utf-16")  # as a spreadsheet of another country saves it
    assert read_limb_lengths(path) == [("neck", "nose", 1.5)]
    for text, message in (
        ("a,b\n", "expected a header"),
        ("from,to,length\na,b\n", ":2: expected two"),
        ("from,to,length\na,b,c\n", ":2"),
    ):
        path.write_text(text)
        with pytest.raises(BadInputError, match=message):
            read_limb_lengths(path)
    with pytest.raises(BadInputError, match="got none for"):
        write_limb_lengths(path, STUDIO.skeleton, np.where(np.arange(len(known)) == 3, np.nan, known))


def test_points_in_space_as_csv_and_npz(tmp_path: Path) -> None:
    keys = (FrameKey("walk", 3), FrameKey("walk", 8))
    xyz = np.array([[[1.0, 2.0, 3.0]], [[np.nan, np.nan, np.nan]]])
    arguments = (keys, ("nose",), xyz, np.array([[0.5], [np.nan]]), np.array([[True], [False]]), "m")
    write_points_world(tmp_path / "p.csv", *arguments)
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["sequence", "frame", "nose_x", "nose_y", "nose_z", "nose_spread", "nose_kept"]
    assert rows[1:] == [["walk", "3", "1.0000", "2.0000", "3.0000", "0.5000", "1"], ["walk", "8", "", "", "", "", "0"]]
    write_points_world(tmp_path / "p.npz", *arguments)
    with np.load(tmp_path / "p.npz") as file:
        np.testing.assert_array_equal(file["xyz_world"], xyz)
        assert file["index"].tolist() == [3, 8]
        assert file["keypoints"].tolist() == ["nose"]
    write_points_world(tmp_path / "p.nc", *arguments)
    with xarray.open_dataset(tmp_path / "p.nc") as data:
        assert (data.attrs["ds_type"], data.attrs["length_unit"]) == ("poses", "m")
        np.testing.assert_array_equal(data["position"].sel(keypoints="nose", individuals="subject0"), xyz[:, 0])
        assert data["time"].values.tolist() == [3, 8]
    with pytest.raises(BadInputError, match=r"\.csv, \.npz or \.nc"):
        write_points_world(tmp_path / "p.txt", *arguments)
    with pytest.raises(BadInputError, match="xyz_world: expected shape"):
        write_points_world(tmp_path / "q.csv", keys, ("nose", "tail"), *arguments[2:])


@pytest.mark.parametrize("wrong", [{"keep": 0.0}, {"keep": 1.5}, {"stride": 0}, {"train_frames": 0}, {"grid": 2}, {"grid": 512}])
def test_impossible_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadInputError, match="harvest: expected"):
        HarvestOptions(**wrong)  # type: ignore[arg-type]


@pytest.fixture
def trained(make_workspace: Make, label: Label) -> Workspace:
    """A poor model is live, six training and two validation frames are labelled."""
    workspace = make_workspace(train={"steps_first": 12})
    label(workspace, [*LABELLED, 33, 36])
    run_here(workspace, work.request(workspace.store, "retrain"), lambda progress: None)
    return workspace


def test_the_job_leaves_poses_and_a_version_behind_the_gate(
    trained: Workspace, studio: CaptureStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = versions.live(trained.store)
    assert first is not None
    rounds = versions.current_round(trained.store)
    trained_on: set[int] = set()

    def spy(config: TrainConfig, targets: list[TrainingTarget], *rest: Any, **more: Any) -> TrainResult:
        trained_on.update(target.key.index for target in targets if target.key is not None)
        return train(config, targets, *rest, **more)

    monkeypatch.setattr("ml_backend.jobs.training_run.train", spy)
    job = work.request(trained.store, "harvest", {"stride": 2, "train_frames": 9})
    run_here(trained, job, lambda progress: None)
    outcome = last_harvest(trained)
    assert outcome.version.number == first.number + 1
    assert outcome.version.status == "published"
    assert "of 20" in outcome.version.metrics["gate"]
    assert outcome.version.metrics["previous_per_keypoint_px"] == first.metrics["per_keypoint_px"]
    assert outcome.version.snapshot_id == first.snapshot_id, "nobody said anything new"
    assert versions.current_round(trained.store) == rounds
    for found in (outcome.before, outcome.after):
        assert [key.index for key in found.keys] == list(range(0, studio.n_frames, 2))
        assert found.kept.any()
        assert np.isfinite(found.xyz_world[found.kept]).all()
    assert set(LABELLED) < trained_on
    assert len(trained_on - set(LABELLED)) == 9
    assert max(trained_on) < 32, "frames from 32 on are for validation"


def test_a_stopped_job_goes_on_from_the_poses_it_has(trained: Workspace) -> None:
    requested = work.request(trained.store, "harvest", {"stride": 4, "train_frames": 4})
    job = work.claim(trained.store, requested.id, "first")
    assert job is not None
    stages: list[str] = []

    def poses_are_stored() -> bool:
        return "before" in work.list_jobs(trained.store)[0].arguments

    with pytest.raises(ParallaxError, match="checkpoint is kept"):
        harvest(JobContext(trained, job, lambda progress: None, poses_are_stored))
    assert work.fail(trained.store, job, "stopped")
    again = work.claim(trained.store, requested.id, "second")
    assert again is not None
    assert "before" in again.arguments
    stages.clear()
    version = harvest(JobContext(trained, again, lambda progress: stages.append(progress["stage"]), lambda: False))
    assert stages[0] == "train", "the first poses were there"
    assert version.attempt == again.attempt


def test_without_calibration_it_says_how_to_calibrate(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(calibrated=False)
    label(workspace, [0, 5])
    requested = work.request(workspace.store, "harvest")
    job = work.claim(workspace.store, requested.id, "test")
    assert job is not None
    with pytest.raises(BadInputError, match="calibration:"):
        harvest(JobContext(workspace, job, lambda progress: None, lambda: False))


def test_before_there_is_a_model_or_a_harvest_it_says_so(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    with pytest.raises(ParallaxError, match="nothing was harvested yet"):
        last_harvest(workspace)
    requested = work.request(workspace.store, "harvest", {"sequences": ["other"]})
    job = work.claim(workspace.store, requested.id, "test")
    assert job is not None
    with pytest.raises(BadInputError, match="other: expected calibrated recordings among studio3"):
        harvest(JobContext(workspace, job, lambda progress: None, lambda: False))
    with pytest.raises(ParallaxError, match="no model yet"):
        harvest(JobContext(workspace, replace(job, arguments={}), lambda progress: None, lambda: False))


def of_another_project(make_workspace: Make, elsewhere: Workspace, folder: Path) -> Workspace:
    """A new project without a label that begins with the model of ``elsewhere``."""
    live = versions.live(elsewhere.store)
    assert live is not None
    places = {"store": f"sqlite:///{folder}/new.sqlite3", "models": str(folder / "models"), "arrays": str(folder / "arrays")}
    workspace = make_workspace(
        **places, train={"weights": str(elsewhere.models / live.path), "steps_first": 12, "steps_round": 12}
    )
    run_here(workspace, work.request(workspace.store, "select"), lambda progress: None)
    return workspace


@pytest.mark.parametrize("lengths", [None, limb_lengths()])
def test_a_recording_without_a_single_label_is_harvested(
    lengths: list[tuple[str, str, float]] | None, trained: Workspace, make_workspace: Make, tmp_path: Path
) -> None:
    workspace = of_another_project(make_workspace, trained, tmp_path)
    first = versions.live(workspace.store)
    assert first is not None
    options = HarvestOptions(stride=2, train_frames=9, grid=16, limb_lengths=lengths)
    run_here(workspace, work.request(workspace.store, "harvest", options.to_json()), lambda progress: None)
    outcome = last_harvest(workspace)
    assert outcome.version.number == first.number + 1
    assert outcome.before.kept.any()
    estimated = [event for event in presence.list_events(workspace.store, 50) if "estimated from" in event.text]
    assert len(estimated) == (lengths is None)

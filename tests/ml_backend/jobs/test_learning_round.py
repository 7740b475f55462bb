"""From labels to the next order, without Label Studio: collect, train, score, select, pseudo-labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from label_config.values import PointState, Pose2D, Provenance, Triangulation
from ml_backend.acquisition.score_record import ScoreRecord, recompute_final
from ml_backend.jobs.rescore_job import candidates
from ml_backend.jobs.self_training import propose_pseudo, store_pseudo
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.label_snapshot import collect
from ml_backend.project.round_state import RoundState
from ml_backend.recordings import read_image, write_picture
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, picture_marks, presence, pseudo_labels, submissions, versions, work
from ml_backend.store.workspace import Workspace
from plugins.cli.overview import overview

Make = Callable[..., Workspace]
Label = Callable[..., None]
WorkOff = Callable[[Workspace], list[str]]


def test_a_snapshot_holds_every_label_once_and_comes_back_from_disk_as_it_was(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0, 5, 33])
    snapshot = collect(workspace)
    assert [key.index for key in snapshot.keys] == [0, 5, 33]
    assert snapshot.split.tolist() == ["train", "train", "val"]
    assert [number for number, _ in snapshot.annotations] == [10001, 10051, 10331]
    name, _ = workspace.arrays.save("snapshots", snapshot.to_arrays())
    back = Snapshot.from_arrays(workspace.arrays.load(name))
    assert back.sha256 == snapshot.sha256
    assert back.keys == snapshot.keys


def test_the_digest_of_a_snapshot_follows_the_labels(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace()
    label(workspace, [0])
    before = collect(workspace)
    assert collect(workspace).sha256 == before.sha256
    moved = replace(before, xy_px=before.xy_px + 1.0)
    assert moved.sha256 != before.sha256


def test_a_view_that_nobody_labelled_is_filled_from_the_others(make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace()
    label(workspace, [4], hide={4: 2})
    snapshot = collect(workspace)
    filled = snapshot.provenance[0, 2] == Provenance.GEOMETRY
    assert filled.sum() >= 10, "most rays of two studio cameras cross at more than 10 degrees"
    # the labels are exact, so their intersection is; undistortion is the only approximation
    np.testing.assert_allclose(snapshot.xy_px[0, 2][filled], studio.truth_xy[4, 2][filled], atol=1e-3)
    assert set(np.unique(snapshot.weight[0, 2])) <= {0.0, 0.5}
    assert not snapshot.human[0, 2].any()


def test_a_point_corrected_in_two_views_is_corrected_in_the_third(
    make_workspace: Make, label: Label, studio: CaptureStudio
) -> None:
    workspace = make_workspace()
    label(workspace, [4])
    (row,) = submissions.list_annotations(workspace.store)
    pose = Pose2D.from_json(row.poses["0"])
    xy, provenance = pose.xy_px.copy(), np.full_like(pose.provenance, Provenance.ACCEPTED)
    provenance[:2, 3] = Provenance.PLACED  # moved in two cameras …
    xy[2, 3] += (0.0, 60.0)  # … and left where the model had put it in the third
    corrected = replace(pose, xy_px=xy, provenance=provenance)
    edited = {name: getattr(row, name) for name in ("ls_annotation_id", "task_id", "person", "cancelled", "round")}
    edited |= {"updated_at": "2026-01-02T00:00:00.000000Z", "poses": {"0": corrected.to_json()}}
    submissions.save(workspace.store, [edited])
    snapshot = collect(workspace)
    np.testing.assert_allclose(snapshot.xy_px[0], studio.truth_xy[4], atol=1e-3)
    assert np.argwhere(snapshot.provenance[0] == Provenance.GEOMETRY).tolist() == [[2, 3]]


def test_without_calibration_an_unlabelled_view_stays_empty(make_workspace: Make, label: Label) -> None:
    workspace = make_workspace(calibrated=False)
    label(workspace, [4], hide={4: 2})
    snapshot = collect(workspace)
    assert np.isnan(snapshot.xy_px[0, 2]).all()
    assert (snapshot.state[0, 2] == PointState.UNLABELLED).all()


def test_a_round_ends_in_an_order_that_explains_itself(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8, 16, 24, 34])
    work.request(workspace.store, "retrain")
    assert work_off(workspace) == ["retrain", "rescore", "select"]
    live = versions.live(workspace.store)
    assert live is not None
    assert live.metrics["validation_frames"] == 1
    assert live.metrics["gate"] == "the first model, nothing to compare it with"
    (generation,) = generations.list_generations(workspace.store)
    assert generation.name == "px-1.1"
    picks = generations.list_picks(workspace.store, 1)
    rows = {row.id: row for row in frames.list_frames(workspace.store)}
    ordinary = [pick for pick in picks if not pick.pseudo]
    assert [pick.rank for pick in picks] == list(range(len(picks)))
    assert [pick.score for pick in picks] == sorted(pick.score for pick in picks)
    assert not {rows[pick.frame_id].key.index for pick in picks} & {0, 8, 16, 24, 34}, "labelled frames are not asked for again"
    # every fourth of twelve slots; pseudo-labelled frames leave the order, so that a slot may move up
    assert sum(pick.without_points for pick in ordinary) == 3
    for pick in ordinary:
        # validation frames are served blind; all others come from the training part
        assert pick.without_points == (rows[pick.frame_id].split == "val")
        record = ScoreRecord.from_json(pick.record or {})
        assert recompute_final(record) == pytest.approx(record.final, abs=1e-6)
        assert pick.reason


def test_validation_frames_and_pseudo_labels_are_never_trained_on_as_labels(
    make_workspace: Make, label: Label, work_off: WorkOff
) -> None:
    from ml_backend.project.training_set import human_targets

    workspace = make_workspace()
    label(workspace, [0, 33])
    snapshot = collect(workspace)
    targets = human_targets(RoundState(workspace), snapshot, snapshot.rows("train"))
    assert {target.key.index for target in targets if target.key} == {0}
    assert len(targets) == 3, "one target per camera"


def test_the_same_labels_are_not_trained_on_twice_and_a_killed_run_keeps_its_snapshot(
    make_workspace: Make, label: Label, work_off: WorkOff
) -> None:
    workspace = make_workspace()
    label(workspace, [0, 8])
    job = work.request(workspace.store, "retrain")
    claimed = work.claim(workspace.store, job.id, "dies")
    assert claimed is not None
    from ml_backend.jobs.job_context import JobContext, StoppedError
    from ml_backend.jobs.retrain_job import retrain

    with pytest.raises(StoppedError):
        retrain(JobContext(workspace, claimed, lambda progress: None, lambda: True))
    (first,) = versions.list_snapshots(workspace.store)
    label(workspace, [16])  # arrives while the run is down: it belongs to the next round
    work.fail(workspace.store, claimed, "killed")
    work_off(workspace)
    (only,) = versions.list_snapshots(workspace.store)
    assert only.id == first.id
    live = versions.live(workspace.store)
    assert live is not None
    assert live.snapshot_id == first.id
    (late,) = [row for row in submissions.list_annotations(workspace.store) if row.round == 1]
    assert late.ls_annotation_id == 10161


def test_nothing_to_train_on_is_said_and_harms_nothing(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    workspace = make_workspace()
    label(workspace, [33])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    assert versions.live(workspace.store) is None
    assert any("nothing to train on" in event.text for event in presence.list_events(workspace.store))


def lay(workspace: Workspace, row: frames.FrameRow, source: Path, views: Sequence[str]) -> None:
    """The frame's pictures of these views come from that file from now on."""
    moved = {view: replace(row.images[view], source=str(source), frame_index=None) for view in views}
    frames.replace_images(workspace.store, row.id, {**row.images, **moved})


def test_a_damaged_picture_takes_its_view_out_and_nothing_else(
    make_workspace: Make, label: Label, work_off: WorkOff, tmp_path: Path
) -> None:
    workspace = make_workspace()
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    rows = frames.list_frames(workspace.store)
    lay(workspace, rows[0], broken, workspace.views[:1])
    lay(workspace, rows[10], broken, workspace.views[:1])
    lay(workspace, rows[20], broken, workspace.views)
    label(workspace, [0, 8, 16])
    work.request(workspace.store, "retrain")
    assert work_off(workspace)[-1] == "select"
    (generation,) = generations.list_generations(workspace.store)
    picked = {pick.frame_id for pick in generations.list_picks(workspace.store, generation.number)}
    assert rows[20].id not in picked
    assert any("broken.jpg" in event.text for event in presence.list_events(workspace.store))
    marked = {row.id: row for row in frames.list_frames(workspace.store)}
    assert (marked[rows[20].id].usable, marked[rows[10].id].usable) == ((), workspace.views[1:])


def test_labelled_pictures_that_training_could_not_use_are_named_with_their_tasks(
    make_workspace: Make, label: Label, work_off: WorkOff, tmp_path: Path
) -> None:
    workspace = make_workspace()
    rows = frames.list_frames(workspace.store)
    gone, broken = {view: tmp_path / f"{view}.png" for view in workspace.views}, tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff no picture")
    for view, path in gone.items():
        lay(workspace, frames.list_frames(workspace.store)[0], path, [view])
    lay(workspace, rows[8], broken, workspace.views[:1])
    label(workspace, [0, 8, 16, 24])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    events = [event.text for event in presence.list_events(workspace.store)]
    (said,) = [text for text in events if "left out of the training" in text]
    first = f"task 1000 ({rows[0].key}, view {workspace.views[0]})"
    assert said.startswith(f"4 labelled pictures were left out of the training: {first}, task 1000 ("), said
    assert f"; task 1008 ({rows[8].key}, view {workspace.views[0]}): is cut off" in said, said
    assert said.count("cannot be read") == 1, "pictures with one trouble are said together"
    model = dict(overview(workspace))["model"]
    assert "px-1: learnt from 4 of 4 labelled frames, 4 of their pictures could not be used; " in model
    for view in workspace.views:
        write_picture(read_image(rows[16].images[view]), gone[view])
    write_picture(read_image(rows[16].images[workspace.views[0]]), broken)
    label(workspace, [28])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    events = [event.text for event in presence.list_events(workspace.store)]
    assert not [text for text in events if "left out of the training" in text]


def test_a_picture_that_is_not_there_stays_in_the_pool_and_is_used_once_it_is(
    make_workspace: Make, label: Label, work_off: WorkOff, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(picture_marks.FIRST_WAIT_S, "unavailable", 0.0)
    workspace = make_workspace()
    rows = frames.list_frames(workspace.store)
    unmounted = tmp_path / "disk" / "a.png"
    lay(workspace, rows[10], unmounted, workspace.views)
    label(workspace, [0, 8, 16])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    (marked,) = [row for row in frames.list_frames(workspace.store) if row.id == rows[10].id]
    assert marked.usable == workspace.views, "in the pool"
    assert {m.damaged for m in marked.marks.values()} == {False}
    (said,) = [e.text for e in presence.list_events(workspace.store) if "could not be had" in e.text]
    assert "a.png: no such file; is its disk mounted?" in said or "a.png: cannot be read" in said
    write_picture(read_image(rows[10].images[workspace.views[0]]), unmounted)
    label(workspace, [24])
    work.request(workspace.store, "retrain")
    work_off(workspace)
    (marked,) = [row for row in frames.list_frames(workspace.store) if row.id == rows[10].id]
    assert marked.marks == {}
    assert not [e for e in presence.list_events(workspace.store) if "could not be had" in e.text]


def test_the_first_order_needs_no_model(make_workspace: Make, work_off: WorkOff) -> None:
    workspace = make_workspace()
    work.request(workspace.store, "select")
    assert work_off(workspace) == ["select"]
    picks = generations.list_picks(workspace.store, 1)
    assert len(picks) == 12
    assert all(pick.without_points and pick.poses == {} for pick in picks)


def perfect(workspace: Workspace, studio: CaptureStudio, indices: list[int]) -> Triangulation:
    n, views, joints = len(indices), N_VIEWS, len(studio.skeleton)
    return Triangulation(
        xyz_world=studio.truth_xyz[indices],
        inlier=np.ones((n, views, joints), dtype=np.bool_),
        reprojection_px=np.full((n, views, joints), 0.1),
        covariance=np.zeros((n, joints, 3, 3)),
        angle_deg=np.full((n, joints), 60.0),
        consensus=np.ones((n, joints), dtype=np.bool_),
    )


N_VIEWS = 3


def test_pseudo_labels_are_capped_and_never_what_people_label(make_workspace: Make, label: Label, studio: CaptureStudio) -> None:
    workspace = make_workspace(pseudo_labels={"max_ratio": 0.5})
    label(workspace, [0, 2, 4, 6])
    versions.save_snapshot(workspace.store, sha256="x", path="p", n_frames=4)
    rows = frames.list_frames(workspace.store)
    labelled = {rows[i].id for i in (0, 2, 4, 6)}
    found = perfect(workspace, studio, list(range(len(rows))))
    first = propose_pseudo(RoundState(workspace), rows, [found], 1, {rows[10].key})
    assert first.labels is not None
    assert len(first.labels) == 2, "half of four labelled frames"
    assert rows[10].key not in first.labels.keys, "picked for a person"
    assert all(rows[i].split == "train" and rows[i].id not in labelled for i in first.positions)
    store_pseudo(workspace, first, 1, 1)
    assert [row.frame_id for row in pseudo_labels.list_pseudo(workspace.store)] == first.frame_ids


def test_uncalibrated_recordings_have_no_pseudo_labels(make_workspace: Make) -> None:
    workspace = make_workspace(calibrated=False)
    rows = frames.list_frames(workspace.store)
    assert propose_pseudo(RoundState(workspace), rows, [], 1, set()).labels is None


def test_candidates_rotate_and_always_contain_what_must_be_scored(make_workspace: Make) -> None:
    workspace = make_workspace()
    pool = frames.list_frames(workspace.store)
    always = {pool[1].id}
    rounds = [candidates(pool, always, 10, round_) for round_ in range(4)]
    assert all(pool[1] in chosen for chosen in rounds)
    assert all(10 <= len(chosen) <= 11 for chosen in rounds)
    seen = {row.id for chosen in rounds for row in chosen}
    assert seen == {row.id for row in pool}, "four rounds of ten cover forty frames"
    assert candidates(pool, set(), 100, 3) == pool

"""Two figures with boxes in the tasks' data go the whole way: labelled, trained on, predicted, scored and shown."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.labelling.region_decode import decode
from label_config.settings.spec import Spec
from label_config.values import Box, FloatArray, FrameKey, PointState, Pose2D, Provenance, Triangulation
from label_config.values.prediction import Prediction
from ml_backend.evaluation.validation_error import predict_validation
from ml_backend.evaluation.version_metrics import evaluate
from ml_backend.jobs.numbered_boxes import labelled_points, number_boxes
from ml_backend.jobs.predicted_tracks import predicted_of
from ml_backend.jobs.self_training import propose_pseudo, store_pseudo
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import collect
from ml_backend.project.load_model import load_predictor
from ml_backend.project.round_state import RoundState
from ml_backend.project.scored_shards import newest_scored_shards
from ml_backend.project.training_set import human_targets, pseudo_targets
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, projects, pseudo_labels, submissions, tasks, versions, work
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import BoxNumbers, FrameRow, SequenceRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.prediction_payload import predictions_of

WorkOff = Callable[[Workspace], list[str]]
N, SIZE, EVERY = 90, (96, 72), 4
SCORES = ("outlier_ratio", "mc", "least_confidence", "jitter_3d", "count_disagreement", "count_change", "assignment_ambiguity")


@pytest.fixture(scope="module")
def pair() -> CaptureStudio:
    """Two figures; the second leaves the room for a while."""
    made = CaptureStudio(seed=4, n_frames=N, n_views=3, size_px=SIZE, fill=0.5, figures=2)
    assert not made.present[:, 1].all()
    return made


@pytest.fixture(scope="module")
def pictures_of(pair: CaptureStudio, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return pair.write(tmp_path_factory.mktemp("pair"))


def box_of(xy: FloatArray) -> Box:
    low, high = xy.min(axis=0) - 3, xy.max(axis=0) + 3
    return (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))


@pytest.fixture
def workspace(tmp_path: Path, pair: CaptureStudio, pictures_of: Any) -> Workspace:
    spec = Spec.model_validate(
        {
            "label_studio": {"url": "http://127.0.0.1:1", "token": "t", "project": 5},
            "store": f"sqlite:///{tmp_path}/store.sqlite3",
            "models": str(tmp_path / "models"),
            "arrays": str(tmp_path / "arrays"),
            "cache": {"folder": str(tmp_path / "cache")},
            "documents_root": str(tmp_path / "documents"),
            "train": {"input_px": 32, "steps_first": 12, "batch": 8, "min_new_frames": 4},
            "selection": {"window": 12, "random_every": 4, "exclusion_frames": 0},
            "subjects": {"max": 2},
            "scores": dict.fromkeys(SCORES, 1.0),
        }
    )
    opened = open_store(spec.store)
    project = projects.register(opened, spec.label_studio.url, 5, "t0")
    store = opened.of_project(project.id)
    xml = build_label_config(pair.skeleton, pair.rig.names, boxes=True, subjects=2)
    projects.change(store, binding=bind(xml, pair.skeleton).to_json())
    frames.save_sequence(store, SequenceRow(pair.sequence, pair.rig.to_json(), True))
    frames.add_frames(
        store, [(f.key, f.images, "val" if f.key.index >= 80 else "train") for f in pictures_of if f.key.index % EVERY == 0]
    )
    made = Workspace(spec, store, ArrayStore(Path(spec.arrays)))
    ids = frames.ids_by_key(store)
    frames.save_boxes(
        store,
        {
            ids[FrameKey(pair.sequence, i)]: {
                s: {view: box_of(pair.subjects_xy[i, s, v]) for v, view in enumerate(pair.rig.names)}
                for s in np.flatnonzero(pair.present[i]).tolist()
            }
            for i in range(0, N, EVERY)
        },
    )
    return made


def label_all(workspace: Workspace, pair: CaptureStudio, indices: list[int]) -> None:
    """Every figure in the room, exactly."""
    ids = frames.ids_by_key(workspace.store)
    for index in indices:
        number = 1000 + index
        tasks.save(workspace.store, [{"ls_task_id": number, "frame_id": ids[FrameKey(pair.sequence, index)], "is_labeled": True}])
        task = tasks.by_ls_id(workspace.store, number)
        assert task is not None
        poses = {}
        for subject in np.flatnonzero(pair.present[index]).tolist():
            xy = pair.subjects_xy[index, subject]
            state = np.full(xy.shape[:2], PointState.VISIBLE, dtype=np.int64)
            poses[str(subject)] = Pose2D(xy, np.ones(xy.shape[:2]), state, np.full_like(state, Provenance.PLACED)).to_json()
        row = {"ls_annotation_id": 10 * number, "task_id": task.id, "updated_at": "2026-01-01T00:00:00.000000Z", "person": 1}
        row |= {
            "cancelled": False,
            "poses": poses,
            "problems": [],
            "round": versions.current_round(workspace.store),
            "seen_at": 1.0,
        }
        submissions.save(workspace.store, [row])


LABELLED = [0, 8, 16, 24, 84]


def test_a_label_of_every_subject_is_a_row_with_its_own_box(workspace: Workspace, pair: CaptureStudio) -> None:
    label_all(workspace, pair, LABELLED)
    snapshot = collect(workspace)
    wanted = [(i, s) for i in LABELLED for s in np.flatnonzero(pair.present[i]).tolist()]
    assert [(key.index, int(s)) for key, s in zip(snapshot.keys, snapshot.subjects, strict=True)] == wanted
    assert len(wanted) > len(LABELLED)
    for row, (i, s) in enumerate(wanted):
        np.testing.assert_allclose(snapshot.xy_px[row], pair.subjects_xy[i, s], atol=1e-3)
        np.testing.assert_allclose(snapshot.box_px[row, 1], box_of(pair.subjects_xy[i, s, 1]), atol=1e-6)
    again = Snapshot.from_arrays(snapshot.to_arrays())
    assert again.subjects.tolist() == snapshot.subjects.tolist()
    assert again.sha256 == snapshot.sha256
    targets = human_targets(RoundState(workspace), snapshot, snapshot.rows("train"))
    assert len(targets) == 3 * len(snapshot.rows("train"))
    assert all(target.box_px is not None for target in targets)


def test_a_round_of_two_subjects(workspace: Workspace, pair: CaptureStudio, work_off: WorkOff) -> None:
    label_all(workspace, pair, LABELLED)
    work.request(workspace.store, "retrain")
    assert work_off(workspace) == ["retrain", "rescore", "select"]
    state = RoundState(workspace)
    live = state.live
    assert live is not None
    scored = newest_scored_shards(state, live, state.round)
    assert scored is not None
    both = scored.arrays["subjects.xy_px"]
    assert both.shape == (len(pair.present[::EVERY]), 2, 3, 15, 2)
    there = np.asarray(np.isfinite(both).all(axis=-1)).any(axis=(2, 3))
    np.testing.assert_array_equal(there, pair.present[::EVERY])
    # Each lies in its own box, not in the other's.
    for i, s in np.argwhere(pair.present[::EVERY]).tolist():
        x, _, w, _ = box_of(pair.subjects_xy[EVERY * i, s, 0])
        inside = both[i, s, 0][np.isfinite(both[i, s, 0]).all(axis=-1)]
        assert (inside[:, 0] > x - w).all()
        assert (inside[:, 0] < x + 2 * w).all()
    raw = [name for name in scored.arrays if name.startswith("raw.")]
    assert raw
    assert all(np.isfinite(scored.arrays[name]).any() for name in raw)
    _subjects_compared(scored.arrays, pair.present[::EVERY])
    picks = generations.list_picks(workspace.store, 1)
    rows = {row.id: row for row in frames.list_frames(workspace.store)}
    for pick in picks:
        present = pair.present[rows[pick.frame_id].key.index]
        assert sorted(pick.poses) == [str(s) for s in np.flatnonzero(present)]
    assert any("subject " in pick.reason for pick in picks)
    _pseudo_labelled(workspace, pair)
    _shown_and_read_back(workspace, pair)
    _evaluated(workspace, pair)
    labels = predicted_of(workspace).labels.labels
    assert {label.subject for label in labels} == {0, 1}
    assert len(labels) == 3 * int(pair.present[::EVERY].sum())


def _subjects_compared(arrays: Any, present: Any) -> None:
    """The boxes say how many there are; between frames that follow each other, and between cameras, all of which show them."""
    change = np.abs(np.diff(present.sum(axis=1).astype(np.float64), prepend=np.nan, append=np.nan))
    wanted = np.nanmean(np.stack((change[:-1], change[1:])), axis=0)
    np.testing.assert_allclose(arrays["raw.count_change"], wanted)
    assert wanted.any()
    np.testing.assert_array_equal(arrays["raw.count_disagreement"], 0.0)
    assert set(arrays["support.count_disagreement"].tolist()) == {3}
    both = present.all(axis=1)
    np.testing.assert_array_equal(np.isfinite(arrays["raw.assignment_ambiguity"]), both)
    np.testing.assert_array_equal(arrays["strongest.assignment_ambiguity"] >= 0, both)


def _pseudo_labelled(workspace: Workspace, pair: CaptureStudio) -> None:
    """Pseudo-labels are of one subject each, and are trained on in its box."""
    rows = {row.id: row for row in frames.list_frames(workspace.store)}
    held = pseudo_labels.list_pseudo(workspace.store)
    assert held
    for one in held:
        assert pair.present[rows[one.frame_id].key.index, one.subject]
    picked = [pick.frame_id for pick in generations.list_picks(workspace.store, 1) if pick.pseudo]
    assert sorted(picked) == sorted({one.frame_id for one in held}), "a frame is shown once, whatever it has"
    snapshot = collect(workspace)
    wanted = [(one.frame_id, one.subject) for one in held]
    assert list(zip(snapshot.pseudo_ids.tolist(), snapshot.pseudo_subjects.tolist(), strict=True)) == wanted
    again = Snapshot.from_arrays(snapshot.to_arrays())
    assert again.pseudo_subjects.tolist() == snapshot.pseudo_subjects.tolist()
    for target in pseudo_targets(RoundState(workspace), snapshot):
        assert target.key is not None
        assert target.box_px in [
            box_of(pair.subjects_xy[target.key.index, s, pair.rig.names.index(str(target.view))]) for s in (0, 1)
        ]


@pytest.mark.parametrize("apart_mm", [0.0, 900.0])
def test_of_two_subjects_at_one_place_neither_is_pseudo_labelled(
    workspace: Workspace, pair: CaptureStudio, apart_mm: float
) -> None:
    label_all(workspace, pair, LABELLED)
    rows = frames.list_frames(workspace.store)
    index = [row.key.index for row in rows]
    first = np.asarray(pair.truth_xyz[index])
    shape = (len(rows), 3, 15)
    of_each = [
        Triangulation(
            xyz_world=first + s * np.array([apart_mm, 0.0, 0.0]),
            inlier=np.ones(shape, dtype=np.bool_),
            reprojection_px=np.full(shape, 0.1),
            covariance=np.zeros((len(rows), 15, 3, 3)),
            angle_deg=np.full((len(rows), 15), 60.0),
            consensus=np.ones((len(rows), 15), dtype=np.bool_),
        )
        for s in (0, 1)
    ]
    proposal = propose_pseudo(RoundState(workspace), rows, of_each, 1, set())
    assert bool(proposal.frame_ids) == (apart_mm > 0)
    assert len(proposal.subjects) == len(proposal.frame_ids)
    store_pseudo(workspace, proposal, 1, generation=1)
    held = pseudo_labels.list_pseudo(workspace.store)
    assert [(one.frame_id, one.subject) for one in held] == list(zip(proposal.frame_ids, proposal.subjects, strict=True))


def _shown_and_read_back(workspace: Workspace, pair: CaptureStudio) -> None:
    """What is pushed has a box for each subject with its points in it, and an annotation of it gives the same poses back."""
    generation, picks = generations.get(workspace.store, 1), generations.list_picks(workspace.store, 1)
    rows = {row.id: row for row in frames.list_frames(workspace.store)}
    pick = next(pick for pick in picks if len(pick.poses) == 2 and not pick.without_points)
    bare = replace(pick, without_points=True)
    tasks.save(workspace.store, [{"ls_task_id": 7000, "frame_id": pick.frame_id, "is_labeled": False}])
    (shown,), (without,) = (predictions_of(workspace, generation, [one], rows) for one in (pick, bare))
    assert sum(region["type"] == "rectanglelabels" for region in shown["result"]) == 6
    assert {region["type"] for region in without["result"]} == {"rectanglelabels"}, "boxes say who is who, also without points"
    decoded = decode(shown["result"], workspace.binding)
    for subject, pose in pick.poses.items():
        np.testing.assert_allclose(decoded.poses[int(subject)].xy_px, Pose2D.from_json(pose).xy_px, atol=1e-2)
    index = rows[pick.frame_id].key.index
    np.testing.assert_allclose(
        decoded.boxes_px[1][0] + [0.5, 0.5, 0, 0], box_of(pair.subjects_xy[index, 1, 0]), atol=SIZE[0] / 10
    )


def _evaluated(workspace: Workspace, pair: CaptureStudio) -> None:
    """Every subject of a validation frame is measured against its own labels."""
    live = versions.live(workspace.store)
    assert live is not None
    snapshot = collect(workspace)
    with closing(Pictures(workspace)) as pictures:
        model = load_predictor(workspace, workspace.models / live.path)
        seen = predict_validation(RoundState(workspace), model, snapshot, pictures)
    present = np.flatnonzero(pair.present[84])
    assert len(seen.frames) == len(present)
    np.testing.assert_allclose(seen.truth_px, pair.subjects_xy[84, present], atol=1e-3)
    assert len({xy.tobytes() for xy in seen.predicted.xy_px}) == len(present), "each was predicted in its own box"
    assert evaluate(workspace, live).pictures == 3 * len(present)


class Exact:
    """Stands for a network: the points of the figure whose box it is given."""

    def __init__(self, pair: CaptureStudio, boxes: dict[Box, tuple[int, int, int]]) -> None:
        self.pair, self.boxes = pair, boxes

    def predict(self, images: Any, boxes_px: Any, *, heatmaps: bool = False) -> Prediction:
        xy = np.stack([self.pair.subjects_xy[self.boxes[box]] for box in boxes_px])
        return Prediction(xy, np.ones(xy.shape[:2]), np.array(boxes_px))


def listed_anyhow(workspace: Workspace, pair: CaptureStudio) -> dict[Box, tuple[int, int, int]]:
    """As a detector lists boxes: in every camera in an order of its own; box → frame, figure and view."""
    rng, ids = np.random.default_rng(0), frames.ids_by_key(workspace.store)
    known: dict[Box, tuple[int, int, int]] = {}
    listed: dict[int, dict[int, dict[str, Box]]] = {}
    for i in range(0, N, EVERY):
        of_frame: dict[int, dict[str, Box]] = {}
        for v, view in enumerate(pair.rig.names):
            for place, s in enumerate(rng.permutation(np.flatnonzero(pair.present[i])).tolist()):
                box = box_of(pair.subjects_xy[i, s, v])
                known[box] = (i, s, v)
                of_frame.setdefault(place, {})[view] = box
        listed[ids[FrameKey(pair.sequence, i)]] = of_frame
    frames.save_boxes(workspace.store, listed, BoxNumbers.UNKNOWN)
    return known


def figures_of(row: FrameRow, known: dict[Box, tuple[int, int, int]]) -> list[set[int]]:
    """The figures behind the boxes of each number."""
    return [{known[box][1] for box in of.values()} for _, of in sorted(row.boxes.items())]


def test_boxes_that_nobody_numbered_are_matched_across_cameras_and_followed(workspace: Workspace, pair: CaptureStudio) -> None:
    known = listed_anyhow(workspace, pair)
    rows = frames.list_frames(workspace.store)
    assert all(row.unnumbered and not row.boxes for row in rows), "nobody is taken for anybody before"
    with closing(Pictures(workspace)) as pictures:
        more: Any = {"labels": {}, "kept": {row.id for row in rows[:-1]}}
        found = number_boxes(workspace, Exact(pair, known), rows, pictures, pair.rig, **more)  # type: ignore[arg-type]
        assert number_boxes(workspace, Exact(pair, known), rows, pictures, None, **more) == rows  # type: ignore[arg-type]
    for row in found:
        present = np.flatnonzero(pair.present[row.key.index]).tolist()
        figures = figures_of(row, known)
        assert sorted(figures, key=min) == [{figure} for figure in present]
        assert figures == figures_of(found[0], known)[: len(present)], "the same numbers in all frames"
    kept = frames.list_frames(workspace.store)
    assert [row.boxes for row in kept[:-1]] == [row.boxes for row in found[:-1]]
    assert kept[-1].unnumbered, "a neighbour is another worker's"


def test_numbers_of_labelled_frames_follow_the_labels(workspace: Workspace, pair: CaptureStudio) -> None:
    known = listed_anyhow(workspace, pair)
    label_all(workspace, pair, [0])
    row = frames.list_frames(workspace.store)[0]
    exchanged = {row.id: {1 - s: points for s, points in labelled_points(RoundState(workspace))[row.id].items()}}
    with closing(Pictures(workspace)) as pictures:
        for labels, order in ((labelled_points(RoundState(workspace)), [{0}, {1}]), (exchanged, [{1}, {0}])):
            model: Any = Exact(pair, known)
            (found,) = number_boxes(workspace, model, [row], pictures, pair.rig, labels=labels, kept={row.id})
            assert figures_of(found, known) == order


def test_a_round_without_numbers(workspace: Workspace, pair: CaptureStudio, work_off: WorkOff) -> None:
    """What is shown are the boxes that the points were predicted in, also when the next rescan numbers them otherwise."""
    known = listed_anyhow(workspace, pair)
    label_all(workspace, pair, LABELLED)
    tasks.save(
        workspace.store, [{"ls_task_id": 7000, "frame_id": frames.list_frames(workspace.store)[3].id, "is_labeled": False}]
    )
    row = frames.list_frames(workspace.store)[3]
    assert len(row.unnumbered) == 2
    bare = PickRow(0, row.id, 0.0, False, False, "", None, {}, None)
    before = generations.add(workspace.store, None, [bare])
    (shown,) = predictions_of(workspace, before, [bare], {row.id: row})
    assert {r["value"]["rectanglelabels"][0] for r in shown["result"]} == {"subject"}, "no box claims to be somebody's"
    submissions.save(workspace.store, [{**drawn_boxes(workspace, pair, index)} for index in LABELLED])
    work.request(workspace.store, "retrain")
    assert work_off(workspace) == ["retrain", "rescore", "select"]
    rows = {row.id: row for row in frames.list_frames(workspace.store)}
    assert all(row.matched for row in rows.values())
    pick = next(p for p in generations.list_picks(workspace.store, 2) if p.frame_id == row.id)
    other = replace(rows[row.id], boxes={1 - s: boxes for s, boxes in rows[row.id].boxes.items()})
    now, later = (
        predictions_of(workspace, generations.get(workspace.store, 2), [pick], {row.id: frame}) for frame in (rows[row.id], other)
    )
    assert now == later
    assert len(known) > 0


def drawn_boxes(workspace: Workspace, pair: CaptureStudio, index: int) -> dict[str, Any]:
    """The annotation of a frame with the boxes that stood around its points."""
    row = next(r for r in submissions.list_annotations(workspace.store) if r.ls_annotation_id == 10 * (1000 + index))
    boxes = {s: [list(box_of(pair.subjects_xy[index, int(s), v])) for v in range(3)] for s in row.poses}
    same = ("ls_annotation_id", "task_id", "person", "cancelled", "round", "poses", "problems", "seen_at")
    return {**{name: getattr(row, name) for name in same}, "boxes": boxes, "updated_at": "2026-01-02T00:00:00.000000Z"}

"""Every strategy that parallax.yaml may name orders a window, in the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

from label_config.settings.learning_settings import ColdStart, Hybrid, SelectionSettings
from label_config.values import DEFAULT_SUBJECT, BadInputError, FrameKey, ImageRef
from ml_backend.acquisition.explain import explain
from ml_backend.acquisition.order_window import Kind, Strategy
from ml_backend.acquisition.score_record import ScoreRecord, recompute_final
from ml_backend.jobs import select_job as selecting
from ml_backend.jobs.diversity import STRATEGIES, embedded_frames, feature_space, say_filtered, uncertain_frames
from ml_backend.jobs.self_training import Proposal
from ml_backend.project import scored_shards
from ml_backend.project.label_snapshot import collect
from ml_backend.project.round_state import RoundState
from ml_backend.store import frames, generations, presence, versions, work
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
Label = Callable[..., None]
WorkOff = Callable[[Workspace], list[str]]
LABELLED = [0, 8, 16, 24, 34]


def with_selection(workspace: Workspace, **changes: Any) -> Workspace:
    selection = workspace.spec.selection.model_copy(update=changes)
    return replace(workspace, spec=workspace.spec.model_copy(update={"selection": selection}))


def order_of(workspace: Workspace, work_off: WorkOff) -> list[PickRow]:
    work.request(workspace.store, "select")
    assert work_off(workspace) == ["select"]
    last = generations.list_generations(workspace.store)[-1]
    return generations.list_picks(workspace.store, last.number)


@pytest.fixture
def learnt(make_workspace: Make, label: Label, work_off: WorkOff) -> Callable[..., Workspace]:
    """A project after its first round."""

    def make(**sections: Any) -> Workspace:
        workspace = make_workspace(**sections)
        label(workspace, LABELLED)
        work.request(workspace.store, "retrain")
        assert work_off(workspace) == ["retrain", "rescore", "select"]
        return workspace

    return make


def test_parallax_yaml_names_every_strategy_but_random_which_is_a_score() -> None:
    assert set(STRATEGIES) == set(get_args(SelectionSettings.model_fields["diversity"].annotation))
    assert set(STRATEGIES.values()) == set(Strategy) - {Strategy.RANDOM}


@pytest.mark.parametrize("calibrated", [True, False])
def test_every_strategy_orders_a_window_and_its_records_recompute(
    calibrated: bool, learnt: Callable[..., Workspace], work_off: WorkOff
) -> None:
    workspace = learnt(calibrated=calibrated, pseudo_labels={"enabled": False})
    orders = {}
    for name in STRATEGIES:
        picks = order_of(with_selection(workspace, diversity=name), work_off)
        orders[name] = [pick.frame_id for pick in picks]
        assert [pick.rank for pick in picks] == list(range(12))
        records = [ScoreRecord.from_json(pick.record or {}) for pick in picks]
        for pick, record in zip(picks, records, strict=True):
            assert record.rank == pick.rank
            assert np.isfinite(record.final)
            assert recompute_final(record) == pytest.approx(record.final, abs=1e-6)
            assert f"{record.final:.6f} stored, {record.final:.6f} recomputed" in explain(record)
        kinds = [record.kind for record in records]
        assert [rank for rank, kind in enumerate(kinds) if kind == Kind.RANDOM] == [3, 7, 11]
        assert (Kind.DIVERSE in kinds) == (name != "none")
    finals = [ScoreRecord.from_json(p.record or {}).final for p in picks if (p.rank + 1) % 4]  # the last one is "none"
    assert finals == sorted(finals, reverse=True)
    assert len({tuple(order) for order in orders.values()}) >= 4, "names that all mean the same order"


def some_rows(count: int) -> list[FrameRow]:
    return [FrameRow(i, FrameKey("s", i), {"cam": ImageRef("a.mp4", i)}, "train", False) for i in range(count)]


def test_the_space_follows_from_what_there_is(make_workspace: Make) -> None:
    workspace = make_workspace()
    rng = np.random.default_rng(0)
    joints = len(workspace.binding.skeleton)
    rows = some_rows(9)
    arrays: dict[str, npt.NDArray[Any]] = {
        "xyz_world": rng.normal(size=(9, joints, 3)),
        "xy_px": rng.normal(size=(9, 3, joints, 2)),
        "features": rng.normal(size=(9, 5)).astype(np.float32) * 1000,
    }

    snapshot = collect(workspace)

    def state_with(diversity: str) -> RoundState:
        return RoundState(with_selection(workspace, diversity=diversity))

    def space(diversity: str, *names: str) -> tuple[str, str, Any]:
        chosen = {name: arrays[name] for name in names}
        found, keys = feature_space(state_with(diversity), snapshot, rows, chosen, [1, 2, 3], {7, 8})
        assert len(found.rows[np.arange(3)]) == 3
        if found.metric == "l2":
            assert keys == [rows[7].key, rows[8].key]
        return found.name, found.metric, found

    assert space("duw", "xy_px", "xyz_world", "features")[:2] == ("pose3d_root", "mean_joint")
    assert space("hybrid", "xy_px", "xyz_world", "features")[:2] == ("embedding", "l2")
    assert space("hybrid", "xy_px", "xyz_world")[:2] == ("pose3d_root", "mean_joint")
    assert space("kcenter", "xy_px")[0] == "pose2d"
    name, _, joined = space("k_means", "xy_px", "features")
    assert name == "embedding+pose2d"
    both = {k: arrays[k] for k in ("xy_px", "features")}
    everything, _ = feature_space(state_with("duw"), snapshot, rows, both, range(9), set())
    values = everything.rows[np.arange(9)]
    assert values[:, :5].var(axis=0).sum() == pytest.approx(1, rel=1e-4), "each part has the same total variance"
    assert values[:, 5:].var(axis=0).sum() == pytest.approx(1, rel=1e-4)
    np.testing.assert_array_equal(joined.rows[np.arange(3)], values[1:4])


def test_the_settings_of_the_hybrid_filter_arrive(make_workspace: Make) -> None:
    confidence = np.full((3, 1, 6), 0.9)
    confidence[1, 0, :2] = 0.45
    confidence[2, 0, :1] = 0.1

    def passing(**settings: Any) -> Any:
        workspace = make_workspace(selection={"diversity": "hybrid", "hybrid": settings})
        found = uncertain_frames(workspace.spec, confidence, np.zeros(3), 10)
        assert found is not None
        return found.tolist()

    assert passing() == [False, False, False]
    assert passing(quantile=0.2, least=2) == [False, True, False]  # of 18 confidences 0.45, 0.45 and 0.1 are the lowest
    assert passing(found=0.5) == [False, True, False]
    assert passing(least=1) == [False, False, True]
    assert passing(found=0.5, least=6, rule="B") == [False, True, True]
    assert uncertain_frames(make_workspace().spec, confidence, np.zeros(3), 10) is None


def test_a_filter_that_passes_nothing_says_so(make_workspace: Make) -> None:
    workspace = make_workspace(selection={"diversity": "hybrid"})

    def said() -> list[str]:
        return [event.text for event in presence.list_events(workspace.store) if "passes the filter" in event.text]

    say_filtered(workspace, np.zeros(3, dtype=np.bool_))
    (text,) = said()
    assert "none of 3 frames" in text
    assert "selection.hybrid.quantile" in text
    say_filtered(workspace, np.array([False, True, False]))
    assert said() == []


def test_the_space_of_the_hybrid_strategy_may_be_that_of_a_classification_network(
    learnt: Callable[..., Workspace], work_off: WorkOff, monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[int] = []

    def describe(images: Any) -> Any:
        described.append(len(images))
        return np.stack([[image.mean(), image.std()] for image in images]).astype(np.float32)

    monkeypatch.setattr("ml_backend.jobs.cold_start._describer", lambda workspace: describe)
    workspace = learnt(pseudo_labels={"enabled": False})
    hybrid = Hybrid(space="embedding", quantile=0.5)  # half of the keypoints of each camera
    chosen = with_selection(workspace, diversity="hybrid", hybrid=hybrid)
    with pytest.raises(BadInputError, match=r"needs cold_start\.embedding"):
        embedded_frames(chosen, some_rows(2), [0, 1], np.ones(2, dtype=np.bool_))
    spec = chosen.spec.model_copy(update={"cold_start": ColdStart(embedding="microsoft/resnet-50")})
    picks = order_of(replace(chosen, spec=spec), work_off)
    assert sum(described) >= 10 * len(workspace.views), "the pictures of all uncertain frames, before the window is chosen"
    spaces = {ScoreRecord.from_json(pick.record or {}).kind for pick in picks}
    assert Kind.DIVERSE in spaces


def test_validation_frames_keep_their_slots_when_pseudo_labelled_frames_leave(
    learnt: Callable[..., Workspace], work_off: WorkOff, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = learnt(pseudo_labels={"enabled": False})
    before = order_of(workspace, work_off)
    rows = {row.id: row for row in frames.list_frames(workspace.store)}
    gone = [before[1].frame_id, before[5].frame_id]

    def propose(_: RoundState, scored: list[FrameRow], triangulated: Any, round_: int, picked: set[FrameKey]) -> Proposal:
        assert {rows[before[rank].frame_id].key for rank in (3, 7, 11)} <= picked, (
            "what measures the model is not pseudo-labelled"
        )
        return Proposal(None, [i for i, row in enumerate(scored) if row.id in gone], gone)

    monkeypatch.setattr(selecting, "propose_pseudo", propose)
    after = order_of(workspace, work_off)
    assert [pick.rank for pick in after] == list(range(12))
    assert [pick.score for pick in after] == sorted({pick.score for pick in after})
    assert [pick.frame_id for pick in after if pick.pseudo] == sorted(gone, key=lambda i: rows[i].key)
    assert [pick.pseudo for pick in after] == 10 * [False] + 2 * [True]
    for slot in (3, 7):
        assert after[slot].frame_id == before[slot].frame_id
        assert rows[after[slot].frame_id].split == "val"
    # ten frames are left for eleven places before the third slot: only at the very end it moves up
    assert after[9].frame_id == before[11].frame_id
    others = [pick.frame_id for pick in after if not pick.without_points and not pick.pseudo]
    assert others == [pick.frame_id for pick in before if not pick.without_points and pick.frame_id not in gone]


def test_random_picks_stay_in_the_order_until_they_are_labelled(make_workspace: Make, label: Label, work_off: WorkOff) -> None:
    """Without validation frames the random slots hold training frames, and those that were drawn once come again."""
    workspace = make_workspace(val_from=40, pseudo_labels={"enabled": False})
    first = order_of(workspace, work_off)
    drawn = [first[rank].frame_id for rank in (3, 7, 11)]
    ids = {row.id: row for row in frames.list_frames(workspace.store)}
    assert {i for i, row in ids.items() if row.random_pick} == set(drawn)
    label(workspace, [ids[drawn[0]].key.index, ids[first[0].frame_id].key.index])
    second = order_of(workspace, work_off)
    assert [second[rank].frame_id for rank in (3, 7)] == drawn[1:]
    assert second[11].frame_id not in drawn
    label(workspace, LABELLED)
    work.request(workspace.store, "retrain")
    work_off(workspace)
    third = order_of(workspace, work_off)
    kept = [second[rank].frame_id for rank in (3, 7, 11)]
    open_ = [i for i in kept if ids[i].key.index not in LABELLED]
    assert [third[rank].frame_id for rank in (3, 7, 11)][: len(open_)] == open_


def test_models_disagree_from_the_second_version_on(learnt: Callable[..., Workspace], label: Label, work_off: WorkOff) -> None:
    workspace = learnt(scores={"ensemble_variance": 1.0})
    (event,) = [e for e in presence.list_events(workspace.store) if "ensemble_variance" in e.text]
    assert "from the second published version on" in event.text
    label(workspace, [2, 4, 6, 10])
    work.request(workspace.store, "retrain")
    assert work_off(workspace) == ["retrain", "rescore", "select"]
    assert [row.status for row in versions.list_versions(workspace.store)] == 2 * ["published"]
    assert not [e for e in presence.list_events(workspace.store) if "ensemble_variance" in e.text]
    last = generations.list_generations(workspace.store)[-1]
    picks = generations.list_picks(workspace.store, last.number)
    found = [ScoreRecord.from_json(pick.record or {}).components[0] for pick in picks if not pick.pseudo]
    assert all(item.name == "ensemble_variance" and item.raw > 0 for item in found)
    assert str(DEFAULT_SUBJECT) in picks[0].poses


def test_a_recording_without_calibration_takes_nothing_from_one_that_has_it() -> None:
    parts: list[dict[str, npt.NDArray[Any]]] = [
        {"frame_ids": np.arange(2), "raw.mc": np.ones(2), "inlier": np.ones((2, 3, 4), bool), "support.mc": np.ones(2, np.int64)},
        {"frame_ids": np.arange(3)},
    ]
    joined = scored_shards._joined(parts)
    np.testing.assert_array_equal(joined["raw.mc"], [1, 1, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(joined["support.mc"], [1, 1, 0, 0, 0])
    assert joined["inlier"].shape == (5, 3, 4)
    assert not joined["inlier"][2:].any()


def test_open_random_picks_come_before_new_draws_and_validation_before_both(make_workspace: Make) -> None:
    """Of a pool too large to score at once every round sees other frames; they must not push out those that wait."""
    workspace = make_workspace()  # every fourth of twelve slots

    def slots(rows: list[FrameRow]) -> list[int]:
        found = selecting._evaluation_slots(RoundState(workspace), rows)
        assert list(found) == [3, 7, 11]
        return [key.index for key in found.values()]

    rows = some_rows(30)
    usual = slots(rows)
    late = [i for i in range(30) if i not in usual]
    drawn = [replace(row, random_pick=row.id in late[:2]) for row in rows]
    assert set(slots(drawn)[:2]) == set(late[:2])
    assert slots(drawn)[2] == usual[0]
    validation = [replace(row, split="val" if row.id == late[9] else "train") for row in drawn]
    assert slots(validation)[0] == late[9]
    assert set(slots(validation)[1:]) == set(late[:2])

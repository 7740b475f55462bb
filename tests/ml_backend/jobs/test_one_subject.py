"""A project whose frames show one subject: the path of several subjects gives the same figures, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from label_config.values import FrameKey
from ml_backend.project.round_state import RoundState
from ml_backend.project.scored_shards import newest_scored_shards
from ml_backend.project.subject_rows import LEAST_SURE, OF_SUBJECTS, arrays_of_subject, join_subjects
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations, versions, work
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

Make = Callable[..., Workspace]
#: Scores of every kind: of a picture, of cameras, of neighbours in time, of the body, of the labelled poses.
SCORES = {"outlier_ratio": 3, "mc": 2, "mpe": 1, "least_confidence": 0.5, "thc": 1, "jitter_3d": 1, "coreset_distance": 1}


@pytest.fixture
def round_of(
    make_workspace: Make, studio: CaptureStudio, label: Callable[..., None], work_off: Callable[..., list[str]], tmp_path: Path
) -> Callable[..., Workspace]:
    """A project with a box in every picture that has gone through a round; settings of ``subjects``, None = unset."""

    def go(name: str, subjects: dict[str, Any] | None) -> Workspace:
        folder = tmp_path / name
        folder.mkdir()
        sections: dict[str, Any] = {"subjects": subjects} if subjects else {}
        workspace = make_workspace(
            store=f"sqlite:///{folder}/store.sqlite3",
            models=str(folder / "models"),
            arrays=str(folder / "arrays"),
            scores=SCORES,
            pseudo_labels={"enabled": False},
            **sections,
        )
        ids = frames.ids_by_key(workspace.store)
        xy = studio.truth_xy
        low, high = xy.min(axis=2) - 2.0, xy.max(axis=2) + 2.0
        boxes = np.concatenate((low, high - low), axis=-1)
        frames.save_boxes(
            workspace.store,
            {
                ids[FrameKey(studio.sequence, i)]: {
                    0: {view: tuple(boxes[i, v].tolist()) for v, view in enumerate(workspace.views)}
                }
                for i in range(studio.n_frames)
            },
        )
        label(workspace, [1, 6, 11, 16, 21, 26, 33])
        work.request(workspace.store, "retrain")
        assert work_off(workspace) == ["retrain", "rescore", "select"]
        return workspace

    return go


def scored(workspace: Workspace) -> dict[str, npt.NDArray[Any]]:
    state = RoundState(workspace)
    assert state.live is not None
    found = newest_scored_shards(state, state.live, state.round)
    assert found is not None
    return found.arrays


def order_of(workspace: Workspace) -> list[PickRow]:
    return generations.list_picks(workspace.store, 1)


def assert_the_same_bits(first: dict[str, npt.NDArray[Any]], second: dict[str, npt.NDArray[Any]]) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype, name
        assert array.tobytes() == second[name].tobytes(), name


def test_scores_orders_and_reasons_are_those_of_a_project_that_knows_of_one_subject_only(
    round_of: Callable[..., Workspace],
) -> None:
    alone, several = round_of("alone", None), round_of("several", {"max": 3})
    models = [versions.live(workspace.store) for workspace in (alone, several)]
    assert models[0] is not None
    assert models[1] is not None
    assert models[0].sha256 == models[1].sha256, "both were trained alike"
    one, of_several = scored(alone), scored(several)
    assert not [name for name in one if name == LEAST_SURE or name.startswith(OF_SUBJECTS)], "one subject costs nothing more"
    assert {f"raw.{name}" for name in SCORES} <= one.keys()
    assert_the_same_bits(one, {name: of_several[name] for name in one})
    own = arrays_of_subject(of_several, 0)
    assert_the_same_bits({name: one[name] for name in own}, own)
    first, second = order_of(alone), order_of(several)
    assert len(first) >= 12
    fields = ("rank", "frame_id", "score", "without_points", "pseudo", "reason", "record", "poses")
    for name in fields:
        assert [getattr(pick, name) for pick in first] == [getattr(pick, name) for pick in second], name
    assert any("(cam" in pick.reason for pick in first), "reasons name cameras and keypoints"


def test_a_single_part_is_joined_as_it_is(make_workspace: Make) -> None:
    rows = frames.list_frames(make_workspace().store)[:4]
    rng = np.random.default_rng(0)
    part: dict[str, npt.NDArray[Any]] = {
        "frame_ids": np.array([row.id for row in rows]),
        "index": np.array([row.key.index for row in rows]),
        "xy_px": rng.normal(size=(4, 3, 15, 2)),
        "confidence": rng.random((4, 3, 15)),
        "raw.mc": np.array([0.1, np.nan, 1e-300, 3.0]),
        "support.mc": np.array([3, 0, 1, 2]),
        "point.mc": rng.normal(size=(4, 3, 15)).astype(np.float32),
    }
    joined = join_subjects({0: part}, rows, 2, {})
    assert_the_same_bits(part, {name: joined[name] for name in part})

"""What the row of a job holds, as typed values."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from label_config.values import BadInputError
from ml_backend.project.job_arguments import (
    HarvestArguments,
    HarvestOptions,
    JobArguments,
    RescoreArguments,
    RetrainArguments,
    SelectArguments,
)
from ml_backend.store import projects, work
from ml_backend.store.database import ProjectStore, open_store
from ml_backend.store.work import JobRow


@pytest.fixture
def store(tmp_path: Path) -> ProjectStore:
    opened = open_store(f"sqlite:///{tmp_path}/s.sqlite3")
    return opened.of_project(projects.register(opened, "http://ls", 1, "t0").id)


def stored(store: ProjectStore, kind: str, arguments: Any) -> JobRow:
    """A row as the database gives it."""
    work.request(store, kind, arguments)
    return work.list_jobs(store)[0]


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("retrain", {}, RetrainArguments()),
        ("retrain", {"snapshot_id": 3, "parent": 2}, RetrainArguments(snapshot_id=3, parent=2)),
        ("retrain", {"parent": None, "training_batch": None}, RetrainArguments(parent=None)),
        ("retrain", {"snapshot_id": 3, "of_a_newer_release": [1]}, RetrainArguments(snapshot_id=3)),
        ("rescore", {"version_id": 1}, RescoreArguments(1)),
        ("select", {"version_id": 1, "round": 4}, SelectArguments(1, 4)),
        ("harvest", {"sequences": None, "keep": 0.5, "stride": 2, "train_frames": 9}, HarvestOptions(None, 0.5, 2, 9)),
        ("harvest", {"stride": 2, "parent": 1, "before": "a.npz"}, HarvestArguments(parent=1, before="a.npz")),
    ],
)
def test_rows_of_this_and_of_earlier_releases_load(
    kind: str, arguments: dict[str, Any], expected: JobArguments, store: ProjectStore
) -> None:
    assert type(expected).of(stored(store, kind, arguments)) == expected


def test_a_decided_fresh_start_is_not_an_open_question(store: ProjectStore) -> None:
    assert RetrainArguments.of(stored(store, "retrain", {})).parent == "undecided"
    assert RetrainArguments.of(stored(store, "retrain", {"parent": None})).parent is None


@pytest.mark.parametrize(
    "asked",
    [
        RescoreArguments(),
        RescoreArguments(2),
        SelectArguments(2, 0),
        HarvestOptions(["s"], 0.5, 3, limb_lengths=[("a", "b", 2.0)]),
    ],
)
def test_what_is_asked_for_comes_back(asked: Any, store: ProjectStore) -> None:
    assert asdict(type(asked).of(stored(store, "any", asked.to_json()))) == asdict(asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": "3"}, r"job 1 \(harvest\): stride: should be a valid integer, got '3'"),
        ({"stride": True}, "stride: should be a valid integer, got True"),
        ({"sequences": "s"}, "sequences: should be a valid array, got 's'"),
        ({"sequences": [1]}, r"sequences.0: should be a valid string, got 1"),
        ([1], r"arguments: should be an object, got \[1\]"),
        ({"keep": 2}, "expected keep in"),
    ],
)
def test_a_malformed_argument_is_refused_in_words(arguments: Any, message: str, store: ProjectStore) -> None:
    with pytest.raises(BadInputError, match=message):
        HarvestOptions.of(stored(store, "harvest", arguments))

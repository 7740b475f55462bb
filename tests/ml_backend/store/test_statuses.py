"""States are named once, and rows that hold them as words load as before."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.store import generations, presence, projects, versions, work
from ml_backend.store.database import ProjectStore, open_store
from ml_backend.store.statuses import EventLevel, GenerationStatus, VersionStatus, WorkStatus
from tests.test_import_rules import MODULES

STATES = {*WorkStatus, *VersionStatus, *GenerationStatus}
SOURCES = [path for name, path in MODULES.items() if ".migrations" not in name]


@pytest.fixture
def store(tmp_path: Path) -> ProjectStore:
    opened = open_store(f"sqlite:///{tmp_path}/s.sqlite3")
    return opened.of_project(projects.register(opened, "http://ls", 1, "t0").id)


def test_rows_of_earlier_releases_load(store: ProjectStore) -> None:
    work.request(store, "retrain")
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE jobs SET status = 'done'")
        connection.exec_driver_sql(
            "INSERT INTO versions (project_id, number, attempt, status, path, sha256, metrics, created_at) "
            "VALUES (1, 1, 1, 'published', 'm', 'x', '{}', 0)"
        )
        connection.exec_driver_sql(
            "INSERT INTO generations (project_id, number, version_id, name, status, created_at) "
            "VALUES (1, 1, 1, 'px-1.1', 'empty', 0)"
        )
        connection.exec_driver_sql("INSERT INTO events (project_id, at, level, text) VALUES (1, 0, 'warning', 'hot')")
    assert [job.status for job in work.list_jobs(store)] == [WorkStatus.DONE]
    assert [row.status for row in versions.list_versions(store)] == [VersionStatus.PUBLISHED]
    assert [row.status for row in generations.list_generations(store)] == [GenerationStatus.EMPTY]
    assert [event.level for event in presence.list_events(store)] == [EventLevel.WARNING]


def test_the_database_holds_the_plain_words(store: ProjectStore) -> None:
    job = work.claim(store, work.request(store, "retrain").id, "w")
    assert job is not None
    work.fail(store, job, "no", again=False)
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT status FROM jobs").scalars().all() == ["failed"]


def states_in_words(tree: ast.AST) -> Iterator[int]:
    """Lines where a status is compared with, or set to, a word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "status":
            parts = [part for comparator in node.comparators for part in ast.walk(comparator)]
        elif isinstance(node, ast.keyword) and node.arg == "status":
            parts = [node.value]
        else:
            continue
        yield from (part.lineno for part in parts if isinstance(part, ast.Constant) and part.value in STATES)


def test_no_state_is_compared_with_a_word() -> None:
    found = {str(path): list(states_in_words(ast.parse(path.read_text(encoding="utf-8")))) for path in SOURCES}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_the_check_sees_what_it_should() -> None:
    assert list(states_in_words(ast.parse('row.status == "done"\nrow.status in (A, "failed")\nf(status="past")'))) == [1, 2, 3]

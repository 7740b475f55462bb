"""A store of an earlier release is taken over as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from label_config.labelling.binding import Binding
from label_config.values import ParallaxError, PointState
from ml_backend.store import frames, presence, projects, submissions, versions
from ml_backend.store.database import Store, open_store

#: What revision 0001 could hold, in its own columns.
ROWS = """
INSERT INTO projects (id, ls_url, ls_project_id, ls_created_at, live_version_id) VALUES (1, 'http://ls', 3, 't0', 1);
INSERT INTO frames (id, project_id, sequence, frame_index, images, split, unreadable)
  VALUES (1, 1, 's', 4, '{"left": {"source": "/a.mp4", "frame_index": 4, "size_px": [64, 48]}}', 'train',
          'left: http://ls/data/upload/1/a.jpg: the server answers with status 406');
INSERT INTO tasks (id, project_id, ls_task_id, frame_id) VALUES (1, 1, 10, 1);
INSERT INTO annotations (id, project_id, ls_annotation_id, task_id, updated_at, poses, problems, round, seen_at)
  VALUES (1, 1, 20, 1, '2026-01-01T00:00:00Z', '{}', '[]', 0, 1.0);
INSERT INTO versions (id, project_id, number, attempt, status, path, sha256, metrics, created_at)
  VALUES (1, 1, 1, 1, 'published', 'm-1', 'x', '{"validation_px": 4.0}', 1.0)
"""


#: The binding of a project before revision 0007.
OLD_VIEW: dict[str, Any] = {
    "view": "left",
    "image": "left",
    "data_key": "left",
    "keypoints": "kp_left",
    "labels": {"nose": 0, "tail": 1},
    "visibility": "vis_left",
    "states": {"hidden": "occluded"},
    "box": None,
    "box_labels": [],
}


def at_revision(path: Path, revision: str) -> Store:
    store = open_store(f"sqlite:///{path}", migrate=False)
    with store.write() as connection:
        config = Config()
        config.set_main_option("script_location", "ml_backend.store:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return store


def test_rows_of_the_first_release_are_read(tmp_path: Path) -> None:
    old = at_revision(tmp_path / "s.sqlite3", "0001")
    with old.write() as connection:
        for statement in ROWS.split(";"):
            connection.exec_driver_sql(statement)
    old.close()
    store = open_store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    (frame,) = frames.list_frames(store.of_project(1))
    assert (frame.key.index, frame.images["left"].size_px, frame.box("left")) == (4, (64, 48), None)
    assert (frame.marks, frame.usable) == ({}, ("left",)), "what could not be fetched is tried again"
    (annotation,) = submissions.list_annotations(store.of_project(1))
    assert (annotation.ls_annotation_id, annotation.boxes) == (20, None)
    live = versions.live(store.of_project(1))
    assert live is not None
    assert (live.number, live.metrics, live.removed_at) == (1, {"validation_px": 4.0}, None)
    frames.save_boxes(store, {1: {0: {"left": (1.0, 2.0, 3.0, 4.0)}}})
    assert frames.list_frames(store.of_project(1))[0].box("left") == (1.0, 2.0, 3.0, 4.0)
    store.close()


def test_addresses_lose_their_server_and_marks_stay_with_their_pictures(tmp_path: Path) -> None:
    old = at_revision(tmp_path / "s.sqlite3", "0006")
    mark = '{"why": "cut off", "damaged": true, "picture": ["%s", null, null, 0, null], "tries": 1, "again_at": 1.0}'
    uploaded, served, elsewhere = (
        "http://ls/sub/data/upload/1/a.jpg",
        "https://lab/data/local-files/?d=b.jpg",
        "https://lab2/data/c.jpg",
    )
    images = {"a": uploaded, "b": served, "c": elsewhere, "d": "/disk/d.jpg"}
    with old.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO projects (id, ls_url, ls_project_id, ls_created_at, public_url) "
            "VALUES (1, 'http://ls/sub', 3, 't0', 'https://lab')"
        )
        connection.exec_driver_sql(
            "INSERT INTO frames (id, project_id, sequence, frame_index, images, split, marks) "
            "VALUES (1, 1, 's', 4, ?, 'train', ?)",
            (json.dumps({view: {"source": source} for view, source in images.items()}), f'{{"a": {mark % uploaded}}}'),
        )
    old.close()
    store = open_store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    (frame,) = frames.list_frames(store.of_project(1))
    assert {view: ref.source for view, ref in frame.images.items()} == {
        "a": "label-studio:///data/upload/1/a.jpg",
        "b": "label-studio:///data/local-files/?d=b.jpg",
        "c": elsewhere,
        "d": "/disk/d.jpg",
    }
    assert frame.usable == ("b", "c", "d")
    store.close()


def test_a_store_of_a_newer_release_is_refused_with_the_way_out(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    with store.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(ParallaxError, match=r"newer Parallax: .*revision 9999, this one knows them up to \d{4}.*update this"):
        open_store(f"sqlite:///{tmp_path / 's.sqlite3'}")


def test_a_store_is_not_upgraded_under_processes_of_an_earlier_release(tmp_path: Path) -> None:
    old = at_revision(tmp_path / "s.sqlite3", "0005")
    presence.beat(old, "train@lab:12")
    old.close()
    address = f"sqlite:///{tmp_path / 's.sqlite3'}"
    with pytest.raises(ParallaxError, match=r"train@lab:12 .*stop `parallax up`.*of revision 0005"):
        open_store(address)
    ended = open_store(address, migrate=False)
    with ended.write() as connection:
        connection.exec_driver_sql("UPDATE heartbeats SET at = at - 100")
    ended.close()
    store = open_store(address)
    assert frames.list_frames(store.of_project(1)) == []
    store.close()


def test_the_binding_of_an_earlier_release_is_by_control(tmp_path: Path) -> None:
    binding = {"skeleton": {"name": "m", "keypoints": ["nose", "tail"]}, "views": [OLD_VIEW], "problems": []}
    old = at_revision(tmp_path / "s.sqlite3", "0006")
    with old.write() as connection:
        statement = "INSERT INTO projects (id, ls_url, ls_project_id, ls_created_at, binding) VALUES (1, 'http://ls', 3, 't0', ?)"
        connection.exec_driver_sql(statement, (json.dumps(binding),))
    old.close()
    store = open_store(f"sqlite:///{tmp_path / 's.sqlite3'}")
    (view,) = Binding.from_json(projects.get(store.of_project(1)).binding or {}).views
    assert (view.points, view.visibility) == ({"kp_left": {"nose": 0, "tail": 1}}, {"vis_left": {"hidden": PointState.OCCLUDED}})
    store.close()

"""Marks of pictures that could not be used: how long they hold, and what ends them."""

from __future__ import annotations

import time
from pathlib import Path

from label_config.values import FrameKey, ImageRef
from ml_backend.store import frames, projects
from ml_backend.store.database import Store
from ml_backend.store.frames import FrameRow
from ml_backend.store.picture_marks import LONGEST_WAIT_S, PictureMark, mark

ADDRESS = "http://localhost/data/upload/1/a.jpg"


def frame(store: Store, **images: str) -> FrameRow:
    project = projects.register(store, "http://localhost", 1, "2026")
    frames.add_frames(
        store.of_project(project.id), [(FrameKey("s", 1), {v: ImageRef(source) for v, source in images.items()}, "train")]
    )
    return again(store)


def again(store: Store) -> FrameRow:
    (row,) = frames.list_frames(store.of_project(projects.list_all(store)[0].id))
    return row


def test_one_damaged_view_leaves_the_others_and_one_that_was_not_had_is_only_not_tried_at_once(store: Store) -> None:
    row = frame(store, left=ADDRESS, right=ADDRESS + "?2")
    damaged, away = mark(row.images["left"], "cut off", damaged=True), mark(row.images["right"], "status 502", damaged=False)
    frames.save_marks(store, {row.id: {"left": damaged, "right": away}})
    row = again(store)
    assert row.marks == {"left": damaged, "right": away}
    assert (row.usable, row.due("left"), row.due("right"), row.due("none")) == (("right",), False, False, False)
    frames.save_marks(store, {row.id: {"right": None}})
    assert (again(store).marks, again(store).due("right")) == ({"left": damaged}, True)


def test_another_address_has_no_mark(store: Store) -> None:
    row = frame(store, left=ADDRESS)
    frames.save_marks(store, {row.id: {"left": mark(row.images["left"], "cut off", damaged=True)}})
    assert again(store).usable == ()
    frames.replace_images(store, row.id, {"left": ImageRef(ADDRESS + "?corrected")})
    assert (again(store).usable, again(store).due("left")) == (("left",), True)


def test_another_file_under_the_same_name_has_no_mark(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"cut")
    row = frame(store, left=str(file))
    frames.save_marks(store, {row.id: {"left": mark(row.images["left"], "cut off", damaged=True)}})
    assert again(store).usable == ()
    file.write_bytes(b"whole now")
    assert again(store).usable == ("left",)


def test_waits_double_and_end_somewhere() -> None:
    held: PictureMark | None = None
    waits = []
    for _ in range(40):
        held = mark(ImageRef(ADDRESS), "status 502", damaged=False, before=held)
        waits.append(round(held.again_at - time.time()))
    assert waits[:4] == [30, 60, 120, 240]
    assert waits[-1] == LONGEST_WAIT_S["unavailable"]
    assert mark(ImageRef(ADDRESS), "cut off", damaged=True, before=held).tries == 1, "another kind of problem begins anew"


def test_a_clock_that_was_set_back_makes_no_wait_longer() -> None:
    held = mark(ImageRef(ADDRESS), "status 502", damaged=False)
    now = time.time()
    assert not held.is_due(now + 1)
    assert held.is_due(now + 40)
    assert held.is_due(now - 3600)

"""``parallax predict`` with a version of a project: its recordings by name, and videos that it has never seen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pandas as pd
import pytest

from ml_backend.store import frames
from tests.ml_backend.tracks.conftest import Trained, write_video
from tests.small_project import make_project

Run = Callable[..., Any]


@pytest.fixture
def project(trained: Trained, tmp_path: Path) -> Path:
    """Recording ``s`` of cameras left and right; its six frames have the tasks 100 … 105 and version px-1 is live."""
    workspace = make_project(tmp_path)
    shutil.copytree(trained.model, workspace.models / "m-1")
    workspace.store.close()
    with (tmp_path / "parallax.yaml").open("a", encoding="utf-8") as file:
        file.write(
            f"recordings:\n- sequence: s\n  stop: 6\n  stride: 3\n  views:\n    left: {trained.videos / 'cam1.mp4'}\n"
            f"    right: {trained.videos / 'cam2.mp4'}\n"
        )
    return tmp_path


def test_a_recording_by_name_with_links_to_its_tasks(project: Path, run: Run) -> None:
    answer = run("predict", "s", "--version", "px-1", "--render")
    assert answer.exit_code == 0, answer.output
    assert "6 frames of 2 cameras by px-1" in answer.stdout
    folder = project / "tracks/s"
    assert pd.read_csv(folder / "csv/cam2.csv")["frame"].tolist() == list(range(6))
    page = (folder / "page.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="http://127\.0\.0\.1:9/projects/7/data\?task=(\d+)">(\d+)', page)
    assert links
    assert all(int(task) == 100 + int(frame) for task, frame in links)
    assert not re.search(r"(src|href)=\"(?!http://127)", page)
    assert (folder / "s.mp4").stat().st_size > 1000


def test_a_recording_drawn_in_all_cameras(project: Path, run: Run) -> None:
    answer = run("render", "s")
    assert answer.exit_code == 0, answer.output
    with av.open(str(project / "tracks/s/s.mp4")) as video:
        (stream,) = video.streams.video
        assert (stream.frames, stream.width, stream.height) == (6, 2 * 480, 480)
    assert not (project / "tracks/s/csv").exists()
    assert "expected one of median" in run("render", "s", "--smooth", "mean").stderr


def test_videos_that_the_project_has_never_seen(project: Path, trained: Trained, run: Run) -> None:
    for view, name in enumerate(("left", "right")):
        write_video(project / f"new/walk {name}.mp4", trained.pictures(view, range(4)))
    answer = run("predict", "new")
    assert answer.exit_code == 0, answer.output
    assert sorted(path.name for path in (project / "tracks/walk/csv").iterdir()) == ["walk left.csv", "walk right.csv"]
    write_video(project / "other.mp4", trained.pictures(0, range(4)))
    refused = run("predict", "other.mp4")
    assert refused.exit_code == 1
    assert "which camera is it? Expected one of left, right in its name; say it: --camera left=" in refused.stderr
    named = run("predict", "--camera", "right=other.mp4")
    assert named.exit_code == 0, named.output
    assert (project / "tracks/other/csv/other.csv").exists()


def test_what_the_project_does_not_have(project: Path, run: Run) -> None:
    assert "--version 9: expected one of 1" in run("predict", "s", "--version", "px-9").stderr
    assert "--version live: expected a version such as px-3" in run("predict", "s", "--version", "live").stderr
    assert "nothing: no recording of the project, and no such file or folder" in run("predict", "nothing").stderr
    (project / "s").mkdir()
    assert "is a recording of the project and a file here; write ./s for the file" in run("predict", "s").stderr


def test_frames_that_came_as_tasks_alone(project: Path, trained: Trained, run: Run) -> None:
    from label_config.settings.spec import load_spec
    from label_config.values import FrameKey, ImageRef
    from ml_backend.store.frames import SequenceRow
    from ml_backend.store.workspace import open_workspace

    workspace = open_workspace(load_spec(project / "parallax.yaml"))
    videos = {"left": trained.videos / "cam1.mp4", "right": trained.videos / "cam2.mp4"}
    frames.save_sequence(workspace.store, SequenceRow("tasks", None, False))
    rows = [
        (FrameKey("tasks", i), {view: ImageRef(str(path), i, size_px=(96, 96)) for view, path in videos.items()}, "train")
        for i in (2, 5)
    ]
    frames.add_frames(workspace.store, rows)
    workspace.store.close()
    answer = run("predict", "tasks")
    assert answer.exit_code == 0, answer.output
    assert pd.read_csv(project / "tracks/tasks/csv/tasks_left.csv")["frame"].tolist() == [2, 5]

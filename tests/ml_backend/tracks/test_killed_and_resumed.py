"""A prediction that is killed goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from ml_backend.store.fault_points import VARIABLE
from plugins.cli.commands.up import own_command, own_environment
from tests.ml_backend.tracks.conftest import Trained, write_video


def predict(folder: Path, trained: Trained, *, kill_at: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **own_environment(), **({VARIABLE: kill_at} if kill_at else {})}
    command = own_command("predict", "walk.mp4", "--model", str(trained.model), "--out", "out")
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.chaos
def test_the_same_bytes_after_a_kill(trained: Trained, tmp_path: Path) -> None:
    pictures = trained.pictures(0, range(24))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    video = write_video(whole / "walk.mp4", [pictures[i % 24] for i in range(300)])
    (killed / "walk.mp4").parent.mkdir()
    os.link(video, killed / "walk.mp4")
    # Just before the third file of frames would have its name.
    died = predict(killed, trained, kill_at="write 000002.npz")
    assert died.returncode == -signal.SIGKILL
    kept = killed / "out/walk/.chunks"
    assert [path.name for path in sorted(kept.glob("[0-9]*.npz"))] == ["000000.npz", "000001.npz"]
    before = (kept / "000001.npz").stat().st_mtime_ns
    again, straight = predict(killed, trained), predict(whole, trained)
    assert again.returncode == straight.returncode == 0, again.stderr + straight.stderr
    assert (kept / "000001.npz").stat().st_mtime_ns == before
    assert "44 pictures" in again.stdout
    assert content(killed / "out") == content(whole / "out")

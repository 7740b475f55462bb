"""Label files that other tools wrote, through ``import --dry-run`` into a project of videos ``left`` and ``right``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from ml_backend.formats.format_registry import read_labels
from ml_backend.formats.names import LabelFormat
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.label_import import plan_import
from tests.foreign.labels import FRAMES, LABELS, XY_PX, state_of

Run = Callable[..., Result]


@pytest.mark.parametrize("name", LABELS)
def test_files_of_other_tools_are_labels_of_their_frames(name: str, workspace: Workspace, run: Run, tmp_path: Path) -> None:
    write, options = LABELS[name]
    (tmp_path / "their").mkdir()
    path = write(tmp_path / "their", "left")
    answer = run("import", str(path), "--dry-run", *options)
    assert answer.exit_code == 0, answer.output
    assert f"{path.name}: labels of 2 frames of the project\n" in answer.stdout
    assert "dry run: nothing was changed" in answer.stdout
    chosen = LabelFormat.LIGHTNING_POSE if name == "lightning pose" else None
    found = read_labels(path, chosen)
    poses = plan_import(workspace, path, found, predicted=name == "anipose").labelled.poses
    assert sorted(key.index for key in poses) == list(FRAMES)
    for frame, expected, state in zip(FRAMES, XY_PX, state_of(name), strict=True):
        (pose,) = next(subjects for key, subjects in poses.items() if key.index == frame).values()
        np.testing.assert_allclose(pose.xy_px[0], expected, atol=0.01)
        assert np.isnan(pose.xy_px[1]).all()
        np.testing.assert_array_equal(pose.state[0], state)

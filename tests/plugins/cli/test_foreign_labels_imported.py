"""Label files that other tools wrote, through ``import --dry-run`` into a project of videos ``left`` and ``right``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from label_config.settings.recording_settings import RecordingSettings
from label_config.settings.spec import load_spec
from label_config.values import BadInputError, Frame, FrameKey, ImageRef
from ml_backend.formats.format_registry import joined, read_labels
from ml_backend.formats.names import LabelFormat
from ml_backend.recordings import Recording
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.existing_labels import read_existing_labels
from plugins.label_studio_sync.label_import import plan_import
from tests.foreign.labels import FRAMES, LABELS, XY_PX, state_of
from tests.small_project import SIZE, VIEWS

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


def recorded() -> Recording:
    """Videos ``left`` and ``right`` of six frames, as ``recordings`` of parallax.yaml has them."""
    images = [{view: ImageRef(f"/videos/{view}.mp4", i, size_px=SIZE) for view in VIEWS} for i in range(6)]
    return Recording("s", VIEWS, tuple(Frame(FrameKey("s", i), of) for i, of in enumerate(images)), dict.fromkeys(VIEWS, SIZE))


@pytest.mark.parametrize("name", sorted(LABELS.keys() - {"lightning pose", "anipose"}))
def test_recordings_bring_the_labels_of_other_tools(name: str, workspace: Workspace, tmp_path: Path) -> None:
    """What ``init --dry-run`` reads for ``labels`` of a recording."""
    write, _ = LABELS[name]
    path = write(tmp_path, "left")
    entry = RecordingSettings.model_validate({"sequence": "s", "views": {"left": {"source": "left.mp4"}}, "labels": str(path)})
    found = read_existing_labels(entry, recorded(), workspace.binding.skeleton, VIEWS, workspace.spec)
    assert sorted(key.index for key in found.poses) == list(FRAMES)
    for frame, expected, state in zip(FRAMES, XY_PX, state_of(name), strict=True):
        (pose,) = found.poses[FrameKey("s", frame)].values()
        np.testing.assert_allclose(pose.xy_px[0], expected, atol=0.01)
        np.testing.assert_array_equal(pose.state[0], state)


def test_predictions_are_no_labels_of_a_recording(workspace: Workspace, tmp_path: Path) -> None:
    path = LABELS["anipose"][0](tmp_path, "left")
    entry = RecordingSettings.model_validate({"sequence": "s", "views": {"left": {"source": "left.mp4"}}, "labels": str(path)})
    with pytest.raises(BadInputError, match="expected labels that people made, got only"):
        read_existing_labels(entry, recorded(), workspace.binding.skeleton, VIEWS, workspace.spec)


#: Real file with its pictures → what its first keypoints are here; pictures that are beside it or in it; one of them as a frame,
#: and where its tool says the first keypoint is.
REAL: dict[str, tuple[dict[str, str], int, FrameKey, tuple[float, float]]] = {
    "sleap/minimal_instance.pkg.slp": (
        {"A": "nose", "B": "tail"},
        1,
        FrameKey("centered_pair_low_quality", 0),
        (92.652208, 202.725978),
    ),
    "ultralytics": ({"keypoint0": "nose"}, 3, FrameKey("images", 1), (288, 96)),
    "coco/test_coco.json": ({}, 2, FrameKey("imported", 785), (367, 81)),
    "h36m/h36m_coco.json": ({"root (pelvis)": "nose"}, 1, FrameKey("imported", 1), (473.683563, 444.942413)),
}


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_real_files_bring_their_pictures(name: str, workspace: Workspace, run: Run, data_folder: Path, tmp_path: Path) -> None:
    aliases, pictures, key, first = REAL[name]
    path = data_folder / "foreign" / name
    folder = {"h36m/h36m_coco.json": path.parent / "S1/S1_Directions_1.54138969"}.get(name)
    settings = tmp_path / "parallax.yaml"
    settings.write_text(settings.read_text() + f"\naliases: {aliases}\n")
    options = ["--pictures", str(folder)] if folder is not None else []
    answer = run("import", str(path), "--dry-run", "--view", "left", *options)
    assert answer.exit_code == 0, answer.output
    assert f"labels of 0 frames of the project and of {pictures} pictures that are new to it" in answer.stdout
    found = joined([read_labels(path)], path, ["left"])
    plan = plan_import(replace(workspace, spec=load_spec(settings)), path, found, pictures=folder)
    assert len(plan.embedded) == int(name.endswith(".pkg.slp"))
    (pose,) = plan.labelled.poses[key].values()
    np.testing.assert_allclose(pose.xy_px[0, 0], first, atol=1e-4)

"""The rule of a sequence's split: by how alike its pictures are, decided once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.settings.spec import Spec
from label_config.values import FrameKey, ImageRef
from ml_backend.labels.split import SplitRule
from ml_backend.project.splitting import (
    decide_rules,
    evidence_of_numbers,
    evidence_of_pictures,
    in_words,
    note_rules,
    rules,
    split_of,
)
from ml_backend.store import frames
from ml_backend.store.workspace import Workspace

SPEC = Spec.model_validate({})


def picture(x: float, y: float) -> Any:
    """A grey arena with a dark animal; x and y in 0..1."""
    image = np.full((96, 96, 3), 180, dtype=np.uint8)
    cv2.circle(image, (int(12 + 72 * x), int(12 + 72 * y)), 10, (40, 40, 40), -1)
    return image


def written(folder: Path, places: Any) -> list[tuple[FrameKey, ImageRef]]:
    pairs = []
    for i, (x, y) in enumerate(places):
        path = folder / f"img{i:04d}.png"
        assert cv2.imwrite(str(path), picture(x, y))
        pairs.append((FrameKey("run", i), ImageRef(str(path))))
    return pairs


def test_frames_of_a_video_are_nearly_copies_and_pictures_from_all_over_it_are_not(tmp_path: Path) -> None:
    time = np.linspace(0, 2 * np.pi, 120)
    walk = np.stack([0.5 + 0.4 * np.cos(time), 0.5 + 0.4 * np.sin(2 * time)], axis=1)
    anywhere = np.random.default_rng(0).uniform(0, 1, (60, 2))
    for name, places, alike in (("video", walk, True), ("extracted", anywhere, False)):
        (tmp_path / name).mkdir()
        found = evidence_of_pictures(SPEC, written(tmp_path / name, places))
        assert found is not None
        assert found.alike is alike
        assert "as much as pictures far apart" in found.why


def test_pictures_that_cannot_be_read_leave_it_to_their_numbers(tmp_path: Path) -> None:
    missing = [(FrameKey("run", i), ImageRef(str(tmp_path / f"{i}.png"))) for i in range(40)]
    assert evidence_of_pictures(SPEC, missing) is None
    assert evidence_of_numbers({"run": np.arange(40)}).alike
    assert not evidence_of_numbers({"run": 30 * np.arange(40), "walk": 50 * np.arange(40)}).alike


@pytest.mark.data
def test_real_labelled_pictures_are_single_and_real_videos_are_not(data_folder: Path) -> None:
    labelled = sorted((data_folder / "dlc_openfield/labeled-data").glob("*/*.png"))
    found = evidence_of_pictures(SPEC, [(FrameKey("m4s1", i), ImageRef(str(path))) for i, path in enumerate(labelled)])
    assert found is not None
    assert not found.alike
    video = str(data_folder / "pose2sim_single_4cam/videos/cam01.mp4")
    found = evidence_of_pictures(SPEC, [(FrameKey("cam", i), ImageRef(video, frame_index=i)) for i in range(20)])
    assert found is not None
    assert found.alike


def test_what_parallax_yaml_sets_counts() -> None:
    spec = Spec.model_validate({"validation": {"fraction": 0.3, "guard_frames": 4}})
    (rule,) = decide_rules(spec, {"run": np.arange(100)}, evidence_of_numbers({"run": np.arange(100)})).values()
    assert (rule.fraction, rule.guard_frames) == (0.3, 4)


def test_a_sequence_keeps_its_rule_and_a_project_of_before_keeps_the_one_it_was_set_up_with(
    make_workspace: Callable[..., Workspace],
) -> None:
    workspace = make_workspace()
    (known,) = frames.sequences_with_frames(workspace.store)
    assert rules(workspace) == {known: SplitRule(0.1, 50, 10, "as set up")}
    single, other = SplitRule(0.2, 1, 0, "extracted"), SplitRule(0.1, 9, 2, "another")
    note_rules(workspace, {known: other, "new": single})
    note_rules(workspace, {"new": other})
    assert rules(workspace)[known].block_frames == 50
    assert rules(workspace)["new"] == single
    split = split_of(workspace, {"new": np.arange(200), "newer": np.arange(200)})
    assert rules(workspace)["newer"].block_frames == 1, "what is known of the others holds for it"
    assert "guard" not in split.values()
    again = split_of(workspace, {"new": np.arange(100, 300)})
    assert all(again[key] == split[key] for key in again.keys() & split.keys())


def test_in_words_says_how_many_and_why() -> None:
    numbers = {"run": np.arange(116)}
    text = in_words({"run": SplitRule(0.2, 1, 0, "neighbouring pictures differ 94% as much as pictures far apart")}, numbers, 0)
    assert "of 116 frames measure the model and are never learnt from, one by one" in text
    assert "94%" in text
    parts = SplitRule(0.1, 50, 10).of("run", numbers["run"], 0)
    text = in_words({"run": SplitRule(0.1, 50, 10, "they are frames of a video")}, numbers, 0)
    assert f"{int((parts == 'train').sum())} are left to learn from" in text

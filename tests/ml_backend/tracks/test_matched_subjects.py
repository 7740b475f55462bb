"""Files in which every camera numbers its subjects anew → one number each, as the studio and other tools know them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from label_config.values import BadInputError, BoolArray, FloatArray, ImageRef, PointState
from ml_backend.formats.exporting import Export
from ml_backend.formats.format_registry import read_labels
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.names import LabelFormat
from ml_backend.formats.sleap import write_sleap
from ml_backend.simulation.studio import CaptureStudio, anipose_toml
from ml_backend.tracks.matched_subjects import match_subjects
from plugins.cli.main import app
from tests.recorded_data import needed

FRAMES = 130


@pytest.fixture(scope="module")
def studio() -> CaptureStudio:
    return CaptureStudio(seed=5, n_frames=FRAMES, n_views=3, size_px=(640, 480), figures=3, fill=0.4)


@pytest.fixture(scope="module")
def files(studio: CaptureStudio) -> dict[str, LabelSet]:
    """Camera → predictions with 2 px of noise; a tenth of the figures is not found, and every frame numbers them anew."""
    return {name: predictions(studio, view) for view, name in enumerate(studio.rig.names)}


def predictions(studio: CaptureStudio, view: int) -> LabelSet:
    rng = np.random.default_rng(view)
    labels = []
    for frame in range(FRAMES):
        for number, who in enumerate(rng.permutation(studio.figures).tolist()):
            xy = studio.subjects_xy[frame, who, view] + rng.normal(size=(15, 2)) * 2
            xy[studio.subjects_occluded[frame, who, view] & (rng.random(15) < 0.7)] = np.nan
            placed = np.isfinite(xy).all(axis=-1)
            if placed.sum() >= 3 and rng.random() >= 0.1:
                labels.append(label(studio.rig.names[view], frame, number, xy, placed, who))
    return LabelSet(studio.skeleton, tuple(labels))


def label(view: str, frame: int, number: int, xy: FloatArray, placed: BoolArray, who: int) -> LabelledImage:
    state = np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64)
    confidence = np.where(placed, 0.9, np.nan)
    return LabelledImage(ImageRef(f"{view}.mp4", frame), xy, state, subject=number, confidence=confidence, people=(str(who),))


def of_whom(labels: LabelSet) -> dict[int, set[str]]:
    """Number → the figures that have it."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for one in labels.labels:
        found[one.subject] |= set(one.people)
    return dict(found)


def test_every_number_is_one_figure_in_all_cameras_and_frames(studio: CaptureStudio, files: dict[str, LabelSet]) -> None:
    found = match_subjects(files, studio.rig)
    assert all(len(figures) == 1 for figures in of_whom(found.labels).values())
    # All but the first leave the room, for longer than they are remembered.
    assert len([number for number, figures in of_whom(found.labels).items() if figures == {"0"}]) == 1
    assert found.subjects == len(of_whom(found.labels)) <= 6
    assert (found.count == studio.present.sum(axis=1)).mean() > 0.97
    assert found.renumbered > FRAMES
    assert found.by_camera.shape == (FRAMES, 3)
    before = {(one.view, one.image.frame_index, one.people): one.xy_px for one in found.labels.labels}
    for view, labels in files.items():
        for one in labels.labels:
            np.testing.assert_array_equal(before[view, one.image.frame_index, one.people], one.xy_px)


def test_one_camera_alone_is_told_apart_in_time(studio: CaptureStudio) -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(100, 400, 30)
    apart = [(0, np.stack([x, x / 2], axis=-1)), (1, np.stack([500 - x, 200 + x / 2], axis=-1))]
    labels = tuple(
        label("top", frame, number, path[frame] + body(), np.ones(15, dtype=np.bool_), who)
        for frame in range(30)
        for number, (who, path) in enumerate([apart[i] for i in rng.permutation(2)])
    )
    found = match_subjects({"top": LabelSet(studio.skeleton, labels)}, None)
    assert of_whom(found.labels) in ({0: {"0"}, 1: {"1"}}, {0: {"1"}, 1: {"0"}})
    assert (found.alone, found.unsure) == (0, 0)


def body() -> FloatArray:
    return np.random.default_rng(1).uniform(0, 60, (15, 2))


def test_what_cannot_be_matched_is_refused_in_words(studio: CaptureStudio, files: dict[str, LabelSet]) -> None:
    with pytest.raises(BadInputError, match="expected a calibration"):
        match_subjects(files, None)
    with pytest.raises(BadInputError, match="no camera named top"):
        match_subjects({"top": files["cam1"], "cam2": files["cam2"]}, studio.rig)
    other = LabelSet(replace(studio.skeleton, keypoints=tuple(f"{k}_" for k in studio.skeleton.keypoints)), files["cam2"].labels)
    with pytest.raises(BadInputError, match="cam2: expected the keypoints of the first file"):
        match_subjects({"cam1": files["cam1"], "cam2": other}, studio.rig)
    nameless = replace(files["cam1"].labels[0], image=ImageRef("a.png"))
    with pytest.raises(BadInputError, match=r"expected pictures with a frame number.*a\.png"):
        match_subjects({"cam1": LabelSet(studio.skeleton, (nameless,))}, None)
    with pytest.raises(BadInputError, match="no placed points"):
        match_subjects({"cam1": LabelSet(studio.skeleton, ())}, None)


def test_a_network_beside_a_person_is_no_second_animal(studio: CaptureStudio, files: dict[str, LabelSet]) -> None:
    predicted = files["cam1"].labels[0]
    both = LabelSet(studio.skeleton, (replace(predicted, confidence=None), predicted))
    found = match_subjects({"cam1": both}, None)
    assert len(found.labels.labels) == 1
    assert "1 predicted instances beside 1 labelled ones are left out" in found.labels.notes[0]


@pytest.mark.data
def test_flies_of_sleap_keep_the_numbers_of_their_tracks(tmp_path: Path) -> None:
    """1,500 frames of two flies with tracks: given in another order in every frame, they are told apart as SLEAP did."""
    given = read_labels(needed("foreign/sleap/clip.2node.slp"))
    rng = np.random.default_rng(0)
    swapped = {frame: int(rng.integers(2)) for frame in range(1500)}
    mixed = tuple(replace(one, subject=one.subject ^ swapped[one.image.frame_index or 0]) for one in given.labels)
    order = sorted(range(len(mixed)), key=lambda i: (mixed[i].image.frame_index or 0, mixed[i].subject))
    found = match_subjects({"top": LabelSet(given.skeleton, tuple(mixed[i] for i in order))}, None)
    of_track: dict[int, set[int]] = defaultdict(set)
    for place, one in zip(order, found.labels.labels, strict=True):
        of_track[given.labels[place].subject].add(one.subject)
    assert of_track in ({0: {0}, 1: {1}}, {0: {1}, 1: {0}})
    assert Export(found.labels, LabelFormat.SLEAP, tmp_path / "out.slp").write() == []
    again = read_labels(tmp_path / "out.slp")
    assert places(again) == places(found.labels)


def places(labels: LabelSet) -> dict[tuple[int | None, int], list[list[float]]]:
    return {(one.image.frame_index, one.subject): one.xy_px.round(4).tolist() for one in labels.labels}


@pytest.mark.data
@pytest.mark.parametrize("name", ["madlc_testdata.csv", "madlc_testdata_v2.csv"])
def test_animals_of_deeplabcut_go_there_and_back(name: str, tmp_path: Path) -> None:
    found = match_subjects({"video": read_labels(needed(f"foreign/deeplabcut/sleap_fixtures/{name}"))}, None)
    assert len(found.labels.labels) == 5
    Export(found.labels, LabelFormat.DLC, tmp_path / "dlc").write()
    again = read_labels(tmp_path / "dlc")
    assert sorted(map(str, (one.xy_px.tolist() for one in again.labels))) == sorted(
        map(str, (one.xy_px.tolist() for one in found.labels.labels))
    )
    assert sorted(one.subject for one in again.labels) == sorted(one.subject for one in found.labels.labels)


@pytest.fixture
def recorded(tmp_path: Path, studio: CaptureStudio, files: dict[str, LabelSet]) -> Callable[..., Result]:
    """Runs the command in a folder with a SLEAP file for each camera and their calibration."""
    for name, labels in files.items():
        write_sleap(labels, tmp_path / f"{name}.slp")
    (tmp_path / "calibration.toml").write_text(anipose_toml(studio.rig), encoding="utf-8")
    named = [f"{name}={tmp_path / name}.slp" for name in files]
    calibrated = ["--calibration", str(tmp_path / "calibration.toml"), "--unit", "mm"]
    return lambda target, to, *more: CliRunner().invoke(
        app, ["match", str(tmp_path / target), *named, "--to", to, *calibrated, *more]
    )


def test_the_command_writes_the_numbers_and_says_what_it_saw(recorded: Callable[..., Result], tmp_path: Path) -> None:
    done = recorded("matched.slp", "sleap")
    assert done.exit_code == 0, done.output
    assert f"{FRAMES} frames; subjects: " in done.output
    assert "cameras show unlike numbers of subjects in " in done.output
    written = read_labels(tmp_path / "matched.slp")
    assert {Path(one.image.source).name for one in written.labels} == {"cam1.mp4", "cam2.mp4", "cam3.mp4"}
    assert len({one.subject for one in written.labels}) == int(done.output.split(" instances of ")[1].split()[0])
    assert recorded("tracks", "movement").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "tracks").iterdir()) == ["cam1.nc", "cam2.nc", "cam3.nc"]


@pytest.mark.parametrize(
    ("to", "more", "said"),
    [
        ("dlc", [], "got predictions"),
        ("yolo", [], "expected a format for several subjects"),
        ("sleap", ["cam1=twice.slp"], "got a camera twice"),
        ("sleap", ["cam9"], "expected CAMERA=FILE"),
        ("sleap", ["--video", "cam9=a.mp4"], "expected a camera with a file"),
    ],
)
def test_the_command_refuses_in_words(recorded: Callable[..., Result], to: str, more: list[str], said: str) -> None:
    done = recorded("out", to, *more)
    assert done.exit_code == 1
    assert said in " ".join(done.output.split())

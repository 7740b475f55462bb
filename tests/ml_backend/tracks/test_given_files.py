"""Which file is whose: cameras by the names of files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from label_config.values import BadInputError
from ml_backend.tracks.given_files import named_cameras, recordings_of


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in (
        "monday_cam1.mp4",
        "monday_cam2.mp4",
        "tuesday cam1.mp4",
        "tuesday cam2.mp4",
        "trial/Cam1.avi",
        "trial/CAM-2.avi",
        "cam1/wednesday.mp4",
        "cam2/wednesday.mp4",
        "pictures/cam1/0.png",
        "pictures/cam2/0.png",
        "other/notes.txt",
        "mixed/a.mp4",
        "mixed/b.png",
        "left-top.mp4",
        "left.mp4",
        "._hidden.mp4",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_cameras_and_recordings_are_kept_apart_by_names(files: Path) -> None:
    given = [files / name for name in ("monday_cam2.mp4", "monday_cam1.mp4", "tuesday cam1.mp4", "tuesday cam2.mp4", "trial")]
    found = recordings_of(given, ("cam1", "cam2"))
    assert found == {
        "monday": {"cam1": str(files / "monday_cam1.mp4"), "cam2": str(files / "monday_cam2.mp4")},
        "tuesday": {"cam1": str(files / "tuesday cam1.mp4"), "cam2": str(files / "tuesday cam2.mp4")},
        "trial": {"cam1": str(files / "trial/Cam1.avi"), "cam2": str(files / "trial/CAM-2.avi")},
    }


def test_folders_called_as_the_cameras(files: Path) -> None:
    wednesday = [files / "cam1/wednesday.mp4", files / "cam2/wednesday.mp4"]
    assert list(recordings_of(wednesday, ("cam1", "cam2"))) == ["wednesday"]
    pictures = recordings_of([files / "pictures"], ("cam1", "cam2"))
    assert pictures == {"pictures": {"cam1": str(files / "pictures/cam1"), "cam2": str(files / "pictures/cam2")}}


def test_the_longer_of_two_camera_names_is_meant(files: Path) -> None:
    found = recordings_of([files / "left-top.mp4", files / "left.mp4"], ("left", "left-top"))
    assert [Path(of[view]).name for of in found.values() for view in of] == ["left.mp4", "left-top.mp4"]


def test_without_cameras_every_file_is_a_recording(files: Path) -> None:
    found = recordings_of([files / "monday_cam1.mp4", files / "tuesday cam1.mp4"], ())
    assert found == {
        "monday_cam1": {"camera": str(files / "monday_cam1.mp4")},
        "tuesday cam1": {"camera": str(files / "tuesday cam1.mp4")},
    }
    assert list(recordings_of([files / "cam1", files / "cam2"], ("top",))) == ["cam1_wednesday.mp4", "cam2_wednesday.mp4"]


def test_views_of_one_picture_share_the_file(files: Path) -> None:
    video = files / "left.mp4"
    assert recordings_of([video], ("side", "bottom"), shared=True) == {"left": {"side": str(video), "bottom": str(video)}}


@pytest.mark.parametrize(
    ("given", "views", "words"),
    [
        (["left.mp4"], ("cam1", "cam2"), "which camera is it? Expected one of cam1, cam2 in its name; say it: --camera cam1="),
        (["monday_cam1.mp4"], ("cam1", "monday"), "its name fits the cameras cam1 and monday"),
        (["other"], (), "expected videos"),
        (["mixed"], (), "holds videos and pictures"),
        (["nothing.mp4"], (), "no recording of the project, and no such file or folder"),
    ],
)
def test_what_is_ambiguous_is_refused_in_words(files: Path, given: list[str], views: tuple[str, ...], words: str) -> None:
    with pytest.raises(BadInputError) as refused:
        recordings_of([files / name for name in given], views)
    assert words in str(refused.value)


def test_two_files_of_one_camera(tmp_path: Path) -> None:
    paths = [tmp_path / "day_cam1.mp4", tmp_path / "day_cam1.avi"]
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(BadInputError, match="both fit camera 'cam1' of one recording"):
        recordings_of(paths, ("cam1", "cam2"))


def test_cameras_given_by_name(files: Path) -> None:
    left = files / "left.mp4"
    assert named_cameras([f"cam1={left}"], ("cam1", "cam2")) == {"cam1": str(left)}
    for pairs, words in (
        (["cam1"], "expected NAME=FILE"),
        ([f"top={left}"], "expected one of the cameras cam1, cam2, got 'top'"),
        ([f"cam1={left}", f"cam1={left}"], "given twice"),
        (["cam1=nowhere.mp4"], "no such file or folder"),
    ):
        with pytest.raises(BadInputError, match=words):
            named_cameras(pairs, ("cam1", "cam2"))

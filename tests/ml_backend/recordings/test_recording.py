from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.settings.recording_settings import RecordingSettings as RecordingSpec
from label_config.settings.spec import Cache
from label_config.values import BadInputError, FrameKey, ImageRef
from ml_backend.recordings.extract import write_picture
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import limits_of
from ml_backend.recordings.reading import iter_images
from ml_backend.recordings.recording import open_recording
from ml_backend.recordings.sources import varying_numbers
from ml_backend.recordings.timing import match_frames, reference_view

from .conftest import readable


def _spec(views: Any, **more: Any) -> Any:
    return RecordingSpec.model_validate({"sequence": "trial1", "views": views, **more})


def test_equal_videos_pair_by_index(make: Any, tmp_path: Path) -> None:
    views = {name: str(make.video(tmp_path / f"{name}.mp4", 10)) for name in ("b", "a")}
    recording = open_recording(_spec(views, start=2, stop=9, stride=3))
    assert recording.views == ("b", "a")
    assert [frame.key for frame in recording.frames] == [FrameKey("trial1", i) for i in (2, 5, 8)]
    refs = [frame.images[name] for frame in recording.frames for name in recording.views]
    pictures = dict(iter_images(refs))
    assert [make.number(pictures[i]) for i in range(6)] == [2, 2, 5, 5, 8, 8]
    assert refs[0].size_px == recording.size_px["b"] == (64, 48)
    assert recording.fps == pytest.approx(30, abs=0.01)
    assert recording.notes == ()


def test_unequal_lengths_leave_views_out(make: Any, tmp_path: Path) -> None:
    views = {"a": str(make.video(tmp_path / "a.mp4", 6)), "b": str(make.video(tmp_path / "b.mp4", 9))}
    recording = open_recording(_spec(views))
    assert [sorted(frame.images) for frame in recording.frames] == [["a", "b"]] * 6 + [["b"]] * 3
    assert recording.notes == ("recording 'trial1': view 'a' has no picture at 3 of 9 instants (those of 'b')",)


def test_dropped_frames_leave_holes_not_shifts(make: Any, tmp_path: Path) -> None:
    """Camera b lost frames 3 and 4 of 10; its timestamps say so, and frames 5… of a meet frames 3… of b."""
    views = {name: str(make.video(tmp_path / f"{name}.mp4", n)) for name, n in (("a", 10), ("b", 8))}
    clock = 100 + np.arange(10) / 30
    np.save(tmp_path / "a.timestamps.npy", clock)
    jitter = np.random.default_rng(0).uniform(-0.004, 0.004, 8)
    np.savetxt(tmp_path / "b.timestamps.txt", np.delete(clock, [3, 4]) + jitter, fmt="%.6f")
    recording = open_recording(_spec(views))
    pairs = [{name: ref.frame_index for name, ref in frame.images.items()} for frame in recording.frames]
    assert pairs == [{"a": i} if i in (3, 4) else {"a": i, "b": i if i < 3 else i - 2} for i in range(10)]
    assert "2 of 10 instants" in recording.notes[0]


def test_time_offset_shifts_a_camera(make: Any, tmp_path: Path) -> None:
    a, b = (str(make.video(tmp_path / f"{name}.mp4", 10, fps=20)) for name in "ab")
    recording = open_recording(_spec({"a": a, "b": {"source": b, "time_offset_s": 0.15}}))  # b started three frames later
    matched = {frame.key.index: frame.images["b"].frame_index for frame in recording.frames if "b" in frame.images}
    assert matched == {i: i - 3 for i in range(3, 10)}
    assert recording.frames[5].images["b"].time_s == pytest.approx(0.1)  # its own clock


def test_cameras_of_different_rates(make: Any, tmp_path: Path) -> None:
    views = {"fast": str(make.video(tmp_path / "f.mp4", 50, fps=100)), "slow": str(make.video(tmp_path / "s.mp4", 10, fps=20))}
    recording = open_recording(_spec(views))
    assert len(recording.frames) == 10
    assert [frame.images["fast"].frame_index for frame in recording.frames] == [5 * i for i in range(10)]


def test_mirror_rig_and_picture_folders(make: Any, tmp_path: Path) -> None:
    for i in range(3):
        write_picture(make.picture(i), tmp_path / "shots" / f"{i}.png")
    source = str(tmp_path / "shots")
    views = {"top": {"source": source, "crop": (0, 0, 64, 20)}, "side": {"source": source, "crop": (0, 20, 64, 28), "flip": True}}
    recording = open_recording(_spec(views))
    assert recording.size_px == {"top": (64, 20), "side": (64, 28)}
    frame = recording.frames[2]
    assert frame.images["top"].source == frame.images["side"].source
    assert frame.images["top"].frame_index is None
    assert recording.fps is None
    pictures = dict(iter_images([frame.images["top"], frame.images["side"]]))
    assert make.number(pictures[0]) == make.number(readable(pictures[1])[:, ::-1]) == 2


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 2], "expected 4 timestamps, one per frame, got 3"),
        ([0, 1, 1, 2], "increase strictly"),
        ([0, 1, np.nan, 2], "increase strictly"),
    ],
)
def test_timestamps_that_do_not_fit(make: Any, tmp_path: Path, times: Any, message: Any) -> None:
    video = make.video(tmp_path / "a.mp4", 4)
    np.save(tmp_path / "a.timestamps.npy", np.array(times, dtype=float))
    with pytest.raises(BadInputError, match=message):
        open_recording(_spec({"a": str(video)}))
    (tmp_path / "a.timestamps.npy").unlink()
    (tmp_path / "a.timestamps.csv").write_text("time\n0\n")
    with pytest.raises(BadInputError, match=r"a\.timestamps\.csv: expected one time"):
        open_recording(_spec({"a": str(video)}))


def test_empty_range_is_an_error(make: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no frame between start 50 and stop None; it has 4"):
        open_recording(_spec({"a": str(make.video(tmp_path / "a.mp4", 4))}, start=50))


def test_match_frames_closed_form() -> None:
    instants = np.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(match_frames(instants, np.array([0.1, 1.2, 2.9]), 0.3), [0, 1, -1, 2])
    np.testing.assert_array_equal(match_frames(instants, np.array([]), 0.3), [-1] * 4)
    np.testing.assert_array_equal(match_frames(instants, np.array([1.5]), 0.5), [-1, 0, -1, -1])  # one frame, one instant


def test_reference_is_the_slowest_then_the_fullest() -> None:
    times = {"a": np.arange(20) / 60, "b": np.delete(np.arange(10) / 30, 4), "c": np.arange(10) / 30.001, "one": np.zeros(1)}
    assert reference_view(times) == "c"


def time_of(picture: ImageRef) -> float:
    assert picture.time_s is not None
    return picture.time_s


def _pairs(recording: Any) -> Any:
    return [{name: ref.frame_index for name, ref in frame.images.items()} for frame in recording.frames]


def test_equal_counts_at_other_rates_are_a_question_with_two_answers(make: Any, tmp_path: Path) -> None:
    """Hardware triggered: 60 frames each, one header says 30 a second and the other 25."""
    views = {"a": str(make.video(tmp_path / "a.mp4", 60, fps=30)), "b": str(make.video(tmp_path / "b.mp4", 60, fps=25))}
    with pytest.raises(
        BadInputError, match=r"'a' has 60 frames at 30 a second and 'b' 60 at 25.*'pairing: index'.*'pairing: time'"
    ):
        open_recording(_spec(views))
    assert _pairs(open_recording(_spec(views, pairing="index"))) == [{"a": i, "b": i} for i in range(60)]
    by_time = open_recording(_spec(views, pairing="time", stop=50))
    assert by_time.n_complete == 50
    for frame in by_time.frames:
        times = [time_of(ref) for ref in frame.images.values()]
        assert max(times) - min(times) <= 0.5 / 25


def test_nearly_equal_rates_are_paired_by_time(make: Any, tmp_path: Path) -> None:
    """30 against 29.97: after 1,001 frames the cameras are one frame apart."""
    a = make.encoded(tmp_path / "a.mp4", "mjpeg", 1001, size=(16, 16), times_ms=[round(i * 1000 / 30) for i in range(1001)])
    b = make.encoded(tmp_path / "b.mp4", "mjpeg", 1000, size=(16, 16), times_ms=[round(i * 1001 / 30) for i in range(1000)])
    recording = open_recording(_spec({"a": str(a), "b": str(b)}))
    pairs = _pairs(recording)
    assert pairs[10] == {"a": 10, "b": 10}
    assert pairs[1000] == {"a": 1000, "b": 999}
    assert recording.n_complete >= 980  # where they lie half a frame apart, what the container rounds leaves holes
    both = [frame.images for frame in recording.frames if len(frame.images) == 2]
    apart = [time_of(images["a"]) - time_of(images["b"]) for images in both]
    assert np.abs(apart).max() <= 0.0172
    assert "different rates ('a' 30, 'b' 29.97 a second)" in recording.notes[0]


def test_frames_missing_in_the_middle_of_a_video_are_seen_by_its_times(make: Any, tmp_path: Path) -> None:
    clock = [round(i * 1000 / 30) for i in range(20)]
    a = make.encoded(tmp_path / "a.mkv", "libx264", 20, times_ms=clock)
    b = make.encoded(tmp_path / "b.mkv", "libx264", 18, times_ms=clock[:7] + clock[9:])
    pairs = _pairs(open_recording(_spec({"a": str(a), "b": str(b)})))
    assert pairs == [{"a": i} if i in (7, 8) else {"a": i, "b": i if i < 7 else i - 2} for i in range(20)]


def _folder(make: Any, path: Any, names: Any) -> Any:
    for i, name in enumerate(names):
        write_picture(make.picture(i), path / f"{name}.png")
    return str(path)


def test_folders_are_paired_by_the_numbers_in_the_names(make: Any, tmp_path: Path) -> None:
    a = _folder(make, tmp_path / "a", [f"frame_{i:04d}_64x48" for i in range(5)])
    b = _folder(make, tmp_path / "b", [f"frame_{i:04d}_64x48" for i in (0, 1, 3, 4)])
    (tmp_path / "b" / "._frame_0002_64x48.png").write_bytes(b"\0\5\x16\7 a note of macOS's")
    recording = open_recording(_spec({"a": a, "b": b}))
    names = [{view: ref.source[-14:-10] for view, ref in frame.images.items()} for frame in recording.frames]
    assert names == [{"a": f"000{i}"} if i == 2 else {"a": f"000{i}", "b": f"000{i}"} for i in range(5)]
    assert "paired by these numbers" in recording.notes[0]
    by_place = open_recording(_spec({"a": a, "b": b}, pairing="index"))
    assert by_place.frames[2].images["b"].source.endswith("0003_64x48.png")


def test_numbers_that_only_start_elsewhere_are_a_question(make: Any, tmp_path: Path) -> None:
    views = {
        "a": _folder(make, tmp_path / "a", [f"img{i}" for i in range(5)]),
        "b": _folder(make, tmp_path / "b", [f"b{i}" for i in range(1, 6)]),
    }
    with pytest.raises(BadInputError, match=r"start at 0 and 1.*'pairing: index'.*'pairing: number'"):
        open_recording(_spec(views))
    assert open_recording(_spec(views, pairing="index")).n_complete == 5
    assert open_recording(_spec(views, pairing="number")).n_complete == 4


def test_pictures_and_a_video_need_a_rate(make: Any, tmp_path: Path) -> None:
    views = {
        "a": str(make.video(tmp_path / "a.mp4", 8, fps=20)),
        "b": _folder(make, tmp_path / "b", [f"{i}" for i in (0, 1, 3, 4, 5)]),
    }
    with pytest.raises(BadInputError, match=r"those of 'b' do not.*'fps'.*'pairing: index'"):
        open_recording(_spec(views))
    with pytest.raises(BadInputError, match="'pairing: time' needs to know when the frames of 'b' were taken"):
        open_recording(_spec(views, pairing="time"))
    views["b"] = {"source": views["b"], "fps": 20}
    recording = open_recording(_spec(views))
    assert [sorted(frame.images) for frame in recording.frames] == [
        ["a", "b"] if i in (0, 1, 3, 4, 5) else ["a"] for i in range(8)
    ]


@pytest.mark.parametrize("factor", [1e3, 1e6, 1e9])
def test_timestamps_in_other_units_and_of_some_cameras_are_errors(make: Any, tmp_path: Path, factor: Any) -> None:
    views = {name: str(make.video(tmp_path / f"{name}.mp4", 10)) for name in "ab"}
    np.save(tmp_path / "a.timestamps.npy", np.arange(10) / 30)
    with pytest.raises(BadInputError, match=r"timestamps for 'a' \(a\.timestamps\.npy\), but none for 'b'"):
        open_recording(_spec(views))
    np.save(tmp_path / "b.timestamps.npy", factor * np.arange(10) / 30)
    with pytest.raises(BadInputError, match=r"view 'b'.*expected timestamps in seconds.*looks like (milli|micro|nano)seconds"):
        open_recording(_spec(views))


def test_fewer_than_half_of_the_instants_complete_is_an_error(make: Any, tmp_path: Path) -> None:
    views = {"a": str(make.video(tmp_path / "a.mp4", 4)), "b": str(make.video(tmp_path / "b.mp4", 9))}
    with pytest.raises(BadInputError, match=r"only 4 of 9 instants have a picture of every view \('a' 4, 'b' 9\)"):
        open_recording(_spec(views))
    assert open_recording(_spec(views, stop=8)).n_complete == 4


def test_an_offset_and_pairing_by_place_exclude_each_other(make: Any, tmp_path: Path) -> None:
    a = {"source": str(make.video(tmp_path / "a.mp4", 4)), "time_offset_s": 0.1}
    with pytest.raises(BadInputError, match="take out time_offset_s of a"):
        open_recording(_spec({"a": a}, pairing="index"))


@pytest.mark.parametrize("names", [["a_1", "b_1"], ["a", "a b"], ["x1", "x01"], ["1"]])
def test_names_that_do_not_differ_in_numbers_have_none(names: Any) -> None:
    assert varying_numbers(names) is None


def test_the_number_that_varies() -> None:
    assert varying_numbers(["cam1_0007_640x480", "cam1_0008_640x480"]) == ((7,), (8,))
    assert varying_numbers(["s1_f9", "s2_f1", "s2_f9"]) == ((1, 9), (2, 1), (2, 9))


def test_pictures_of_mixed_sizes_keep_their_own(make: Any, tmp_path: Path) -> None:
    for name, size in (("a1", (64, 48)), ("a2", (80, 60)), ("a3", (64, 48))):
        write_picture(make.picture(3, *size), tmp_path / "a" / f"{name}.png")
    recording = open_recording(_spec({"a": {"source": str(tmp_path / "a"), "rotation": 90}}))
    assert [frame.images["a"].size_px for frame in recording.frames] == [(48, 64), (60, 80), (48, 64)]
    assert "pictures of 2 sizes (64 × 48, 80 × 60)" in recording.notes[0]
    assert [readable(picture).shape[:2] for _, picture in iter_images([frame.images["a"] for frame in recording.frames])] == [
        (64, 48),
        (80, 60),
        (64, 48),
    ]


def test_one_picture_and_raw_streams(make: Any, tmp_path: Path) -> None:
    recording = open_recording(_spec({"a": _folder(make, tmp_path / "a", ["only"]), "b": _folder(make, tmp_path / "b", ["one"])}))
    assert (len(recording.frames), recording.n_complete) == (1, 1)
    raw = {name: str(make.encoded(tmp_path / f"{name}.h264", "libx264", 6)) for name in "ab"}
    recording = open_recording(_spec(raw))
    assert (_pairs(recording), recording.fps) == ([{"a": i, "b": i} for i in range(6)], None)
    assert "do not say which belong together; paired by their place" in recording.notes[0]
    stated = {name: {"source": source, "fps": 50} for name, source in raw.items()}
    assert open_recording(_spec(stated)).fps == 50


def test_pages_of_a_tiff_are_frames(make: Any, tmp_path: Path) -> None:
    cv2.imwritemulti(str(tmp_path / "a.tif"), [make.picture(i) for i in range(5)])
    recording = open_recording(_spec({"a": str(tmp_path / "a.tif")}))
    assert [make.number(picture) for _, picture in iter_images([frame.images["a"] for frame in recording.frames])] == list(
        range(5)
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.tif").rename(tmp_path / "folder" / "a.tif")
    write_picture(make.picture(1), tmp_path / "folder" / "b.png")
    with pytest.raises(UnreadableImageError, match=r"a\.tif: holds 5 pages"):
        open_recording(_spec({"a": str(tmp_path / "folder")}))


def test_the_largest_size_is_that_of_the_settings(make: Any, tmp_path: Path) -> None:
    views = {"a": str(make.video(tmp_path / "a.mp4", 2))}
    with pytest.raises(UnreadableImageError, match=r"raise cache\.max_megapixels"):
        open_recording(_spec(views), limits_of(Cache(max_megapixels=0.001)))

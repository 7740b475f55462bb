import numpy as np
import pytest

from label_config.spec import Recording as RecordingSpec
from label_config.values import BadInputError, FrameKey
from ml_backend.recordings.extract import write_picture
from ml_backend.recordings.reading import iter_images
from ml_backend.recordings.recording import open_recording
from ml_backend.recordings.timing import match_frames, reference_view


def _spec(views, **more):
    return RecordingSpec.model_validate({"sequence": "trial1", "views": views, **more})


def test_equal_videos_pair_by_index(make, tmp_path):
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


def test_unequal_lengths_leave_views_out(make, tmp_path):
    views = {"a": str(make.video(tmp_path / "a.mp4", 6)), "b": str(make.video(tmp_path / "b.mp4", 9))}
    recording = open_recording(_spec(views))
    assert [sorted(frame.images) for frame in recording.frames] == [["a", "b"]] * 6 + [["b"]] * 3
    assert recording.notes == ("recording 'trial1': view 'a' has no picture at 3 of 9 instants (those of 'b')",)


def test_dropped_frames_leave_holes_not_shifts(make, tmp_path):
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


def test_time_offset_shifts_a_camera(make, tmp_path):
    a, b = (str(make.video(tmp_path / f"{name}.mp4", 10, fps=20)) for name in "ab")
    recording = open_recording(_spec({"a": a, "b": {"source": b, "time_offset_s": 0.15}}))  # b started three frames later
    matched = {frame.key.index: frame.images["b"].frame_index for frame in recording.frames if "b" in frame.images}
    assert matched == {i: i - 3 for i in range(3, 10)}
    assert recording.frames[5].images["b"].time_s == pytest.approx(0.1)  # its own clock


def test_cameras_of_different_rates(make, tmp_path):
    views = {"fast": str(make.video(tmp_path / "f.mp4", 50, fps=100)), "slow": str(make.video(tmp_path / "s.mp4", 10, fps=20))}
    recording = open_recording(_spec(views))
    assert len(recording.frames) == 10
    assert [frame.images["fast"].frame_index for frame in recording.frames] == [5 * i for i in range(10)]


def test_mirror_rig_and_picture_folders(make, tmp_path):
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
    assert make.number(pictures[0]) == make.number(pictures[1][:, ::-1]) == 2


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0, 1, 2], "expected 4 timestamps, one per frame, got 3"),
        ([0, 1, 1, 2], "increase strictly"),
        ([0, 1, np.nan, 2], "increase strictly"),
    ],
)
def test_timestamps_that_do_not_fit(make, tmp_path, times, message):
    video = make.video(tmp_path / "a.mp4", 4)
    np.save(tmp_path / "a.timestamps.npy", np.array(times, dtype=float))
    with pytest.raises(BadInputError, match=message):
        open_recording(_spec({"a": str(video)}))
    (tmp_path / "a.timestamps.npy").unlink()
    (tmp_path / "a.timestamps.csv").write_text("time\n0\n")
    with pytest.raises(BadInputError, match=r"a\.timestamps\.csv: expected one time"):
        open_recording(_spec({"a": str(video)}))


def test_empty_range_is_an_error(make, tmp_path):
    with pytest.raises(BadInputError, match="no frame between start 50 and stop None; it has 4"):
        open_recording(_spec({"a": str(make.video(tmp_path / "a.mp4", 4))}, start=50))


def test_match_frames_closed_form():
    instants = np.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(match_frames(instants, np.array([0.1, 1.2, 2.9]), 0.3), [0, 1, -1, 2])
    np.testing.assert_array_equal(match_frames(instants, np.array([]), 0.3), [-1] * 4)
    np.testing.assert_array_equal(match_frames(instants, np.array([1.5]), 0.5), [-1, 0, 0, -1])


def test_reference_is_the_slowest_then_the_fullest():
    times = {"a": np.arange(20) / 60, "b": np.delete(np.arange(10) / 30, 4), "c": np.arange(10) / 30.001, "one": np.zeros(1)}
    assert reference_view(times) == "c"

"""Frames by number, whatever the container, the codec, and the damage."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from ml_backend.recordings.containers import look
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS
from ml_backend.recordings.sources import probe
from ml_backend.recordings.videos import read_video

N = 40
#: (suffix, codec, options): with and without frames that are stored out of order, and streams without any times.
KINDS = [
    ("mp4", "libx264", {"bf": "2"}),
    ("mp4", "libx264", {"bf": "0"}),
    ("ts", "libx264", {}),
    ("h264", "libx264", {"bf": "2"}),
    ("mkv", "libx265", {"x265-params": "log-level=none"}),
    ("avi", "mpeg4", {"bf": "2"}),
    ("mp4", "mpeg4", {}),
    ("mpg", "mpeg2video", {"bf": "2"}),
    ("webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("webm", "libvpx-vp9", {}),
    ("mp4", "libsvtav1", {"preset": "10", "crf": "15"}),
    ("avi", "mjpeg", {}),
    ("mjpeg", "mjpeg", {}),
    ("mkv", "ffv1", {}),
    ("wmv", "wmv2", {}),
]
IDS = [f"{suffix}-{codec}-{options.get('bf', '')}" for suffix, codec, options in KINDS]


@pytest.fixture(scope="module", params=KINDS, ids=IDS)
def video(request: pytest.FixtureRequest, make: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    suffix, codec, options = request.param
    return str(make.encoded(tmp_path_factory.mktemp("video") / f"a.{suffix}", codec, N, **options))


def test_a_seek_gives_the_bytes_of_decoding_from_the_start(make: Any, video: Any) -> None:
    with av.open(video) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [make.number(picture) for picture in expected] == list(range(N)) == list(range(probe(video).n_frames))
    for wanted in ([39], [0], [20], [12, 13, 14], [1, 25, 38], list(range(N))):
        found = dict(read_video(video, wanted))
        assert list(found) == wanted
        for i in wanted:
            np.testing.assert_array_equal(found[i], expected[i])


OPEN = [
    ("mkv", "libx264", {"bf": "2", "x264-params": "open-gop=1:scenecut=0"}),
    ("mkv", "libx264", {"bf": "0", "x264-params": "intra-refresh=1"}),
    ("mp4", "libx265", {"x265-params": "log-level=none:open-gop=1"}),
]


@pytest.mark.parametrize(("suffix", "codec", "options"), KINDS + OPEN, ids=[*IDS, "open", "refresh", "open-h265"])
def test_far_seeks_in_long_videos(make: Any, tmp_path: Path, suffix: Any, codec: Any, options: Any) -> None:
    video = str(make.encoded(tmp_path / f"a.{suffix}", codec, 160, size=(64, 48), **options))
    with av.open(video) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    for wanted in ([150], [95, 96, 97], [0, 159], [3, 74, 75, 149]):
        for i, picture in read_video(video, wanted):
            np.testing.assert_array_equal(picture, expected[i])


def test_times_are_the_containers(make: Any, video: Any) -> None:
    info = probe(video)
    raw = video.endswith(("h264", "mjpeg"))
    assert (info.times_s is None, info.fps is None) == (raw, raw)
    times = np.arange(N) / 30 if info.times_s is None else info.times_s
    np.testing.assert_allclose(times, np.arange(N) / 30, atol=0.001)


#: FFmpeg reports no damage within VP8, FFV1 and WMV; zeros in transport streams hit the container, which then loses a frame.
NOTICED = [kind for kind in KINDS if kind[1] not in ("libvpx", "ffv1", "wmv2") and kind[0] not in ("ts", "mpg")]


@pytest.mark.parametrize(
    ("suffix", "codec", "options"), NOTICED, ids=[i for i, k in zip(IDS, KINDS, strict=True) if k in NOTICED]
)
def test_a_damaged_packet_is_the_error_of_its_frame_and_of_changes_of_it(
    make: Any, tmp_path: Path, suffix: Any, codec: Any, options: Any
) -> None:
    path = make.encoded(tmp_path / f"a.{suffix}", codec, N, **options)
    whole = dict(read_video(str(path), range(N)))
    packet = 17
    hit = int(np.flatnonzero(look(str(path), DEFAULT_LIMITS).packet == packet)[0])
    make.damage(path, packet)
    assert probe(path).n_frames == N
    after = dict(read_video(str(path), range(N)))
    failed = [i for i in range(N) if isinstance(after[i], UnreadableImageError)]
    assert hit in failed
    assert f"a.{suffix}, frame {hit}: cannot be decoded" in str(after[hit])
    assert all(12 <= i <= 36 for i in failed)  # key frames are at most 12 apart
    assert codec != "mjpeg" or failed == [hit]
    for i in set(range(N)) - set(failed):
        np.testing.assert_array_equal(after[i], whole[i])
    for i in (0, hit - 1, hit, hit + 1, hit + 2, N - 1):  # whatever else was asked for
        ((_, alone),) = read_video(str(path), [i])
        assert str(alone) == str(after[i])


def test_a_damaged_frame_that_no_other_needs_costs_only_itself(make: Any, tmp_path: Path) -> None:
    path = make.encoded(tmp_path / "a.mp4", "libx264", N, bf="2")
    contents = look(str(path), DEFAULT_LIMITS)
    packet = int(np.flatnonzero(~contents.reference)[5])
    make.damage(path, packet)
    failed = [i for i, picture in read_video(str(path), range(N)) if isinstance(picture, UnreadableImageError)]
    assert failed == [contents.frame_of[int(contents.stamps[packet])]]


def test_what_depends_on_a_damaged_frame_says_so(make: Any, tmp_path: Path) -> None:
    path = make.damage(make.encoded(tmp_path / "a.mp4", "libx264", 24, bf="0"), 14)
    found = dict(read_video(str(path), [13, 14, 15, 23]))
    assert make.number(found[13]) == 13
    assert "frame 14: cannot be decoded: its data are damaged" in str(found[14])
    assert "frame 15: cannot be decoded: it is coded as a change of frame 14" in str(found[15])


def test_variable_rates_and_webm_without_duration(make: Any, tmp_path: Path) -> None:
    times = [0, 20, 70, 80, 200, 230, 500]
    info = probe(make.encoded(tmp_path / "a.mkv", "libx264", 7, times_ms=times, bf="0"))
    assert info.times_s is not None
    np.testing.assert_allclose(info.times_s, np.array(times) / 1000, atol=1e-6)
    # what a browser's MediaRecorder writes: no duration, no index
    live = make.encoded(tmp_path / "a.webm", "libvpx", 30, container="webm", live="1")
    assert (probe(live).n_frames, probe(live).size_px) == (30, (256, 192))
    ((_, picture),) = read_video(str(live), [29])
    assert make.number(picture) == 29


def test_edit_lists_hide_frames(make: Any, tmp_path: Path) -> None:
    """Frames before the edit are needed to decode and are not frames of the video."""
    whole = make.encoded(tmp_path / "whole.mp4", "libx264", 30, bf="0")
    cut = tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w", options={"movflags": "use_metadata_tags"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in (packet for packet in source.demux(source.streams.video[0]) if packet.size):
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts -= 5 * 512
            packet.dts -= 5 * 512
            packet.stream = stream
            target.mux(packet)
    numbers = [make.number(picture) for _, picture in read_video(str(cut), range(probe(cut).n_frames))]
    with av.open(str(cut)) as container:
        assert numbers == [make.number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert numbers[-1] == 29


@pytest.mark.parametrize("n_frames", [1, 2])
@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("avi", "mjpeg"), ("webm", "libvpx-vp9"), ("h264", "libx264")])
def test_very_short_videos(make: Any, tmp_path: Path, n_frames: Any, suffix: Any, codec: Any) -> None:
    path = make.encoded(tmp_path / f"a.{suffix}", codec, n_frames)
    assert probe(path).n_frames == n_frames
    assert [make.number(picture) for _, picture in read_video(str(path), range(n_frames))] == list(range(n_frames))


@pytest.mark.parametrize(
    ("tag", "words"), [(b"H264", r"none of its first 50 frames can be decoded \(codec h264"), (b"ZZZZ", "codec")]
)
def test_a_codec_that_opens_but_does_not_decode_is_named(make: Any, tmp_path: Path, tag: Any, words: Any) -> None:
    path = make.encoded(tmp_path / "a.avi", "mjpeg", 5)
    path.write_bytes(path.read_bytes().replace(b"MJPG", tag))
    with pytest.raises(UnreadableImageError, match=rf"a\.avi.*{words}"):
        probe(path)


def test_playlists_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "other.mp4").write_bytes(b"x")
    for text in ("#EXTM3U\n#EXTINF:1,\nother.mp4\n", "ffconcat version 1.0\nfile other.mp4\n"):
        (tmp_path / "a.mp4").write_text(text)
        with pytest.raises(UnreadableImageError, match=r"a\.mp4: cannot be opened as a video"):
            probe(tmp_path / "a.mp4")


@pytest.mark.data
def test_a_video_turned_by_its_container(data_folder: Any) -> None:
    video = str(data_folder / "foreign" / "traps" / "nasa_13013_rotated.mp4")
    info = probe(video)
    assert (info.size_px, info.n_frames) == ((270, 480), 17)
    assert info.times_s is not None
    np.testing.assert_allclose(info.times_s[:3], [0, 0.033367, 0.066733], atol=1e-6)
    with av.open(video) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    ((_, picture),) = read_video(video, [9])
    np.testing.assert_array_equal(picture, np.rot90(stored[9]))  # FFmpeg: 90 degrees counterclockwise

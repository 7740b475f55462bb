from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError, ImageRef
from ml_backend.recordings import reading
from ml_backend.recordings.extract import extract_frame, extract_frames, write_picture
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import Limits
from ml_backend.recordings.reading import iter_images, read_image
from ml_backend.recordings.sources import list_pictures, probe
from ml_backend.recordings.videos import Decoded, read_video

from .conftest import readable


def test_probe_video_and_folder(make: Any, tmp_path: Path) -> None:
    video = make.video(tmp_path / "a.mp4", 12, fps=25)
    info = probe(video)
    assert (info.n_frames, info.size_px, info.pictures) == (12, (64, 48), None)
    assert info.fps == pytest.approx(25, abs=0.01)
    for i in (10, 2, 1):
        write_picture(make.picture(i), tmp_path / "shots" / f"img{i}.png")
    (tmp_path / "shots" / "notes.txt").write_text("no picture")
    info = probe(tmp_path / "shots")
    assert (info.n_frames, info.size_px, info.fps) == (3, (64, 48), None)
    assert info.pictures is not None
    assert [name.rpartition("img")[2] for name in info.pictures] == ["1.png", "2.png", "10.png"]
    assert list_pictures(tmp_path / "shots" / "img?.png") == list(info.pictures[:2])


def test_probe_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match=r"empty: holds no picture"):
        probe(tmp_path / "empty")
    with pytest.raises(BadInputError, match=r"nowhere: no such file"):
        probe(tmp_path / "nowhere")
    with pytest.raises(UnreadableImageError, match=r"gone\.mp4: no such file"):
        probe(tmp_path / "gone.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(UnreadableImageError, match=r"bad\.mp4: cannot be opened as a video"):
        probe(tmp_path / "bad.mp4")


def test_video_frames_are_exact(make: Any, tmp_path: Path) -> None:
    """The frame number is drawn into every frame: any index, in any order, with gaps and repetitions."""
    video = str(make.video(tmp_path / "a.mp4", 130))
    wanted = [129, 0, 57, 58, 13, 57, 99]
    refs = [ImageRef(video, i) for i in wanted]
    pictures = dict(iter_images(refs))
    assert [make.number(pictures[position]) for position in range(len(wanted))] == wanted
    assert make.number(read_image(ImageRef(video, 77))) == 77


def test_each_source_is_decoded_once(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = str(make.video(tmp_path / "a.mp4", 20))
    opened: list[str] = []

    def noted(path: str, *more: Any) -> Iterator[tuple[int, Decoded]]:
        opened.append(path)
        return read_video(path, *more)

    monkeypatch.setattr(reading, "read_video", noted)
    refs = [ImageRef(video, i, crop=crop) for i in (9, 3) for crop in ((0, 0, 64, 20), (0, 20, 64, 28))]
    pictures = dict(iter_images(refs))
    assert opened == [video]
    assert [readable(pictures[i]).shape[0] for i in range(4)] == [20, 28, 20, 28]
    assert [make.number(pictures[i]) for i in range(4)] == [9, 9, 3, 3]


def test_no_picture_stops_the_others(make: Any, tmp_path: Path) -> None:
    video = str(make.video(tmp_path / "a.mp4", 5))
    good = tmp_path / "good.png"
    write_picture(make.picture(5), good)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(make.encode(make.picture(6))[:-40])
    refs = [
        ImageRef(video, 2), ImageRef(video, 5), ImageRef(str(cut)), ImageRef(str(good)), ImageRef(str(tmp_path / "gone.mp4"), 0),
        ImageRef(str(tmp_path / "gone.png")), ImageRef(video, 4), ImageRef("https://host/a.mp4", 1), ImageRef("https://host/a.png?sig=secret"),
        ImageRef(str(good), crop=(0, 0, 500, 5)), ImageRef("a\0b.png"), ImageRef(str(tmp_path)),
    ]  # fmt: skip
    results = dict(iter_images(refs))
    assert sorted(results) == list(range(len(refs)))
    failed = {i: str(result) for i, result in results.items() if isinstance(result, UnreadableImageError)}
    assert sorted(failed) == [1, 2, 4, 5, 7, 8, 9, 10, 11]
    assert "a.mp4, frame 5" in failed[1]
    assert "ends after 5 frames" in failed[1]
    assert "cut.jpg" in failed[2]
    assert "gone.png" in failed[5]
    assert "no fetcher" in failed[8]
    assert "secret" not in failed[8]
    assert [make.number(results[i]) for i in (0, 3, 6)] == [2, 5, 4]
    with pytest.raises(UnreadableImageError, match="frame 5"):
        read_image(refs[1])


def test_limits_hold_for_files_and_videos(make: Any, tmp_path: Path) -> None:
    video = make.video(tmp_path / "a.mp4", 2)
    with pytest.raises(UnreadableImageError, match=r"0\.001 megapixels, got 64 × 48"):
        read_image(ImageRef(str(video), 0), limits=Limits(max_pixels=1000))
    picture = tmp_path / "a.png"
    write_picture(make.picture(1), picture)
    with pytest.raises(UnreadableImageError, match="at most 50 bytes"):
        read_image(ImageRef(str(picture)), limits=Limits(max_bytes=50))


class _Memory:
    def __init__(self, held: dict[str, bytes]) -> None:
        self.held, self.forgotten = held, list[str]()

    def fetch(self, url: str) -> bytes:
        return self.held[url]

    def forget(self, url: str) -> None:
        self.forgotten.append(url)


def test_fetched_pictures_and_damaged_ones(make: Any) -> None:
    memory = _Memory({"http://ls/data/a.jpg": make.encode(make.picture(9)), "http://ls/data/b.jpg": b"<html>"})
    assert make.number(read_image(ImageRef("http://ls/data/a.jpg"), memory)) == 9
    with pytest.raises(UnreadableImageError, match=r"/data/b\.jpg"):
        read_image(ImageRef("http://ls/data/b.jpg"), memory)
    assert memory.forgotten == ["http://ls/data/b.jpg"]


def test_extracted_frame_is_the_view(make: Any, tmp_path: Path) -> None:
    video = str(make.video(tmp_path / "a.mp4", 40))
    ref = ImageRef(video, 33, crop=(0, 10, 64, 30), rotation=0)
    assert extract_frame(ref, tmp_path / "out" / "cam1" / "000033.jpg") == (64, 30)
    assert make.number(read_image(ImageRef(str(tmp_path / "out" / "cam1" / "000033.jpg")))) == 33
    extract_frame(ref, tmp_path / "out" / "x.png")
    np.testing.assert_array_equal(read_image(ImageRef(str(tmp_path / "out" / "x.png"))), read_image(ref))
    assert not list((tmp_path / "out").rglob("*.part"))
    with pytest.raises(BadInputError, match=r"\.jpg or \.png"):
        extract_frame(ref, tmp_path / "x.gif")


def test_many_frames_are_extracted_and_the_bad_ones_named(make: Any, tmp_path: Path) -> None:
    video = str(make.video(tmp_path / "a.mp4", 10))
    wanted = [(ImageRef(video, i), tmp_path / "out" / f"{i}.jpg") for i in (7, 12, 2)]
    failed = extract_frames(wanted)
    assert list(failed) == [tmp_path / "out" / "12.jpg"]
    assert "frame 12" in str(failed[tmp_path / "out" / "12.jpg"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["2.jpg", "7.jpg"]
    assert make.number(read_image(ImageRef(str(tmp_path / "out" / "7.jpg")))) == 7


def test_larger_pictures_are_reduced_where_their_size_is_known(make: Any, tmp_path: Path) -> None:
    video = str(make.video(tmp_path / "a.mp4", 3))
    height, width = read_image(ImageRef(video, 0)).shape[:2]
    sized, unsized = ImageRef(video, 1, size_px=(width, height)), ImageRef(video, 2)
    targets = {name: tmp_path / "out" / f"{name}.png" for name in ("small", "as it is", "unsized")}
    longest = max(width, height) // 2
    assert extract_frames([(sized, targets["small"]), (unsized, targets["unsized"])], longest_px=longest) == {}
    extract_frames([(sized, targets["as it is"])], longest_px=2 * longest)
    shapes = {name: read_image(ImageRef(str(path))).shape[:2] for name, path in targets.items()}
    assert shapes == {"small": (height // 2, width // 2), "as it is": (height, width), "unsized": (height, width)}


def test_a_failed_write_leaves_the_old_file(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    write_picture(make.picture(1), target)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_picture(make.picture(2), target)
    monkeypatch.undo()
    assert make.number(read_image(ImageRef(str(target)))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import Limits, browsers_show, decode_picture, header_size, upright_size

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_header_says_the_size(make: Any, suffix: Any) -> None:
    assert header_size(make.encode(PICTURE, suffix), "x") == (50, 30)


@pytest.mark.parametrize("quality", [100, 101])  # lossy VP8 and lossless VP8L
def test_both_webp_headers(quality: Any) -> None:
    data = cv2.imencode(".webp", PICTURE, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    assert data[12:16] == (b"VP8L" if quality > 100 else b"VP8 ")
    assert header_size(data, "x") == (50, 30)


def test_progressive_jpeg_and_restart_markers() -> None:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    data = cv2.imencode(".jpg", PICTURE, options)[1].tobytes()
    assert header_size(data, "x") == (50, 30)
    assert decode_picture(data, "x").shape == (30, 50, 3)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_pictures_come_back_as_rgb(make: Any, suffix: Any) -> None:
    np.testing.assert_array_equal(decode_picture(make.encode(PICTURE, suffix), "x"), PICTURE)


def test_grey_and_transparent_and_16_bit_become_rgb() -> None:
    for stored in (PICTURE[..., 0], np.dstack([PICTURE, PICTURE[..., 0]]), PICTURE.astype(np.uint16) * 257):
        decoded = decode_picture(cv2.imencode(".png", stored)[1].tobytes(), "x")
        assert decoded.shape == (30, 50, 3)
        assert decoded.dtype == np.uint8


def _png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_enormous_picture_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", never)
    with pytest.raises(UnreadableImageError, match=r"bomb\.png.*80 megapixels.*50000 × 50000"):
        decode_picture(_png_bomb(50_000, 50_000), "bomb.png")
    with pytest.raises(UnreadableImageError, match="0 × 5 pixels"):
        decode_picture(_png_bomb(0, 5), "x")
    with pytest.raises(UnreadableImageError, match="at most 10 bytes"):
        decode_picture(bytes(11), "x", Limits(max_bytes=10))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("keep", [0.05, 0.3, 0.7, 0.99])
def test_truncated_picture_is_refused(make: Any, suffix: Any, keep: Any) -> None:
    data = make.encode(PICTURE, suffix)
    with pytest.raises(UnreadableImageError, match=r"cam1/7.*cut off"):
        decode_picture(data[: int(keep * len(data)) - 3], "cam1/7")


def test_junk_and_damage(make: Any) -> None:
    for junk in (b"", b"<html>", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF1234WEBPVP8X", b"II*\0\xff\xff\xff\xff"):
        with pytest.raises(UnreadableImageError, match="junk"):
            decode_picture(junk, "junk")
    data = bytearray(make.encode(PICTURE, ".png"))
    data[60:-20] = bytes(len(data) - 80)
    with pytest.raises(UnreadableImageError):
        decode_picture(bytes(data), "x")


def test_random_damage_never_escapes(make: Any) -> None:
    """Whatever is done to the bytes: a picture of the header's size or UnreadableImageError, nothing else."""
    rng = np.random.default_rng(1)
    for suffix in (".jpg", ".png", ".webp", ".bmp", ".tiff"):
        good = make.encode(PICTURE, suffix)
        for _ in range(60):
            data = bytearray(good)
            for at in rng.integers(0, len(data), 4):
                data[at] = rng.integers(256)
            with contextlib.suppress(UnreadableImageError):
                assert decode_picture(bytes(data), "x", Limits(max_pixels=10**6)).ndim == 3


def test_exif_orientation_is_applied(make: Any) -> None:
    """Orientation 6 means: turn clockwise by 90° to see it upright; browsers do."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = make.encode(make.picture(3))
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    picture = decode_picture(turned, "x")
    assert picture.shape == (64, 48, 3)
    np.testing.assert_array_equal(picture, np.rot90(decode_picture(data, "x"), -1))


def _tiff(samples: Any) -> Any:
    return cv2.imencode(".tiff", samples)[1].tobytes()


def test_deep_samples_are_stretched_by_the_stated_rule() -> None:
    """Full scale is the smallest of 8, 10, 12, 14 and 16 bits that holds the largest sample."""
    ramp = np.linspace(0, 4095, 256).round().astype(np.uint16).reshape(16, 16)
    for encoded in (cv2.imencode(".png", ramp)[1].tobytes(), _tiff(ramp)):
        np.testing.assert_array_equal(decode_picture(encoded, "x")[..., 0], np.round(ramp * (255 / 4095)))
    full = (ramp.astype(np.uint32) * 16).astype(np.uint16)
    np.testing.assert_array_equal(decode_picture(_tiff(full), "x")[..., 1], np.round(full * (255 / 65535)))
    coloured = np.zeros((4, 4, 3), np.uint16)
    coloured[..., 2] = 1000  # red; OpenCV's order is blue, green, red
    np.testing.assert_array_equal(decode_picture(_tiff(coloured), "x")[0, 0], [round(1000 * 255 / 1023), 0, 0])


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([np.nan, 0.5, np.inf], [0, 128, 0]),
        ([7.0, 7.0, 7.0], [7, 7, 7]),
    ],
)
def test_floating_point_pictures(samples: Any, expected: Any) -> None:
    picture = decode_picture(_tiff(np.array([samples], np.float32)), "x")
    np.testing.assert_array_equal(picture[0, :, 0], expected)


def test_what_browsers_show(tmp_path: Path) -> None:
    deep = np.full((4, 4), 4000, np.uint16)
    for name, samples, shown in (
        ("a.tif", deep.astype(np.uint8), False),
        ("b.png", deep, False),
        ("c.png", deep.astype(np.uint8), True),
        ("d.jpg", deep.astype(np.uint8), True),
    ):
        cv2.imwrite(str(tmp_path / name), samples)
        assert browsers_show(tmp_path / name) == shown


@pytest.mark.data
def test_the_size_of_a_turned_photograph_is_that_of_the_decoded_one(data_folder: Any) -> None:
    path = data_folder / "foreign" / "traps" / "Portrait_6.jpg"
    assert upright_size(str(path)) == (1200, 1800)
    assert decode_picture(path.read_bytes(), "x").shape == (1800, 1200, 3)

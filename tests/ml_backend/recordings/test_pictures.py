import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest

from ml_backend.recordings.errors import UnreadableImageError
from ml_backend.recordings.pictures import Limits, decode_picture, header_size

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_header_says_the_size(make, suffix):
    assert header_size(make.encode(PICTURE, suffix), "x") == (50, 30)


@pytest.mark.parametrize("quality", [100, 101])  # lossy VP8 and lossless VP8L
def test_both_webp_headers(quality):
    data = cv2.imencode(".webp", PICTURE, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    assert data[12:16] == (b"VP8L" if quality > 100 else b"VP8 ")
    assert header_size(data, "x") == (50, 30)


def test_progressive_jpeg_and_restart_markers():
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    data = cv2.imencode(".jpg", PICTURE, options)[1].tobytes()
    assert header_size(data, "x") == (50, 30)
    assert decode_picture(data, "x").shape == (30, 50, 3)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_pictures_come_back_as_rgb(make, suffix):
    np.testing.assert_array_equal(decode_picture(make.encode(PICTURE, suffix), "x"), PICTURE)


def test_grey_and_transparent_and_16_bit_become_rgb():
    for stored in (PICTURE[..., 0], np.dstack([PICTURE, PICTURE[..., 0]]), PICTURE.astype(np.uint16) * 257):
        decoded = decode_picture(cv2.imencode(".png", stored)[1].tobytes(), "x")
        assert decoded.shape == (30, 50, 3)
        assert decoded.dtype == np.uint8


def _png_bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def test_enormous_picture_is_refused_before_it_is_decoded(monkeypatch):
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
def test_truncated_picture_is_refused(make, suffix, keep):
    data = make.encode(PICTURE, suffix)
    with pytest.raises(UnreadableImageError, match=r"cam1/7.*cut off"):
        decode_picture(data[: int(keep * len(data)) - 3], "cam1/7")


def test_junk_and_damage(make):
    for junk in (b"", b"<html>", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF1234WEBPVP8X", b"II*\0\xff\xff\xff\xff"):
        with pytest.raises(UnreadableImageError, match="junk"):
            decode_picture(junk, "junk")
    data = bytearray(make.encode(PICTURE, ".png"))
    data[60:-20] = bytes(len(data) - 80)
    with pytest.raises(UnreadableImageError):
        decode_picture(bytes(data), "x")


def test_random_damage_never_escapes(make):
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


def test_exif_orientation_is_applied(make):
    """Orientation 6 means: turn clockwise by 90° to see it upright; browsers do."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    data = make.encode(make.picture(3))
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    picture = decode_picture(turned, "x")
    assert picture.shape == (64, 48, 3)
    np.testing.assert_array_equal(picture, np.rot90(decode_picture(data, "x"), -1))

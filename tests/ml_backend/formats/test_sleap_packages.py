"""SLEAP's packages: label files that hold their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import sleap_io

from label_config.values import BadInputError, ByteArray, ImageRef
from ml_backend.formats.exporting import Export
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.names import LabelFormat
from ml_backend.formats.sleap import embedded_pictures, read_sleap, write_sleap
from tests.foreign.labels import FRAMES, HEIGHT, WIDTH, XY_PX, sleap_package


def decoded(png: bytes) -> ByteArray:
    return np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)


def test_pictures_come_out_of_a_package(tmp_path: Path) -> None:
    path = sleap_package(tmp_path, "left")
    (tmp_path / "left.mp4").unlink()
    found = read_sleap(path)
    assert {place.frame for place in found.embedded.values()} == set(FRAMES)
    assert {label.image.size_px for label in found.labels} == {(WIDTH, HEIGHT)}
    pictures = embedded_pictures(path)
    for label in found.labels:
        place = found.embedded[label.image.source, label.image.frame_index]
        # Grey frames, 60 brighter each; the video's coding loses a little.
        assert abs(decoded(pictures[place.video, place.frame]).mean() - 60 * place.frame) < 5


@pytest.mark.data
def test_a_package_that_sleap_wrote(data_folder: Path) -> None:
    path = data_folder / "foreign/sleap/minimal_instance.pkg.slp"
    found = read_sleap(path)
    assert list(found.embedded) == [(found.labels[0].image.source, 0)]
    assert decoded(embedded_pictures(path)[0, 0]).shape == (384, 384, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_package_is_written_for_sleap(channels: int, tmp_path: Path) -> None:
    """Colours included, by sleap-io's own reader and by ours."""
    picture = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)
    picture = np.repeat(picture, 3, axis=2) if channels == 1 else picture
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    label = LabelledImage(ImageRef(str(tmp_path / "a.png"), size_px=(WIDTH, HEIGHT)), XY_PX[0], np.ones(3, np.int64))
    labels = LabelSet(replace(read_sleap(sleap_package(tmp_path, "v")).skeleton, limbs=()), (label,))
    write_sleap(labels, tmp_path / "out.pkg.slp", embed=True)
    (tmp_path / "a.png").unlink()
    theirs = sleap_io.load_slp(str(tmp_path / "out.pkg.slp"))
    np.testing.assert_array_equal(np.broadcast_to(theirs[0].image, picture.shape), picture)
    np.testing.assert_allclose(theirs[0].instances[0].numpy(), XY_PX[0])
    ours = read_sleap(tmp_path / "out.pkg.slp")
    (place,) = ours.embedded.values()
    np.testing.assert_array_equal(decoded(embedded_pictures(tmp_path / "out.pkg.slp")[place.video, place.frame]), picture)


def test_an_export_called_as_a_package_is_one_file(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    label = LabelledImage(ImageRef(str(tmp_path / "a.png"), size_px=(WIDTH, HEIGHT)), XY_PX[0], np.ones(3, np.int64), "left")
    labels = LabelSet(read_sleap(sleap_package(tmp_path, "v")).skeleton, (label,))

    def copied(wanted: Sequence[tuple[ImageRef, Path]]) -> dict[Path, Exception]:
        for ref, path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(Path(ref.source).read_bytes())
        return {}

    Export(labels, LabelFormat.SLEAP, tmp_path / "out.pkg.slp", copied).write()
    theirs = sleap_io.load_slp(str(tmp_path / "out.pkg.slp"))
    assert theirs[0].image.mean() == 90
    assert theirs[0].instances[0].numpy()[0].tolist() == XY_PX[0, 0].tolist()


def test_a_damaged_picture_is_said(tmp_path: Path) -> None:
    path = sleap_package(tmp_path, "left")
    whole = path.read_bytes()
    at = whole.index(b"\x89PNG")
    path.write_bytes(whole[:at] + b"\0" * 64 + whole[at + 64 :])
    with pytest.raises(BadInputError, match=r"labels\.pkg\.slp: "):
        embedded_pictures(path)

"""Every public function of the heatmap room on no pictures, one picture, blank or infinite maps and other shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from label_config.values import BadInputError
from ml_backend.heatmaps.codecs import make_codec
from ml_backend.heatmaps.crops import CropTransform, box_around, padded_box
from ml_backend.heatmaps.peaks import find_peaks

SIZE = (8, 8)
#: codec → its parameters and the trailing shape of its output
CODECS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "msra": ({}, SIZE),
    "dark": ({}, SIZE),
    "udp": ({}, SIZE),
    "simcc": ({"size_hm": SIZE}, (32,)),
}
every_codec = pytest.mark.parametrize("name", CODECS)
POINT_MAPS = ["image_to_input", "input_to_image", "image_to_heatmap", "heatmap_to_image"]
CROP = CropTransform((0, 0, 10, 10), (8, 8), (4, 4))


@every_codec
@pytest.mark.parametrize(("n", "keypoints"), [(0, 3), (2, 0)])
def test_codecs_without_pictures_or_keypoints(name: str, n: int, keypoints: int) -> None:
    parameters, trailing = CODECS[name]
    codec = make_codec(name, **parameters)
    targets, weight = codec.encode(np.zeros((n, keypoints, 2)), SIZE)
    assert targets.shape == (n, keypoints, *trailing)
    assert weight.shape == (n, keypoints)
    xy, confidence = codec.decode(targets)
    assert xy.shape == (n, keypoints, 2)
    assert confidence.shape == (n, keypoints)


@every_codec
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_points_that_are_nowhere_are_not_taught(name: str, value: float) -> None:
    parameters, _ = CODECS[name]
    targets, weight = make_codec(name, **parameters).encode(np.full((1, 2, 2), value), SIZE)
    assert not targets.any()
    assert not weight.any()


@every_codec
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -1.0])
def test_maps_that_show_nothing_have_no_point(name: str, value: float) -> None:
    parameters, trailing = CODECS[name]
    xy, confidence = make_codec(name, **parameters).decode(np.full((1, 2, *trailing), value, dtype=np.float32))
    assert np.isnan(xy).all()
    assert (confidence == 0).all()


@every_codec
def test_copies_of_a_map_are_read_alike(name: str) -> None:
    parameters, _ = CODECS[name]
    codec = make_codec(name, **parameters)
    targets, _ = codec.encode(np.array([[[3.25, 4.5]]]), SIZE)
    alone, _ = codec.decode(targets)
    copies, _ = codec.decode(np.repeat(targets, 3, axis=0))
    np.testing.assert_array_equal(copies, np.repeat(alone, 3, axis=0))
    assert np.linalg.norm(alone[0, 0] - (3.25, 4.5)) <= 0.75


@every_codec
def test_codecs_refuse_other_shapes(name: str) -> None:
    parameters, trailing = CODECS[name]
    codec = make_codec(name, **parameters)
    for call in (
        lambda: codec.encode(np.zeros((2, 2)), SIZE),
        lambda: codec.encode(np.zeros((1, 2, 2)), SIZE, np.ones((1, 3))),
        lambda: codec.encode(np.zeros((1, 2, 2)), (0, 8)),
        lambda: codec.decode(np.zeros((2, 2), dtype=np.float32)),
        lambda: codec.decode(np.zeros((1, 2, *(0 for _ in trailing)), dtype=np.float32)),
    ):
        with pytest.raises(BadInputError, match=r"expected|was made for"):
            call()


def test_peaks_at_the_edges() -> None:
    xy, value = find_peaks(np.zeros((0, 3, 8, 8), dtype=np.float32), keep=4)
    assert xy.shape == (0, 3, 4, 2)
    assert value.shape == (0, 3, 4)
    for blank in (math.nan, math.inf, -math.inf, 0.0):
        assert np.isnan(find_peaks(np.full((2, 8, 8), blank, dtype=np.float32))[0]).all()
    one = np.zeros((13, 13), dtype=np.float32)
    one[6, 6] = 1.0
    alone, copies = find_peaks(one)[0], find_peaks(np.stack([one] * 3))[0]
    np.testing.assert_array_equal(alone[0], (6, 6))
    np.testing.assert_array_equal(copies, np.stack([alone] * 3))
    for shape in ((5,), (2, 0, 4), (2, 4, 0)):
        with pytest.raises(BadInputError, match="h, w > 0"):
            find_peaks(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("method", POINT_MAPS)
def test_point_maps_at_the_edges(method: str) -> None:
    call = getattr(CROP, method)
    assert call(np.zeros((0, 4, 2))).shape == (0, 4, 2)
    for value in (math.nan, math.inf, -math.inf):
        assert np.isnan(call(np.full((2, 2), value))).all()
    with pytest.raises(BadInputError, match=r"expected points of shape \(..., 2\)"):
        call(np.zeros((2, 3)))


def test_boxes_at_the_edges() -> None:
    assert box_around(np.zeros((0, 2))) is None
    assert box_around(np.full((3, 2), np.inf)) is None
    assert box_around(np.array([[4.0, 5.0]])) == (4.0, 5.0, 1.0, 1.0)
    with pytest.raises(BadInputError, match="shape"):
        box_around(np.zeros(3))


@pytest.mark.parametrize(
    "call",
    [
        lambda: padded_box((0, 0, 0, 1), 1.0),
        lambda: padded_box((0, 0, math.nan, 1), 1.0),
        lambda: padded_box((0, 0, 1), 1.0),  # type: ignore[arg-type]
        lambda: padded_box((0, 0, 1, 1), 0.0),
        lambda: padded_box((0, 0, 1, 1), 1.0, math.inf),
        lambda: CropTransform((0, 0, 10, 10), (8, 8), (4, 4), rotation_deg=math.nan),
        lambda: CropTransform((0, 0, 10, 10), (8, 8), (4, 4), shift=(0.0, math.inf)),
        lambda: CropTransform((0, 0, 10, 10), (8, 8), (4, 4), scale=0.0),
        lambda: CropTransform((0, 0, 10, 10), (8, 0), (4, 4)),
        lambda: CROP.extract(np.zeros((0, 5, 3), dtype=np.uint8)),
        lambda: CROP.extract(np.zeros((5, 5, 3))),  # type: ignore[arg-type]
        lambda: CROP.extract(np.zeros((5, 5), dtype=np.uint8)),
    ],
)
def test_impossible_crops_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(BadInputError, match="crop"):
        call()


def test_a_crop_beside_the_picture_is_black() -> None:
    beside = CropTransform((1e6, 1e6, 10, 10), (8, 8), (4, 4))
    assert not beside.extract(np.full((5, 5, 3), 255, dtype=np.uint8)).any()

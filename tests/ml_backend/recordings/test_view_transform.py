from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from label_config.values import ImageRef
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.transform import ViewTransform

WIDTH, HEIGHT = 31, 17


def to_view(picture: Any, ref: Any) -> Any:
    return ViewTransform.of(ref, (picture.shape[1], picture.shape[0])).picture(picture)


PICTURE = np.arange(WIDTH * HEIGHT * 3, dtype=np.uint32).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)


def test_rotation_is_clockwise() -> None:
    marked = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    marked[0, 0] = 255  # top left goes to top right
    turned = to_view(marked, ImageRef("a", rotation=90))
    assert turned.shape == (WIDTH, HEIGHT, 3)
    assert turned[0, HEIGHT - 1, 0] == 255


def test_two_crops_of_one_picture() -> None:
    upper = to_view(PICTURE, ImageRef("a", crop=(0, 0, WIDTH, 9)))
    lower = to_view(PICTURE, ImageRef("a", crop=(0, 9, WIDTH, HEIGHT - 9), flip=True))
    np.testing.assert_array_equal(upper, PICTURE[:9])
    np.testing.assert_array_equal(lower, PICTURE[9:, ::-1])


@pytest.mark.parametrize("crop", [(-1, 0, 5, 5), (0, 0, 32, 5), (0, 0, 5, 18), (3, 3, 0, 5), (30, 0, 2, 2)])
def test_crop_outside_is_an_error(crop: Any) -> None:
    with pytest.raises(UnreadableImageError, match="does not lie inside the 31 × 17 picture"):
        to_view(PICTURE, ImageRef("a", crop=crop))
    with pytest.raises(UnreadableImageError, match="does not lie inside"):
        ViewTransform.of(ImageRef("a", crop=crop), (WIDTH, HEIGHT))


def test_odd_rotation_is_an_error() -> None:
    with pytest.raises(UnreadableImageError, match="got 45"):
        to_view(PICTURE, ImageRef("a", rotation=45))


def test_the_crop_is_in_pixels_of_the_source_whatever_the_rotation() -> None:
    turned = to_view(PICTURE, ImageRef("a", crop=(20, 3, 10, 5), rotation=90, flip=True))
    np.testing.assert_array_equal(turned, np.rot90(PICTURE[3:8, 20:30], -1)[:, ::-1])


@settings(deadline=None, max_examples=60)
@given(
    rotation=st.sampled_from([0, 90, 180, 270]),
    flip=st.booleans(),
    cropped=st.booleans(),
    x=st.integers(0, WIDTH - 1),
    y=st.integers(0, HEIGHT - 1),
)
def test_points_go_where_their_pixels_go(rotation: Any, flip: Any, cropped: Any, x: Any, y: Any) -> None:
    ref = ImageRef("a", rotation=rotation, flip=flip, crop=(2, 3, 12, 11) if cropped else None)
    marked = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    marked[y, x] = 255
    view = to_view(marked, ref)
    transform = ViewTransform.of(ref, (WIDTH, HEIGHT))
    assert transform.size_px == (view.shape[1], view.shape[0])
    assert ViewTransform.of_view(replace(ref, size_px=transform.size_px)) == transform
    there = transform.to_view(np.array([x, y], dtype=float))
    inside = 0 <= there[0] < view.shape[1] and 0 <= there[1] < view.shape[0]
    assert inside == bool(view.any())
    assert not inside or view[int(there[1]), int(there[0]), 0] == 255
    np.testing.assert_array_equal(transform.to_source(there), [x, y])

"""What is done to the picture of a view is done to its camera: points land on the pixels that show them."""

from typing import Any, Literal

import numpy as np
import pytest

from label_config.values import BadInputError, ImageRef
from ml_backend.geometry.cameras import Camera
from ml_backend.geometry.views import camera_of_view
from ml_backend.recordings import ViewTransform

SIZE = (640, 480)
LENSES: dict[str, tuple[Literal["pinhole", "fisheye"], list[float]]] = {
    "none": ("pinhole", []),
    "brown": ("pinhole", [-0.2, 0.05, 0.003, -0.002, 0.01]),
    "prism": ("pinhole", [-0.2, 0.05, 0.003, -0.002, 0.01, 0.02, 0.0, 0.001, 0.004, -0.001, -0.003, 0.002]),
    "fisheye": ("fisheye", [0.02, -0.01, 0.003, 0.001]),
}


def camera(lens: Any = "none", size_px: Any = SIZE, skew: Any = 0.0) -> Any:
    angle = 0.3
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    model, dist = LENSES[lens]
    K = [[500.0, skew, 310.0], [0, 520.0, 250.0], [0, 0, 1]]
    return Camera("a", np.array(K), R, np.array([0.1, -0.2, 3.0]), np.array(dist), model, size_px)


@pytest.mark.parametrize("lens", LENSES)
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (30, 50, 400, 300)])
def test_points_are_projected_where_the_transform_takes_them(lens: Any, rotation: Any, crop: Any) -> None:
    transform = ViewTransform.of(ImageRef("a", crop=crop, rotation=rotation), SIZE)
    own, _ = camera_of_view(camera(lens), transform, SIZE, "source")
    points = np.random.default_rng(0).uniform(-0.8, 0.8, (50, 3))
    assert own.size_px == transform.size_px
    np.testing.assert_allclose(own.project(points), transform.to_view(camera(lens).project(points)), atol=1e-9)
    np.testing.assert_allclose(own.centre, camera(lens).centre, atol=1e-12)
    seen = own.project(points)
    np.testing.assert_allclose(own.distort(own.undistort(seen)), seen, atol=1e-6)


def test_four_quarter_turns_are_none() -> None:
    assert camera("prism").rotated(4) == camera("prism")
    assert camera("prism").rotated(1).rotated(3) == camera("prism")


def test_what_cannot_be_turned_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"camera 'a'.*skewed axes"):
        camera(skew=2.0).rotated(1)


def test_the_size_says_which_pictures_were_calibrated() -> None:
    transform = ViewTransform.of(ImageRef("a", crop=(30, 50, 400, 300)), SIZE)
    of_source, notes = camera_of_view(camera(), transform, SIZE, None)
    assert of_source == camera().cropped(30, 50, 400, 300)
    assert "that of the source picture" in notes[0]
    of_view, notes = camera_of_view(camera(size_px=(400, 300)), transform, SIZE, None)
    assert of_view == camera(size_px=(400, 300))
    assert "after crop and rotation" in notes[0]
    plain, notes = camera_of_view(camera(), ViewTransform.of(ImageRef("a"), SIZE), SIZE, None)
    assert (plain, notes) == (camera(), [])


def test_a_calibration_of_another_size_is_fitted_before_the_crop() -> None:
    transform = ViewTransform.of(ImageRef("a", crop=(15, 25, 200, 150)), (320, 240))
    fitted, notes = camera_of_view(camera(), transform, (320, 240), "source")
    assert fitted == camera().resized((320, 240)).cropped(15, 25, 200, 150)
    assert "scaled by 0.5" in notes[0]


def test_a_mirrored_view_needs_a_statement() -> None:
    transform = ViewTransform.of(ImageRef("a", flip=True), SIZE)
    with pytest.raises(BadInputError, match=r"'a' is mirrored.*'calibrated_on: view'.*'calibrated_on: source'"):
        camera_of_view(camera(), transform, SIZE, None)
    with pytest.raises(BadInputError, match="no camera takes mirrored pictures"):
        camera_of_view(camera(), transform, SIZE, "source")
    assert camera_of_view(camera(), transform, SIZE, "view") == (camera(), [])

from typing import Any

import pytest

from label_config.values import BadInputError
from ml_backend.recordings.sizes import reconcile_size


def test_equal_sizes_say_nothing() -> None:
    fix = reconcile_size("a", (640, 480), (640, 480))
    assert (fix.keep_px, fix.size_px, fix.warning) == ((640, 480), (640, 480), None)


def test_codec_padding_keeps_the_left_upper_pixels_in_place() -> None:
    fix = reconcile_size("cam01", (1080, 1920), (1088, 1920))
    assert (fix.keep_px, fix.size_px) == ((1080, 1920), (1080, 1920))
    assert "'cam01'" in (fix.warning or "")
    assert "8 px cut from the right" in (fix.warning or "")
    fix = reconcile_size("cam01", (1920, 1088), (1920, 1080))
    assert fix.keep_px == fix.size_px == (1920, 1088)
    assert "8 px added to the bottom" in (fix.warning or "")


def test_scaled_pictures() -> None:
    fix = reconcile_size("a", (960, 540), (1920, 1080))
    assert (fix.keep_px, fix.size_px) == ((1920, 1080), (960, 540))
    assert "scaled by 0.5" in (fix.warning or "")


@pytest.mark.parametrize(("decoded", "hint"), [((480, 640), "rotation: 90"), ((640, 400), "crop")])
def test_sizes_that_cannot_be_explained(decoded: Any, hint: Any) -> None:
    with pytest.raises(BadInputError, match=hint):
        reconcile_size("a", decoded, (640, 480))

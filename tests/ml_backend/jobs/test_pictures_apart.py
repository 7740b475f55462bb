"""Workers decode other people's pictures in another process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from label_config.values import ImageRef
from ml_backend.project.frame_pictures import Pictures
from ml_backend.store.workspace import Workspace


def test_no_picture_of_others_is_decoded_in_the_worker_itself(
    make_workspace: Callable[..., Workspace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1])

    def crash(*_: object) -> None:
        raise AssertionError("decoded in this process")

    monkeypatch.setattr(cv2, "imdecode", crash)
    ref = ImageRef(str(tmp_path / "a.png"))
    with closing(Pictures(make_workspace())) as pictures:
        np.testing.assert_array_equal(pictures.read(ref), pixels)
        ((_, picture),) = pictures.stream([ref])
        np.testing.assert_array_equal(picture, pixels)

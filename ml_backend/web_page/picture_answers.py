"""Pictures for the page: of the project's frames alone, by the project's own bounded reader, at the size that is shown."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from label_config.values import ByteArray
from ml_backend.project.frame_pictures import Pictures
from ml_backend.recordings import UnreadableImageError
from ml_backend.store import page_rows
from ml_backend.store.workspace import Workspace

#: Heights in pixels that are handed out; the largest is for the viewer.
HEIGHTS = (120, 900)
#: Pictures that are read at once: a page asks for many, and the other threads answer Label Studio.
AT_ONCE = 3
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 85]


class PictureAnswers:
    """Reads what the page asks for."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._pictures: Pictures | None = None
        self._opening = threading.Lock()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    def jpeg(self, frame_id: int, position: int, height: int | None) -> bytes | None:
        """A JPEG of one camera, at most ``height`` pixels high (None = as it is).

        None where there is no such picture, or it cannot be read.
        """
        row, views = page_rows.frame(self._workspace.store, frame_id), self._workspace.views
        if row is None or not 0 <= position < len(views) or views[position] not in row.images:
            return None
        with self._turns:
            try:
                picture = self._reader().read(row.images[views[position]])
            except UnreadableImageError:
                return None
        return _encoded(picture, picture.shape[0] if height is None else min(height, picture.shape[0]))

    def _reader(self) -> Pictures:
        with self._opening:
            if self._pictures is None:
                self._pictures = Pictures(self._workspace)
            return self._pictures


def _encoded(picture: ByteArray, height: int) -> bytes | None:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), _QUALITY)
    return data.tobytes() if done else None

"""Sizes of pictures that nobody has opened yet, for annotations that only say percents."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from ml_backend.project.frame_pictures import Pictures
from ml_backend.recordings import UnreadableImageError
from ml_backend.store import frames, presence
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

#: One pull measures for at most this long; the next one goes on.
BUDGET_S = 20.0


def measure_pictures(workspace: Workspace, frame_ids: Sequence[int]) -> set[int]:
    """Open the pictures of these frames whose size is not known; returns the frames all of whose sizes are.

    A picture that cannot be read is said, and tried again another time.
    """
    deadline, sized = time.monotonic() + BUDGET_S, set()
    pictures = Pictures(workspace)
    try:
        for row in frames.list_frames(workspace.store, list(frame_ids)):
            images = dict(row.images)
            for view, ref in row.images.items():
                if ref.size_px is None and time.monotonic() < deadline:
                    try:
                        height, width = pictures.read(ref).shape[:2]
                    except UnreadableImageError as error:
                        text = f"{row.key}, view {view}: labels without the size of the picture wait for it: {error}"
                        key = f"unsized {row.key} {view}"[:200]
                        presence.tell(workspace.store, text, level=EventLevel.WARNING, key=key)
                    else:
                        images[view] = replace(ref, size_px=(width, height))
            if images != row.images:
                frames.replace_images(workspace.store, row.id, images)
            if all(ref.size_px is not None for ref in images.values()):
                sized.add(row.id)
    finally:
        pictures.close()
    return sized

"""What became of tries to read pictures: marks per view, and one event instead of one per picture."""

from __future__ import annotations

from collections import defaultdict

from ml_backend.recordings import UnavailableImageError, UnreadableImageError
from ml_backend.store import frames as frame_rows
from ml_backend.store import presence
from ml_backend.store.frames import FrameRow
from ml_backend.store.picture_marks import PictureMark, mark
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

#: Event keys by what is wrong.
_UNAVAILABLE, _DAMAGED = "pictures unavailable", "pictures damaged"


class Tries:
    """Collects what happened to pictures; ``save`` writes it down.

    A damaged picture takes its view out until the file or the address changes, or until it is tried again a good while later.
    One that could not be had stays in the pool and is tried again soon, each time after a longer wait.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._marks: dict[int, dict[str, PictureMark | None]] = defaultdict(dict)
        self._problems: dict[str, list[str]] = {_UNAVAILABLE: [], _DAMAGED: []}
        self._worked = 0

    def failed(self, frame: FrameRow, view: str, error: UnreadableImageError) -> None:
        """The picture of a view could not be used."""
        damaged = not isinstance(error, UnavailableImageError)
        self._marks[frame.id][view] = mark(frame.images[view], str(error), damaged=damaged, before=frame.marks.get(view))
        self._problems[_DAMAGED if damaged else _UNAVAILABLE].append(f"{frame.key}, view {view}: {error}")

    def worked(self, frame: FrameRow, view: str) -> None:
        """The picture was read; whatever was wrong with it is over."""
        self._worked += 1
        if view in frame.marks:
            self._marks[frame.id][view] = None

    def save(self) -> None:
        """Write down the marks, and say to people what is wrong."""
        store = self._workspace.store
        if self._marks:
            frame_rows.save_marks(store, self._marks)
        unavailable, damaged = self._problems[_UNAVAILABLE], self._problems[_DAMAGED]
        if unavailable:
            text = f"{_pictures(len(unavailable))} could not be had and will be tried again; the first is {unavailable[0]}"
            presence.tell(store, text, level=EventLevel.WARNING, key=_UNAVAILABLE)
        elif self._worked:
            presence.settle(store, _UNAVAILABLE)
        if damaged:
            text = f"{_pictures(len(damaged))} cannot be decoded and are left out until replaced; the first is {damaged[0]}"
            presence.tell(store, text, level=EventLevel.WARNING, key=_DAMAGED)


def _pictures(count: int) -> str:
    return "1 picture" if count == 1 else f"{count} pictures"

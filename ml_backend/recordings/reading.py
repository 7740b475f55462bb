"""References → pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Protocol

from label_config.values import ByteArray, ImageRef
from ml_backend.recordings.addresses import is_url, shown
from ml_backend.recordings.decoding import Decode
from ml_backend.recordings.picture_errors import UnreadableImageError
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits, decode_picture
from ml_backend.recordings.sources import read_picture
from ml_backend.recordings.stacks import is_stack, read_stack
from ml_backend.recordings.transform import ViewTransform
from ml_backend.recordings.videos import read_video


class Fetches(Protocol):
    """Gets the bytes behind an address; see ``fetch.Fetcher``."""

    def fetch(self, url: str) -> bytes: ...

    def forget(self, url: str) -> None: ...


def read_image(
    ref: ImageRef, fetcher: Fetches | None = None, limits: Limits = DEFAULT_LIMITS, decode: Decode = decode_picture
) -> ByteArray:
    """(h, w, 3) RGB picture of the view.

    A frame of a video is found by decoding from the start: use :func:`iter_images` for more than one.
    Raises UnreadableImageError naming the source and frame.
    """
    ((_, picture),) = iter_images([ref], fetcher, limits, decode)
    if isinstance(picture, UnreadableImageError):
        raise picture
    return picture


def iter_images(
    refs: Sequence[ImageRef],
    fetcher: Fetches | None = None,
    limits: Limits = DEFAULT_LIMITS,
    decode: Decode = decode_picture,
) -> Iterator[tuple[int, ByteArray | UnreadableImageError]]:
    """All pictures, each source opened once and read forwards once.

    Yields (position in ``refs``, (h, w, 3) RGB of the view, or the error that this one picture has), grouped by source and
    in increasing frame number; views that are parts of one picture share its decoding.

    decode  turns pictures, other than frames of videos, into pixels
    """
    by_source: dict[str, dict[int | None, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, ref in enumerate(refs):
        by_source[ref.source][ref.frame_index].append(position)
    for source, frames in by_source.items():
        for index, picture in _open(source, list(frames), fetcher, limits, decode):
            for position in frames[index]:
                yield position, _view_of(picture, refs[position])


def _open(
    source: str, indices: list[int | None], fetcher: Fetches | None, limits: Limits, decode: Decode
) -> Iterator[tuple[int | None, ByteArray | UnreadableImageError]]:
    if None in indices:
        yield None, _attempt(source, fetcher, limits, decode)
    numbers = sorted(index for index in indices if index is not None)
    if not numbers:
        return
    if is_url(source):
        error = UnreadableImageError(
            shown(source), "frames of a video can be read from this machine's disk only; download it first"
        )
        yield from ((index, error) for index in numbers)
        return
    try:
        yield from (read_stack if is_stack(source) else read_video)(source, numbers, limits)
    except UnreadableImageError as error:
        yield from ((index, error) for index in numbers)


def _attempt(source: str, fetcher: Fetches | None, limits: Limits, decode: Decode) -> ByteArray | UnreadableImageError:
    try:
        return _fetched(source, fetcher, limits, decode) if is_url(source) else read_picture(source, limits, decode)
    except UnreadableImageError as error:
        return error


def _fetched(url: str, fetcher: Fetches | None, limits: Limits, decode: Decode) -> ByteArray:
    if fetcher is None:
        raise UnreadableImageError(shown(url), "is an address, and no fetcher was configured")
    try:
        return decode(fetcher.fetch(url), shown(url), limits)
    except UnreadableImageError:
        fetcher.forget(url)  # a damaged copy must not stay in the cache
        raise


def _view_of(picture: ByteArray | UnreadableImageError, ref: ImageRef) -> ByteArray | UnreadableImageError:
    if isinstance(picture, UnreadableImageError):
        return picture
    try:
        return ViewTransform.of(ref, (picture.shape[1], picture.shape[0])).picture(picture)
    except UnreadableImageError as error:
        return error

"""Pictures for training and prediction: from disk, from videos without decoding them twice, from Label Studio."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from label_config.settings.spec import Spec
from label_config.values import ByteArray, ImageRef
from ml_backend.recordings import (
    UnreadableImageError,
    decoding_process,
    iter_images,
    limits_of,
    read_image,
    write_picture,
)
from ml_backend.recordings.from_spec import make_fetcher
from ml_backend.store.workspace import Workspace


class Pictures:
    """Reads references of frames; what came from task data is always an address, never a path on this machine.

    May be given to another process, where it opens connections of its own.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._open(workspace.spec, workspace.project.public_url)

    @classmethod
    def of_spec(cls, spec: Spec, public_url: str | None = None) -> Pictures:
        """Before there is a workspace."""
        made = cls.__new__(cls)
        made._open(spec, public_url)
        return made

    def __getstate__(self) -> tuple[Spec, str | None]:
        return self._state

    def __setstate__(self, state: tuple[Spec, str | None]) -> None:
        self._open(*state)

    def _open(self, spec: Spec, public_url: str | None) -> None:
        self._state = spec, public_url
        self._limits = limits_of(spec.cache)
        # Pictures of others may be made to exhaust or crash a decoder; the frames that we keep ourselves are not.
        self._decode = decoding_process(self._limits)
        self._folder = Path(spec.cache.folder)
        self._fetcher = make_fetcher(spec, public_url)

    def read(self, ref: ImageRef) -> ByteArray:
        """(h, w, 3) RGB of one view; a frame of a video is kept as a picture, so that drawing it again costs no decoding.

        Raises UnreadableImageError.
        """
        if ref.frame_index is None:
            return read_image(ref, self._fetcher, self._limits, self._decode)
        kept = self._kept(ref)
        if not kept.exists():
            picture = read_image(ref, None, self._limits)
            with contextlib.suppress(OSError):  # a full disk only means that nothing is kept
                write_picture(picture, kept)
            return picture
        return read_image(ImageRef(str(kept)), None, self._limits)

    def prepare(self, refs: Sequence[ImageRef]) -> None:
        """Keep these frames of videos as pictures, decoding every video once; what cannot be read is met again by ``read``."""
        missing = [ref for ref in refs if ref.frame_index is not None and not self._kept(ref).exists()]
        for position, picture in iter_images(missing, None, self._limits):
            if not isinstance(picture, UnreadableImageError):
                with contextlib.suppress(OSError):
                    write_picture(picture, self._kept(missing[position]))

    def stream(self, refs: Sequence[ImageRef]) -> Iterator[tuple[int, ByteArray | UnreadableImageError]]:
        """All pictures once, each video read forwards once; see ``recordings.iter_images``."""
        yield from iter_images(refs, self._fetcher, self._limits, self._decode)

    def close(self) -> None:
        """Give connections back."""
        self._fetcher.close()

    def _kept(self, ref: ImageRef) -> Path:
        name = hashlib.sha256(json.dumps(ref.to_json(), sort_keys=True).encode()).hexdigest()
        return self._folder / "frames" / name[:2] / f"{name}.png"

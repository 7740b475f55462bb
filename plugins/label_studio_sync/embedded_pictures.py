"""Pictures that lie in a label file, as in SLEAP's packages: written as files where Label Studio serves pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from label_config.values import FrameKey, ImageRef
from label_config.values.errors import LabelFileError
from ml_backend.formats.label_records import EmbeddedPicture, LabelledImage
from ml_backend.formats.sleap import embedded_pictures
from ml_backend.recordings import frame_path


@dataclass
class Embedded:
    """What a label file holds, and which of it becomes files.

    held     (source, frame index) → where in the label file
    folder   of the project's pictures
    targets  file to write → the picture that goes there
    """

    held: Mapping[tuple[str, int | None], EmbeddedPicture]
    folder: Path
    targets: dict[Path, EmbeddedPicture] = field(default_factory=dict)

    def __contains__(self, label: LabelledImage) -> bool:
        return (label.image.source, label.image.frame_index) in self.held

    def as_picture(self, label: LabelledImage) -> LabelledImage:
        """The label, of an embedded frame of a video as one of a picture in a folder that is called as the video."""
        if label.image.frame_index is None or label not in self:
            return label
        stem = label.image.source.rpartition(".")[0] or label.image.source
        return replace(label, image=ImageRef(f"{stem}/img{label.image.frame_index:06d}.png", size_px=label.image.size_px))

    def target(self, label: LabelledImage, key: FrameKey, view: str) -> Path:
        """The file that the picture of the label becomes."""
        path = frame_path(self.folder, key, view, ".png")
        self.targets[path] = self.held[label.image.source, label.image.frame_index]
        return path


def write_embedded(targets: Mapping[Path, EmbeddedPicture]) -> None:
    """Write the files that are not there yet.  Raises BadInputError for what cannot be read, and where another picture is."""
    pictures = {file: embedded_pictures(file) for file in {place.file for place in targets.values()}}
    for path, (file, video, frame) in targets.items():
        png = pictures[file][video, frame]
        if path.exists():
            if path.read_bytes() != png:
                raise LabelFileError(
                    f"{file}: the project has another picture of frame {frame} of a video of that name; import it under another "
                    "name of the video (in SLEAP: Replace Videos)"
                )
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_bytes(png)
        partial.replace(path)

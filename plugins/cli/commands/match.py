"""``parallax match``: several subjects get one number each, the same in all cameras and all frames."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from label_config.values import BadInputError
from ml_backend.formats.names import LabelFormat
from plugins.cli.context import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ml_backend.formats.label_records import LabelSet
    from ml_backend.geometry.cameras import Rig
    from ml_backend.tracks.matched_subjects import MatchedSubjects

#: Formats that hold several subjects; the first two also say how sure a network was.
WITH_CONFIDENCE = (LabelFormat.SLEAP, LabelFormat.MOVEMENT)
SEVERAL = (*WITH_CONFIDENCE, LabelFormat.DLC, LabelFormat.COCO)


def match(
    target: Annotated[Path, typer.Argument(help="File to write; a folder for movement and dlc.")],
    files: Annotated[
        list[str],
        typer.Argument(
            help="CAMERA=FILE: labels or predictions of one camera, in any format that `import` reads; once per camera."
        ),
    ],
    to: Annotated[LabelFormat, typer.Option(help="Format to write: sleap, movement, dlc or coco.")],
    calibration: Annotated[Path | None, typer.Option(help="Calibration of the cameras; without one a single camera.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="m, cm or mm, where the calibration does not say it.")] = None,
    video: Annotated[
        list[str] | None,
        typer.Option(help="CAMERA=NAME: the video that a file of predictions is about, where it does not say it."),
    ] = None,
    remember: Annotated[int, typer.Option(min=0, help="Frames that a subject may be gone and keep its number.")] = 15,
) -> None:
    """Match the subjects of label files across cameras and from frame to frame; points stay as they are."""
    from ml_backend.formats.exporting import Export
    from ml_backend.geometry.calibration import read_calibration
    from ml_backend.tracks.matched_subjects import match_subjects

    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    if to not in SEVERAL:
        raise BadInputError(f"--to {to.value}: expected a format for several subjects, one of {', '.join(SEVERAL)}")
    out = console()
    rig: Rig | None = None
    if calibration is not None:
        read = read_calibration(calibration, unit=unit)
        rig = read.rig
        for note in read.notes:
            out.print(f"note: {note}", markup=False)
    found = match_subjects(_read(files, video or []), rig, remember)
    if to not in WITH_CONFIDENCE and any(label.confidence is not None for label in found.labels.labels):
        raise BadInputError(
            f"--to {to.value}: holds labels that people made, got predictions; expected {', '.join(WITH_CONFIDENCE)}"
        )
    notes = [*found.labels.notes, *Export(found.labels, to, target).write()]
    for line in _lines(found):
        out.print(line, markup=False)
    for note in dict.fromkeys(notes):
        out.print(f"note: {note}", markup=False)
    out.print(f"{target}: {len(found.labels.labels)} instances of {found.subjects} subjects", markup=False)


def _read(files: list[str], videos: list[str]) -> dict[str, LabelSet]:
    from ml_backend.formats.format_registry import read_labels

    named = dict(_pair("CAMERA=FILE", entry) for entry in files)
    of_video = dict(_pair("--video CAMERA=NAME", entry) for entry in videos)
    if len(named) < len(files):
        raise BadInputError("expected one file for each camera, got a camera twice")
    unknown = [camera for camera in of_video if camera not in named]
    if unknown:
        raise BadInputError(f"--video {unknown[0]}: expected a camera with a file, one of {', '.join(named)}")
    return {camera: read_labels(Path(file), video=of_video.get(camera)) for camera, file in named.items()}


def _pair(wanted: str, entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not (name and equals and value):
        raise BadInputError(f"{entry!r}: expected {wanted}")
    return name, value


def _lines(found: MatchedSubjects) -> Iterator[str]:
    counts = Counter(found.count.tolist())
    shares = ", ".join(f"{number} in {frames}" for number, frames in sorted(counts.items()))
    yield f"{len(found.frames)} frames; subjects: {shares}"
    if found.by_camera.shape[1] > 1:
        differ = int((found.by_camera != found.by_camera[:, :1]).any(axis=1).sum())
        yield f"cameras show unlike numbers of subjects in {differ} frames; {found.alone} instances agree with no other camera"
    if found.unsure:
        yield f"{found.unsure} frames have so many instances that another matching might agree as well"
    yield f"the files' own numbers changed {found.renumbered} times within a subject"

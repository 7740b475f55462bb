"""``parallax calibration``: is it right, and the same in another format."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.context import console

if TYPE_CHECKING:
    from label_config.values import FloatArray
    from ml_backend.geometry.cameras import Rig

app = typer.Typer(no_args_is_help=True, help="Camera calibrations.")
File = Annotated[Path, typer.Argument(help="Calibration file or folder.")]
Format = Annotated[str | None, typer.Option("--format", help="Its format; found by content when left out.")]
Unit = Annotated[str | None, typer.Option("--unit", help="m, cm or mm: unit of its lengths, where the file does not say it.")]


@app.command()
def check(
    file: File,
    format: Format = None,
    unit: Unit = None,
    points: Annotated[
        list[str] | None,
        typer.Option(help="CAMERA=FILE: points of one camera as a DeepLabCut CSV (labels or predictions); once per camera."),
    ] = None,
) -> None:
    """Say what looks wrong with a calibration, by itself or with points; exit 1 when something is."""
    from ml_backend.geometry.calibration import read_calibration
    from ml_backend.geometry.calibration.check import check_rig
    from ml_backend.geometry.calibration.check_points import check_points

    out = console()
    calibration = read_calibration(file, format, unit=unit)
    rig = calibration.rig
    described = f"{calibration.format}, {len(rig.cameras)} cameras in {rig.unit}: {', '.join(rig.names)}"
    out.print(f"{file}: {described}", markup=False)
    for note in calibration.notes:
        out.print(f"note: {note}", markup=False)
    findings = check_rig(rig)
    if points:
        chosen, xy_px = _read_points(rig, points)
        out.print(f"points: {len(xy_px)} frames that {len(chosen)} cameras have in common", markup=False)
        findings += check_points(chosen, xy_px)
    for finding in findings:
        out.print(f"{finding.level}: {finding.camera + ': ' if finding.camera else ''}{finding.message}", markup=False)
    if not findings:
        out.print("nothing looks wrong")
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@app.command()
def convert(
    file: File,
    target: Annotated[Path, typer.Argument(help="File or folder to write.")],
    to: Annotated[str, typer.Option(help="Format to write: anipose, opencv or pose2sim.")],
    format: Format = None,
    unit: Unit = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="WIDTHxHEIGHT of the pictures, or CAMERA=WIDTHxHEIGHT once per camera, for files that do not say it."),
    ] = None,
) -> None:
    """Write a calibration in another format, with what was assumed."""
    from ml_backend.geometry.calibration import read_calibration, write_calibration

    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    calibration = read_calibration(file, format, unit=unit)
    if size:
        given = dict(pair for entry in size for pair in _sizes(entry, calibration.rig.names))
        calibration = read_calibration(file, format, unit=unit, sizes_px=given)
    if calibration.guessed_sizes:
        # Readers of the written file would take a guess for a statement.
        cameras = ", ".join(sorted(calibration.guessed_sizes))
        raise BadInputError(f"{file}: has no picture size for {cameras}; say it with --size WIDTHxHEIGHT")
    write_calibration(calibration.rig, target, to)
    written = read_calibration(target, to)
    out = console()
    for note in calibration.notes:
        out.print(f"note: {note}", markup=False)
    out.print(f"{target}: {to}, lengths in {written.rig.unit} (read as {calibration.rig.unit})", markup=False)


def _sizes(entry: str, names: tuple[str, ...]) -> list[tuple[str, tuple[int, int]]]:
    """Camera and (width, height), for all cameras where the entry names none."""
    camera, _, text = entry.rpartition("=")
    found = re.fullmatch(r"([1-9]\d{0,5})[x×]([1-9]\d{0,5})", text.strip())
    if found is None or (camera and camera not in names):
        raise BadInputError(f"--size {entry}: expected WIDTHxHEIGHT, or CAMERA=WIDTHxHEIGHT with one of {', '.join(names)}")
    return [(name, (int(found[1]), int(found[2]))) for name in ([camera] if camera else names)]


def _read_points(rig: Rig, points: list[str]) -> tuple[Rig, FloatArray]:
    """The cameras that have points, and xy_px (n, V, K, 2) of the frames and keypoints that all of them have."""
    import numpy as np

    tables = dict(_one_camera(rig, entry) for entry in points)
    if len(tables) < 2:
        raise BadInputError(f"--points: expected CAMERA=FILE for at least two cameras, got {', '.join(tables)}")
    frames = sorted(set.intersection(*({frame for frame, _ in table} for table in tables.values())))
    names = sorted(set.intersection(*({name for _, name in table} for table in tables.values())))
    if not frames or not names:
        raise BadInputError("--points: the files have no frame or no keypoint in common")
    cameras = [name for name in rig.names if name in tables]
    xy_px = np.array([[[tables[camera][frame, name] for name in names] for camera in cameras] for frame in frames])
    return rig.subset(cameras), xy_px


def _one_camera(rig: Rig, entry: str) -> tuple[str, dict[tuple[int, str], FloatArray]]:
    """Camera, and (frame, keypoint) → (2,) pixels."""
    from ml_backend.formats.dlc import read_dlc, read_dlc_predictions
    from ml_backend.formats.point_table import read_point_table

    camera, _, file = entry.partition("=")
    if camera not in rig.names or not file:
        raise BadInputError(f"--points {entry}: expected CAMERA=FILE with a camera of the calibration: {', '.join(rig.names)}")
    path = Path(file)
    if "likelihood" in read_point_table(path).coords:
        found = read_dlc_predictions(path)
        numbered = list(zip(found.frame_index.tolist(), found.xy_px, strict=True))
        keypoints = found.skeleton.keypoints
    else:
        labels = read_dlc(path)
        numbers = frame_numbers([label.image.source for label in labels.labels], file)
        numbered = [(number, label.xy_px) for number, label in zip(numbers, labels.labels, strict=True)]
        keypoints = labels.skeleton.keypoints
    return camera, {(frame, name): xy[k] for frame, xy in numbered for k, name in enumerate(keypoints)}


def frame_numbers(names: list[str], file: str) -> list[int]:
    """The number in every picture's name that counts the frames: the one that varies, and never twice the same.

    Numbers that all names share (a camera, the size of the pictures) say nothing.  Raises BadInputError where none or several do.
    """
    stems = [PurePath(name.replace("\\", "/")).stem for name in names]
    numbers = [[int(digits) for digits in re.findall(r"\d{1,18}", stem)] for stem in stems]
    if len({len(row) for row in numbers}) > 1:
        raise BadInputError(f"--points {file}: the pictures' names do not have the same numbers: {_some(stems)}")
    columns = list(zip(*numbers, strict=True))
    varying = [column for column in columns if len(set(column)) > 1] or columns[-1:]
    counting = [column for column in varying if len(set(column)) == len(column)]
    if len(counting) != 1 or len(varying) != 1:
        why = "no number counts the frames" if not counting else "more than one number varies"
        raise BadInputError(f"--points {file}: {why} in the pictures' names: {_some(stems)}; name them by frame, like img0012")
    return list(counting[0])


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (" …" if len(names) > 4 else "")

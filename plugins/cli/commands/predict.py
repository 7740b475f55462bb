"""``parallax predict``: the tracks of whole recordings, as files of other tools."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from label_config.values import BadInputError
from label_config.values.file_names import file_name
from plugins.cli.context import config_path, console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.status import Status

    from ml_backend.tracks.opening import Opened
    from ml_backend.tracks.predicting import Outcome, PredictingProgress
    from ml_backend.tracks.stage_times import StageTimes
    from ml_backend.tracks.track_arrays import Tracks
    from plugins.cli.track_sources import GivenSource

FORMATS = ("csv", "dlc", "sleap", "movement", "anipose", "trc")
#: Of what is worst, beside the files.
PAGE = "page.html"
METHODS = ("median", "savgol", "kalman")


def predict(
    ctx: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings of the project by name; or videos, folders of pictures, folders of these."),
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version of the project, px-3. Default: the live one.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model folder, in place of a version: needs no project and no services.")
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option(help=f"Format: {', '.join(FORMATS)}; several with commas. Default: csv.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to; each recording has a folder in it.")] = Path("tracks"),
    camera: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE, once for each camera, where names do not say which file is whose.")
    ] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration of videos that the project does not know.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the calibration, for files that do not say it: m, cm or mm.")] = None,
    pairing: Annotated[str | None, typer.Option(help="What says which pictures belong together: time, index or number.")] = None,
    smooth: Annotated[str | None, typer.Option(help=f"Smoothed values beside the raw ones: {', '.join(METHODS)}.")] = None,
    network: Annotated[
        list[str] | None, typer.Option(help="package.module:name of a network of one's own that --model may import.")
    ] = None,
    single_view: Annotated[
        Path | None,
        typer.Option(help="Weights of `parallax harvest single-view`: places in 3-D from the video of that one camera."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. Default: that of parallax.yaml, else auto.")] = None,
    video: Annotated[bool, typer.Option("--render", help="An mp4 too, of all cameras with points and limbs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Predict every frame of every camera, and write points, confidence and places in 3-D; a killed call goes on."""
    from plugins.cli.track_sources import Asked, source_of_folder, source_of_project, with_single_view

    formats = [_one_of("--to", name, FORMATS) for text in to or ["csv"] for name in text.split(",") if name]
    method = None if smooth is None else _one_of("--smooth", smooth, METHODS)
    if model is not None and version is not None:
        raise BadInputError("--version and --model: expected one of them")
    asked = Asked(
        what or [],
        camera or [],
        calibration,
        None if unit is None else _one_of("--unit", unit, ("m", "cm", "mm")),
        None if pairing is None else _one_of("--pairing", pairing, ("time", "index", "number")),
        network or [],
        device,
    )
    source = source_of_project(ctx, asked, version) if model is None else source_of_folder(config_path(ctx), asked, model)
    try:
        if single_view is not None:
            source = with_single_view(source, single_view, asked)
        write_recordings(source, out, list(dict.fromkeys(formats)), method, video=video, force=force)
    finally:
        source.close()


def write_recordings(
    source: GivenSource,
    out: Path,
    formats: Sequence[str],
    method: str | None,
    *,
    video: bool,
    force: bool,
    rerun: Path | None = None,
) -> None:
    """Predict the recordings as far as they are not yet, and write them, each into a folder of its own.

    rerun  a file of Rerun beside them, of the only recording
    """
    for recording in source.recordings:
        folder = out / file_name(recording.sequence)
        _Writer(console(), source, recording, folder, method, force).write(formats, video=video, rerun=rerun)


class _Writer:
    """One recording: predicted as far as it is not yet, then written."""

    def __init__(
        self, screen: Console, source: GivenSource, recording: Opened, folder: Path, method: str | None, force: bool
    ) -> None:
        self._screen, self._source, self._recording, self._folder = screen, source, recording, folder
        self._method, self._force = method, force

    def write(self, formats: Sequence[str], *, video: bool, rerun: Path | None) -> None:
        from ml_backend.tracks.chunk_files import ChunkFiles
        from ml_backend.tracks.predicting import predict_recording
        from ml_backend.tracks.results import KEPT
        from ml_backend.tracks.writing import TrackFormat, check_format

        recording, source = self._recording, self._source
        for name in formats:
            check_format(TrackFormat(name), recording.sequence, recording.rig, recording.fps)
        for note in recording.notes:
            self._say(note)
        chunks = ChunkFiles(self._folder / KEPT, {**source.about, **recording.about()}, len(recording.frames))
        wanted = [*formats, *([f"{recording.sequence}.mp4"] if video else []), PAGE]
        with chunks.opened(force=self._force), self._screen.status(recording.sequence) as status:
            due = self._due(wanted)

            def show(progress: PredictingProgress) -> None:
                status.update(f"{recording.sequence}: {_in_words(progress)}")

            outcome = predict_recording(
                source.predictor,
                recording.frames,
                recording.views,
                source.stream,
                chunks,
                rig=recording.rig,
                threshold_px=source.threshold_px,
                place=source.place,
                progress=show,
            )
            tracks = recording.tracks(source.predictor.manifest.skeleton, chunks.load())
            notes = self._write(tracks, due, outcome.times, status)
            if rerun is not None:
                self._to_rerun(tracks, rerun, status)
        self._summary(tracks, outcome, wanted, due, notes)

    def _due(self, wanted: Sequence[str]) -> list[str]:
        from ml_backend.tracks.results import Results

        return Results(self._folder).due({name: self._options(name) for name in wanted}, force=self._force)

    def _options(self, name: str) -> dict[str, str | None]:
        return {} if name == PAGE else {"smooth": self._method}

    def _write(self, tracks: Tracks, due: Sequence[str], times: StageTimes, status: Status) -> list[str]:
        """Each of what is due, whole or not at all; notes."""
        from ml_backend.tracks.findings_page import page
        from ml_backend.tracks.results import Results
        from ml_backend.tracks.smoothing import Method, smooth
        from ml_backend.tracks.video_of_points import render
        from ml_backend.tracks.writing import TrackFormat, write_tracks

        recording, source, results = self._recording, self._source, Results(self._folder)
        notes: list[str] = []
        with times.stage("smooth"):
            smoothed = smooth(tracks, Method(self._method)) if self._method and due else None

        def make(name: str, target: Path) -> list[str]:
            if name == PAGE:
                (target / name).write_text(page(tracks, source.model, source.task_of), encoding="utf-8")
            elif name.endswith(".mp4"):
                shown = tracks if smoothed is None else smoothed.applied(tracks)
                count = len(recording.frames)
                render(
                    shown,
                    recording.frames,
                    source.stream,
                    target / name,
                    progress=lambda done: status.update(f"{recording.sequence}: frame {done} of {count} drawn"),
                )
            else:
                return write_tracks(tracks, TrackFormat(name), target, smoothed)
            return []

        for name in due:
            with times.stage("draw" if name.endswith(".mp4") else "write"):
                notes += results.write(name, self._options(name), partial(make, name))
        return notes

    def _to_rerun(self, tracks: Tracks, path: Path, status: Status) -> None:
        from ml_backend.tracks.rerun_file import write_rerun

        recording, count = self._recording, len(self._recording.frames)

        def show(done: int) -> None:
            status.update(f"{recording.sequence}: frame {done} of {count} written")

        write_rerun(tracks, recording.frames, self._source.stream, path, progress=show)
        self._say(f"{path}: open it with `rerun {path}`")

    def _summary(
        self, tracks: Tracks, outcome: Outcome, formats: Sequence[str], due: Sequence[str], notes: Sequence[str]
    ) -> None:
        import numpy as np

        from ml_backend.tracks.track_arrays import PictureState

        counts = {state: int((tracks.state == state).sum()) for state in PictureState}
        self._say(
            f"{self._folder}: {len(tracks)} frames of {len(tracks.views)} camera{'s' if len(tracks.views) > 1 else ''} by "
            f"{self._source.model}: {', '.join(formats)}"
        )
        if kept := [name for name in formats if name not in due]:
            self._say(f"note: {', '.join(kept)} was there already, of the same model, pictures and options")
        if counts[PictureState.NONE]:
            missing = (tracks.state == PictureState.NONE).sum(axis=0)
            parts = ", ".join(f"{view} {n}" for view, n in zip(tracks.views, missing.tolist(), strict=True) if n)
            self._say(f"note: frames without a picture, left empty: {parts}")
        if counts[PictureState.UNREADABLE]:
            bad = (tracks.state == PictureState.UNREADABLE).sum(axis=0)
            parts = ", ".join(f"{view} {n}" for view, n in zip(tracks.views, bad.tolist(), strict=True) if n)
            first = next(iter(outcome.problems), "")
            self._say(f"note: pictures that cannot be read, left empty: {parts}" + (f"; the first: {first}" if first else ""))
        if tracks.world is not None and len(tracks.views) == 1:
            placed = np.isfinite(tracks.world.xyz_world).all(axis=-1)
            self._say(f"3-D: {placed.mean():.0%} of the points, from one camera by the lengths of limbs")
        elif tracks.world is not None:
            placed = np.isfinite(tracks.world.xyz_world).all(axis=-1)
            self._say(
                f"3-D: {tracks.world.consensus.mean():.0%} of the points by cameras that agree, "
                f"residual {np.nanmedian(tracks.residual_px):.2f} px in the median"
                if placed.any()
                else "3-D: no point is seen by two cameras"
            )
        for note in dict.fromkeys(notes):
            self._say(f"note: {note}")
        if outcome.pictures:
            rate = outcome.pictures / max(outcome.times.total, 1e-9)
            self._say(f"{outcome.pictures} pictures, {rate:.1f} a second; time: {outcome.times}")

    def _say(self, text: str) -> None:
        self._screen.print(text, markup=False)


def _in_words(progress: PredictingProgress) -> str:
    minutes, seconds = divmod(round(progress.eta_s), 60)
    return f"frame {progress.done} of {progress.total}, {progress.per_second:.1f} pictures a second, {minutes}:{seconds:02d} left"


def _one_of(option: str, name: str, known: tuple[str, ...]) -> Any:
    if name not in known:
        raise BadInputError(f"{option} {name}: expected one of {', '.join(known)}")
    return name

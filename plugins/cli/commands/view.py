"""``parallax view``: a recording with its tracks as a file of another viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.commands.predict import write_recordings
from plugins.cli.context import config_path


def view(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(help="A recording of the project by name; or its videos or folders of pictures.")],
    rerun: Annotated[Path, typer.Option(help="File to write, .rrd; open it with `rerun FILE`.")],
    version: Annotated[str | None, typer.Option(help="Version of the project, px-3. Default: the live one.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder, in place of a version: needs no project.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Calibration of videos that the project does not know.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that keeps what was predicted, as `predict` does.")] = Path("tracks"),
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. Default: that of parallax.yaml, else auto.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write cameras, pictures and points in 2-D and 3-D over time for Rerun; what `predict` found is used again."""
    from ml_backend.tracks.rerun_file import rerun as needed
    from plugins.cli.track_sources import Asked, source_of_folder, source_of_project

    if model is not None and version is not None:
        raise BadInputError("--version and --model: expected one of them")
    if rerun.exists() and not force:
        raise BadInputError(f"{rerun}: exists already; choose another --rerun, or --force to replace it")
    needed()
    asked = Asked(what, [], calibration, None, None, [], device)
    source = source_of_project(ctx, asked, version) if model is None else source_of_folder(config_path(ctx), asked, model)
    try:
        if len(source.recordings) != 1:
            names = ", ".join(recording.sequence for recording in source.recordings)
            raise BadInputError(f"--rerun: expected one recording, got {names or 'none'}; write each to a file of its own")
        write_recordings(source, out, [], None, video=False, force=force, rerun=rerun)
    finally:
        source.close()

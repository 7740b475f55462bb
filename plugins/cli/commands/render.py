"""``parallax render``: a recording as one video, all cameras side by side with the skeleton drawn in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.commands.predict import METHODS, write_recordings
from plugins.cli.context import config_path


def render(
    ctx: typer.Context,
    what: Annotated[list[str], typer.Argument(help="Recordings of the project by name; or videos, folders of pictures.")],
    version: Annotated[str | None, typer.Option(help="Version of the project, px-3. Default: the live one.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model folder, in place of a version: needs no project.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to; each recording has a folder in it.")] = Path("tracks"),
    smooth: Annotated[str | None, typer.Option(help=f"Draw smoothed points: {', '.join(METHODS)}.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda. Default: that of parallax.yaml, else auto.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Draw the skeleton into every picture of a recording, as an mp4 of all cameras; what `predict` found is used again."""
    from plugins.cli.track_sources import Asked, source_of_folder, source_of_project

    if model is not None and version is not None:
        raise BadInputError("--version and --model: expected one of them")
    if smooth is not None and smooth not in METHODS:
        raise BadInputError(f"--smooth {smooth}: expected one of {', '.join(METHODS)}")
    asked = Asked(what, [], None, None, None, [], device)
    source = source_of_project(ctx, asked, version) if model is None else source_of_folder(config_path(ctx), asked, model)
    try:
        write_recordings(source, out, [], smooth, video=True, force=force)
    finally:
        source.close()

"""``parallax version``."""

from __future__ import annotations

from importlib import metadata

import typer


def version() -> None:
    """Print the version of Parallax."""
    try:
        typer.echo(metadata.version("label-studio-parallax"))
    except metadata.PackageNotFoundError:
        typer.echo("not installed: run from its source tree")

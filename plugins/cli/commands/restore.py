"""``parallax restore``: a backup into an empty store."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from label_config.values import BadInputError
from plugins.cli.context import console, read_spec


def restore(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="Archive written by `parallax backup`.")]) -> None:
    """Fill an empty store from an archive; the archive is checked completely before anything is written."""
    from ml_backend.store.archive import read_archive
    from ml_backend.store.database import open_store

    if not file.is_file():
        raise BadInputError(f"{file}: expected an archive written by `parallax backup`, found no such file")
    spec = read_spec(ctx)
    store = open_store(spec.store)
    contents = read_archive(file, store, {"arrays": Path(spec.arrays), "models": Path(spec.models)})
    store.close()
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(contents.created_at))
    console().print(
        f"restored {contents.rows} rows and {contents.files} files of {written}; next: `parallax doctor`", markup=False
    )

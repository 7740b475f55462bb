"""``parallax backup``: everything that cannot be rebuilt, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from label_config.values import BadInputError
from label_config.values.shown_address import shown_address
from plugins.cli.context import console, read_spec


def backup(ctx: typer.Context, file: Annotated[Path, typer.Argument(help="Archive to write, such as parallax.tar.")]) -> None:
    """Write store, arrays and models into one archive; safe while everything runs."""
    from ml_backend.store import projects
    from ml_backend.store.archive import write_archive
    from ml_backend.store.database import open_store

    spec = read_spec(ctx)
    store = open_store(spec.store, create=False)
    if not projects.list_all(store):
        raise BadInputError(f"{shown_address(spec.store)} holds no project, so that there is nothing to keep; is `store` right?")
    contents = write_archive(store, {"arrays": Path(spec.arrays), "models": Path(spec.models)}, file)
    store.close()
    size = f"{contents.bytes / 2**20:.1f} MiB"
    console().print(f"{file}: {contents.rows} rows and {contents.files} files, {size}", markup=False)

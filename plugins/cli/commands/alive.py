"""``parallax alive``: for health checks of containers and services."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from plugins.cli.context import console, open_project

#: Processes are heard of every 10 to 30 seconds.
WITHIN_S = 90.0


class Role(StrEnum):
    """What may be alive."""

    SERVER = "server"
    INFER = "infer"
    TRAIN = "train"
    SYNC = "sync"


def alive(ctx: typer.Context, role: Annotated[Role, typer.Argument(help="Process to look for.")]) -> None:
    """Exit 0 when such a process of this machine was heard of lately, else 1."""
    import socket

    from ml_backend.store import presence

    workspace = open_project(ctx)
    seen = presence.alive(workspace.store, within_s=WITHIN_S)
    here = f"{role}@{socket.gethostname()}:"
    found = [age for name, age in seen.items() if name == role or name.startswith(here)]
    console().print(f"{role}: heard of {min(found):.0f} s ago" if found else f"{role}: not heard of for {WITHIN_S:.0f} s")
    if not found:
        raise typer.Exit(1)

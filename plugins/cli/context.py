"""What every command needs: which parallax.yaml, the workspace behind it, and where to print."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

import typer
from rich.console import Console

from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.settings.spec import Spec, load_spec
from label_config.values import BadInputError, ParallaxError
from label_config.values.private_files import STATE, close_to_others
from plugins.cli.redaction import HidingOutput, hide, password_in

if TYPE_CHECKING:
    from ml_backend.store.versions import VersionRow
    from ml_backend.store.workspace import Workspace
    from plugins.label_studio_sync.client import Client

#: Makes this process, and all that it starts, log step by step.
VERBOSE_VARIABLE = "PARALLAX_VERBOSE"

_EXAMPLE = """\
label_studio:
  url: http://localhost:8080
  project: 1                # the project to adopt; leave it out to create one from recordings
documents_root: /path/to/LOCAL_FILES_DOCUMENT_ROOT"""


def console(*, wrap: bool = False) -> Console:
    """For what a command answers.

    wrap  break lines between words to the width of the terminal; else each is one line, however long
    """
    return Console(file=cast(IO[str], HidingOutput()), highlight=False, soft_wrap=not wrap)


def log_to_stderr(*, verbose: bool = False) -> None:
    """For commands that run on: what goes wrong inside, with its time.

    verbose  also what Parallax does step by step: all of its loggers lie below ``parallax``
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if verbose:
        logging.getLogger("parallax").setLevel(logging.DEBUG)


def config_path(ctx: typer.Context) -> Path:
    """The absolute path of parallax.yaml, whether it exists or not."""
    path: Path = ctx.find_root().params["config"]
    return path.expanduser().resolve()


def read_spec(ctx: typer.Context) -> Spec:
    """parallax.yaml of this call; from here on child processes and workers see the same one.

    Raises ParallaxError that shows a first parallax.yaml when there is none.
    """
    path = config_path(ctx)
    if not path.exists():
        raise ParallaxError(f"{path}: no such file. Write one, then run `parallax init`; the least it can hold is\n\n{_EXAMPLE}")
    os.environ[CONFIG_VARIABLE] = str(path)
    spec = load_spec(path)
    close_to_others(spec.folder / STATE)
    secrets = [value.get_secret_value() for value in (spec.label_studio.token, spec.backend.secret, spec.redis) if value]
    hide([*secrets, *([spec.store] if password_in(spec.store) else [])])
    return spec


def open_project(ctx: typer.Context) -> Workspace:
    """The store and project of parallax.yaml.  Raises ParallaxError when they cannot be opened."""
    from ml_backend.store.workspace import open_workspace

    workspace = open_workspace(read_spec(ctx))
    ctx.call_on_close(workspace.store.close)
    return workspace


def chosen_version(workspace: Workspace, number: int | None) -> VersionRow:
    """The version of this number (``--version``), None = the live one.

    Raises BadInputError for a number that no version has, ParallaxError when none is live yet.
    """
    from ml_backend.store import versions

    if number is None:
        live = versions.live(workspace.store)
        if live is None:
            raise ParallaxError("there is no model yet; label the first frames, or `parallax train`")
        return live
    known = {row.number: row for row in versions.list_versions(workspace.store)}
    if number not in known:
        raise BadInputError(f"--version {number}: expected one of {', '.join(map(str, known)) or 'none yet'}")
    return known[number]


def connect(spec: Spec, *, rests: bool = False) -> Client:
    """Label Studio with the token of parallax.yaml or the environment; see Client for ``rests``.

    Raises ParallaxError without a token.
    """
    from plugins.label_studio_sync.client import Client

    token = spec.label_studio.token
    if token is None:
        raise ParallaxError(
            "no Label Studio token: take a personal access token from Account & Settings and set LABEL_STUDIO_API_KEY"
        )
    return Client(spec.label_studio.url, token.get_secret_value(), rests=rests, network=spec.network)


def redis_url(spec: Spec) -> str:
    """The address of Redis.  Raises ParallaxError when none is set."""
    if spec.redis is None:
        raise ParallaxError(
            "no Redis: expected its address in PARALLAX_REDIS_URL, such as redis://:password@localhost:6379/0; "
            "`parallax up` starts one of its own"
        )
    return spec.redis.get_secret_value()

"""The command ``parallax``.  One module per command: it parses, calls and prints; what is heavy it imports when called."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import label_config
import ml_backend
import plugins
from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.values import ParallaxError
from plugins.cli.commands import (
    alive,
    backup,
    calibration,
    check_labels,
    doctor,
    evaluate,
    export,
    harvest,
    import_labels,
    init,
    leave,
    match,
    predict,
    push,
    render,
    rescore,
    restore,
    resume,
    robustness,
    rollback,
    scores,
    screen,
    serve,
    simulate,
    status,
    study,
    sync,
    train,
    unpin,
    up,
    version,
    view,
    worker,
)
from plugins.cli.context import VERBOSE_VARIABLE, log_to_stderr
from plugins.cli.redaction import without_secrets

#: What a person mends, also where the system does not say which file it was: mounted for reading only, full, broken.
_OF_THE_DISK = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class _CleanErrors(TyperGroup):
    """What a user can act upon is said in words, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            _check_packages()
            return super().invoke(ctx)
        except Exception as error:
            sentence = _sentence(error)
            if sentence is None:
                raise
            logging.getLogger("parallax").debug("what led to it", exc_info=error)
            typer.echo(without_secrets(f"parallax: {sentence}"), err=True)
            raise typer.Exit(1) from error


def _sentence(error: Exception) -> str | None:
    """What a user can act upon, in words; None for a fault of ours, which keeps its traceback."""
    if isinstance(error, ParallaxError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; is the path right, and may this user read and write there?"
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return f"{error.strerror}: a file could not be read or written; nothing is half written"
    database = sys.modules.get("sqlalchemy.exc")  # there when somebody opened a store
    if database is not None and isinstance(error, database.DBAPIError):
        return f"the database refused: {str(error.orig).strip()}; is it there, whole, and writable for this user?"
    return None


def _check_packages() -> None:
    """``plugins`` is a common name: another distribution's package of that name may have overwritten or joined ours."""
    homes = {Path(folder).resolve().parent for package in (plugins, ml_backend, label_config) for folder in package.__path__}
    if len(homes) != 1:
        where = ", ".join(sorted(map(str, homes)))
        raise ParallaxError(
            f"the packages plugins, ml_backend and label_config come from different places ({where}): another distribution has "
            "a package of one of these names. Install label-studio-parallax into a virtual environment of its own."
        )


app = typer.Typer(
    cls=_CleanErrors,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="An active-learning loop around a Label Studio project of keypoint tasks.",
)


@app.callback()
def _settings(
    config: Annotated[Path, typer.Option("--config", "-c", envvar=CONFIG_VARIABLE, help="Settings of the project.")] = Path(
        "parallax.yaml"
    ),
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", envvar=VERBOSE_VARIABLE, help="Log step by step, on standard error.")
    ] = False,
) -> None:
    """Read by every command through its context."""
    if verbose:
        os.environ[VERBOSE_VARIABLE] = "1"
        log_to_stderr(verbose=True)


for _command in (
    init.init,
    leave.leave,
    doctor.doctor,
    status.status,
    rollback.rollback,
    screen.screen,
    unpin.unpin,
    backup.backup,
    restore.restore,
    resume.resume,
    train.train,
    rescore.rescore,
    evaluate.evaluate,
    robustness.robustness,
    push.push,
    predict.predict,
    render.render,
    view.view,
    match.match,
    export.export,
    up.up,
    serve.serve,
    worker.worker,
    sync.sync,
    alive.alive,
    simulate.simulate,
    version.version,
):
    app.command()(_command)
app.command("import")(import_labels.import_labels)
app.command("check-labels")(check_labels.check_labels)
app.add_typer(scores.app, name="scores")
app.add_typer(calibration.app, name="calibration")
app.add_typer(harvest.app, name="harvest")
app.add_typer(study.app, name="study")

if __name__ == "__main__":
    app()

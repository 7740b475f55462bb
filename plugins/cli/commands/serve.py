"""``parallax serve``: the ML backend that Label Studio calls."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from label_config.settings.spec import Spec
from label_config.values import ParallaxError
from plugins.cli.context import console, log_to_stderr, open_project, read_spec
from plugins.cli.processes.signals import own_name
from plugins.cli.secrets import SECRET_VARIABLE, find_secret

if TYPE_CHECKING:
    from flask import Flask

    from ml_backend.server.predictions import Compute
    from ml_backend.store.workspace import Workspace

BEAT_S = 10.0


def serve(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default backend.host.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default backend.port.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Let everybody call, without a secret.")] = False,
) -> None:
    """Answer Label Studio: predictions from the store, webhooks, health; and people, by a web page under /page/."""
    spec = read_spec(ctx)
    secret = None if insecure else find_secret(spec)
    if secret is None and not insecure:
        raise ParallaxError(
            f"no secret: `parallax init` and `parallax up` make one, or set {SECRET_VARIABLE}; "
            "--insecure lets everybody who reaches the port see tasks and start trainings"
        )
    from ml_backend.server.http_server import make_server

    host, port = host or spec.backend.host, port or spec.backend.port
    log_to_stderr()
    application = _application(ctx, spec, secret)
    try:
        server = make_server(application, host, port, secret)
    except OSError as error:
        raise ParallaxError(
            f"the backend cannot listen on {host}:{port}: {error.strerror}; --host and --port choose another"
        ) from error
    console().print(f"backend on http://{host}:{port}, page for people on http://{host}:{port}/page/")
    server.run()


def _application(ctx: typer.Context, spec: Spec, secret: str | None) -> Flask:
    from ml_backend.server.app import create_app
    from ml_backend.web_page.pages import add_pages
    from plugins.cli.page_commands import page_commands

    workspace = open_project(ctx)
    threading.Thread(target=_beat, args=(workspace,), name="heartbeat", daemon=True).start()
    app = create_app(workspace, secret, compute=_compute(workspace, spec))
    add_pages(app, workspace, secret, page_commands())
    return app


def _compute(workspace: Workspace, spec: Spec) -> Compute | None:
    if spec.redis is None:
        return None
    from ml_backend.jobs.queue import JobQueue

    queue = JobQueue(spec.redis.get_secret_value())
    return lambda frame_ids: queue.predict(workspace, frame_ids)


def _beat(workspace: Workspace) -> None:
    from ml_backend.store import presence

    name = f"server@{own_name()}"
    while True:
        try:
            presence.beat(workspace.store, name)
        except Exception as error:  # the database may be away for a moment
            logging.getLogger("parallax.server").warning("no heartbeat: %s", type(error).__name__)
        time.sleep(BEAT_S)

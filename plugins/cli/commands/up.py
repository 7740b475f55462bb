"""``parallax up``: everything at once on one machine."""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import socket
import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import typer

import plugins
from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.settings.spec import Spec
from label_config.values import ParallaxError
from label_config.values.private_files import make_folder, open_private
from plugins.cli.context import config_path, connect, console, open_project
from plugins.cli.processes.signals import stop_on_signals
from plugins.cli.processes.supervisor import Child, Supervisor
from plugins.cli.secrets import SECRET_VARIABLE, ensure_secret

REDIS_VARIABLE = "PARALLAX_REDIS_URL"


def up(ctx: typer.Context) -> None:
    """Run backend, workers, sync and, unless one is set, a Redis; restart what dies, until stopped."""
    workspace = open_project(ctx)
    workspace.store.close()
    spec = workspace.spec
    connect(spec).close()  # a missing token is said here, once
    logs = spec.folder / ".parallax" / "logs"
    out = console()
    _only_one_here(ctx, spec.folder / ".parallax")
    _port_is_free(spec)
    children = children_of(spec, config_path(ctx))
    out.print(f"backend {spec.backend.url}, logs in {logs}; Ctrl-C ends all", markup=False)
    supervisor = Supervisor(children, logs, lambda text: out.print(f"{time.strftime('%H:%M:%S')} {text}", markup=False))
    stop_on_signals(supervisor.stop)
    supervisor.run()


def _only_one_here(ctx: typer.Context, folder: Path) -> None:
    """Hold the folder's lock until this process ends, however it ends.  Raises ParallaxError when another one has it."""
    make_folder(folder)
    lock = open(folder / "up.lock", "a+", encoding="utf-8", opener=open_private)  # noqa: SIM115 - held until the end
    ctx.call_on_close(lock.close)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise ParallaxError(
            f"`parallax up` runs already for {folder.parent} (process {lock.read().strip() or 'unknown'}); "
            "stop that one first, or see `parallax status`"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _port_is_free(spec: Spec) -> None:
    """Raise ParallaxError when something else listens where the backend is going to."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((spec.backend.host, spec.backend.port))
        except OSError as error:
            raise ParallaxError(
                f"backend in parallax.yaml: {spec.backend.host}:{spec.backend.port} cannot be listened on ({error.strerror}); "
                "another project's `parallax up`, say, has it. Set another backend.port, and the same in backend.url"
            ) from error


def children_of(spec: Spec, config: Path) -> list[Child]:
    """The processes in the order of their start."""
    shared = {CONFIG_VARIABLE: str(config), SECRET_VARIABLE: ensure_secret(spec)}
    if spec.label_studio.token is not None:
        shared["LABEL_STUDIO_API_KEY"] = spec.label_studio.token.get_secret_value()
    children = []
    if spec.redis is None:
        server, shared[REDIS_VARIABLE] = redis_child()
        children.append(server)
    else:
        shared[REDIS_VARIABLE] = spec.redis.get_secret_value()
    for name, arguments in (
        ("serve", ["serve"]),
        ("infer", ["worker", "--queues", "infer"]),
        ("train", ["worker", "--queues", "train"]),
        ("sync", ["sync"]),
    ):
        children.append(Child(name, own_command(*arguments), {**own_environment(), **shared}))
    return children


def own_command(*arguments: str) -> list[str]:
    """This very program again; ``-P``: a folder called ``plugins`` where the user stands is not ours."""
    return [sys.executable, "-P", "-m", "plugins.cli.main", *arguments]


def own_environment() -> dict[str, str]:
    """Lets the program be found also when it runs from its source tree."""
    home = str(Path(next(iter(plugins.__path__))).resolve().parent)
    return {"PYTHONPATH": os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])]), "PYTHONUNBUFFERED": "1"}


def redis_child() -> tuple[Child, str]:
    """A Redis of our own and its address: on a socket in a private folder, no port, with a password, nothing of it on disk.

    Its settings go through standard input, where no list of processes shows them.
    """
    from plugins.cli.processes.redis_server import redis_program

    folder = mkdtemp(prefix="parallax-")  # the path of a socket has at most 107 characters
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path, password = f"{folder}/redis.sock", secrets.token_urlsafe(24)
    settings = f'port 0\nunixsocket {path}\nunixsocketperm 700\nrequirepass {password}\nsave ""\nappendonly no\ndir {folder}\n'
    url = f"unix://:{password}@{path}?db=0"
    return Child("redis", [str(redis_program()), "-"], stdin=settings, ready=lambda: _answers(url)), url


def _answers(url: str) -> bool:
    import redis

    with redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False

"""Parallax in the host ``label-studio-ml``, started in both ways that its users start it, and a live Label Studio that calls it.

Collected where the host is installed only (conftest.py); docs/label-studio-ml.md says how that is done.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.label_studio_sync.webhook_and_backend import answers, connect

from .conftest import Lab

pytestmark = pytest.mark.ls

ADAPTER = Path(__file__).resolve().parents[3] / "ml_backend" / "label_studio_ml"
PROGRAMS = Path(sys.executable).parent
START_TIMEOUT_S = 120.0
SECRET = "hush"


def start(port: int) -> list[str]:
    return [str(PROGRAMS / "label-studio-ml"), "start", str(ADAPTER), "--host", "127.0.0.1", "-p", str(port)]


def gunicorn(port: int) -> list[str]:
    """As the image of the examples runs it, on this machine's own address."""
    options = ["--preload", "--bind", f"127.0.0.1:{port}", "--workers", "1", "--threads", "8", "--timeout", "0"]
    return [str(PROGRAMS / "gunicorn"), *options, "_wsgi:app"]


@contextmanager
def running(command: list[str], folder: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command in the adapter's folder, with what docs/label-studio-ml.md sets; its log is ``host.log`` in ``folder``."""
    environment = {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "MODEL_DIR": str(folder)}
    environment |= {"PARALLAX_CONFIG": str(folder / "parallax.yaml"), "PARALLAX_SECRET": SECRET, **more}
    with (folder / "host.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=ADAPTER, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=30)


def write_spec(lab: Lab, folder: Path) -> None:
    """The parallax.yaml that the host reads."""
    spec = lab.workspace.spec
    label_studio = {"url": spec.label_studio.url, "token": lab.platform.token, "project": lab.project}
    content = {"label_studio": label_studio, "store": spec.store, "arrays": spec.arrays, "backend": {"url": spec.backend.url}}
    (folder / "parallax.yaml").write_text(yaml.safe_dump(content))


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.mark.parametrize("command", [start, gunicorn])
def test_predictions_are_placed_and_events_arrive(lab: Lab, tmp_path: Path, command: Callable[[int], list[str]]) -> None:
    port = free_port()
    backend = lab.workspace.spec.backend.model_copy(update={"url": f"http://127.0.0.1:{port}"})
    spec = lab.workspace.spec.model_copy(update={"backend": backend})
    lab.workspace = Workspace(spec, lab.workspace.store, lab.workspace.arrays)
    write_spec(lab, tmp_path)
    lab.serve([0, 1, 2])
    with running(command(port), tmp_path) as process:
        until(lambda: answers(backend.url) or process.poll() is not None, "the host does not answer")
        assert process.poll() is None, (tmp_path / "host.log").read_text()

        assert f"connected the ML backend {backend.url}" in connect(lab.workspace, lab.client, SECRET)
        (entry,) = lab.client.backends(lab.project)
        assert entry["state"] == "CO", entry

        tasks = [lab.task(index).ls_task_id for index in (0, 1, 2)]
        lab.client.delete_predictions_of(lab.project, tasks)
        assert lab.predictions() == {}
        retrieve = {"id": "retrieve_tasks_predictions", "project": lab.project}
        chosen = {"selectedItems": {"all": False, "included": tasks}}
        lab.client.call("POST", "api/dm/actions", params=retrieve, body=chosen)
        assert lab.predictions() == {task: [lab.current().name] for task in tasks}, (tmp_path / "host.log").read_text()
        (placed,) = lab.client.call("GET", f"api/tasks/{tasks[0]}/")["predictions"]
        assert len(placed["result"]) == len(lab.hand_made(0))

        assert not lab.workspace.project.pull_requested
        someone = lab.person()
        task = someone.next_task(lab.project)
        assert task is not None
        lab.submit(someone, task)
        until(lambda: lab.workspace.project.pull_requested, "the webhook did not arrive")
        assert not lab.workspace.project.train_requested
        lab.client.call("POST", f"api/ml/{entry['id']}/train", body={})
        until(lambda: lab.workspace.project.train_requested, "`Start training` did not arrive")


def test_the_hosts_own_password_is_refused_with_the_fix(tmp_path: Path) -> None:
    """The host would ask webhooks for it, which bring a header instead."""
    for command, more in (
        (start(free_port()), {"ML_SERVER_BASIC_AUTH_USER": "ann", "ML_SERVER_BASIC_AUTH_PASS": "word"}),
        (gunicorn(free_port()), {"BASIC_AUTH_USER": "ann", "BASIC_AUTH_PASS": "word"}),
    ):
        with running(command, tmp_path, **more) as process:
            process.wait(timeout=START_TIMEOUT_S)
        assert "PARALLAX_SECRET" in (tmp_path / "host.log").read_text()

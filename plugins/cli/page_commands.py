"""What the web page lets a person do, as the commands that it is: each runs in a process of its own, which may load a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from label_config.values import ParallaxError
from ml_backend.web_page.pages import PageCommands, PageFinding

_PATIENCE_S = 180.0


def page_commands() -> PageCommands:
    """Those of the parallax.yaml that this process works with: child processes see the same one."""
    return PageCommands(_doctor, _rollback)


def _doctor() -> list[PageFinding]:
    answer = _run("doctor", "--json")
    return [PageFinding(**finding) for finding in json.loads(answer.stdout)]


def _rollback(number: int) -> str:
    answer = _run("rollback", f"px-{number}")
    if answer.returncode:
        raise ParallaxError(answer.stderr.strip().removeprefix("parallax: ") or "it ended without a word; see the backend's log")
    return answer.stdout.strip()


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugins.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, env=os.environ, check=False)

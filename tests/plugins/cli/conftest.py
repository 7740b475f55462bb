"""The command line on a small project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from plugins.cli.main import app

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PARALLAX_SECRET", "PARALLAX_REDIS_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Commands set it for their children; setenv makes sure that it is put back.
    monkeypatch.setenv("PARALLAX_CONFIG", "parallax.yaml")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """``run("status")`` → the command's result, on the project in ``tmp_path``."""

    def call(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["-c", str(tmp_path / "parallax.yaml"), *arguments])

    return call

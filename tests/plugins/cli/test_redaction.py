"""Secrets in messages, arguments and tracebacks of any logger."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from label_config.values.shown_address import shown_address
from plugins.cli import redaction
from plugins.cli.commands.up import own_command, own_environment
from plugins.cli.context import console
from plugins.cli.redaction import hide
from tests.small_project import SECRET, write_spec


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What a handler at DEBUG writes; the process logs as before afterwards."""
    before, stream, hook = logging.getLogRecordFactory(), io.StringIO(), sys.excepthook
    handler, logger = logging.StreamHandler(stream), logging.getLogger("some.library")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)
    sys.excepthook = hook
    redaction._hidden.clear()


def test_a_token_shows_nowhere(output: io.StringIO) -> None:
    hide(["token-12345", "token-12345-longer", ""])
    hide(["another-one"])
    log = logging.getLogger("some.library")
    log.debug("headers: %s", {"Authorization": "Token token-12345-longer"})
    log.warning("token-12345 and another-one, 100 %")
    try:
        raise ValueError("refused: another-one")
    except ValueError:
        log.exception("it failed")
    text = output.getvalue()
    assert "12345" not in text
    assert "another-one" not in text
    assert "longer" not in text
    assert text.count("***") == 5  # the source line in the traceback holds one too
    assert "Traceback" in text


def test_arguments_that_do_not_fit_their_message_are_no_failure(output: io.StringIO) -> None:
    hide(["token-12345"])
    logging.getLogger("some.library").info("%d files", "token-12345")
    assert "***" in output.getvalue()


def test_the_screen_and_uncaught_errors_show_none(output: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    hide(["redis://:pass%2Fword@host/0", "token-12345"])
    console().print("redis://:pass%2Fword@host/0, pass/word, token-12345")
    try:
        raise ValueError("refused: token-12345")
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "12345" not in text
        assert "word" not in text
    assert said.out.count("***") == 3
    assert "ValueError: refused: ***" in said.err


STORES = [
    "postgresql+psycopg://me:pa55/word-x@127.0.0.1:1/parallax",
    "postgresql+psycopg://me:pa55word-x@127.0.0.1:port/parallax",
    "mysql://me:pa55word-x@127.0.0.1/parallax",
    "postgresql+nodriver://me:pa55word-x@127.0.0.1/parallax",
    "postgresql+psycopg://me:x@127.0.0.1:1/parallax",
]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("command", ["status", "serve", "backup"])
def test_the_password_of_the_database_is_never_shown(tmp_path: Path, store: str, command: str) -> None:
    path = write_spec(tmp_path, store=store)
    environment = {**os.environ, **own_environment(), "PARALLAX_SECRET": SECRET}
    arguments = [*own_command("-c", str(path), command), *(["out.zip"] if command == "backup" else [])]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in said
    assert "pa55" not in said
    assert "me:x@" not in said
    assert len(said) > 20


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:se@cr/et:@host:port/db", "postgresql://me:***@host:port/db"),
        ("redis://:secret@host", "redis://:***@host"),
        ("sqlite:////folder/a@b.sqlite3", "sqlite:////folder/a@b.sqlite3"),
        ("http://host:8080/a", "http://host:8080/a"),
        ("http://host/a:b@c", "http://host/a:b@c"),
    ],
)
def test_addresses_in_messages_have_no_password(address: str, shown: str) -> None:
    assert shown_address(address) == shown

"""Secrets in messages, arguments and tracebacks of any logger."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from plugins.cli.redaction import hide_in_logs


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What a handler at DEBUG writes; the process logs as before afterwards."""
    before, stream = logging.getLogRecordFactory(), io.StringIO()
    handler, logger = logging.StreamHandler(stream), logging.getLogger("some.library")
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield stream
    logger.removeHandler(handler)
    logging.setLogRecordFactory(before)


def test_a_token_shows_nowhere(output: io.StringIO) -> None:
    hide_in_logs(["token-12345", "token-12345-longer", ""])
    hide_in_logs(["another-one"])
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
    hide_in_logs(["token-12345"])
    logging.getLogger("some.library").info("%d files", "token-12345")
    assert "***" in output.getvalue()

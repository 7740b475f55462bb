"""Who may call, and how much they may send."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any
from urllib.parse import quote

from flask import Flask, Request, Response, g, jsonify, request

from label_config.settings.caller_secret import BASIC_USER, SECRET_HEADER, webhook_key
from ml_backend.server.sessions import is_session, session_in

#: Paths that everybody may ask for.
OPEN_PATHS = ("/", "/health")
#: The web page, for people with a browser: they log in and bring a session in place of the secret.
PAGE = "/page"
LOGIN = f"{PAGE}/login"
#: A login form has one field.
MAX_FORM_BYTES = 8 * 2**10
#: A task with its annotations, predictions and drafts; a batch of tasks is sent whole by "Retrieve predictions".
MAX_PREDICT_BYTES = 64 * 2**20
MAX_BODY_BYTES = 2 * 2**20
MAX_DEPTH = 64
#: Lists, mappings and values of a body; a byte limit alone lets thirty million of them through.
MAX_VALUES = 2_000_000

#: Name of a header → its value, None where it was not brought.
Headers = Callable[[str], str | None]


class RefusedError(Exception):
    """The request is answered with ``status`` and these words, and nothing else happens."""

    def __init__(self, status: int, text: str, *, go_to: str | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.go_to = status, text, go_to

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Headers that belong to the answer."""
        if self.go_to is not None:
            return [("Location", self.go_to)]
        return [("WWW-Authenticate", 'Basic realm="Parallax", charset="UTF-8"')] if self.status == 401 else []


class Rights(IntEnum):
    """What a caller may do."""

    NOTHING = 0
    #: Say that somebody labelled.
    RING = 1
    EVERYTHING = 2


def protect(app: Flask, secret: str | None) -> None:
    """Let only callers with the secret reach anything but the health checks; a refusal says how to bring it."""

    @app.before_request
    def _check() -> None:
        if request.endpoint is not None and (refused := refusal(secret, request.path, request.headers.get)) is not None:
            raise refused
        g.may_train = rights_of(secret, request.headers.get) is Rights.EVERYTHING

    @app.errorhandler(RefusedError)
    def _refused(error: RefusedError) -> Response:
        answer = jsonify(error=error.text)
        answer.status_code = error.status
        answer.headers.extend(error.headers)
        return answer


def refusal(secret: str | None, path: str, headers: Headers) -> RefusedError | None:
    """Why a caller may not have this path, None when it may.

    ``secret`` None lets everybody pass; only ``--insecure`` asks for that.
    """
    if path == PAGE or path.startswith(f"{PAGE}/"):
        return _page_refusal(secret, path, headers)
    needed = Rights.NOTHING if path in OPEN_PATHS else Rights.RING if path == "/webhook" else Rights.EVERYTHING
    if needed is Rights.NOTHING or rights_of(secret, headers) >= needed:
        return None
    return RefusedError(401, f"this backend needs its secret: header {SECRET_HEADER}, or basic auth as user {BASIC_USER!r}")


def _page_refusal(secret: str | None, path: str, headers: Headers) -> RefusedError | None:
    """Who has no session is led to the login."""
    if secret is None or path == LOGIN or path.startswith(f"{PAGE}/static/"):
        return None
    if is_session(secret, session_in(headers("Cookie"))) or rights_of(secret, headers) is Rights.EVERYTHING:
        return None
    return RefusedError(303, "log in first", go_to=f"{LOGIN}?next={quote(path, safe='/')}")


def body_limit(path: str) -> int:
    """The most bytes that a body sent to this path may have."""
    if path == "/predict":
        return MAX_PREDICT_BYTES
    return MAX_FORM_BYTES if path.startswith(f"{PAGE}/") else MAX_BODY_BYTES


def rights_of(secret: str | None, headers: Headers) -> Rights:
    """What the caller may do who brings these headers: the secret, as our header or as basic auth, or a webhook's key."""
    if secret is None:
        return Rights.EVERYTHING
    # Every value is compared, each in constant time: the response time reveals nothing about the secret.
    offered = list(_offered(headers))
    everything = [hmac.compare_digest(value, known) for value in offered for known in _spellings(secret)]
    ring = [hmac.compare_digest(value, webhook_key(secret).encode()) for value in offered]
    return Rights.EVERYTHING if any(everything) else Rights.RING if any(ring) else Rights.NOTHING


def _offered(headers: Headers) -> Iterator[bytes]:
    # A server hands the bytes of headers over as if they were Latin-1.
    yield (headers(SECRET_HEADER) or "").encode("latin-1", "replace")
    scheme, _, value = (headers("Authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        yield _basic_password(value)


def _spellings(secret: str) -> set[bytes]:
    """Callers encode what is not ASCII in one of two ways."""
    return {secret.encode(), secret.encode("latin-1", "replace") if max(secret) <= "\xff" else secret.encode()}


def _basic_password(value: str) -> bytes:
    try:
        user, _, password = base64.b64decode(value, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return b""
    return password if user == BASIC_USER.encode() else b""


def read_json(request: Request, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
    """The body as a JSON object; RefusedError for anything too large, too deep or not JSON."""
    if request.content_length is None:
        raise RefusedError(411, "the request must state its length")
    if request.content_length > limit:
        raise RefusedError(413, f"the body has {request.content_length} bytes, at most {limit} are taken")
    raw = request.get_data(cache=False)  # never more than the stated length
    try:
        value = json.loads(raw) if raw else {}
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, f"the body is not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise RefusedError(400, f"expected a JSON object, got {type(value).__name__}")
    _check_shape(value)
    return value


def _check_shape(value: dict[str, Any]) -> None:
    layer: list[Any] = [value]
    values = 0
    for _ in range(MAX_DEPTH):
        values += sum(map(len, layer))
        if values > MAX_VALUES:
            raise RefusedError(413, f"the body has more than {MAX_VALUES} values")
        # What json.loads makes is of these very types.
        layer = [
            child for item in layer for child in (item.values() if type(item) is dict else item) if type(child) in (dict, list)
        ]
        if not layer:
            return
    raise RefusedError(400, f"the body is nested deeper than {MAX_DEPTH}")

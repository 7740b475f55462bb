"""Who may call, and how much they may send."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Any

from flask import Flask, Request, Response, jsonify, request

SECRET_HEADER = "X-Parallax-Secret"
BASIC_USER = "parallax"
#: A task with its annotations, predictions and drafts; a batch of tasks is sent whole by "Retrieve predictions".
MAX_PREDICT_BYTES = 64 * 2**20
MAX_BODY_BYTES = 2 * 2**20
MAX_DEPTH = 64


class RefusedError(Exception):
    """The request is answered with ``status`` and these words, and nothing else happens."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


def protect(app: Flask, secret: str | None) -> None:
    """Let only callers with the secret reach anything but the health checks; a refusal says how to bring it."""

    @app.before_request
    def _check() -> None:
        if request.endpoint is not None and request.path not in ("/health", "/"):
            check_secret(request, secret)

    @app.errorhandler(RefusedError)
    def _refused(error: RefusedError) -> Response:
        answer = jsonify(error=error.text)
        answer.status_code = error.status
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = 'Basic realm="Parallax", charset="UTF-8"'
        return answer


def check_secret(request: Request, secret: str | None) -> None:
    """Let the request pass if it brings the secret: as our header (webhook) or as basic auth (ML backend).

    ``secret`` None lets everybody pass; only ``--insecure`` asks for that.
    """
    if secret is None:
        return
    offered = [request.headers.get(SECRET_HEADER, "")]
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        offered.append(_basic_password(value))
    # Every value is compared, each in constant time: the response time reveals nothing about the secret.
    matches = [hmac.compare_digest(text.encode(), secret.encode()) for text in offered]
    if not any(matches):
        raise RefusedError(401, f"this backend needs its secret: header {SECRET_HEADER}, or basic auth as user {BASIC_USER!r}")


def _basic_password(value: str) -> str:
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password if user == BASIC_USER else ""


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
    if _too_deep(value):
        raise RefusedError(400, f"the body is nested deeper than {MAX_DEPTH}")
    return value


def _too_deep(value: Any) -> bool:
    layer: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        layer = [child for item in layer if isinstance(item, dict | list) for child in _children(item)]
        if not layer:
            return False
    return True


def _children(item: dict[str, Any] | list[Any]) -> list[Any]:
    children = item.values() if isinstance(item, dict) else item
    return [child for child in children if isinstance(child, dict | list)]

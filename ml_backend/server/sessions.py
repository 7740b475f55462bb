"""Who has logged in to the web page: a signed cookie in place of the secret, and the token that its forms bring."""

from __future__ import annotations

import hmac
import secrets
import time
from http.cookies import CookieError, SimpleCookie

COOKIE = "parallax_session"
LIFETIME_S = 12 * 3600.0
#: What may stand where nobody has to log in (``parallax serve --insecure``).
_NOBODY = secrets.token_hex(16)


def new_session(secret: str) -> str:
    """A value of the cookie, good for :data:`LIFETIME_S`; it ends when the secret is changed."""
    body = f"{int(time.time() + LIFETIME_S)}.{secrets.token_hex(16)}"
    return f"{body}.{_signature(secret, 'session', body)}"


def is_session(secret: str, value: str) -> bool:
    """Whether the cookie was given out with this secret and is not too old."""
    body, _, signature = value.rpartition(".")
    genuine = hmac.compare_digest(signature.encode(), _signature(secret, "session", body).encode())
    until = body.partition(".")[0]
    return genuine and until.isdecimal() and time.time() < int(until)


def session_in(cookie_header: str | None) -> str:
    """The session among the cookies that a browser sent, empty without one."""
    try:
        found = SimpleCookie(cookie_header or "").get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def form_token(secret: str | None, session: str) -> str:
    """What a form of this session must bring, so that no page of others can send it."""
    return _signature(secret or _NOBODY, "form", session)


def _signature(secret: str, purpose: str, text: str) -> str:
    return hmac.digest(secret.encode(), f"parallax page {purpose} {text}".encode("utf-8", "replace"), "sha256").hex()

"""How requests to Label Studio are authorised: a legacy token, or a personal access token traded for short-lived access.

No object here shows a token in its text form.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from label_config.values.errors import RecordingError
from ml_backend.recordings.picture_errors import FetchError

#: Label Studio's access tokens live 300 s.
ACCESS_LIFETIME_S = 240.0

#: POST of a JSON value to a path of Label Studio; returns (status, decoded JSON or None).
PostJson = Callable[[str, dict[str, str]], tuple[int, object]]


def is_personal_access_token(token: str) -> bool:
    """A personal access token is a JSON web token, a legacy one 40 hexadecimal digits."""
    return token.count(".") == 2 and token.startswith("ey")


def clean_token(token: str) -> str:
    """The token without blanks and line breaks around it.  Raises BadInputError for one that is no single word."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RecordingError(
            "the token of Label Studio: expected one word without blanks and line breaks, got "
            f"{'nothing' if not token else f'{len(token.split())} words'}; copy it again from Account & Settings"
        )
    return token


class Credentials:
    """Authorization header for one Label Studio."""

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = clean_token(token)
        self._clock = clock
        self._access: str | None = None
        self._expires = 0.0
        self._lock = threading.Lock()

    def header(self, post: PostJson) -> str:
        """The value of the Authorization header.  ``post`` reaches Label Studio when a new access token is needed."""
        if not is_personal_access_token(self._token):
            return f"Token {self._token}"
        with self._lock:
            if self._access is None or self._clock() >= self._expires:
                self._access = self._refresh(post)
                self._expires = self._clock() + ACCESS_LIFETIME_S
            return f"Bearer {self._access}"

    def reject(self) -> bool:
        """The last header was refused.  True when asking again with a new access token makes sense."""
        with self._lock:
            had_access, self._access = self._access is not None, None
        return had_access

    def _refresh(self, post: PostJson) -> str:
        status, answer = post("/api/token/refresh/", {"refresh": self._token})
        access = answer.get("access") if isinstance(answer, dict) else None
        if status != 200 or not isinstance(access, str):
            raise FetchError(
                "Label Studio", f"refused the personal access token (status {status}); create a new one under Account & Settings"
            )
        return access

    def __repr__(self) -> str:
        return "Credentials(***)"

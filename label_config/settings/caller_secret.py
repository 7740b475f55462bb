"""What Label Studio brings when it calls the backend: the secret, or a key made from it that may do less."""

from __future__ import annotations

import hmac

SECRET_HEADER = "X-Parallax-Secret"
BASIC_USER = "parallax"


def webhook_key(secret: str) -> str:
    """What a webhook brings instead of the secret: it may say that somebody labelled, and nothing else.

    Label Studio shows a webhook's headers to everybody in the organization, annotators included.
    """
    return hmac.digest(secret.encode(), b"parallax webhook", "sha256").hex()

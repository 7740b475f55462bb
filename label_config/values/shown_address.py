"""Addresses as messages show them."""

from __future__ import annotations

import re


def shown_address(address: str) -> str:
    """The address with *** for the password in it, however the rest is written."""
    return re.sub(r"(://[^:/?#\s]*):.*@", r"\1:***@", address, flags=re.DOTALL)

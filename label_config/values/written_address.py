"""An address of a picture as a person reads it: percent-decoded, and without what only proves the right to fetch it."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://|/")
_USER = re.compile(r"(?<=://)[^/?#@]*@")
#: Parameters of signed addresses: Amazon's two versions, CloudFront, Google Cloud Storage.
_SIGNATURE = re.compile(
    r"x-amz-.*|awsaccesskeyid|x-goog-.*|googleaccessid|signature|expires|key-pair-id|policy|token|access_token"
)
#: Of Azure's shared access signatures; names so short that they count only beside ``sig``.
_AZURE = re.compile(r"s[vsrtepi]|srt|spr|sig|sk(oid|tid|t|e|s|v)|sdd|s[au]oid|scid")


def is_address(text: str) -> bool:
    """The text is an address, with a scheme or relative to a server."""
    return _ADDRESS.match(text) is not None


def written_address(text: str) -> str:
    """The address, decoded once, without user, password and signature; every other parameter stays.  Other text is left alone."""
    if not is_address(text):
        return text
    head, _, query = _USER.sub("", text).partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    names = {name.lower() for name, _ in pairs}
    signed = [_SIGNATURE, _AZURE] if "sig" in names else [_SIGNATURE]
    kept = [f"{name}={value}" for name, value in pairs if not any(of.fullmatch(name.lower()) for of in signed)]
    return unquote(head) + ("?" + "&".join(kept) if kept else "")

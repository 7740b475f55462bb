"""Addresses of pictures: what a task's data may say, what is safe to ask for, and what may appear in messages."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urljoin, urlsplit

from ml_backend.recordings.errors import ForbiddenAddressError

#: Below these paths Label Studio serves files; everything else on it is its API and never asked for pictures.
_FILE_PATHS = re.compile(r"/(data|storage-data)/|/(tasks|projects)/\d+/(resolve|presign)/")
#: The only query parameters that may be shown: they name files.  Others may be signatures.
_SHOWN_PARAMETERS = ("d", "filepath")
_PORTS = {"http": 80, "https": 443}

Origin = tuple[str, str, int]


def is_url(source: str) -> bool:
    """``source`` is an address (has a scheme), not a path on this machine."""
    return "://" in source


def task_image_url(value: str, label_studio_url: str) -> str:
    """What a task's data says about a picture → its absolute address.

    ``/data/…`` is relative to Label Studio.  The result is always an http(s) address, never a path on this machine.
    Raises ForbiddenAddressError for other schemes and for plain paths.
    """
    value = value.strip()
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", value):
        split_url(value)
        return value
    base = label_studio_url.rstrip("/")
    if value.startswith("//") or not value.startswith("/"):
        raise ForbiddenAddressError(value[:120], "expected an address such as /data/upload/… or https://…")
    prefix = urlsplit(base).path
    url = urljoin(base + "/", value) if prefix and value.startswith(prefix + "/") else base + value
    split_url(url)
    return url


def split_url(url: str) -> SplitResult:
    """Parts of an http(s) address without credentials, control characters or climbing path.

    Raises ForbiddenAddressError otherwise.
    """
    if any(ord(character) <= 32 or ord(character) == 127 for character in url.replace(" ", "%20")) or "\\" in url:
        raise ForbiddenAddressError(shown(url), "holds control characters or backslashes")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        port_is_valid = False
    if not port_is_valid:
        raise ForbiddenAddressError(shown(url), "is not a valid address")
    if parts.scheme not in _PORTS:
        hint = (
            "; let Label Studio serve the storage's files (pre-signed or proxied addresses)"
            if parts.scheme in ("s3", "gs")
            else ""
        )
        raise ForbiddenAddressError(shown(url), f"expected http or https, got {parts.scheme or 'no scheme'!r}{hint}")
    if not parts.hostname:
        raise ForbiddenAddressError(shown(url), "names no host")
    if parts.username or parts.password:
        raise ForbiddenAddressError(shown(url), "holds a user name or password")
    _check_no_climbing(url, parts.path)
    return parts


def origin_of(parts: SplitResult) -> Origin:
    """(scheme, host, port)."""
    return parts.scheme, (parts.hostname or "").rstrip(".").lower(), parts.port or _PORTS[parts.scheme]


def check_label_studio_path(url: str, base_path: str) -> None:
    """Raise ForbiddenAddressError unless the address on Label Studio's own origin is that of a file.

    ``base_path`` is the path below which Label Studio itself lives, mostly empty.
    """
    parts = urlsplit(url)
    path = parts.path.removeprefix(base_path.rstrip("/"))
    if not _FILE_PATHS.match(path):
        raise ForbiddenAddressError(shown(url), "is not below /data/ on Label Studio; only pictures are fetched")
    if path.startswith("/data/local-files"):
        named = parse_qs(parts.query, keep_blank_values=True).get("d", [])
        if len(named) != 1:
            raise ForbiddenAddressError(shown(url), f"expected exactly one ?d=, got {len(named)}")
        if named[0].startswith("/"):
            raise ForbiddenAddressError(shown(url), "?d= must be relative to LOCAL_FILES_DOCUMENT_ROOT")
        _check_no_climbing(url, named[0])


def is_file_path(path: str) -> bool:
    """The path ends like those below which Label Studio serves files; a sub-path may stand before it."""
    return _FILE_PATHS.search(path) is not None


def _check_no_climbing(url: str, path: str) -> None:
    decoded = path
    for _ in range(3):  # %252e decodes to %2e and that to a dot
        decoded = unquote(decoded)
    if ".." in re.split(r"[/\\]", decoded) or "\0" in decoded:
        raise ForbiddenAddressError(shown(url), "climbs out of its folder")


def shown(url: str) -> str:
    """The address as it may appear in a message or log: without user, fragment and every parameter that could be a secret."""
    head, _, query = url.partition("#")[0].partition("?")
    head = re.sub(r"//[^/@]*@", "//", head)
    kept = {name: values[0] for name, values in parse_qs(query).items() if name in _SHOWN_PARAMETERS}
    text = head + ("?" + urlencode(kept, quote_via=quote, safe="/") if kept else "")
    return "".join(character if character.isprintable() else "?" for character in text)[:300]

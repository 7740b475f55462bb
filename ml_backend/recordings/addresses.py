"""Addresses of pictures: what a task's data may say, what is safe to ask for, and what may appear in messages."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urljoin, urlsplit

from ml_backend.recordings.picture_errors import ForbiddenAddressError

#: Below these paths Label Studio serves files; everything else on it is its API and never asked for pictures.
_FILE_PATHS = re.compile(r"/(data|storage-data)/|/(tasks|projects)/\d+/(resolve|presign)/")
#: The only query parameters that may be shown: they name files.  Others may be signatures.
_SHOWN_PARAMETERS = ("d", "filepath")
#: Signed addresses of storages have some 2,000.
_LONGEST = 8000
_PORTS = {"http": 80, "https": 443}
#: Stands before the path of what Label Studio serves itself, wherever it is reached: it may move.
SERVER = "label-studio://"

Origin = tuple[str, str, int]


def is_url(source: str) -> bool:
    """``source`` is an address (has a scheme), not a path on this machine."""
    return "://" in source


def task_image_url(value: str, label_studio_url: str, public_url: str | None = None) -> str:
    """What a task's data says about a picture → its address.

    What Label Studio serves itself becomes ``label-studio:///data/…``, without the address of the server; anything else is an
    absolute http(s) address.  It is never a path on this machine.
    Raises ForbiddenAddressError for other schemes and for plain paths.

    public_url  the server as browsers reach it, which Label Studio writes into addresses; None = the same
    """
    value = value.strip()
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", value):
        split_url(value)
        return wherever_it_is(value, label_studio_url, public_url)
    if value.startswith("//") or not value.startswith("/"):
        raise ForbiddenAddressError(value[:120], "expected an address such as /data/upload/… or https://…")
    origin = urljoin(label_studio_url, "/").rstrip("/")
    split_url(origin + value)
    path = path_on_server(origin + value, label_studio_url, public_url)
    return SERVER + (value if path is None else path)


def wherever_it_is(source: str, label_studio_url: str, public_url: str | None = None) -> str:
    """What Label Studio serves itself → ``label-studio:///data/…``; any other address or path stays as it is."""
    path = path_on_server(source, label_studio_url, public_url) if is_url(source) else None
    return source if path is None else SERVER + path


def path_on_server(url: str, label_studio_url: str, public_url: str | None = None) -> str | None:
    """Path and query, below Label Studio, of an address that leads to it; None for an address elsewhere."""
    if url.startswith(SERVER):
        return url.removeprefix(SERVER)
    parts, own, public = split_url(url), split_url(label_studio_url), split_url(public_url or label_studio_url)
    below = [public.path] if origin_of(parts) == origin_of(public) else []
    below += [public.path, own.path] if origin_of(parts) == origin_of(own) else []
    for base in (path.rstrip("/") for path in below):
        if not base or parts.path.startswith(base + "/"):
            rest = (f"?{parts.query}" if parts.query else "") + (f"#{parts.fragment}" if parts.fragment else "")
            return parts.path.removeprefix(base) + rest
    return None


def split_url(url: str) -> SplitResult:
    """Parts of an http(s) address without credentials, control characters or climbing path.

    Raises ForbiddenAddressError otherwise.
    """
    if len(url) > _LONGEST:
        raise ForbiddenAddressError(shown(url), f"is longer than {_LONGEST:,} characters")
    if any(ord(character) <= 32 or ord(character) == 127 for character in url.replace(" ", "%20")) or "\\" in url:
        raise ForbiddenAddressError(shown(url), "holds control characters or backslashes")
    try:
        parts = urlsplit(url)
        valid = parts.port != 0 and _is_host(parts.hostname or "")
    except ValueError:
        valid = False
    if not valid:
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
    if "@" in parts.netloc:
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
    decoded = _decoded(path)
    if any(part in ("", ".") for part in decoded.split("/")[1:-1]):
        raise ForbiddenAddressError(shown(url), "holds an empty or dotted part between its slashes")
    # As it is asked for, and as the server will read it.
    if not (_FILE_PATHS.match(path) and _FILE_PATHS.match(decoded)):
        raise ForbiddenAddressError(shown(url), "is not below /data/ on Label Studio; only pictures are fetched")
    if decoded.startswith("/data/local-files"):
        named = parse_qs(parts.query, keep_blank_values=True).get("d", [])
        if len(named) != 1:
            raise ForbiddenAddressError(shown(url), f"expected exactly one ?d=, got {len(named)}")
        if named[0].startswith("/"):
            raise ForbiddenAddressError(shown(url), "?d= must be relative to LOCAL_FILES_DOCUMENT_ROOT")
        _check_no_climbing(url, named[0])


def is_file_path(path: str) -> bool:
    """The path ends like those below which Label Studio serves files; a sub-path may stand before it."""
    return _FILE_PATHS.search(path) is not None


def _decoded(path: str) -> str:
    for _ in range(3):  # %252e decodes to %2e and that to a dot
        path = unquote(path)
    return path


def _is_host(host: str) -> bool:
    """A name that can be asked for, or nothing: letters of other alphabets as IDNA writes them."""
    try:
        return len(host.encode("idna")) <= 253
    except UnicodeError:
        return False


def _check_no_climbing(url: str, path: str) -> None:
    decoded = _decoded(path)
    if ".." in re.split(r"[/\\]", decoded) or "\0" in decoded:
        raise ForbiddenAddressError(shown(url), "climbs out of its folder")


def shown(url: str) -> str:
    """The address as it may appear in a message or log: without user, fragment and every parameter that could be a secret."""
    head, _, query = url.removeprefix(SERVER).partition("#")[0].partition("?")
    head = re.sub(r"//[^/@]*@", "//", head)
    kept = {name: values[0] for name, values in parse_qs(query).items() if name in _SHOWN_PARAMETERS}
    text = head + ("?" + urlencode(kept, quote_via=quote, safe="/") if kept else "")
    return "".join(character if character.isprintable() else "?" for character in text)[:300]

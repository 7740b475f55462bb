"""The guarded fetcher: bytes of a picture from Label Studio or a listed host, and from nowhere else.

Every request, redirects included, is checked against the list, its host is resolved once, and the connection goes to that
very address.  Credentials go to Label Studio's own origin only.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from ml_backend.recordings.addresses import check_label_studio_path, shown, split_url
from ml_backend.recordings.cache import PictureCache
from ml_backend.recordings.credentials import Credentials
from ml_backend.recordings.errors import FetchError
from ml_backend.recordings.hosts import AllowedHosts
from ml_backend.recordings.pictures import DEFAULT_LIMITS, Limits

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 3
_MAX_TOKEN_ANSWER_BYTES = 65_536


@dataclass(frozen=True)
class Timeouts:
    """Seconds to connect, between two pieces of the answer, and for the whole picture."""

    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 60.0


class Fetcher:
    """Gets pictures over HTTP.  Safe to share between threads."""

    def __init__(
        self,
        hosts: AllowedHosts,
        credentials: Credentials | None = None,
        cache: PictureCache | None = None,
        limits: Limits = DEFAULT_LIMITS,
        timeouts: Timeouts = Timeouts(),
    ) -> None:
        self._hosts = hosts
        self._credentials = credentials
        self._cache = cache
        self._limits = limits
        self._timeouts = timeouts
        timeout = httpx.Timeout(timeouts.read_s, connect=timeouts.connect_s)
        # trust_env off: a proxy or .netrc from the environment would undo the checks
        # no connection is kept: two names at one address must not share the certificate check of the first
        fresh = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(follow_redirects=False, trust_env=False, timeout=timeout, limits=fresh)

    def fetch(self, url: str) -> bytes:
        """The bytes behind an absolute address, from the cache where it has them.

        Raises ForbiddenAddressError for an address that is not allowed and FetchError for everything that goes wrong;
        neither message holds a token or signature.
        """
        self._hosts.resolve(url)  # also what is cached must be allowed
        if self._cache is not None and (held := self._cache.get(url)) is not None:
            return held
        data = self._download(url)
        if self._cache is not None:
            self._cache.put(url, data)
        return data

    def forget(self, url: str) -> None:
        """Drop what the cache holds for an address."""
        if self._cache is not None:
            self._cache.remove(url)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _download(self, url: str) -> bytes:
        deadline = time.monotonic() + self._timeouts.total_s
        target, retried = url, False
        for _ in range(_MAX_REDIRECTS + 2):
            own = self._hosts.is_label_studio(target)
            if own:
                check_label_studio_path(target, self._hosts.base_path)
            authorization = self._credentials.header(self._post_json) if own and self._credentials else None
            status, location, body = self._get(target, authorization, deadline)
            if status in _REDIRECTS and location:
                target = urljoin(target, location)
                split_url(target)
            elif status == 401 and own and not retried and self._credentials is not None and self._credentials.reject():
                retried = True
            elif status == 200:
                return body
            else:
                raise FetchError(shown(target), _explain(status, own))
        raise FetchError(shown(url), f"redirects more than {_MAX_REDIRECTS} times")

    def _get(self, url: str, authorization: str | None, deadline: float) -> tuple[int, str | None, bytes]:
        # Label Studio serves files by views that know JSON only: a request for image/* is refused with 406.
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        if authorization:
            headers["Authorization"] = authorization
        request = self._pinned("GET", url, headers)
        try:
            response = self._client.send(request, stream=True)
            try:
                body = self._read(url, response, self._limits.max_bytes, deadline) if response.status_code == 200 else b""
                return response.status_code, response.headers.get("location"), body
            finally:
                response.close()
        except httpx.TimeoutException as error:
            raise FetchError(shown(url), "the server does not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(shown(url), f"cannot be fetched ({type(error).__name__})") from error

    def _read(self, url: str, response: httpx.Response, max_bytes: int, deadline: float) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise FetchError(shown(url), "the server compresses the answer although it was asked not to")
        if response.headers.get("content-type", "").startswith("text/html"):
            raise FetchError(shown(url), "expected a picture, got a web page (a login page?)")
        declared = response.headers.get("content-length", "0")
        pieces, received = [], 0
        for piece in response.iter_raw():
            received += len(piece)
            pieces.append(piece)
            if max(received, int(declared) if declared.isdigit() else 0) > max_bytes:
                raise FetchError(shown(url), f"expected at most {max_bytes:,} bytes, got more; raise cache.max_megabytes")
            if time.monotonic() > deadline:
                raise FetchError(shown(url), f"not complete after {self._timeouts.total_s:g} s")
        return b"".join(pieces)

    def _post_json(self, path: str, content: dict[str, str]) -> tuple[int, object]:
        """POST to Label Studio itself, for the credentials."""
        scheme, host, port = self._hosts.label_studio
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{self._hosts.base_path}{path}"
        request = self._pinned("POST", url, {"Accept-Encoding": "identity"}, content)
        try:
            response = self._client.send(request, stream=True)
            try:
                if response.status_code != 200:
                    return response.status_code, None
                deadline = time.monotonic() + self._timeouts.total_s
                return 200, json.loads(self._read(url, response, _MAX_TOKEN_ANSWER_BYTES, deadline))
            finally:
                response.close()
        except (httpx.HTTPError, ValueError) as error:
            # no chaining: the cause holds the request, and the request holds the token
            raise FetchError(shown(url), f"Label Studio cannot be reached ({type(error).__name__})") from None

    def _pinned(self, method: str, url: str, headers: dict[str, str], content: dict[str, str] | None = None) -> httpx.Request:
        """A request that connects to the checked address while host name and certificate stay those of the address."""
        address = self._hosts.resolve(url)
        parts = urlsplit(url)
        netloc = f"[{address}]" if ":" in address else address
        if parts.port:
            netloc += f":{parts.port}"
        direct = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
        host = parts.netloc.rpartition("@")[2]
        extensions = {"sni_hostname": parts.hostname} if parts.scheme == "https" else {}
        return self._client.build_request(method, direct, headers={**headers, "Host": host}, json=content, extensions=extensions)


def _explain(status: int, own: bool) -> str:
    if own and status in (401, 403):
        return (
            f"Label Studio refuses the token (status {status}); legacy tokens are off by default: "
            "use a personal access token, or turn them on under Organization"
        )
    if status == 404:
        return "not found (status 404)" + (
            "; is LOCAL_FILES_SERVING_ENABLED on and the storage added to the project?" if own else ""
        )
    return f"the server answers with status {status}"

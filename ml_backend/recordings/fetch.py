"""The guarded fetcher: bytes of a picture from Label Studio or a listed host, and from nowhere else.

Every request, redirects included, is checked against the list, its host is resolved once, and the connection goes to one of
the addresses that were checked.  Credentials go to Label Studio's own origin only.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit, urlunsplit

import httpx

from ml_backend.recordings.addresses import check_label_studio_path, is_url, origin_of, shown, split_url
from ml_backend.recordings.cache import PictureCache
from ml_backend.recordings.connections import certificate_problem, proxy_for, trusted
from ml_backend.recordings.credentials import Credentials
from ml_backend.recordings.deadline import Deadline
from ml_backend.recordings.hosts import AllowedHosts
from ml_backend.recordings.pace import Pace
from ml_backend.recordings.picture_errors import FetchError, ServerAwayError, UnreadableImageError
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
        ca_file: str | None = None,
        proxies: bool = False,
    ) -> None:
        self._hosts = hosts
        self._credentials = credentials
        self._cache = cache
        self._limits = limits
        self._timeouts = timeouts
        self._proxies = proxies
        self._pace = Pace()
        self._trusted = trusted(ca_file)
        self._clients: dict[str | None, httpx.Client] = {None: self._client(None)}

    def _client(self, proxy: str | None) -> httpx.Client:
        return httpx.Client(
            follow_redirects=False,
            # a proxy or .netrc that nobody chose would undo the checks
            trust_env=False,
            proxy=proxy,
            verify=self._trusted,
            timeout=httpx.Timeout(self._timeouts.read_s, connect=self._timeouts.connect_s),
            # what one picture's server sets is nobody else's business
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # no connection is kept: two names at one address must not share the certificate check of the first
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def fetch(self, url: str) -> bytes:
        """The bytes behind an absolute address, from the cache where it has them.

        Addresses that Label Studio gives to browsers are fetched from where we reach it.
        Raises ForbiddenAddressError for an address that is not allowed and FetchError for everything that goes wrong;
        neither message holds a token or signature.
        """
        try:
            return self._fetch(self._hosts.reachable(url))
        except UnreadableImageError:
            raise
        except Exception as error:  # whatever a library makes of an address or an answer: no other picture's trouble
            raise FetchError(shown(url), f"cannot be fetched ({type(error).__name__})") from error

    def _fetch(self, url: str) -> bytes:
        self._allow(url)  # also what is cached must be allowed
        if self._cache is not None and (held := self._cache.get(url)) is not None:
            return held
        data = self._download(url)
        if self._cache is not None:
            self._cache.put(url, data)
        return data

    def forget(self, url: str) -> None:
        """Drop what the cache holds for an address; a path on this machine is never there."""
        if self._cache is not None and is_url(url):
            self._cache.remove(self._hosts.reachable(url))

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def _proxy(self, url: str) -> str | None:
        return proxy_for(url) if self._proxies else None

    def _allow(self, url: str) -> None:
        if self._proxy(url) is None:
            self._hosts.resolve(url)
        else:
            self._hosts.check_listed(url)  # the proxy resolves the name, and decides what may be reached

    def _download(self, url: str) -> bytes:
        deadline = time.monotonic() + self._timeouts.total_s
        target, retried = url, False
        for _ in range(_MAX_REDIRECTS + 2):
            origin = origin_of(split_url(target))
            self._pace.check(origin, shown(target))
            own = self._hosts.is_label_studio(target)
            if own:
                check_label_studio_path(target, self._hosts.base_path)
            try:
                authorization = self._credentials.header(self._post_json) if own and self._credentials else None
                status, location, body = self._get(target, authorization, deadline)
            except ServerAwayError as error:
                self._pace.failed(origin, error.problem)
                raise
            if status in _REDIRECTS and location:
                target = self._hosts.reachable(urljoin(target, location))
            elif status == 401 and own and not retried and self._credentials is not None and self._credentials.reject():
                retried = True
            elif status == 200:
                self._pace.worked(origin)
                return body
            else:
                why = _explain(status, own)
                if status >= 500 or (own and status == 401):
                    self._pace.failed(origin, why)
                raise FetchError(shown(target), why)
        raise FetchError(shown(url), f"redirects more than {_MAX_REDIRECTS} times")

    def _get(self, url: str, authorization: str | None, deadline: float) -> tuple[int, str | None, bytes]:
        # Label Studio serves files by views that know JSON only: a request for image/* is refused with 406.
        headers = {"Accept-Encoding": "identity", "Accept": "*/*"}
        if authorization:
            headers["Authorization"] = authorization
        with Deadline(deadline) as end:
            try:
                response = self._send("GET", url, headers, end)
                try:
                    body = self._read(url, response, self._limits.max_bytes, end) if response.status_code == 200 else b""
                    return response.status_code, response.headers.get("location"), body
                finally:
                    response.close()
            except httpx.TimeoutException as error:
                raise ServerAwayError(shown(url), "the server does not answer in time") from error
            except httpx.InvalidURL as error:
                raise FetchError(shown(url), "is not a valid address") from error
            except httpx.HTTPError as error:
                self._check_time(url, end)
                why = certificate_problem(error) or f"cannot be fetched ({type(error).__name__})"
                raise ServerAwayError(shown(url), why) from error

    def _check_time(self, url: str, end: Deadline) -> None:
        """Raise ServerAwayError when the connection was cut: what looks like its end is ours."""
        if end.passed:
            raise ServerAwayError(shown(url), f"not complete after {self._timeouts.total_s:g} s")

    def _read(self, url: str, response: httpx.Response, max_bytes: int, end: Deadline) -> bytes:
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
        self._check_time(url, end)
        return b"".join(pieces)

    def _post_json(self, path: str, content: dict[str, str]) -> tuple[int, object]:
        """POST to Label Studio itself, for the credentials."""
        url = self._hosts.url + path
        with Deadline(time.monotonic() + self._timeouts.total_s) as end:
            try:
                response = self._send("POST", url, {"Accept-Encoding": "identity"}, end, content)
                try:
                    if response.status_code != 200:
                        return response.status_code, None
                    return 200, json.loads(self._read(url, response, _MAX_TOKEN_ANSWER_BYTES, end))
                finally:
                    response.close()
            except (httpx.HTTPError, ValueError, RecursionError) as error:
                # no chaining: the cause holds the request, and the request holds the token
                why = certificate_problem(error) or f"Label Studio cannot be reached ({type(error).__name__})"
                raise ServerAwayError(shown(url), why) from None

    def _send(
        self, method: str, url: str, headers: dict[str, str], end: Deadline, content: dict[str, str] | None = None
    ) -> httpx.Response:
        """The answer, its body not yet read, of a proxy or of the first of the host's addresses that takes the connection.

        ``localhost`` mostly has two, and Label Studio listens on one of them.
        """
        proxy = self._proxy(url)
        if proxy is not None:
            self._hosts.check_listed(url)
            client = self._clients.setdefault(proxy, self._clients.get(proxy) or self._client(proxy))
            return client.send(
                client.build_request(method, url, headers=headers, json=content, extensions={"trace": end.trace}), stream=True
            )
        *others, last = self._hosts.resolve(url)
        for address in others:
            try:
                return self._send_to(address, method, url, headers, end, content)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return self._send_to(last, method, url, headers, end, content)

    def _send_to(
        self, address: str, method: str, url: str, headers: dict[str, str], end: Deadline, content: dict[str, str] | None
    ) -> httpx.Response:
        """Connects to the checked address, while host name and certificate stay those of the URL."""
        parts = urlsplit(url)
        netloc = f"[{address}]" if ":" in address else address
        if parts.port:
            netloc += f":{parts.port}"
        direct = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
        host = parts.netloc.rpartition("@")[2]
        extensions = {"trace": end.trace} | ({"sni_hostname": parts.hostname} if parts.scheme == "https" else {})
        client, headers = self._clients[None], {**headers, "Host": host}
        return client.send(
            client.build_request(method, direct, headers=headers, json=content, extensions=extensions), stream=True
        )


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

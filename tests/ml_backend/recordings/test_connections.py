"""Label Studio as companies have it: two addresses, a certificate of their own, a proxy, a bad hour."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from label_config.settings.spec import Network
from label_config.values import BadInputError
from ml_backend.recordings import AllowedHosts, Credentials, Fetcher, FetchError, ForbiddenAddressError, clean_token
from ml_backend.recordings.connections import trusted
from ml_backend.recordings.pace import Pace
from plugins.label_studio_sync.client import Client, LabelStudioError

IMAGE = {"content-type": "image/jpeg"}
LEGACY = "0123456789abcdef0123456789abcdef01234567"
SOON = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
PAT = jwt.encode({"exp": SOON, "token_type": "refresh"}, "k" * 32, algorithm="HS256")
ACCESS = jwt.encode({"exp": SOON, "token_type": "access"}, "k" * 32, algorithm="HS256")
INSIDE = "http://label-studio:8080"


@pytest.mark.parametrize(
    ("inside", "public", "address", "reached"),
    [
        (INSIDE, None, f"{INSIDE}/data/upload/1/a.jpg", f"{INSIDE}/data/upload/1/a.jpg"),
        (INSIDE, "https://ls.lab", "https://ls.lab/data/local-files/?d=a%20b.jpg", f"{INSIDE}/data/local-files/?d=a%20b.jpg"),
        (INSIDE, "https://ls.lab", "https://LS.lab:443/tasks/3/resolve/?fileuri=x", f"{INSIDE}/tasks/3/resolve/?fileuri=x"),
        (INSIDE, "https://lab/ls", "https://lab/ls/data/local-files/?d=a", f"{INSIDE}/data/local-files/?d=a"),
        (INSIDE, "https://lab/ls", f"{INSIDE}/ls/data/upload/1/a.jpg", f"{INSIDE}/data/upload/1/a.jpg"),
        ("https://lab/ls", "https://lab/ls", "https://lab/ls/data/upload/a", "https://lab/ls/data/upload/a"),
        (INSIDE, "https://lab/ls", "https://lab/data/upload/a", "https://lab/data/upload/a"),
        (INSIDE, "https://ls.lab", "https://other/data/upload/a", "https://other/data/upload/a"),
        (INSIDE, "https://ls.lab", "http://ls.lab/data/upload/a", "http://ls.lab/data/upload/a"),
    ],
)
def test_the_public_address_becomes_the_one_that_is_reached(inside: str, public: str | None, address: str, reached: str) -> None:
    assert AllowedHosts(inside, public_url=public).reachable(address) == reached


def test_a_public_address_is_fetched_from_where_label_studio_is_reached_also_in_redirects(server: Any) -> None:
    hosts = AllowedHosts(server.url, public_url="https://label.studio.lab/ls")
    server.answers["/data/local-files/?d=a.jpg"] = (302, {"location": "https://label.studio.lab/ls/data/upload/b.jpg"}, b"")
    server.answers["/data/upload/b.jpg"] = (200, IMAGE, b"pixels")
    fetcher = Fetcher(hosts, Credentials(LEGACY))
    assert fetcher.fetch("https://label.studio.lab/ls/data/local-files/?d=a.jpg") == b"pixels"
    assert server.authorizations() == [f"Token {LEGACY}"] * 2
    with pytest.raises(ForbiddenAddressError, match=r"write it as label_studio\.public_url"):
        Fetcher(AllowedHosts(server.url)).fetch("https://label.studio.lab/ls/data/local-files/?d=a.jpg")


def test_a_name_with_two_addresses_is_reached_at_the_one_that_listens(server: Any) -> None:
    """``localhost`` is ::1 and then 127.0.0.1 on many systems; Label Studio listens on the latter."""
    url = server.url.replace("127.0.0.1", "localhost")
    hosts = AllowedHosts(url, resolve=lambda host, port: ["::1", "127.0.0.1"])
    server.answers["/data/a.jpg"] = (200, IMAGE, b"pixels")
    assert Fetcher(hosts).fetch("label-studio:///data/a.jpg") == b"pixels"


def test_a_server_that_fails_is_left_in_peace_for_a_while(server: Any) -> None:
    server.answers["/data/a.jpg"] = (502, {}, b"")
    fetcher = Fetcher(AllowedHosts(server.url))
    for _ in range(3):
        with pytest.raises(FetchError, match="status 502"):
            fetcher.fetch(server.url + "/data/a.jpg")
    with pytest.raises(FetchError, match=r"not asked for, because 127\.0\.0\.1 failed 3 times in a row .*status 502"):
        fetcher.fetch(server.url + "/data/b.jpg")
    assert len(server.seen) == 3


def test_the_rest_of_a_failing_server_grows_and_ends() -> None:
    now = [0.0]
    pace, origin = Pace(lambda: now[0]), ("http", "ls", 80)
    for _ in range(3):
        pace.failed(origin, "away")
    with pytest.raises(FetchError, match="again in 5 s"):
        pace.check(origin, "a.jpg")
    now[0] = 5.0
    pace.check(origin, "a.jpg")
    pace.failed(origin, "away")
    with pytest.raises(FetchError, match="again in 10 s"):
        pace.check(origin, "a.jpg")
    pace.check(("http", "other", 80), "b.jpg")
    pace.worked(origin)
    pace.check(origin, "a.jpg")


def test_proxies_of_the_environment_are_used_by_choice_and_not_for_hosts_in_no_proxy(
    server: Any, other_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, other_server.url)
    other_server.answers["http://pictures.lab/a.jpg"] = (200, IMAGE, b"by proxy")
    server.answers["/data/a.jpg"] = (200, IMAGE, b"directly")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetcher = Fetcher(AllowedHosts(server.url, ["pictures.lab"]), proxies=True)
    assert fetcher.fetch("http://pictures.lab/a.jpg") == b"by proxy"
    assert fetcher.fetch(server.url + "/data/a.jpg") == b"directly"
    with pytest.raises(ForbiddenAddressError, match="not listed"):
        fetcher.fetch("http://others.lab/a.jpg")
    assert other_server.paths == ["http://pictures.lab/a.jpg"]


class Secure(BaseHTTPRequestHandler):
    """A Label Studio below /ls, as far as these tests ask it."""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        answers = {"/ls/api/version": {"release": "1.23.2"}, "/ls/api/token/refresh/": {"access": ACCESS}, "/ls/data/a.jpg": [1]}
        body = json.dumps(answers.get(self.path, {})).encode()
        self.send_response(200 if self.path in answers else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None: ...


def certificate(folder: Path, *addresses: str) -> Path:
    """A certificate that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, SOON)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address)) for address in addresses])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = folder / f"{len(list(folder.iterdir()))}.pem"
    file.write_bytes(key.private_bytes(*kinds) + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address of the server, and the file that makes it trusted."""
    pem = certificate(tmp_path, "127.0.0.1")
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Secure)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
    httpd.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that do not trust it hang up
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{httpd.server_port}/ls", str(pem)
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def ask(url: str, token: str, network: Network = Network()) -> tuple[str, bytes]:
    """The API and a picture."""
    client = Client(url, token, network=network)
    try:
        fetcher = Fetcher(AllowedHosts(url), Credentials(token), ca_file=network.ca_file)
        return client.version(), fetcher.fetch(f"{url}/data/a.jpg")
    finally:
        client.close()


@pytest.mark.parametrize("token", [LEGACY, PAT, f" {LEGACY}\n"])
def test_a_private_ca_counts_for_api_pictures_and_both_tokens_below_a_path(secure: tuple[str, str], token: str) -> None:
    url, pem = secure
    assert ask(url, token, Network(ca_file=pem)) == ("1.23.2", b"[1]")


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_a_private_ca_of_the_environment_counts(secure: tuple[str, str], monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    url, pem = secure
    monkeypatch.setenv(variable, pem)
    assert ask(url, PAT) == ("1.23.2", b"[1]")


@pytest.mark.parametrize("token", [LEGACY, PAT])
def test_an_untrusted_certificate_is_called_that(secure: tuple[str, str], token: str) -> None:
    url, _ = secure
    words = r"its certificate is not trusted \(self-signed certificate\); give the file .* as network\.ca_file"
    with pytest.raises(LabelStudioError, match=words):
        Client(url, token).version()
    with pytest.raises(FetchError, match=words):
        Fetcher(AllowedHosts(url), Credentials(token)).fetch(f"{url}/data/a.jpg")


def test_a_file_without_a_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(BadInputError, match=rf"network\.ca_file: expected a file of certificates \(PEM\), got .*{name}"):
            trusted(str(tmp_path / name))


def test_a_token_is_one_word() -> None:
    assert clean_token(f"\n{LEGACY}\r\n") == LEGACY
    for wrong, words in (("", "got nothing"), ("abc\ndef", "got 2 words"), ("Token abc", "got 2 words")):
        with pytest.raises(BadInputError, match=words) as caught:
            clean_token(wrong)
        assert "abc" not in str(caught.value)

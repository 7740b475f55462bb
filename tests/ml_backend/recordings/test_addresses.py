from typing import Any

import pytest

from label_config.values import BadInputError
from ml_backend.recordings.addresses import check_label_studio_path, shown, split_url, task_image_url
from ml_backend.recordings.fetch import Fetcher
from ml_backend.recordings.hosts import AllowedHosts
from ml_backend.recordings.picture_errors import FetchError, ForbiddenAddressError, UnreadableImageError

LS = "http://ls.local:8080"
PUBLIC = "93.184.216.34"


def _hosts(*listed: str, address: str | list[str] = PUBLIC, base: str = LS) -> AllowedHosts:
    return AllowedHosts(base, listed, resolve=lambda host, port: [address] if isinstance(address, str) else address)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/data/upload/1/a b.jpg", "label-studio:///data/upload/1/a b.jpg"),
        ("/data/local-files/?d=frames/f.jpg", "label-studio:///data/local-files/?d=frames/f.jpg"),
        (" https://host/a.jpg ", "https://host/a.jpg"),
    ],
)
def test_task_values_become_addresses(value: Any, url: Any) -> None:
    assert task_image_url(value, LS + "/") == url


def test_label_studio_below_a_path() -> None:
    assert task_image_url("/data/a.jpg", "http://h/ls") == "label-studio:///data/a.jpg"
    assert task_image_url("/ls/data/a.jpg", "http://h/ls") == "label-studio:///data/a.jpg"
    check_label_studio_path("http://h/ls/data/a.jpg", "/ls")


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("http://in:8080/data/a.jpg", "label-studio:///data/a.jpg"),
        ("https://lab.org/ls/tasks/3/resolve/?fileuri=x", "label-studio:///tasks/3/resolve/?fileuri=x"),
        ("/ls/data/a.jpg", "label-studio:///data/a.jpg"),
        ("/data/a #1.jpg", "label-studio:///data/a #1.jpg"),
        ("https://lab.org/ls/data/a#1.jpg", "label-studio:///data/a#1.jpg"),
        ("https://lab.org/data/a.jpg", "https://lab.org/data/a.jpg"),
        ("http://lab.org/ls/data/a.jpg", "http://lab.org/ls/data/a.jpg"),
    ],
)
def test_addresses_on_label_studio_are_known_without_it_and_reached_wherever_it_is(value: Any, address: Any) -> None:
    assert task_image_url(value, "http://in:8080", "https://lab.org/ls") == address
    moved = AllowedHosts("https://elsewhere/sub")
    assert moved.reachable(address) == address.replace("label-studio://", "https://elsewhere/sub")
    assert "label-studio" not in shown(address)


@pytest.mark.parametrize(
    "value",
    [
        "label-studio:///data/a.jpg",
        "file:///etc/passwd",
        "ftp://host/a",
        "s3://bucket/a.jpg",
        "data:image/png;base64,AA",
        "frames/a.jpg",
        "//host/a.jpg",
        "C:\\a.jpg",
        "",
        "javascript:alert(1)",
        "http://user:secret@host/a.jpg",
        "http:///a",
        "http://host:99999/a",
        "/data/../api/token",
        "/data/%2e%2e/api",
        "/data/%252e%252e/api",
        "http://host/a\r\nX: y",
    ],
)
def test_task_values_that_are_refused(value: Any) -> None:
    with pytest.raises(ForbiddenAddressError) as caught:
        task_image_url(value, LS)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "/api/current-user/token",
        "/",
        "/user/logout",
        "/api/projects/1/next",
        "/data/local-files/",
        "/data/local-files/?d=a&d=b",
        "/data/local-files/?d=../x",
        "/data/local-files/?d=%2e%2e/x",
        "/data/local-files/?d=%252e%252e%252fx",
        "/data/local-files/?d=/etc/passwd",
        "/data/local-files/?d=a%00b",
        "/data/local-files/?d=a\\..\\..\\b",
        "/database/",
        "/data/local-files/?x=1",
    ],
)
def test_only_files_are_asked_of_label_studio(path: Any) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_label_studio_path(LS + path, "")


@pytest.mark.parametrize(
    "path", ["/data/upload/1/a.jpg", "/data/local-files/?d=a/b%20c.jpg", "/tasks/5/resolve/?fileuri=czM6", "/storage-data/x/"]
)
def test_files_are_asked_of_label_studio(path: Any) -> None:
    check_label_studio_path(LS + path, "")


def test_messages_show_files_but_no_secrets() -> None:
    url = "https://me:pw@b.s3.example/a.jpg?X-Amz-Signature=abc&d=frames/f.jpg&token=t#frag"
    assert shown(url) == "https://b.s3.example/a.jpg?d=frames/f.jpg"


def test_hosts_that_are_not_listed() -> None:
    with pytest.raises(ForbiddenAddressError, match=r"evil\.example:443 is not listed"):
        _hosts("good.example").resolve("https://evil.example/a.jpg")
    assert _hosts("good.example").resolve("https://GOOD.example./a.jpg") == [PUBLIC]
    for url in (
        "https://good.example.evil.example/a",
        "https://evil.example/good.example",
        "https://good.example:8443/a",
        LS.replace("8080", "9090"),
    ):
        with pytest.raises(ForbiddenAddressError):
            _hosts("good.example").resolve(url)
    assert _hosts("good.example:8443").resolve("https://good.example:8443/a") == [PUBLIC]


PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "::1",
    "fe80::1",
    "fc00::1",
    "::ffff:127.0.0.1",
    "100.64.0.1",
    "224.0.0.1",
    "fe80::1%eth0",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_listed_names_do_not_reach_private_addresses(address: Any) -> None:
    with pytest.raises(ForbiddenAddressError, match="reserved address"):
        _hosts("storage.example", address=address).resolve("http://storage.example/a")
    with pytest.raises(ForbiddenAddressError):
        _hosts("storage.example", address=[PUBLIC, address]).resolve("http://storage.example/a")


def test_listed_networks_are_reached() -> None:
    assert _hosts("minio:9000", "10.0.0.0/8", address="10.1.2.3").resolve("http://minio:9000/a") == ["10.1.2.3"]
    assert _hosts("192.168.1.7", address="192.168.1.7").resolve("http://192.168.1.7/a") == ["192.168.1.7"]
    with pytest.raises(ForbiddenAddressError):
        _hosts("minio:9000", "10.0.0.0/8", address="192.168.0.1").resolve("http://minio:9000/a")
    with pytest.raises(ForbiddenAddressError):  # a listed network is no listed host
        _hosts("10.0.0.0/8", address="10.1.2.3").resolve("http://other.example/a")


def test_label_studio_itself_may_be_private_but_not_link_local() -> None:
    assert _hosts(address="127.0.0.1").resolve(LS + "/data/a.jpg") == ["127.0.0.1"]
    for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1"):
        with pytest.raises(ForbiddenAddressError):
            _hosts(address=address).resolve(LS + "/data/a.jpg")
    with pytest.raises(ForbiddenAddressError):  # the same host as another service
        _hosts(address="127.0.0.1").resolve("http://ls.local:6379/a")


def test_names_that_do_not_resolve() -> None:
    def fail(host: str, port: int) -> list[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(FetchError, match=r"'ls\.local' cannot be found"):
        AllowedHosts(LS, resolve=fail).resolve(LS + "/data/a")
    with pytest.raises(FetchError, match="no address"):
        _hosts(address=[]).resolve(LS + "/data/a")


@pytest.mark.parametrize("entry", ["*", "*.example.com", "http://host/", "host:port", "10.0.0.0/99", ""])
def test_list_entries_that_are_refused(entry: Any) -> None:
    with pytest.raises(BadInputError, match="allowed hosts"):
        _hosts(entry)


def test_other_schemes() -> None:
    for url in ("gopher://h/", "file:/etc/passwd", "FILE:///etc/passwd"):
        with pytest.raises(ForbiddenAddressError):
            split_url(url)


NEVER = {
    "AWS, Azure, GCP": "169.254.169.254",
    "Alibaba": "100.100.100.200",
    "Azure's wire server": "168.63.129.16",
    "Oracle": "192.0.0.192",
    "AWS by IPv6": "fd00:ec2::254",
    "GCP by IPv6": "fd20:ce::254",
    "NAT64 to the loopback": "64:ff9b::7f00:1",
    "NAT64 to metadata": "64:ff9b::a9fe:a9fe",
    "NAT64 to Azure's wire server": "64:ff9b::a83f:8110",
    "local NAT64": "64:ff9b:1::a00:1",
    "6to4 to the loopback": "2002:7f00:1::1",
    "6to4 to a public address": "2002:808:808::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "IPv4-compatible": "::7f00:1",
    "IPv4-compatible, private": "::10.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped, Azure": "::ffff:168.63.129.16",
    "site-local": "fec0::1",
}


@pytest.mark.parametrize("name", NEVER)
def test_addresses_behind_which_something_else_answers_are_never_asked(name: str) -> None:
    for hosts, url in (((), LS + "/data/a.jpg"), (("storage.example",), "http://storage.example/a")):
        with pytest.raises(ForbiddenAddressError, match="reserved address"):
            _hosts(*hosts, address=NEVER[name]).resolve(url)


@pytest.mark.parametrize("address", [a for name, a in NEVER.items() if name != "site-local"])
def test_a_listed_network_opens_no_metadata_and_no_tunnel(address: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        _hosts("storage.example", "0.0.0.0/0", "::/0", address=address).resolve("http://storage.example/a")


def test_nat64_to_a_public_address_is_that_address() -> None:
    assert _hosts("storage.example", address="64:ff9b::808:808").resolve("http://storage.example/a") == ["64:ff9b::808:808"]


@pytest.mark.parametrize(
    "path",
    [
        "/data/%6cocal-files/?d=../../etc/passwd",
        "/data/%6cocal-files/?d=/etc/passwd",
        "/data/%256cocal-files/?d=/etc/passwd",
        "/data//local-files/?d=a.jpg",
        "/data/./local-files/?d=a.jpg",
        "/data/%2e/local-files/?d=a.jpg",
        "/data/%2flocal-files/?d=a.jpg",
        "/data/local-files//?d=a.jpg",
        "//data/local-files/?d=a.jpg",
        "/%64ata/../api/users/",
        "/api%2f..%2fdata/x",
    ],
)
def test_other_spellings_of_a_path_on_label_studio_are_refused(path: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        check_label_studio_path(LS + path, "")


@pytest.mark.parametrize("user", ["@", ":@", "me@", ":pw@"])
def test_an_address_with_an_empty_user_is_refused(user: str) -> None:
    with pytest.raises(ForbiddenAddressError, match="user name or password"):
        split_url(f"https://{user}storage.example/a.jpg")


IMPOSSIBLE = {
    "70,000 characters": "https://storage.example/" + "a" * 70_000,
    "a host of 70,000 characters": f"https://{'a' * 70_000}/a",
    "a label of 64 characters": f"https://{'a' * 64}.example/a",
    "no letters at all": "https://\u2024\u2024/a",
    "half a character": "https://storage.example/\ud800",
    "port 99999": "https://storage.example:99999/a",
    "port 0": "https://storage.example:0/a",
    "port x": "https://storage.example:x/a",
    "an open bracket": "https://[::1/a",
    "a host that is NFKC trouble": "https://storage\u2100.example/a",
    "two dots": "https://storage..example/a",
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_address_is_an_error_of_its_picture_alone(name: str) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        Fetcher(_hosts("storage.example", address=PUBLIC)).fetch(IMPOSSIBLE[name])
    assert len(str(caught.value)) < 500

"""Which hosts may be asked for pictures, and at which network addresses."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from label_config.values.errors import RecordingError
from label_config.values.refusing import cause_of
from ml_backend.recordings.addresses import Origin, is_file_path, origin_of, path_on_server, shown, split_url
from ml_backend.recordings.picture_errors import FetchError, ForbiddenAddressError, ServerAwayError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


def resolve_host(host: str, port: int) -> Sequence[str]:
    """The network addresses of a host name.  Raises OSError."""
    return [str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


#: Who asks them from a cloud's machine gets the machine's rights: AWS, Azure and GCP; Alibaba; Azure's other; Oracle; AWS; GCP.
_METADATA: frozenset[IPAddress | None] = frozenset(
    map(
        ipaddress.ip_address,
        ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: IPv6 addresses whose last four bytes are an IPv4 address that a gateway, or this machine, sends the packets to.
_LAST_BYTES = (_NAT64, ipaddress.IPv6Network("64:ff9b:1::/48"), ipaddress.IPv6Network("::/96"))


def _inside(address: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: by NAT64, 6to4, Teredo, or as an old compatible one; None for others."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return None
    if any(address in network for network in _LAST_BYTES):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)


def _is_site_local(address: IPAddress) -> bool:
    return isinstance(address, ipaddress.IPv6Address) and address.is_site_local


class AllowedHosts:
    """Label Studio's own origin, and what the configuration lists.

    label_studio_url  its origin is always allowed, at any address but link-local ones (cloud metadata services)
    public_url        the address by which browsers reach it, which it writes into addresses of pictures; None = the same
    hosts             entries ``host`` (https or http at the standard port), ``host:port``, or a network such as
                      ``10.0.0.0/8`` or ``192.168.1.7``: private addresses that listed hosts may have
    """

    def __init__(
        self, label_studio_url: str, hosts: Sequence[str] = (), resolve: Resolve = resolve_host, public_url: str | None = None
    ) -> None:
        self.url = label_studio_url.rstrip("/")
        self.label_studio: Origin = origin_of(split_url(label_studio_url))
        self.base_path = urlsplit(label_studio_url).path.rstrip("/")
        self._public_url = public_url
        self._resolve = resolve
        self._hosts: set[tuple[str, int | None]] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in hosts:
            self._add(entry)

    def _add(self, entry: str) -> None:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            host, _, port = entry.lower().rstrip(".").partition(":")
            if not host or "/" in entry or "*" in entry or (port and not port.isdigit()):
                raise RecordingError(f"allowed hosts: expected 'host', 'host:port' or a network, got {entry!r}") from None
            self._hosts.add((host, int(port) if port else None))
            return
        self._networks.append(network)
        if network.num_addresses == 1:
            self._hosts.add((str(network.network_address), None))

    def reachable(self, url: str) -> str:
        """The address by which this machine reaches a picture: what is on Label Studio is asked for where we reach it."""
        path = path_on_server(url, self.url, self._public_url)
        return url if path is None else self.url + path

    def is_label_studio(self, url: str) -> bool:
        """Scheme, host and port are Label Studio's."""
        return origin_of(split_url(url)) == self.label_studio

    def check_listed(self, url: str) -> None:
        """Raise ForbiddenAddressError unless pictures may come from this host."""
        parts = split_url(url)
        scheme, host, port = origin_of(parts)
        own = (scheme, host, port) == self.label_studio
        standard = port == (443 if scheme == "https" else 80)
        if not own and (host, port) not in self._hosts and not (standard and (host, None) in self._hosts):
            hint = "add it to cache.hosts if pictures may come from there"
            if is_file_path(parts.path):
                hint += "; if it is the address of Label Studio for browsers, write it as label_studio.public_url"
            raise ForbiddenAddressError(shown(url), f"the host {host}:{port} is not listed; {hint}")

    def resolve(self, url: str) -> list[str]:
        """The network addresses to connect to, at least one, the preferred one first.

        Raises ForbiddenAddressError when the host is not listed or resolves to an address that is not to be reached, and
        FetchError when it does not resolve.  A name with several addresses is refused if any of them is forbidden.
        """
        self.check_listed(url)
        scheme, host, port = origin_of(split_url(url))
        own = (scheme, host, port) == self.label_studio
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise ServerAwayError(shown(url), f"the host {host!r} cannot be found ({cause_of(error)})") from error
        for address in addresses:
            self._check(url, ipaddress.ip_address(address.partition("%")[0]), own)
        if not addresses:
            raise FetchError(shown(url), f"the host {host!r} has no address")
        return list(dict.fromkeys(addresses))

    def _check(self, url: str, address: IPAddress, own: bool) -> None:
        address = getattr(address, "ipv4_mapped", None) or address
        inside = _inside(address)
        if {address, inside} & _METADATA:
            raise ForbiddenAddressError(shown(url), f"its host has the reserved address {address}, of cloud services")
        if inside is not None and not (address in _NAT64 and inside.is_global):
            raise ForbiddenAddressError(shown(url), f"its host has the reserved address {address}, a tunnel to {inside}")
        if any(address.version == network.version and address in network for network in self._networks):
            return
        if own and not (address.is_link_local or address.is_multicast or address.is_unspecified or _is_site_local(address)):
            return
        if not address.is_global or address.is_multicast or _is_site_local(address):
            raise ForbiddenAddressError(
                shown(url),
                f"its host has the private or reserved address {address}; list that address in cache.hosts to allow it",
            )

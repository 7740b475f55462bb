"""How connections are made: which certificates are trusted, and by which proxy they go.

Both count for Label Studio's API and for pictures.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from label_config.values.errors import RecordingError

#: Variables that name a file of trusted certificates, as curl, requests and OpenSSL read them.
CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
CA_FIX = "give the file with the certificate of your organisation's CA as network.ca_file in parallax.yaml, or in SSL_CERT_FILE"


def trusted(ca_file: str | None = None) -> ssl.SSLContext:
    """What is trusted: the public authorities, this machine's own, and those of ``ca_file`` and of the environment.

    Raises BadInputError for a file that holds no certificate.
    """
    named = {"network.ca_file": ca_file, **{name: os.environ.get(name) for name in CA_VARIABLES}}
    return _context(tuple((name, file) for name, file in named.items() if file))


@cache  # reading the authorities takes a good part of a second
def _context(named: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    for name, file in named:
        try:
            context.load_verify_locations(**{"capath" if Path(file).is_dir() else "cafile": file})
        except OSError as error:  # SSLError is one
            raise RecordingError(f"{name}: expected a file of certificates (PEM), got {file!r} ({error})") from error
    return context


def proxy_for(url: str) -> str | None:
    """The proxy of the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) for an address, None where NO_PROXY lists its host."""
    parts = urlsplit(url)
    if proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    found = getproxies()
    return found.get(parts.scheme) or found.get("all")


def certificate_problem(error: BaseException) -> str | None:
    """What is wrong with the certificate, and the fix, when that is why a connection failed."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
            if "mismatch" in why.lower():
                return f"its certificate is for another name ({why}); write the address with the name of the certificate"
            if "expired" in why or "not yet valid" in why:
                return f"its certificate is not valid now ({why}); renew it, and check this machine's clock"
            return f"its certificate is not trusted ({why}); {CA_FIX}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

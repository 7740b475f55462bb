"""The fetcher that parallax.yaml describes."""

from __future__ import annotations

from pathlib import Path

from label_config.settings.spec import Spec
from ml_backend.recordings.cache import PictureCache
from ml_backend.recordings.credentials import Credentials
from ml_backend.recordings.fetch import Fetcher
from ml_backend.recordings.hosts import AllowedHosts
from ml_backend.recordings.pictures import limits_of


def make_fetcher(spec: Spec, public_url: str | None = None, *, cached: bool = True) -> Fetcher:
    """A fetcher of its own.

    public_url  of Label Studio, as it says itself; parallax.yaml goes before
    cached      keep what is fetched in ``cache.folder``, and take it from there
    """
    token = spec.label_studio.token
    return Fetcher(
        AllowedHosts(spec.label_studio.url, spec.cache.hosts, public_url=spec.label_studio.public_url or public_url),
        Credentials(token.get_secret_value()) if token else None,
        PictureCache(Path(spec.cache.folder) / "fetched", int(spec.cache.max_gb * 2**30)) if cached else None,
        limits_of(spec.cache),
        ca_file=spec.network.ca_file,
        proxies=spec.network.proxies == "environment",
    )

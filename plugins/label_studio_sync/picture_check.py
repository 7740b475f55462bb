"""Whether the pictures of a project can be fetched: one of each kind of address is tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

from label_config.settings.spec import Spec
from ml_backend.recordings import UnreadableImageError, decode_picture, is_url, limits_of
from ml_backend.recordings.from_spec import make_fetcher
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_names import TaskNames

_KINDS = {
    "/data/upload/": "uploaded pictures",
    "/data/local-files/": "pictures in a local storage",
    "/resolve/": "pictures in a cloud storage",
    "/presign/": "pictures in a cloud storage",
}


@dataclass(frozen=True)
class Tried:
    """What came of the first picture of a kind; ``problem`` None: it can be used."""

    kind: str
    count: int
    where: str
    problem: str | None

    @property
    def seen(self) -> str:
        """In words."""
        if self.problem is None:
            return f"{self.kind} ({self.count}) can be fetched; tried {self.where}"
        return f"{self.kind} ({self.count}) cannot be used; tried {self.where}: {self.problem}"


def try_pictures(spec: Spec, places: Iterable[tuple[str, str]], public_url: str | None = None) -> list[Tried]:
    """Fetch and decode the first picture of each kind among (where it belongs, address); paths on this machine are left out."""
    first: dict[str, tuple[str, str]] = {}
    counts: dict[str, int] = {}
    for where, address in places:
        if is_url(address):
            kind = _kind(address)
            first.setdefault(kind, (where, address))
            counts[kind] = counts.get(kind, 0) + 1
    found = []
    with closing(make_fetcher(spec, public_url, cached=False)) as fetcher:
        for kind, (where, address) in first.items():
            problem = None
            try:
                decode_picture(fetcher.fetch(address), address, limits_of(spec.cache))
            except UnreadableImageError as error:
                problem = str(error)
            found.append(Tried(kind, counts[kind], where, problem))
    return found


def pictures_of_tasks(client: Client, project: int, names: TaskNames) -> Iterator[tuple[str, str]]:
    """(task and view, address) of every picture that the tasks of a project show."""
    resolved = client.tasks(project, fields="id,data", raw=False)
    for task, same in zip(client.tasks(project, fields="id,data"), resolved, strict=False):
        addresses = same["data"] if same["id"] == task["id"] else None
        for view, address in names.read(task["data"], addresses).views.items():
            yield f"task {task['id']}, view {view}", address


def _kind(address: str) -> str:
    parts = urlsplit(address)
    return next((kind for part, kind in _KINDS.items() if part in parts.path), f"pictures from {parts.netloc}")

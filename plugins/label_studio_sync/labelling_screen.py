"""Another layout for the labelling screen of a project that exists, on request: the difference, and the change."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import unified_diff

from label_config.labelling.binding import bind
from label_config.labelling.rearrange import rearrange
from ml_backend.store import frames, ledger
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client

#: Kind of the entry in the ledger; its old value is the config that ``parallax leave`` restores.
KIND = "screen"


@dataclass(frozen=True)
class NewScreen:
    """The project's config as it is, and rearranged."""

    before: str
    after: str

    @property
    def difference(self) -> list[str]:
        """Lines of a unified diff; none where nothing would change."""
        lines = unified_diff(self.before.splitlines(), self.after.splitlines(), "as it is", "rearranged", lineterm="", n=1)
        return list(lines)


def plan_screen(workspace: Workspace, client: Client) -> NewScreen:
    """What would be written.  Raises LabellingConfigError where the config cannot be rearranged."""
    config, held, spec = client.project(workspace.project.ls_project_id)["label_config"], workspace.binding, workspace.spec
    # As it is now: the config may have changed since the last pull.
    binding = bind(config, held.skeleton, views=held.names, aliases=spec.aliases, visibility=spec.visibility)
    return NewScreen(config, rearrange(config, binding, _sizes(workspace)))


def write_screen(workspace: Workspace, client: Client, screen: NewScreen) -> None:
    """Write it, and note what was there before the first time."""
    old = screen.before
    for entry in ledger.entries(workspace.store, KIND):
        if str(entry.new).strip() == screen.before.strip():
            old = entry.old
        ledger.undone(workspace.store, entry.id)
    ledger.record(workspace.store, KIND, "label_config", old=old, new=screen.after)
    client.change_project(workspace.project.ls_project_id, label_config=screen.after)


def restore_screen(client: Client, project: int, entry: ledger.Entry) -> None:
    """Put the config back that was there before; one that somebody changed since is theirs."""
    if client.project(project)["label_config"].strip() == str(entry.new).strip():
        client.change_project(project, label_config=entry.old)


def _sizes(workspace: Workspace) -> dict[str, tuple[int, int]]:
    """View → size of a picture, of the first frame in which it is known."""
    views, sizes = workspace.views, dict[str, tuple[int, int]]()
    for row in frames.list_frames(workspace.store):
        for view, ref in row.images.items():
            if ref.size_px is not None:
                sizes.setdefault(view, ref.size_px)
        if len(sizes) == len(views):
            break
    return sizes

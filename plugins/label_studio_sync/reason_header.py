"""The line above the pictures that says why a task was chosen, in labelling configs that others wrote.

It goes in and comes out as text: every other character of the config stays as it was.
"""

from __future__ import annotations

import re

from label_config.labelling.build_xml import REASON_KEY
from ml_backend.store import ledger
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client

HEADER = f'<Header value="${REASON_KEY}" size="5"/>'
#: What may stand before the root of the config, and its opening tag; a > inside an attribute does not end it.
_OPENING = re.compile(r"""(?:\s|<!--.*?-->|<\?.*?\?>)*<View\b(?:[^>"']|"[^"]*"|'[^']*')*>""", re.DOTALL)


def shows_reason(label_config: str) -> bool:
    """The config has the reason somewhere already."""
    return f"${REASON_KEY}" in label_config


def with_header(label_config: str) -> str | None:
    """The config with our line first in it; None when its root is not a <View> that has room for one."""
    opening = _OPENING.match(label_config)
    if opening is None or opening[0].endswith("/>"):
        return None
    return f"{opening[0]}{HEADER}{label_config[opening.end() :]}"


def add_header(workspace: Workspace, client: Client) -> bool:
    """Add the line to the project's config; False when it is there already or cannot be added."""
    number = workspace.project.ls_project_id
    before = client.project(number)["label_config"]
    after = None if shows_reason(before) else with_header(before)
    if after is None:
        return False
    client.change_project(number, label_config=after)
    ledger.record(workspace.store, "header", "label_config", new=HEADER)
    return True


def know_header(workspace: Workspace, label_config: str) -> None:
    """A line of ours that stands in the config since a set-up that is forgotten goes on leaving."""
    if HEADER in label_config and not ledger.entries(workspace.store, "header"):
        ledger.record(workspace.store, "header", "label_config", new=HEADER)


def remove_header(client: Client, project: int) -> None:
    """Take our line out again; one that somebody changed since is theirs."""
    config = client.project(project)["label_config"]
    if HEADER in config:
        client.change_project(project, label_config=config.replace(HEADER, "", 1))

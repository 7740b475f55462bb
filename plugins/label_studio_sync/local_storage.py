"""The folder of our pictures, which Label Studio shows only below a storage of the project."""

from __future__ import annotations

import os
import re
from pathlib import Path

from label_config.settings.spec import Spec
from label_config.values import BadInputError
from ml_backend.store import ledger
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.new_tasks import OUR_FOLDER

#: What Label Studio says of a folder that is not below its own: from 1.22 on, before, and of one that it cannot see.
OTHER_FOLDER = ("must be a subdirectory", "must be a child", "does not exist")
ENABLE = "set LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT in Label Studio's environment and restart it"


def picture_folder(spec: Spec, project: int) -> Path:
    """Where the pictures of frames that become tasks are written."""
    return Path(spec.documents_root or "") / OUR_FOLDER / str(project)


def check_documents_root(spec: Spec, client: Client, project: int | None) -> None:
    """Look whether pictures can be written and served, and change nothing.  Raises BadInputError that says what is wrong.

    project  any project of the token's user, by which Label Studio can be asked for its folder; None = there is none yet
    """
    if not spec.recordings:
        return
    if spec.documents_root is None:
        raise BadInputError(
            "documents_root in parallax.yaml: expected Label Studio's LOCAL_FILES_DOCUMENT_ROOT, got nothing; "
            "the pictures of frames that become tasks are written there"
        )
    root = Path(spec.documents_root)
    if not root.is_dir():
        raise BadInputError(f"documents_root in parallax.yaml: expected a folder, found none at {root}")
    if not os.access(root, os.W_OK | os.X_OK):
        raise BadInputError(f"documents_root in parallax.yaml: {root} cannot be written; pictures of frames go there")
    if project is None:
        return
    refused = client.storage_refusal(project, str(root))
    if refused is not None and _names_its_own_folder(refused, root):
        return
    if refused is None or any(words in refused for words in OTHER_FOLDER):
        why = refused or "it lies inside of that folder, but pictures are addressed from the folder itself"
        raise BadInputError(
            f"documents_root in parallax.yaml: expected the very folder that Label Studio has as LOCAL_FILES_DOCUMENT_ROOT, "
            f"got {root}, and Label Studio says: {why}"
        )
    raise BadInputError(f"documents_root in parallax.yaml: Label Studio does not serve {root}: {refused}; {ENABLE}")


def _names_its_own_folder(refused: str, root: Path) -> bool:
    """The folder itself is refused as a storage: with these words from 1.22 on, with its name before."""
    named = re.search(r"LOCAL_FILES_DOCUMENT_ROOT=(.+?) and must be a child", refused)
    return "cannot be the same" in refused or (named is not None and Path(named[1]) == root)


def lacks_storage(spec: Spec, client: Client, project: int) -> bool:
    """Pictures of ours will need a storage, and the project has none for their folder."""
    if spec.documents_root is None or not spec.recordings:
        return False
    return str(picture_folder(spec, project)) not in {storage["path"] for storage in client.local_storages(project)}


def create_storage(workspace: Workspace, client: Client) -> None:
    """Make the folder, and let Label Studio serve it.  Raises BadInputError when it does not."""
    if workspace.spec.recordings:
        serve_our_pictures(workspace, client)


def serve_our_pictures(workspace: Workspace, client: Client) -> None:
    """The same, also for a project without recordings."""
    project = workspace.project.ls_project_id
    folder = picture_folder(workspace.spec, project)
    if workspace.spec.documents_root is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if str(folder) in {storage["path"] for storage in client.local_storages(project)}:
        return
    try:
        number = client.create_local_storage(project, str(folder), "Parallax frames")
    except LabelStudioError as error:
        if error.status != 400:
            raise
        raise BadInputError(
            f"documents_root in parallax.yaml: Label Studio does not serve {folder}: {error}; {ENABLE}"
        ) from error
    ledger.record(workspace.store, "local_storage", number, new=str(folder))

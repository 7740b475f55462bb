"""The folder of our pictures, which Label Studio shows only below a storage of the project."""

from __future__ import annotations

from pathlib import Path

from label_config.spec import Spec
from ml_backend.store import ledger
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.new_tasks import OUR_FOLDER


def picture_folder(spec: Spec, project: int) -> Path:
    """Where the pictures of frames that become tasks are written."""
    return Path(spec.documents_root or "") / OUR_FOLDER / str(project)


def lacks_storage(spec: Spec, client: Client, project: int) -> bool:
    """Pictures of ours will need a storage, and the project has none for their folder."""
    if spec.documents_root is None or not spec.recordings:
        return False
    return str(picture_folder(spec, project)) not in {storage["path"] for storage in client.local_storages(project)}


def create_storage(workspace: Workspace, client: Client) -> None:
    """Make the folder, and let Label Studio serve it."""
    if workspace.spec.recordings:
        serve_our_pictures(workspace, client)


def serve_our_pictures(workspace: Workspace, client: Client) -> None:
    """The same, also for a project without recordings."""
    project = workspace.project.ls_project_id
    folder = picture_folder(workspace.spec, project)
    if workspace.spec.documents_root is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if str(folder) not in {storage["path"] for storage in client.local_storages(project)}:
        number = client.create_local_storage(project, str(folder), "Parallax frames")
        ledger.record(workspace.store, workspace.project_id, "local_storage", number, new=str(folder))

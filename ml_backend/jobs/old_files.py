"""Weights and shards of models that nobody needs any more are deleted; their rows, figures and snapshots stay."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ml_backend.store import retention
from ml_backend.store.fault_points import reach
from ml_backend.store.workspace import Workspace

log = logging.getLogger("parallax.jobs")


def remove_old_files(workspace: Workspace) -> None:
    """Remove what ``store.retention`` gives up.  Killed anywhere, the next call ends what this one began.

    Nothing depends on it, so that a disk that refuses is only logged: the next job tries again.
    """
    if retention.is_training(workspace.store):
        return  # a training repeated from the same labels writes into the folder of the former one
    try:
        old = retention.retire(workspace.store)
        reach("versions retired")
        for version in old:
            _remove(workspace.models, version.path)
            _remove(workspace.arrays.folder, shard_group(version.id))
            reach("files removed")
        retention.forget_shards(workspace.store, [version.id for version in old])
    except OSError as error:
        log.warning("old models are not removed yet: %s", error)


def shard_group(version_id: int) -> str:
    """The folder of a version's shards in the array store, as ``jobs.rescore`` names it."""
    return f"shards/{version_id}"


def _remove(folder: Path, name: str) -> None:
    """Delete one folder below another; one that is gone already is no matter."""
    path = (folder / name).resolve()
    if path.is_relative_to(folder.resolve()) and path != folder.resolve() and path.exists():
        shutil.rmtree(path)

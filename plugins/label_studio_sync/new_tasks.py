"""Frames that were picked but have no task yet: their pictures are written where Label Studio serves them, then imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from label_config.binding import Binding
from label_config.values import ImageRef, ParallaxError
from ml_backend.recordings import UnreadableImageError, frame_path, iter_images, write_picture
from ml_backend.store import frames as frame_rows
from ml_backend.store import ledger, presence, tasks
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client

#: Folder under the documents root that holds the pictures which we wrote.
OUR_FOLDER = "parallax"


def create_missing(workspace: Workspace, client: Client, picks: Sequence[PickRow], frames: Mapping[int, FrameRow]) -> int:
    """Import a task for every pick without one; returns how many were created.

    The caller has pulled before, so a task that an interrupted import left behind is known by its ``parallax_key``.
    """
    have = {task.frame_id for task in tasks.list_tasks(workspace.store, workspace.project_id)}
    missing = [pick for pick in picks if pick.frame_id not in have]
    if not missing:
        return 0
    if workspace.spec.documents_root is None:
        raise ParallaxError(
            f"{len(missing)} picked frames have no task yet, and documents_root in parallax.yaml is not set. "
            "Set it to Label Studio's LOCAL_FILES_DOCUMENT_ROOT, so that their pictures can be written there."
        )
    chunk, created = workspace.spec.sync.chunk, 0
    for start in range(0, len(missing), chunk):
        created += _create(workspace, client, missing[start : start + chunk], frames)
    return created


def _create(workspace: Workspace, client: Client, picks: Sequence[PickRow], frames: Mapping[int, FrameRow]) -> int:
    root = Path(workspace.spec.documents_root or "")
    ready: list[tuple[PickRow, dict[str, Any]]] = []
    unreadable = _write_pictures(_pictures_to_write(workspace, root, [frames[pick.frame_id] for pick in picks]))
    for pick in picks:
        frame = frames[pick.frame_id]
        targets = {view: _target(workspace, root, frame, view) for view in frame.images}
        bad = {view: unreadable[target] for view, target in targets.items() if target in unreadable}
        if bad:
            why = "; ".join(f"{view}: {text}" for view, text in bad.items())
            frame_rows.mark_unreadable(workspace.store, frame.id, why)
            presence.tell(
                workspace.store, workspace.project_id, f"{frame.key}: {why}", level="warning", key=f"unreadable {frame.key}"
            )
            continue
        ready.append((pick, _data(workspace, workspace.binding, root, frame, pick)))
    if not ready:
        return 0
    numbers = client.import_tasks(workspace.project.ls_project_id, [data for _, data in ready])
    rows = []
    for number, (pick, data) in zip(numbers, ready, strict=True):
        ledger.record(workspace.store, workspace.project_id, "task", number, new=data["parallax_key"])
        rows.append(
            {"ls_task_id": number, "frame_id": pick.frame_id, "key": data["parallax_key"], "ours": True, "pseudo": pick.pseudo}
            | {"reason": data["parallax_reason"]}
        )
    tasks.save(workspace.store, workspace.project_id, rows)
    return len(rows)


def _target(workspace: Workspace, root: Path, frame: FrameRow, view: str) -> Path:
    """Where the server finds the picture of one view: its own file when that lies under the root, else a file of ours."""
    ref = frame.images[view]
    if _served_as_it_is(ref, root):
        return Path(ref.source)
    return frame_path(root / OUR_FOLDER / str(workspace.project.ls_project_id), frame.key, view)


def _served_as_it_is(ref: ImageRef, root: Path) -> bool:
    untouched = ref.frame_index is None and ref.crop is None and not ref.flip and not ref.rotation
    return untouched and Path(ref.source).is_relative_to(root)


def _pictures_to_write(workspace: Workspace, root: Path, frames: Sequence[FrameRow]) -> list[tuple[ImageRef, Path]]:
    wanted = [(ref, _target(workspace, root, frame, view)) for frame in frames for view, ref in frame.images.items()]
    return [(ref, target) for ref, target in wanted if not _served_as_it_is(ref, root) and not target.exists()]


def _write_pictures(wanted: Sequence[tuple[ImageRef, Path]]) -> dict[Path, str]:
    """Write them, each video decoded once; target → why it could not be written."""
    failed = {}
    for position, picture in iter_images([ref for ref, _ in wanted]):
        target = wanted[position][1]
        if isinstance(picture, UnreadableImageError):
            failed[target] = str(picture)
        else:
            write_picture(picture, target)
    return failed


def _data(workspace: Workspace, binding: Binding, root: Path, frame: FrameRow, pick: PickRow) -> dict[str, Any]:
    data: dict[str, Any] = {
        "parallax_key": str(frame.key),
        "parallax_reason": pick.reason,
        "sequence": frame.key.sequence,
        "frame": frame.key.index,
    }
    if pick.pseudo:
        data["parallax_source"] = "pseudo"
    for view in binding.views:
        if view.view in frame.images:
            path = _target(workspace, root, frame, view.view).relative_to(root).as_posix()
            data[view.data_key] = f"/data/local-files/?d={quote(path)}"
        else:
            data[view.data_key] = ""
    return data

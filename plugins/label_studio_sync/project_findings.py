"""What a project's own settings do to pre-annotations, order and labels: said by ``init`` before anything, and by ``doctor``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from label_config.settings.caller_secret import SECRET_HEADER, webhook_key
from label_config.settings.spec import Spec
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.finding import Finding
from plugins.label_studio_sync.new_tasks import OUR_FOLDER
from plugins.label_studio_sync.overlap import wanted_annotations, what_happens

_ANNOTATION_PAGE = "under Settings › Annotation"


def check_project(spec: Spec, client: Client, project: Mapping[str, Any], *, serves_folders: bool) -> Iterator[Finding]:
    """Everything that is not as Parallax needs it, or that changes what annotators meet.

    project         its settings in Label Studio
    serves_folders  tasks show pictures from local storages, which need no synchronisation
    """
    yield from _shown(project)
    if several := what_happens(project):
        yield Finding("overlap", "warning", f"{wanted_annotations(project)} annotations per task: {several}")
    if project.get("task_number") and project.get("finished_task_number") == project["task_number"]:
        yield Finding(
            "tasks", "warning", f"all {project['task_number']} tasks are labelled", "import more, so that there is an order"
        )
    for storage in client.storages(int(project["id"])):
        yield from _storage(storage, serves_folders)
    for hook in client.webhooks(int(project["id"])):
        if wrong := what_is_wrong(hook, spec):
            yield Finding("webhook", "warning", f"{hook['url']}: {wrong}", "`parallax up` mends it")


def _shown(project: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether annotators see the points that predictions hold."""
    if project.get("show_collab_predictions") is False:
        seen = "“Use predictions to prelabel tasks” is off: annotators see no points, and tasks come in no order of ours"
        yield Finding("pre-annotations", "error", seen, f"switch it on {_ANNOTATION_PAGE}")
    if project.get("reveal_preannotations_interactively"):
        seen = "“Reveal pre-annotations interactively” is on: points stay hidden until somebody draws a box around them"
        yield Finding("pre-annotations", "warning", seen, f"switch it off {_ANNOTATION_PAGE}")


def _storage(storage: Mapping[str, Any], serves_folders: bool) -> Iterator[Finding]:
    name = f"{storage.get('title') or 'without title'!r} ({storage.get('type', 'storage')} {storage['id']})"
    again = "press Sync Storage under Settings › Cloud Storage"
    if storage.get("status") == "failed":
        why = (str(storage.get("traceback") or "").strip().splitlines() or ["no reason given"])[-1][:200]
        yield Finding("storage", "error", f"{name} failed at its last synchronisation: {why}", f"correct it, then {again}")
    elif storage.get("last_sync") is None and not _is_ours(storage):
        if not (serves_folders and storage.get("type") == "localfiles"):
            yield Finding("storage", "warning", f"{name} was never synchronised: nothing of what lies there is a task", again)
    elif storage.get("last_sync") is not None and storage.get("last_sync_count") == 0:
        looked_for = f" that fits {storage['regex_filter']!r}" if storage.get("regex_filter") else ""
        yield Finding(
            "storage", "warning", f"{name}: its last synchronisation found nothing{looked_for}", f"correct it, then {again}"
        )


def _is_ours(storage: Mapping[str, Any]) -> bool:
    return OUR_FOLDER in PurePath(str(storage.get("path") or "")).parts


def what_is_wrong(hook: Mapping[str, Any], spec: Spec) -> str:
    """What keeps a webhook of ours from working; empty for one that works, and for one of others."""
    if str(hook["url"]).rstrip("/") != f"{spec.backend.url.rstrip('/')}/webhook":
        return ""
    secret, brought = spec.backend.secret, (hook.get("headers") or {}).get(SECRET_HEADER)
    if brought is None:
        return f"it brings no {SECRET_HEADER} header, so it is refused"
    if secret is not None and brought == secret.get_secret_value():
        return "it brings the backend's secret, which every annotator can read there"
    if secret is not None and brought != webhook_key(secret.get_secret_value()):
        return "it brings another secret, so it is refused"
    if not hook.get("is_active"):
        return "it is switched off"
    if hook.get("send_payload") is False:
        return "it is sent without payload, so that nobody can see what it is about"
    return ""

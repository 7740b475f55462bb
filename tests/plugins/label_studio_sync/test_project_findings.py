"""What a project's settings, storages and webhooks make the doctor say, case by case; the live doctor is tried elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from label_config.settings.caller_secret import SECRET_HEADER, webhook_key
from label_config.settings.spec import Spec, load_spec
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.project_findings import check_project
from tests.small_project import write_spec

PROJECT = {"id": 7, "show_collab_predictions": True, "maximum_annotations": 1, "task_number": 5, "finished_task_number": 2}
BUCKET = {"id": 3, "type": "s3", "title": "raw", "status": "completed", "last_sync": "2026-01-01", "last_sync_count": 4}
FOLDER = {**BUCKET, "type": "localfiles", "path": "/files/mice", "last_sync": None, "status": "initialized"}
HOOK = {
    "url": "http://backend:9090/webhook",
    "headers": {SECRET_HEADER: webhook_key("hush")},
    "is_active": True,
    "send_payload": True,
}


class Listed(Client):
    """A Label Studio that has these storages and webhooks."""

    def __init__(self, storages: list[dict[str, Any]], hooks: list[dict[str, Any]]) -> None:
        self.held = storages, hooks

    def storages(self, project: int) -> list[dict[str, Any]]:
        return self.held[0]

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        return self.held[1]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return load_spec(write_spec(tmp_path, more="backend:\n  url: http://backend:9090\n  secret: hush\n"))


def said(
    spec: Spec,
    project: dict[str, Any] | None = None,
    storage: dict[str, Any] | None = None,
    hook: dict[str, Any] | None = None,
    folders: bool = False,
) -> list[str]:
    client = Listed([BUCKET | (storage or {})], [HOOK | (hook or {})])
    return [finding.line for finding in check_project(spec, client, PROJECT | (project or {}), serves_folders=folders)]


def test_a_project_in_order_has_no_findings(spec: Spec) -> None:
    assert said(spec) == []
    assert said(spec, storage=FOLDER, folders=True) == []
    assert said(spec, hook={"url": "http://theirs/hook", "headers": {}, "is_active": False}) == []
    assert said(spec, storage={**FOLDER, "path": "/files/parallax/7"}) == []


PROJECTS = [
    ({"show_collab_predictions": False}, "error: pre-annotations: “Use predictions to prelabel tasks” is off"),
    ({"reveal_preannotations_interactively": True}, "warning: pre-annotations: “Reveal pre-annotations interactively” is on"),
    ({"maximum_annotations": 2}, "warning: overlap: 2 annotations per task: every task is served to 2 people"),
    ({"finished_task_number": 5}, "warning: tasks: all 5 tasks are labelled; import more"),
]


@pytest.mark.parametrize(("settings", "line"), PROJECTS)
def test_settings_of_the_project(spec: Spec, settings: dict[str, Any], line: str) -> None:
    (found,) = said(spec, settings)
    assert found.startswith(line)


STORAGES = [
    (
        {"status": "failed", "traceback": "Traceback\n  x\nNoSuchBucket: raw\n"},
        "error: storage: 'raw' (s3 3) failed",
        "NoSuchBucket: raw",
    ),
    ({"status": "failed", "traceback": None}, "error: storage: 'raw' (s3 3) failed", "no reason given"),
    ({"last_sync": None}, "warning: storage: 'raw' (s3 3) was never synchronised", "press Sync Storage"),
    ({**FOLDER, "title": ""}, "warning: storage: 'without title' (localfiles 3) was never", "press Sync Storage"),
    (
        {"last_sync_count": 0, "regex_filter": ".*png"},
        "warning: storage: 'raw' (s3 3): its last",
        "found nothing that fits '.*png'",
    ),
    ({"last_sync_count": 0}, "warning: storage: 'raw' (s3 3): its last", "found nothing; correct it"),
]


@pytest.mark.parametrize(("storage", "line", "words"), STORAGES)
def test_storages(spec: Spec, storage: dict[str, Any], line: str, words: str) -> None:
    (found,) = said(spec, storage=storage)
    assert found.startswith(line)
    assert words in found


HOOKS = [
    ({"headers": {}}, "brings no X-Parallax-Secret header"),
    ({"headers": {SECRET_HEADER: "hush"}}, "which every annotator can read"),
    ({"headers": {SECRET_HEADER: webhook_key("other")}}, "another secret"),
    ({"is_active": False}, "switched off"),
    ({"send_payload": False}, "without payload"),
]


@pytest.mark.parametrize(("hook", "words"), HOOKS)
def test_webhooks_of_ours(spec: Spec, hook: dict[str, Any], words: str) -> None:
    (found,) = said(spec, hook=hook)
    assert found.startswith("warning: webhook: http://backend:9090/webhook: ")
    assert words in found
    assert "hush" not in found

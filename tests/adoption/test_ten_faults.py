"""A project in which everything is wrong at once: the dry run names each fault, and the tasks at fault; so does the doctor."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from label_config.settings.caller_secret import SECRET_HEADER, webhook_key
from label_config.settings.spec import load_spec
from ml_backend.store.workspace import open_workspace
from plugins.cli.processes.ports import free_port
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.hop_checks import examine
from plugins.label_studio_sync.pull import pull
from tests.s3 import S3Server

from .other_team import OtherTeam, picture, region, truth

pytestmark = pytest.mark.ls

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """<View><Image name="img" value="$images[0].url"/>
  <KeyPointLabels name="kp-1" toName="img"><Label value="Nose"/></KeyPointLabels>
  <KeyPointLabels name="kp-2" toName="img"><Label value="Tail"/></KeyPointLabels>
  <Choices name="sicht" toName="img" perRegion="true"><Choice value="sichtbar"/><Choice value="verdeckt"/></Choices></View>"""


@pytest.fixture
def team(platform: Platform, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[OtherTeam]:
    for name in ("PARALLAX_SECRET", "LABEL_STUDIO_API_KEY", "PARALLAX_REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    client = Client(platform.url, platform.token)
    number = int(client.create_project("everything is wrong", CONFIG)["id"])
    made = OtherTeam(platform, tmp_path, client, number, {("kp-1", "img"): 0}, lambda data: (int(data["t"]), (0,)))
    backend = f"http://127.0.0.1:{free_port()}"
    made.settings = {"frames": {"index": "t"}, "backend": {"url": backend, "secret": "hush-hush"}}
    hook = client.create_webhook(number, f"{backend}/webhook", {SECRET_HEADER: webhook_key("hush-hush")}, ["ANNOTATION_CREATED"])
    client.change_webhook(hook["id"], send_payload=False)
    s3.make_bucket(f"never-{number}")
    storage = {"project": number, "title": "their bucket", "bucket": f"never-{number}", "s3_endpoint": s3.url}
    client.call("POST", "api/storages/s3", body={**storage, "aws_access_key_id": "key", "aws_secret_access_key": "secret"})
    client.change_project(number, show_collab_predictions=False, reveal_preannotations_interactively=True, maximum_annotations=2)
    yield made
    made.close()


def make_tasks(team: OtherTeam) -> dict[str, int]:
    """What is wrong with it → task."""
    shared = team.platform.documents.resolve() / f"wrong{team.number}"
    shared.mkdir(parents=True)
    team.client.create_local_storage(team.number, str(shared), "served as it is")
    content = picture(0)
    (shared / "cut.png").write_bytes(content[: len(content) // 2])
    for i in range(1, 4):
        (shared / f"{i}.png").write_bytes(picture(i))
    served = f"/data/local-files/?d=wrong{team.number}"
    data: dict[str, tuple[str, Any]] = {
        "broken picture": (f"{served}/cut.png", 0),
        "unknown label": (f"{served}/1.png", 1),
        "unknown choice": (f"{served}/2.png", 2),
        "same frame": (f"{served}/3.png", 2),
        "no number": (f"{served}/3.png", "last"),
        "foreign host": ("https://pictures.example.org/4.png", 4),
        "no storage": ("s3://elsewhere/5.png", 5),
    }
    numbers = team.client.import_tasks(team.number, [{"images": [{"url": url}], "t": t} for url, t in data.values()])
    tasks = dict(zip(data, numbers, strict=True))
    x, y = truth(1)["Nose"]
    team.client.annotate(tasks["unknown label"], [region("kp-1", "img", x, y, "Schnurrhaar")])
    nose = region("kp-1", "img", x, y, "Nose")
    hidden = {**nose, "type": "choices", "from_name": "sicht", "value": {**nose["value"], "choices": ["verdeckt"]}}
    team.client.annotate(tasks["unknown choice"], [nose, hidden])
    return tasks


def test_ten_deliberate_faults_are_named_with_their_tasks(team: OtherTeam) -> None:
    tasks = make_tasks(team)
    before = team.state()
    said = run(team, "init", "--dry-run")
    assert team.state() == before
    common = [
        "“Use predictions to prelabel tasks” is off",
        "“Reveal pre-annotations interactively” is on",
        "2 annotations per task",
        "'their bucket' (s3 ",
        "sent without payload",
        "what it says of one is not known for 'sichtbar', 'verdeckt'",
    ]
    of_tasks = [
        f"tried task {tasks['broken picture']}, view img",
        f"task {tasks['unknown label']}: annotations: img: labels that are no keypoints",
        "got 'Schnurrhaar'",
        f"task {tasks['unknown choice']}: annotations: img: choices of 'sicht' whose meaning is not known",
        f"task {tasks['same frame']}: another task shows a different picture of the same frame and view",
        f"task {tasks['no number']}: frames.index: expected a whole number from 0 to 18 digits, got 'last'",
        f"tried task {tasks['foreign host']}, view img",
        "the host pictures.example.org:443 is not listed; add it to cache.hosts",
        f"task {tasks['no storage']}: img: data['images[0].url']: this address cannot be used",
    ]
    assert [text for text in common + of_tasks if text not in said] == [], said
    assert "served as it is" not in said, "a folder that is only served needs no synchronisation"
    run(team, "init")
    spec = load_spec(team.config)
    workspace = open_workspace(spec)
    pulled = pull(workspace, team.client).problems
    assert sum("no keypoints" in text for text in pulled) == sum("whose meaning" in text for text in pulled) == 1
    found = " ".join(f"{finding.seen} {finding.fix}" for finding in examine(spec))
    workspace.store.close()
    of_labels = [text for text in of_tasks if "annotations: " in text or ("got" in text and "last" not in text)]
    assert [text for text in common + of_labels if text not in found] == [], found


def run(team: OtherTeam, *arguments: str) -> str:
    """A command as the team types it; what it printed."""
    command = [sys.executable, "-m", "plugins.cli.main", "-c", str(team.config), *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=ROOT, env={**os.environ, "COLUMNS": "200"}, check=False
    )
    assert result.returncode == 0, f"{arguments}: {result.stdout}\n{result.stderr}"
    return " ".join(result.stdout.split())

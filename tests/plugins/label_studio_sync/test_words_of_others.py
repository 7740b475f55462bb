"""A labelling config in the words of another team, on the live server: nested data, two controls, aliases, choices."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.labelling.regions import encode
from label_config.values import PointState, Pose2D, Provenance
from ml_backend.store import submissions
from ml_backend.store.workspace import Workspace
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.set_up import carry_out

from .conftest import SIZE, make_spec

pytestmark = pytest.mark.ls

CONFIG = """<View>
  <Image name="cam0" value="$images[0].url"/>
  <KeyPointLabels name="head" toName="cam0" choice="multiple">
    <Label value="Nase" alias="nose"/><Label value="unscharf" alias="blurred"/></KeyPointLabels>
  <KeyPointLabels name="rest" toName="cam0"><Label value="tail"/><Label value="paw"/></KeyPointLabels>
  <Choices name="sicht" toName="cam0" perRegion="true">
    <Choice value="nicht da" alias="0"/><Choice value="verdeckt" alias="1"/><Choice value="sichtbar" alias="2"/></Choices>
  <Image name="cam1" value="$files.side"/>
  <KeyPointLabels name="side" toName="cam1"><Label value="nose"/><Label value="tail"/><Label value="paw"/></KeyPointLabels>
</View>"""
WORDS = {0: "absent", 1: "occluded", 2: "visible", "unscharf": "occluded"}


@pytest.fixture
def adopted(platform: Platform, tmp_path: Path) -> Iterator[tuple[Workspace, Client, Annotator]]:
    client = Client(platform.url, platform.token)
    number = int(client.create_project("in other words", CONFIG)["id"])
    data = {"images": [{"url": "/data/upload/1/a.png"}, {"url": "/elsewhere"}], "files": {"side": "/data/upload/1/b.png"}}
    client.import_tasks(number, [{**data, "t": t} for t in range(2)])
    told = {"url": platform.url, "token": platform.token, "project": number}
    spec = make_spec(platform, tmp_path, label_studio=told, frames={"index": "t"}, visibility=WORDS)
    workspace = carry_out(understand(spec, client), "hush")
    someone = Annotator(platform.url, f"{secrets.token_hex(6)}@parallax.test", "pw12345678")
    someone.sign_up(client.call("GET", "api/invite")["token"])
    yield workspace, client, someone
    someone.close()
    client.close()
    workspace.store.close()


def region(name: str, control: str, labels: list[str], kind: str = "keypointlabels") -> dict[str, Any]:
    place = {"x": 50.0, "y": 25.0, "width": 0.6}
    size = {"original_width": SIZE[0], "original_height": SIZE[1], "image_rotation": 0}
    said = {"id": name, "type": kind, "from_name": control, "to_name": "cam0", "origin": "manual", **size}
    return {**said, "value": {**place, kind: labels}}


def states(workspace: Workspace) -> list[list[list[int]]]:
    rows = submissions.list_annotations(workspace.store)
    return [row.poses["0"]["state"] for row in sorted(rows, key=lambda row: row.ls_annotation_id)]


def test_what_people_say_is_read_and_what_is_sent_back_says_it_again(adopted: tuple[Workspace, Client, Annotator]) -> None:
    workspace, client, someone = adopted
    assert workspace.binding.skeleton.keypoints == ("nose", "tail", "paw")
    assert [view.data_key for view in workspace.binding.views] == ["images[0].url", "files.side"]
    number = workspace.project.ls_project_id
    given = [
        *(region("a", "head", ["nose", "blurred"]), region("b", "rest", ["tail"]), region("c", "rest", ["paw"])),
        *(region("b", "sicht", ["1"], "choices"), region("c", "sicht", ["0"], "choices")),
    ]
    task = someone.next_task(number)
    assert task is not None
    assert someone.submit({**task, "project": number}, given, 3.0).status_code == 201
    assert pull(workspace, client).problems == []
    seen = [PointState.OCCLUDED, PointState.OCCLUDED, PointState.ABSENT]
    assert states(workspace) == [[seen, [PointState.UNLABELLED] * 3]]
    shape = np.ones((2, 3), dtype=np.int64)
    state = np.array([seen, [PointState.VISIBLE] * 3], dtype=np.int64)
    pose = Pose2D(np.full((2, 3, 2), 30.0), np.full((2, 3), 0.9), state, shape * Provenance.PREDICTED)
    result = encode({0: pose}, workspace.binding, {"cam0": SIZE, "cam1": SIZE}, 1)
    other = next(item["id"] for item in client.tasks(number, fields="id") if item["id"] != task["id"])
    prediction = {"task": other, "model_version": "px-1.1", "score": 0.5, "result": result}
    assert client.import_predictions(number, [prediction]) == 1, "Label Studio drops what does not fit its config"
    client.change_project(number, model_version="px-1.1")
    shown = someone.next_task(number)
    assert shown is not None
    back = [{**item, "origin": "prediction"} for item in shown["predictions"][0]["result"]]
    assert someone.submit({**shown, "project": number}, back, 3.0).status_code == 201
    assert pull(workspace, client).problems == []
    assert states(workspace)[1] == state.tolist()

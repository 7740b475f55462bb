"""``/predict`` in the shape that Label Studio 1.23 sends and expects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from label_config.labelling.region_ids import RegionId
from ml_backend.server.app import create_app
from ml_backend.server.predictions import MAX_WAITING
from ml_backend.store import frames, generations, projects
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from tests.small_project import BLIND, KEYPOINTS, OUTSIDE, SIZE, VIEWS, make_project, pose_of


def body(*numbers: Any) -> dict[str, Any]:
    """What Label Studio sends: whole tasks, the project with its creation time, the config."""
    listed = [{"id": number, "data": {"left": "x"}, "meta": {}, "annotations": [], "predictions": []} for number in numbers]
    params = {"login": None, "password": None, "context": None}
    return {"tasks": listed, "project": "7.1767225600", "label_config": "<View/>", "params": params}


def places(answer: dict[str, Any]) -> dict[tuple[str, str], tuple[float, float]]:
    """(picture, label) → percent, of the regions of one answer."""
    found = {}
    for region in answer["result"]:
        if region["type"] == "keypointlabels":
            value = region["value"]
            found[region["to_name"], value["keypointlabels"][0]] = (value["x"], value["y"])
    return found


def test_an_answer_per_task_in_the_order_asked_with_the_served_version(client: FlaskClient) -> None:
    results = client.post("/predict", json=body(103, 100)).get_json()["results"]
    assert [answer["model_version"] for answer in results] == ["px-1.1", "px-1.1"]
    assert [answer["score"] for answer in results] == [3 / 5, 0.0]
    for answer, index in zip(results, (3, 0), strict=True):
        assert len(answer["result"]) == len(VIEWS) * len(KEYPOINTS)
        regions = [region for region in answer["result"] if region["type"] == "keypointlabels"]
        assert {(region["original_width"], region["original_height"]) for region in regions} == {SIZE}
        by_id = {RegionId.parse(region["id"]): region["value"] for region in regions}
        for (view, keypoint), (x, y) in (
            ((v, k), pose_of(index).xy_px[v, k]) for v in range(len(VIEWS)) for k in range(len(KEYPOINTS))
        ):
            value = by_id[RegionId(1, view, 0, keypoint)]
            # Pixel centres: the centre of the first pixel is half a pixel inside the picture.
            assert value["x"] == pytest.approx((x + 0.5) / SIZE[0] * 100, abs=0.01)
            assert value["y"] == pytest.approx((y + 0.5) / SIZE[1] * 100, abs=0.01)


def test_a_random_pick_is_answered_without_points(client: FlaskClient) -> None:
    (answer,) = client.post("/predict", json=body(100 + BLIND)).get_json()["results"]
    assert answer == {"result": [], "score": BLIND / 5, "model_version": "px-1.1"}


@pytest.mark.parametrize("numbers", [(100, 100 + OUTSIDE), (100, 999), (100, None), (100, "100"), (100, 10**30), (100, -1)])
def test_a_task_without_prediction_refuses_the_whole_request(client: FlaskClient, numbers: tuple[Any, ...]) -> None:
    """A shorter or empty list would be stored by Label Studio as the model's word."""
    answer = client.post("/predict", json=body(*numbers))
    assert answer.status_code == 503
    assert "results" not in answer.get_json()


@pytest.mark.parametrize("named", ["7.1767225600", "7", 7, None])
def test_our_project_is_known_by_number_and_time_or_by_number(client: FlaskClient, named: Any) -> None:
    assert client.post("/predict", json=body(100) | {"project": named}).status_code == 200


@pytest.mark.parametrize("named", ["8.1767225600", "7.1767225601", "8", 8, "77", "7.", "", ["7"], {"id": 7}, True])
def test_the_tasks_of_another_project_are_refused(client: FlaskClient, named: Any) -> None:
    """Task numbers come back: without the project's own, another one's task 100 would be answered with our points."""
    answer = client.post("/predict", json=body(100) | {"project": named})
    assert answer.status_code == 404
    assert "7.1767225600" in answer.get_json()["error"]


def test_before_the_first_order_nothing_is_answered(workspace: Workspace, client: FlaskClient) -> None:
    projects.change(workspace.store, generation=None)
    assert client.post("/predict", json=body(100)).status_code == 503


def test_only_the_served_generation_is_ever_answered(workspace: Workspace, client: FlaskClient) -> None:
    """Later orders wait, are abandoned or follow; the version that annotators are served stays the only one."""
    (frame,) = [row for row in frames.list_frames(workspace.store) if row.key.index == OUTSIDE]
    order = [PickRow(0, frame.id, 0.0, False, False, "", None, {"0": pose_of(9).to_json()}, None)]
    later = generations.add(workspace.store, None, order)
    assert client.post("/predict", json=body(100 + OUTSIDE)).status_code == 503
    (answer,) = client.post("/predict", json=body(100)).get_json()["results"]
    assert answer["model_version"] == "px-1.1"
    generations.switch(workspace.store, later.number)
    assert client.post("/predict", json=body(100)).status_code == 503
    (answer,) = client.post("/predict", json=body(100 + OUTSIDE)).get_json()["results"]
    assert answer["model_version"] == later.name


def test_a_worker_is_asked_for_what_is_missing_and_then_answered(workspace: Workspace) -> None:
    asked: list[list[int]] = []

    def compute(frame_ids: list[int]) -> None:
        asked.append(frame_ids)
        for frame in frame_ids:
            generations.append(workspace.store, 1, frame, {"0": pose_of(OUTSIDE).to_json()})

    client = create_app(workspace, None, compute=compute).test_client()
    results = client.post("/predict", json=body(100, 100 + OUTSIDE)).get_json()["results"]
    assert [answer["model_version"] for answer in results] == ["px-1.1", "px-1.1"]
    assert len(results[1]["result"]) == len(VIEWS) * len(KEYPOINTS)
    assert len(asked) == 1
    assert len(asked[0]) == 1


def test_a_worker_that_does_not_answer_in_time_gives_503(workspace: Workspace) -> None:
    client = create_app(workspace, None, compute=lambda frame_ids: None).test_client()
    assert client.post("/predict", json=body(100 + OUTSIDE)).status_code == 503


def test_few_requests_wait_for_the_worker_and_the_rest_are_refused_at_once(workspace: Workspace) -> None:
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def compute(frame_ids: list[int]) -> None:
        waiting.release()
        assert go_on.wait(20)

    app = create_app(workspace, None, compute=compute)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(app.test_client().post("/predict", json=body(105)).status_code))
        for _ in range(MAX_WAITING)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=20)
    refused = app.test_client().post("/predict", json=body(105))  # returns although nobody may go on yet
    assert refused.status_code == 503
    assert "waiting" in refused.get_json()["error"]
    assert app.test_client().post("/predict", json=body(100)).status_code == 200
    go_on.set()
    for thread in threads:
        thread.join()
    assert statuses == [503] * MAX_WAITING


@pytest.fixture
def one_camera(tmp_path: Path) -> Iterator[FlaskClient]:
    workspace = make_project(tmp_path, one_camera_per_task=True)
    yield create_app(workspace, None).test_client()
    workspace.store.close()


@pytest.mark.parametrize(("task", "view"), [(101, 0), (201, 1)])
def test_a_task_with_one_camera_picture_gets_the_points_of_that_camera(one_camera: FlaskClient, task: int, view: int) -> None:
    (answer,) = one_camera.post("/predict", json=body(task)).get_json()["results"]
    found = places(answer)
    assert {picture for picture, _ in found} == {"left"}  # the only picture of the config, whichever camera took it
    for keypoint, name in enumerate(KEYPOINTS):
        x, _ = pose_of(1).xy_px[view, keypoint]
        assert found["left", name][0] == pytest.approx((x + 0.5) / SIZE[0] * 100, abs=0.01)
    assert len(answer["result"]) == len(KEYPOINTS)

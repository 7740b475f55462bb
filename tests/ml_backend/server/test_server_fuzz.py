"""Thousands of damaged payloads: never an internal error, never a slow answer, never a flag that was not asked for."""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ml_backend.store.workspace import Workspace

REGION = {
    "id": "px:1:0:0:0",
    "type": "keypointlabels",
    "from_name": "kp_left",
    "to_name": "left",
    "original_width": 640,
    "original_height": 480,
    "image_rotation": 0,
    "value": {"x": 12.5, "y": 50.0, "width": 0.8, "keypointlabels": ["nose"]},
}
TASK = {
    "id": 100,
    "data": {"left": "/data/local-files/?d=a.jpg", "sequence": "s", "frame": 0},
    "meta": {},
    "annotations": [{"id": 1, "result": [REGION], "was_cancelled": False, "completed_by": {"id": 1}}],
    "predictions": [],
}
PROJECT = {"id": 7, "title": "mice", "label_config": "<View/>", "model_version": "px-1.1"}
SEEDS: dict[str, dict[str, Any]] = {
    "/predict": {
        "tasks": [TASK, {**TASK, "id": 101}],
        "project": "7.1767225600",
        "label_config": "<View/>",
        "params": {"context": None},
    },
    "/setup": {
        "project": "7.1767225600",
        "schema": "<View/>",
        "hostname": "http://ls",
        "access_token": "t",
        "extra_params": None,
    },
    "/webhook": {"action": "ANNOTATION_CREATED", "annotation": {"id": 5, "result": [REGION]}, "task": TASK, "project": PROJECT},
}
ODD: list[Any] = [
    None, True, False, 0, -1, 7, 100, 2**31, 2**63, -(2**63), 10**40, 1e308, -0.0, float("nan"), float("inf"), "", "7", "px-1.1",
    "\ud800", "\x00", "x" * 9999, "ANNOTATION_CREATED", "START_TRAINING", [], {}, [[]], [None], {"id": 7}, {"": None}, [{}] * 50,
]  # fmt: skip
PAYLOADS = 1000
MORE = 10_000


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def mutated(seed: dict[str, Any], rng: random.Random) -> bytes:
    """The payload with one to three places replaced, removed or repeated; now and then with broken bytes as well."""
    value = copy.deepcopy(seed)
    for _ in range(rng.randint(1, 3)):
        found = list(places(value))
        if not found:
            break
        *parents, key = rng.choice(found)
        holder = value
        for parent in parents:
            holder = holder[parent]
        match rng.randrange(4):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.extend([copy.deepcopy(holder[key])] * rng.choice([1, 20]))
            case _:
                holder[key] = copy.deepcopy(rng.choice(ODD))
    raw = json.dumps(value).encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(raw))
        raw = raw[:at] + bytes([rng.randrange(256)]) + raw[at + rng.randint(0, 3) :]
    return raw


def answers(client: FlaskClient, path: str, payloads: int) -> Iterator[tuple[bytes, TestResponse]]:
    """Damaged payloads with what the backend answers, which is quick and never an internal error."""
    rng = random.Random(f"{path} {payloads}")
    slowest = 0.0
    for number in range(payloads):
        raw = mutated(SEEDS[path], rng)
        started = time.process_time()  # of this process alone: others may keep the machine busy
        answer = client.post(path, data=raw, content_type="application/json")
        slowest = max(slowest, time.process_time() - started)
        assert answer.status_code in (200, 202, 400, 404, 503), f"payload {number}: {answer.status_code} for {raw[:500]!r}"
        assert answer.get_json() is not None
        yield raw, answer
    assert slowest < 1.0


every_length = pytest.mark.parametrize("payloads", [PAYLOADS, pytest.param(MORE, marks=pytest.mark.slow)])


@every_length
@pytest.mark.parametrize(("path", "may_pull"), [("/predict", False), ("/setup", False), ("/webhook", True)])
def test_damaged_payloads_never_break_the_backend(
    workspace: Workspace, client: FlaskClient, path: str, may_pull: bool, payloads: int
) -> None:
    served = workspace.project.generation
    taken = [(raw, answer) for raw, answer in answers(client, path, payloads) if answer.status_code == 200]
    tasks = [(json.loads(raw)["tasks"], answer.get_json()["results"]) for raw, answer in taken if path == "/predict"]
    assert [len(results) for _, results in tasks] == [len(asked) for asked, _ in tasks]
    assert {result["model_version"] for _, results in tasks for result in results} <= {"px-1.1"}
    assert workspace.project.generation == served
    assert may_pull or not workspace.project.pull_requested
    assert not workspace.project.select_requested


def test_the_mutations_reach_both_outcomes(client: FlaskClient) -> None:
    """A fuzz that only ever sends refused bodies would prove nothing."""
    rng = random.Random(1)
    statuses = {client.post("/predict", data=mutated(SEEDS["/predict"], rng)).status_code for _ in range(200)}
    assert statuses == {200, 400, 404, 503}

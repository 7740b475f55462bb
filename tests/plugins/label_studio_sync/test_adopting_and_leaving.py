"""Existing projects are understood, adopted, served and left as they were found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from label_config.settings.caller_secret import SECRET_HEADER, webhook_key
from ml_backend.project.label_snapshot import collect
from ml_backend.store import frames, generations, ledger, presence, submissions, tasks
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.push_order import push
from plugins.label_studio_sync.reason_header import HEADER, add_header
from plugins.label_studio_sync.set_up import carry_out
from plugins.label_studio_sync.take_back import leave
from plugins.label_studio_sync.webhook_and_backend import connect
from plugins.label_studio_sync.which_project import NoProjectError

from .conftest import FaultyClient, Lab, make_spec

pytestmark = pytest.mark.ls

#: Names of their own, a label that differs in case, one that is no keypoint of ours to know of beforehand.
TWO_PICTURES = """<View>
  <Text name="note" value="$comment"/>
  <Image name="left_picture" value="$left_url"/><KeyPointLabels name="points_left" toName="left_picture">
    <Label value="Nose"/><Label value="Tail"/></KeyPointLabels>
  <Image name="right_picture" value="$right_url"/><KeyPointLabels name="points_right" toName="right_picture">
    <Label value="Nose"/><Label value="Tail"/></KeyPointLabels>
</View>"""
ONE_PICTURE = """<View><Image name="img" value="$image"/><KeyPointLabels name="kp" toName="img">
  <Label value="Nose"/><Label value="Tail"/></KeyPointLabels></View>"""
#: What an untouched project looks like from outside, but for counts and times.
FIELDS = ("title", "label_config", "sampling", "model_version", "maximum_annotations", "description")


@dataclass
class Foreign:
    """A project that others made."""

    client: FaultyClient
    number: int
    spec: Any

    def state(self) -> dict[str, Any]:
        """Everything in Label Studio that adopting touches."""
        project = self.client.project(self.number)
        return {
            **{name: project[name] for name in FIELDS},
            "webhooks": self.client.webhooks(self.number),
            "backends": [backend["url"] for backend in self.client.backends(self.number)],
            "views": [view["id"] for view in self.client.views(self.number)],
            "storages": self.client.local_storages(self.number),
            "data": {task["id"]: task["data"] for task in self.client.tasks(self.number, fields="id,data")},
            "counters": {task["id"]: self.counters(task["id"]) for task in self.client.tasks(self.number, fields="id")},
            "predictions": {task: sorted(held.values()) for task, held in self.client.predictions(self.number)},
        }

    def counters(self, task: int) -> tuple[int, int]:
        """As the data manager's filters and totals have them, not counted anew."""
        stored = self.client.call("GET", f"api/tasks/{task}/")
        return stored["total_annotations"], stored["total_predictions"]


@pytest.fixture
def make_foreign(platform: Platform, tmp_path: Path) -> Iterator[Callable[..., Foreign]]:
    made: list[Foreign] = []

    def make(xml: str, data: list[dict[str, Any]], **settings: Any) -> Foreign:
        client = FaultyClient(platform.url, platform.token)
        number = client.create_project("theirs", xml)["id"]
        client.import_tasks(number, data)
        backend = {"url": f"http://127.0.0.1:{free_port()}", "secret": "hush"}
        label_studio = {"url": platform.url, "token": platform.token, "project": number}
        spec = make_spec(platform, tmp_path, label_studio=label_studio, backend=backend, **settings)
        made.append(Foreign(client, number, spec))
        return made[-1]

    yield make
    for foreign in made:
        foreign.client.close()


def two_pictures(count: int) -> list[dict[str, Any]]:
    return [
        {
            "left_url": f"/data/upload/7/l{i}.jpg",
            "right_url": f"/data/upload/7/r{i}.jpg",
            "trial": "run 1",
            "t": i,
            "comment": "c",
        }
        for i in range(count)
    ]


RULES = {"sequence": "trial", "index": "t"}


def region(view: str, label: str, x: float) -> dict[str, Any]:
    place = {"x": x, "y": 50.0, "width": 1.0, "keypointlabels": [label]}
    names = (
        {"from_name": f"points_{view}", "to_name": f"{view}_picture"} if view != "img" else {"from_name": "kp", "to_name": "img"}
    )
    size = {"original_width": 100, "original_height": 100, "image_rotation": 0}
    return {"id": f"{view}{label}", "type": "keypointlabels", "origin": "manual", **names, **size, "value": place}


def order(workspace: Workspace, indices: list[int]) -> None:
    """An order without points, as before the first model."""
    ids = {key.index: number for key, number in frames.ids_by_key(workspace.store).items()}
    picks = [PickRow(rank, ids[i], 0.0, True, False, f"reason {rank}", None, {}, None) for rank, i in enumerate(indices)]
    generations.add(workspace.store, None, picks)


def test_a_dry_run_says_what_it_understood_and_changes_nothing(make_foreign: Callable[..., Foreign], tmp_path: Path) -> None:
    foreign = make_foreign(
        TWO_PICTURES, [*two_pictures(3), {"left_url": "/data/x.jpg", "right_url": "", "comment": "?"}], frames=RULES
    )
    client = foreign.client
    first = next(iter(foreign.state()["data"]))
    client.annotate(first, [region("left", "Nose", 10.0)])
    before = foreign.state()
    client.calls.clear()
    plan = understand(foreign.spec, client)
    text = "\n".join([*plan.lines, *(f"would {change}" for change in plan.changes), *plan.remarks])
    assert "would" not in "".join([*plan.lines, *plan.changes, *plan.remarks]), "the real run prints these lines too"
    assert "Label Studio 1." in text
    assert "adopts project" in text
    assert "'theirs'" in text
    assert "Nose, Tail" in text
    assert "4 tasks show 3 frames of 1 sequences (run 1) in the views left_picture, right_picture; 1 tasks are annotated" in text
    assert f"warning: task {max(before['data'])}: " in text
    assert "frames.index" in text
    assert "would change sampling 'Sequential sampling' → 'Uncertainty sampling'" in text
    assert "pseudo-labelled" not in text, "two cameras get no pseudo-labels, and no empty tab for them"
    assert "as soon as `parallax up` runs" in text
    assert "`parallax init --header`" in text
    for thing in ("webhook", "ML backend", "tab 'Parallax: next'"):
        assert (
            f"would register the {thing}" in text or f"would connect the {thing}" in text or f"would create the {thing}" in text
        )
    assert {method for method, _ in client.calls} == {"GET"}
    assert foreign.state() == before
    assert not list(tmp_path.glob("*.sqlite3"))


def test_a_project_with_pictures_of_their_own_names_is_adopted_and_served(make_foreign: Callable[..., Foreign]) -> None:
    foreign = make_foreign(TWO_PICTURES, two_pictures(3), frames=RULES)
    client = foreign.client
    numbers = sorted(foreign.state()["data"])
    client.annotate(numbers[0], [region("left", "Nose", 10.0), region("right", "Tail", 20.0)])
    workspace = carry_out(understand(foreign.spec, client), "hush")
    pull(workspace, client)
    snapshot = collect(workspace)
    assert [str(key) for key in snapshot.keys] == ["run 1/000000"], "existing annotations count from the start"
    assert snapshot.xy_px[0, 0, 0].tolist() == pytest.approx([9.5, 49.5])  # 10 and 50 percent of 100 pixels, pixel centres
    assert snapshot.xy_px[0, 1, 1, 0] == pytest.approx(19.5)
    order(workspace, [2, 1])
    report = push(workspace, client)
    assert report is not None
    assert report.predictions == 2
    invite = client.call("GET", "api/invite")["token"]
    someone = Annotator(foreign.spec.label_studio.url, f"a{foreign.number}.{numbers[0]}@parallax.test", "pw12345678")
    try:
        someone.sign_up(invite)
        task = someone.next_task(foreign.number)
        assert task is not None
        assert task["id"] == numbers[2]
    finally:
        someone.close()
        workspace.store.close()


def test_one_task_per_camera_makes_one_frame_of_two_views(make_foreign: Callable[..., Foreign]) -> None:
    data = [{"image": f"/data/upload/9/run1_cam{camera}_{i:04d}.jpg"} for i in (4, 5) for camera in "AB"]
    rules = {
        "sequence": {"key": "image", "pattern": "(run[0-9]+)_"},
        "index": {"key": "image", "pattern": "_([0-9]+)[.]jpg"},
        "view": {"key": "image", "pattern": "_(cam[AB])_"},
    }
    foreign = make_foreign(ONE_PICTURE, data, frames=rules, views=["camA", "camB"])
    client = foreign.client
    numbers = sorted(foreign.state()["data"])
    plan = understand(foreign.spec, client)
    assert any("4 tasks show 2 frames of 1 sequences (run1) in the views camA, camB" in line for line in plan.lines)
    for number, x in zip(numbers[:2], (10.0, 30.0), strict=True):
        client.annotate(number, [region("img", "Nose", x)])
    workspace = carry_out(plan, "hush")
    pull(workspace, client)
    rows = frames.list_frames(workspace.store)
    assert [(str(row.key), sorted(row.images)) for row in rows] == [
        ("run1/000004", ["camA", "camB"]),
        ("run1/000005", ["camA", "camB"]),
    ]
    assert [row.views for row in tasks.list_tasks(workspace.store)] == [("camA",), ("camB",)] * 2
    snapshot = collect(workspace)
    np.testing.assert_allclose(snapshot.xy_px[0, :, 0, 0], [9.5, 29.5])
    order(workspace, [5])
    report = push(workspace, client)
    assert report is not None
    assert report.predictions == 2, "both cameras' tasks of the frame"
    assert foreign.state()["predictions"].keys() == set(numbers[2:])
    workspace.store.close()


def test_a_camera_that_no_rule_tells_is_named_with_the_fix(make_foreign: Callable[..., Foreign]) -> None:
    rules = {"index": {"key": "image", "pattern": "([0-9]+)[.]jpg"}}
    foreign = make_foreign(ONE_PICTURE, [{"image": "/data/upload/9/0004.jpg"}], frames=rules, views=["camA", "camB"])
    text = "\n".join(understand(foreign.spec, foreign.client).lines)
    assert "frames.view: expected one of the cameras camA, camB, got no rule" in text
    assert "set frames.view" in text


def test_init_twice_changes_nothing_the_second_time(
    make_foreign: Callable[..., Foreign], serve_backend: Callable[..., None]
) -> None:
    foreign = make_foreign(TWO_PICTURES, two_pictures(2), frames=RULES)
    client = foreign.client
    workspace = carry_out(understand(foreign.spec, client), "hush")  # nobody listens yet: it goes on without
    assert presence.list_events(workspace.store) == [], "nothing to complain of: it was never started"
    assert foreign.state()["webhooks"] == []
    serve_backend(workspace, int(foreign.spec.backend.url.rsplit(":", 1)[1]))
    carry_out(understand(foreign.spec, client), "hush").store.close()
    before, entries = foreign.state(), ledger.entries(workspace.store)
    client.calls.clear()
    carry_out(understand(foreign.spec, client), "hush").store.close()
    assert {method for method, _ in client.calls} == {"GET"}
    assert foreign.state() == before
    assert ledger.entries(workspace.store) == entries
    assert len(before["webhooks"]) == len(before["backends"]) == 1
    assert before["model_version"] == "", "never the title of a backend"
    workspace.store.close()


def test_the_webhook_brings_the_secret_and_rings_only_for_annotations(lab: Lab, serve_backend: Callable[..., None]) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    backend = lab.workspace.spec.backend.model_copy(update={"url": url})
    spec = lab.workspace.spec.model_copy(update={"backend": backend})
    workspace = Workspace(spec, lab.workspace.store, lab.workspace.arrays)
    seen: list[tuple[str, bool]] = []

    def note() -> None:
        from flask import request

        if request.path == "/webhook":
            seen.append(
                (request.json["action"] if request.json else "", request.headers.get(SECRET_HEADER) == webhook_key("hush"))
            )

    serve_backend(workspace, port, before=note)
    connect(workspace, lab.client, "hush")
    lab.serve([0, 1])
    assert seen == [], "our own imports do not ring"
    assert not workspace.project.pull_requested
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project) or {})
    assert seen == [("ANNOTATION_CREATED", True)]
    assert workspace.project.pull_requested
    lab.tick()
    assert not workspace.project.pull_requested


def test_a_new_secret_reaches_webhook_and_backend_entry(lab: Lab, serve_backend: Callable[..., None]) -> None:
    port = free_port()
    backend = lab.workspace.spec.backend.model_copy(update={"url": f"http://127.0.0.1:{port}"})
    spec = lab.workspace.spec.model_copy(update={"backend": backend})
    workspace = Workspace(spec, lab.workspace.store, lab.workspace.arrays)
    serve_backend(workspace, port, secret="new")
    (hook,) = [
        lab.client.create_webhook(lab.project, f"http://127.0.0.1:{port}/webhook", {SECRET_HEADER: "old"}, ["ANNOTATION_CREATED"])
    ]
    assert "registered" not in " ".join(connect(workspace, lab.client, "new"))
    (mended,) = lab.client.webhooks(lab.project)
    assert (mended["id"], mended["headers"]) == (hook["id"], {SECRET_HEADER: webhook_key("new")})
    lab.client.change_webhook(hook["id"], headers={SECRET_HEADER: "old"})
    assert any("its secret" in line for line in connect(workspace, lab.client, "new"))
    assert lab.client.project(lab.project)["model_version"] == ""
    lab.client.disconnect_backend(lab.client.backends(lab.project)[0]["id"])


def test_leaving_restores_every_field_and_removes_what_is_ours(
    make_foreign: Callable[..., Foreign], serve_backend: Callable[..., None]
) -> None:
    foreign = make_foreign(TWO_PICTURES, two_pictures(4), frames=RULES)
    client = foreign.client
    numbers = sorted(foreign.state()["data"])
    theirs = [{"task": n, "model_version": "yolo", "score": 0.5, "result": []} for n in numbers[1:]]
    client.import_predictions(foreign.number, theirs)
    client.change_project(foreign.number, model_version="yolo", sampling="Uniform sampling")
    view = client.create_view(foreign.number, {"title": "theirs", "type": "list", "target": "tasks"})
    before = foreign.state()

    workspace = carry_out(understand(foreign.spec, client), "hush")
    assert add_header(workspace, client)
    assert not add_header(workspace, client), "once"
    assert f"<View>{HEADER}" in foreign.state()["label_config"]
    serve_backend(workspace, int(foreign.spec.backend.url.rsplit(":", 1)[1]))
    connect(workspace, client, "hush")
    assert foreign.state()["model_version"] == "yolo"
    pull(workspace, client)
    from plugins.label_studio_sync.task_marks import update_marks

    for indices in ([0, 1, 2, 3], [3, 2]):
        order(workspace, indices)
        push(workspace, client)
        update_marks(workspace, client)
    annotation = client.annotate(numbers[0], [region("left", "Nose", 10.0)])
    pull(workspace, client)
    assert foreign.state() != before

    dry = leave(workspace, client, dry_run=True)
    during = foreign.state()
    progress: list[str] = []
    report = leave(workspace, client, tell=progress.append)
    assert dry.done == report.done, "the dry run said it all"
    assert progress[-1] == "6 of 6 predictions deleted"
    assert during["model_version"].startswith("px-")
    assert "1 annotations" in report.kept
    before["counters"][numbers[0]] = (1, 0)  # what a person did stays
    assert foreign.state() == before
    assert view in before["views"]
    assert client.call("GET", f"api/annotations/{annotation}/")["id"] == annotation
    assert leave(workspace, client).done == [], "a second time there is nothing left"
    assert len(submissions.list_annotations(workspace.store)) == 1

    again = carry_out(understand(foreign.spec, client), "hush")
    assert again.project.select_requested, "who comes back gets an order again"
    again.store.close()
    workspace.store.close()


def test_a_model_version_that_exists_no_more_is_not_restored(lab: Lab) -> None:
    lab.make_tasks([0, 1])
    lab.client.import_predictions(
        lab.project, [{"task": lab.task(0).ls_task_id, "model_version": "old", "score": 0.5, "result": []}]
    )
    lab.client.change_project(lab.project, model_version="old")
    lab.serve([0, 1])
    predictions = [one for _, held in lab.client.predictions(lab.project) for one in held.items()]
    (old,) = (number for number, version in predictions if version == "old")
    lab.client.delete_prediction(old)
    report = leave(lab.workspace, lab.client)
    assert any("'old'" in line for line in report.kept)
    assert lab.client.project(lab.project)["model_version"] == ""


def test_tasks_are_removed_only_when_asked_and_never_when_somebody_touched_them(lab: Lab) -> None:
    lab.serve([0, 1, 2, 3, 4])
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project) or {})
    assert someone.skip(someone.next_task(lab.project) or {}).status_code == 201
    drafted = someone.next_task(lab.project) or {}
    draft = someone._call("POST", f"/api/tasks/{drafted['id']}/drafts", json={"result": lab.hand_made(2), "lead_time": 1.0})
    assert draft.status_code == 201
    foreign = lab.client.import_tasks(lab.project, [{"front": "/data/a.jpg", "side": "/data/b.jpg"}])

    folder = lab.platform.documents.resolve() / str(lab.project)
    folder.mkdir(exist_ok=True)
    (folder / "x.txt").write_text("a picture of ours")
    storage = lab.client.create_local_storage(lab.project, str(folder), "Parallax frames")
    ledger.record(lab.workspace.store, "local_storage", storage)

    report = leave(lab.workspace, lab.client)
    assert any("5 tasks that were imported" in line for line in report.kept)
    assert any(f"local storage {storage}" in line and "5 tasks" in line for line in report.kept)
    address = f"{lab.platform.url}/data/local-files/?d={lab.project}/x.txt"
    assert someone.http.get(address).status_code == 200, "the tasks that stay can be opened"
    report = leave(lab.workspace, lab.client, remove_tasks=True, dry_run=True)
    assert len([line for line in report.done if "delete task" in line]) == 2
    assert len(list(lab.client.tasks(lab.project, fields="id"))) == 6
    leave(lab.workspace, lab.client, remove_tasks=True)
    left = {task["id"] for task in lab.client.tasks(lab.project, fields="id")}
    assert left == {lab.task(i).ls_task_id for i in (0, 1, 2)} | set(foreign)


def test_the_storage_goes_with_the_last_task_that_needs_it(lab: Lab) -> None:
    lab.serve([0, 1])
    folder = lab.platform.documents.resolve() / str(lab.project)
    folder.mkdir(exist_ok=True)
    storage = lab.client.create_local_storage(lab.project, str(folder), "Parallax frames")
    ledger.record(lab.workspace.store, "local_storage", storage)
    assert f"delete local storage {storage}" in leave(lab.workspace, lab.client, remove_tasks=True).done
    assert lab.client.local_storages(lab.project) == []


def test_a_project_that_was_deleted_can_be_left(lab: Lab) -> None:
    lab.serve([0, 1, 2])
    assert ledger.entries(lab.workspace.store)
    lab.client.delete_project(lab.project)
    with pytest.raises(NoProjectError, match=f"no project {lab.project} .*`parallax leave` ends the set-up"):
        pull(lab.workspace, lab.client)
    assert "Label Studio has it no more" in leave(lab.workspace, lab.client, dry_run=True).done[0]
    assert ledger.entries(lab.workspace.store)
    leave(lab.workspace, lab.client)
    assert ledger.entries(lab.workspace.store) == []

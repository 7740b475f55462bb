"""The calls that the stand-in for Label Studio answers: what our client asks for, and nothing else."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from copy import deepcopy
from datetime import datetime
from typing import Any

import httpx

from tests.chaos.stand_in_state import Item, PlatformState, RefusedCall, now


class Call:
    """One request and its answer; ``after`` gets what happens once it is answered."""

    def __init__(
        self, platform: PlatformState, method: str, path: str, query: dict[str, str], raw: bytes, headers: Any, after: list[Any]
    ) -> None:
        self.platform, self.method, self.path, self.query = platform, method, path, query
        self.raw, self.headers, self.after = raw, headers, after

    @property
    def body(self) -> Any:
        return json.loads(self.raw) if self.raw else {}

    @property
    def user(self) -> int:
        """The token's user is 1; a session names its own."""
        session = re.search(r"sessionid=(\d+)", self.headers.get("Cookie") or "")
        if session:
            return int(session[1])
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if scheme != "Token" or token not in (self.platform.token, self.platform.observer):
            raise RefusedCall(401, "Invalid token.")
        return 1

    def answer(self) -> tuple[int, Any]:
        if self.path.startswith("user/"):
            return 200, None
        user = self.user
        for pattern, act in _ROUTES:
            method, _, path = pattern.partition(" ")
            found = re.fullmatch(path, self.path) if method == self.method else None
            if found:
                with self.platform.lock:
                    answer: tuple[int, Any] = act(self, user, *map(int, found.groups()))
                    return answer
        raise RefusedCall(404, f"the stand-in does not know {self.method} {self.path}")

    # --- projects -----------------------------------------------------------------------------------------------

    def projects(self, user: int) -> tuple[int, Any]:
        return 200, {"results": [{"id": p["id"], "title": p["title"]} for p in self.platform.projects.values()]}

    def create_project(self, user: int) -> tuple[int, Any]:
        number = self.platform.number("project", self.platform.projects)
        settings = {"sampling": "Sequential sampling", "model_version": "", "show_collab_predictions": True}
        settings |= {"maximum_annotations": 1, "reveal_preannotations_interactively": False, "created_at": now()}
        self.platform.projects[number] = {"id": number, **settings, **self.body}
        return 201, self.shown_project(number)

    def shown_project(self, number: int) -> Item:
        return {**self.platform.project(number), "task_number": len(self.platform.tasks)}

    def get_project(self, user: int, number: int) -> tuple[int, Any]:
        return 200, self.shown_project(number)

    def change_project(self, user: int, number: int) -> tuple[int, Any]:
        project, body = self.platform.project(number), self.body
        version = body.get("model_version")
        known = {p["model_version"] for p in self.platform.predictions.values()}
        if version and version not in known | {ml["title"] for ml in self.platform.things["ml"].values()}:
            raise RefusedCall(400, f"Model version {version} doesn't exist in project")
        project |= body
        return 200, self.shown_project(number)

    def model_versions(self, user: int, number: int) -> tuple[int, Any]:
        return 200, Counter(p["model_version"] for p in self.platform.predictions.values())

    # --- tasks --------------------------------------------------------------------------------------------------

    def list_tasks(self, user: int) -> tuple[int, Any]:
        platform, wanted = self.platform, self.query.get("include")
        filters = json.loads(self.query.get("query") or "{}").get("filters", {}).get("items", [])
        found = [task for number, task in sorted(platform.tasks.items()) if all(self.passes(number, f) for f in filters)]
        page = [self.shown_task(task, wanted) for task in found[: int(self.query.get("page_size", 100))]]
        return 200, {"tasks": page, "total": len(found)}

    def passes(self, number: int, condition: Item) -> bool:
        column, operator, value = condition["filter"].rpartition(":")[2], condition["operator"], condition["value"]
        platform = self.platform
        match (column, operator):
            case ("id", "greater"):
                return number > int(value)
            case ("id", "in_list"):
                return number in value
            case ("updated_at", "greater"):
                return datetime.fromisoformat(platform.tasks[number]["updated_at"]) > datetime.fromisoformat(value)
            case ("predictions_model_versions", "contains"):
                versions = [p["model_version"] for p in platform.of_task(number, platform.predictions)]
                return any(text in version for text in value for version in versions)
            case ("total_annotations", "greater"):
                return sum(not a["was_cancelled"] for a in platform.of_task(number, platform.annotations)) > int(value)
        raise RefusedCall(400, f"the stand-in does not know the filter {condition}")

    def shown_task(self, task: Item, wanted: str | None) -> Item:
        platform, number = self.platform, task["id"]
        annotations = platform.of_task(number, platform.annotations)
        cancelled = sum(a["was_cancelled"] for a in annotations)
        full = {**task, "is_labeled": platform.is_labeled(number), "annotations": annotations}
        full |= {"total_annotations": len(annotations) - cancelled, "cancelled_annotations": cancelled}
        full["predictions"] = platform.of_task(number, platform.predictions)
        names = set(full) if wanted is None else set(wanted.split(","))
        return deepcopy({name: value for name, value in full.items() if name in names or name in ("id", "data")})

    def import_tasks(self, user: int, project: int) -> tuple[int, Any]:
        platform, numbers, stamp = self.platform, [], now()
        platform.project(project)
        for item in self.body:
            number = platform.number("task", platform.tasks)
            platform.tasks[number] = {"id": number, "data": item["data"], "created_at": stamp, "updated_at": stamp}
            numbers.append(number)
        return 201, {"task_count": len(numbers), "task_ids": numbers}

    def change_task(self, user: int, number: int) -> tuple[int, Any]:
        if number not in self.platform.tasks:
            raise RefusedCall(404, "Not found.")
        self.platform.tasks[number]["data"] = self.body["data"]
        self.platform.touch(number)
        return 200, self.platform.tasks[number]

    def delete_task(self, user: int, number: int) -> tuple[int, Any]:
        if self.platform.tasks.pop(number, None) is None:
            raise RefusedCall(404, "Not found.")
        for held in (self.platform.predictions, self.platform.annotations):
            for item in self.platform.of_task(number, held):
                del held[item["id"]]
        return 204, None

    def annotate(self, user: int, task: int) -> tuple[int, Any]:
        made = self.platform.submit(task, self.body, user)
        project = next(iter(self.platform.projects))
        self.after.append(lambda: self.platform.ring(project, "ANNOTATION_CREATED", annotation={"id": made["id"]}))
        return 201, made

    def change_annotation(self, user: int, number: int) -> tuple[int, Any]:
        held = self.platform.annotations.get(number)
        if held is None:
            raise RefusedCall(404, "Not found.")
        held |= {"result": self.body["result"], "updated_at": now()}
        self.platform.touch(held["task"])
        project = next(iter(self.platform.projects))
        self.after.append(lambda: self.platform.ring(project, "ANNOTATION_UPDATED", annotation={"id": number}))
        return 200, held

    def delete_annotation(self, user: int, number: int) -> tuple[int, Any]:
        gone = self.platform.annotations.pop(number, None)
        if gone is None:
            raise RefusedCall(404, "Not found.")
        self.platform.touch(gone["task"])
        project = next(iter(self.platform.projects))
        self.after.append(lambda: self.platform.ring(project, "ANNOTATIONS_DELETED", annotations=[{"id": number}]))
        return 204, None

    def next_task(self, user: int, project: int) -> tuple[int, Any]:
        found = self.platform.next_task(project, user)
        if found is None:
            raise RefusedCall(404, "There are no tasks remaining")
        return 200, found

    # --- predictions --------------------------------------------------------------------------------------------

    def import_predictions(self, user: int, project: int) -> tuple[int, Any]:
        platform, body = self.platform, self.body
        if any(item["task"] not in platform.tasks for item in body):
            raise RefusedCall(400, "unknown task ids")
        # A score outside of 0 … 1 is dropped without a word.
        taken = [item for item in body if item.get("score") is None or 0 <= item["score"] <= 1]
        for item in taken:
            number = platform.number("prediction", platform.predictions)
            platform.predictions[number] = {"id": number, "project": project, "created_at": now(), **item}
        return 201, {"created": len(taken)}

    def list_predictions(self, user: int) -> tuple[int, Any]:
        return 200, list(self.platform.predictions.values())

    def get_prediction(self, user: int, number: int) -> tuple[int, Any]:
        if number not in self.platform.predictions:
            raise RefusedCall(404, "Not found.")
        return 200, self.platform.predictions[number]

    def delete_prediction(self, user: int, number: int) -> tuple[int, Any]:
        if self.platform.predictions.pop(number, None) is None:
            raise RefusedCall(404, "Not found.")
        for item in self.platform.annotations.values():
            if item["parent_prediction"] == number:
                item["parent_prediction"] = None
        return 204, None

    # --- webhooks, backends, views, storages --------------------------------------------------------------------

    def list_things(self, kind: str) -> tuple[int, Any]:
        return 200, list(self.platform.things[kind].values())

    def make_thing(self, kind: str) -> tuple[int, Any]:
        number = self.platform.number(kind, self.platform.things[kind])
        made = self.platform.things[kind][number] = {**self.body, "id": number}
        return 201, made

    def change_thing(self, kind: str, number: int) -> tuple[int, Any]:
        self.platform.things[kind][number] |= self.body
        return 200, self.platform.things[kind][number]

    def delete_thing(self, kind: str, number: int) -> tuple[int, Any]:
        self.platform.things[kind].pop(number, None)
        return 204, None

    def connect_backend(self, user: int) -> tuple[int, Any]:
        """Label Studio calls the backend at once; where none is set, its title becomes the version."""
        body = self.body
        login = base64.b64encode(f"{body['basic_auth_user']}:{body['basic_auth_pass']}".encode()).decode()
        project = self.platform.project(body["project"])
        try:
            httpx.get(f"{body['url']}/health", timeout=1).raise_for_status()
            setup = {"project": str(body["project"]), "schema": project["label_config"], "hostname": self.platform.url}
            httpx.post(
                f"{body['url']}/setup", json=setup, headers={"Authorization": f"Basic {login}"}, timeout=3
            ).raise_for_status()
        except httpx.HTTPError as error:
            raise RefusedCall(400, f"Can't connect to ML backend {body['url']}") from error
        made = self.make_thing("ml")
        project["model_version"] = project["model_version"] or body["title"]
        return made


def _things(kind: str, path: str) -> list[tuple[str, Any]]:
    return [
        (f"GET {path}", lambda call, user: call.list_things(kind)),
        (f"POST {path}", lambda call, user: call.make_thing(kind)),
        (f"PATCH {path}/(\\d+)", lambda call, user, number: call.change_thing(kind, number)),
        (f"DELETE {path}/(\\d+)", lambda call, user, number: call.delete_thing(kind, number)),
    ]


_ROUTES: list[tuple[str, Any]] = [
    ("GET api/version", lambda call, user: (200, {"release": "1.23.2"})),
    ("GET api/current-user/whoami", lambda call, user: (200, {"id": user, "email": f"user{user}@parallax.test"})),
    ("GET api/users", lambda call, user: (200, [{"id": user, "email": f"user{user}@parallax.test"}])),
    ("GET api/invite", lambda call, user: (200, {"token": "invite"})),
    ("GET api/projects", Call.projects),
    ("POST api/projects", Call.create_project),
    (r"GET api/projects/(\d+)", Call.get_project),
    (r"PATCH api/projects/(\d+)", Call.change_project),
    (r"GET api/projects/(\d+)/model-versions", Call.model_versions),
    (r"POST api/projects/(\d+)/import", Call.import_tasks),
    (r"POST api/projects/(\d+)/import/predictions", Call.import_predictions),
    (r"GET api/projects/(\d+)/next", Call.next_task),
    ("GET api/tasks", Call.list_tasks),
    (r"PATCH api/tasks/(\d+)", Call.change_task),
    (r"DELETE api/tasks/(\d+)", Call.delete_task),
    (r"POST api/tasks/(\d+)/annotations", Call.annotate),
    (r"PATCH api/annotations/(\d+)", Call.change_annotation),
    (r"DELETE api/annotations/(\d+)", Call.delete_annotation),
    ("GET api/predictions", Call.list_predictions),
    (r"GET api/predictions/(\d+)", Call.get_prediction),
    (r"DELETE api/predictions/(\d+)", Call.delete_prediction),
    ("POST api/ml", Call.connect_backend),
    ("GET api/storages", lambda call, user: call.list_things("storages")),
    ("POST api/storages/localfiles/validate", lambda call, user: (400, {"detail": "cannot be the same"})),
    *_things("hooks", "api/webhooks"),
    *_things("ml", "api/ml"),
    *_things("views", "api/dm/views"),
    *_things("storages", "api/storages/localfiles"),
]

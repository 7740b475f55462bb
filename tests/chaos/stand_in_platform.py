"""A stand-in for Label Studio at the edge of HTTP, for hundreds of fault runs: it does what a live 1.23.2 was seen to do.

Tasks, predictions, annotations, locks and the label stream are kept in memory and served over a real socket, one port for each
instance.  It has what our client calls, and nothing else.
"""

from __future__ import annotations

import base64
import json
import random
import re
import secrets
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from plugins.cli.processes.ports import free_port

Item = dict[str, Any]
#: (method, path) → None: answer; ``"500"``, ``"401"``, ``"429"``: refuse before anything happened; ``"lost"``: cut the connection
#: before, ``"silent"`` after the work was done.
Fault = Callable[[str, str], str | None]
#: Label Studio waits this long for a webhook.
WEBHOOK_S = 1.0


class RefusedCall(Exception):
    """Answered with this status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def now() -> str:
    """The time as Label Studio writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass
class StandIn:
    """One server; ``url``, ``token`` and ``documents`` as of ``plugins.demo.platform.Platform``."""

    documents: Path
    seed: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(20))
    observer: str = field(default_factory=lambda: secrets.token_hex(20))  #: a second token, whose calls nothing befalls
    port: int = field(default_factory=free_port)
    fault: Fault = lambda method, path: None
    projects: dict[int, Item] = field(default_factory=dict)
    tasks: dict[int, Item] = field(default_factory=dict)
    predictions: dict[int, Item] = field(default_factory=dict)
    annotations: dict[int, Item] = field(default_factory=dict)
    things: dict[str, dict[int, Item]] = field(
        default_factory=lambda: {name: {} for name in ("hooks", "ml", "views", "storages")}
    )
    locks: dict[int, int] = field(default_factory=dict)  #: task → user
    calls: Counter[str] = field(default_factory=Counter)
    called_by_sync: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.random = random.Random(self.seed)
        self._server: _Server | None = None
        self._next = Counter[str]()

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; what was stored before is there."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self) -> None:
        """Cut every connection and listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.cut()
            self._server.server_close()
            self._server = None

    # --- what stands here ---------------------------------------------------------------------------------------

    def number(self, kind: str, held: dict[int, Item]) -> int:
        """A new number; as on SQLite, numbers of deleted tasks come back."""
        if kind == "task":
            return max(held, default=0) + 1
        self._next[kind] += 1
        return self._next[kind]

    def project(self, number: int) -> Item:
        """One project; refused with 404 when there is none."""
        if number not in self.projects:
            raise RefusedCall(404, "Not found.")
        return self.projects[number]

    def of_task(self, task: int, held: dict[int, Item]) -> list[Item]:
        """Predictions or annotations of one task."""
        return [item for item in held.values() if item["task"] == task]

    def is_labeled(self, task: int) -> bool:
        """Whether it has as many annotations as it wants."""
        return any(not item["was_cancelled"] for item in self.of_task(task, self.annotations))

    def touch(self, task: int) -> None:
        """Something about it changed that shows in its time."""
        self.tasks[task]["updated_at"] = now()

    def next_task(self, project: int, user: int) -> Item | None:
        """What the label stream serves: the own lock, then by uncertainty, then anything."""
        settings = self.project(project)
        served = settings["model_version"]
        mine = {item["task"] for item in self.annotations.values() if item["completed_by"] == user}
        open_ = [t for t in self.tasks if not self.is_labeled(t) and t not in mine and self.locks.get(t, user) == user]
        locked = [task for task in open_ if self.locks.get(task) == user]
        scores = {p["task"]: p["score"] for p in self.predictions.values() if p["model_version"] == served}
        ranked = sorted((task for task in open_ if task in scores), key=lambda task: (scores[task], task))
        if settings["sampling"] != "Uncertainty sampling":
            ranked = []
        chosen = next(iter([*locked, *ranked]), None)
        if chosen is None and open_:
            chosen = self.random.choice(open_)
        if chosen is None:
            return None
        self.locks[chosen] = user
        shown = [p for p in self.of_task(chosen, self.predictions) if p["model_version"] == served]
        return {**deepcopy(self.tasks[chosen]), "project": project, "predictions": deepcopy(shown), "annotations": []}

    def submit(self, task: int, body: Item, user: int) -> Item:
        """An annotation; then the webhook rings."""
        if task not in self.tasks:
            raise RefusedCall(404, "Not found.")
        parent = body.get("parent_prediction")
        if parent is not None and parent not in self.predictions:
            raise RefusedCall(400, f'Invalid pk "{parent}" - object does not exist.')
        number = self.number("annotation", self.annotations)
        stamp = now()
        made = {
            "id": number,
            "task": task,
            "result": body.get("result", []),
            "lead_time": body.get("lead_time"),
            "completed_by": body.get("completed_by", user),
            "was_cancelled": bool(body.get("was_cancelled")),
            "ground_truth": bool(body.get("ground_truth", False)),
            "parent_prediction": parent,
            "created_at": stamp,
            "updated_at": stamp,
        }
        self.annotations[number] = made
        self.locks.pop(task, None)
        self.touch(task)
        return made

    def ring(self, project: int, action: str, **more: Any) -> None:
        """Call the webhooks once, for a second at most, as Label Studio does while the annotator waits."""
        for hook in list(self.things["hooks"].values()):
            if hook["is_active"] and (hook.get("send_for_all_actions") or action in hook["actions"]):
                with suppress(httpx.HTTPError):
                    httpx.post(
                        hook["url"],
                        json={"action": action, "project": {"id": project}, **more},
                        headers=hook["headers"],
                        timeout=WEBHOOK_S,
                    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, platform: StandIn) -> None:
        self.platform = platform
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", platform.port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """Close every connection."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        platform, parts = self.server.platform, urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        path = parts.path.strip("/")
        faulty = platform.token in (self.headers.get("Authorization") or "")
        how = platform.fault(self.command, path) if faulty else None
        platform.calls[f"{self.command} {re.sub('[0-9]+', 'N', path)}"] += 1
        if faulty:
            platform.called_by_sync.append(time.monotonic())
        if how == "lost":
            return self._cut()
        if how is not None and how != "silent":
            return self._answer(int(how), {"detail": "refused by the test"}, {"Retry-After": "2"} if how == "429" else {})
        after: list[Callable[[], None]] = []
        try:
            status, answer = _Call(platform, self.command, path, dict(parse_qsl(parts.query)), raw, self.headers, after).answer()
        except RefusedCall as refused:
            status, answer = refused.status, {"detail": str(refused)}
        for act in after:
            act()
        if how == "silent":
            return self._cut()
        # Whoever signs up or logs in here is the same annotator.
        self._answer(status, answer, {"Set-Cookie": "sessionid=2; Path=/"} if path.startswith("user/") else {})

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, answer: Any, headers: dict[str, str]) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve


class _Call:
    """One request and its answer."""

    def __init__(
        self, platform: StandIn, method: str, path: str, query: dict[str, str], raw: bytes, headers: Any, after: list[Any]
    ) -> None:
        self.platform, self.method, self.path, self.query, self.headers, self.after = (
            platform,
            method,
            path,
            query,
            headers,
            after,
        )
        self.raw = raw

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
    ("GET api/projects", _Call.projects),
    ("POST api/projects", _Call.create_project),
    (r"GET api/projects/(\d+)", _Call.get_project),
    (r"PATCH api/projects/(\d+)", _Call.change_project),
    (r"GET api/projects/(\d+)/model-versions", _Call.model_versions),
    (r"POST api/projects/(\d+)/import", _Call.import_tasks),
    (r"POST api/projects/(\d+)/import/predictions", _Call.import_predictions),
    (r"GET api/projects/(\d+)/next", _Call.next_task),
    ("GET api/tasks", _Call.list_tasks),
    (r"PATCH api/tasks/(\d+)", _Call.change_task),
    (r"DELETE api/tasks/(\d+)", _Call.delete_task),
    (r"POST api/tasks/(\d+)/annotations", _Call.annotate),
    (r"DELETE api/annotations/(\d+)", _Call.delete_annotation),
    ("GET api/predictions", _Call.list_predictions),
    (r"GET api/predictions/(\d+)", _Call.get_prediction),
    (r"DELETE api/predictions/(\d+)", _Call.delete_prediction),
    ("POST api/ml", _Call.connect_backend),
    ("GET api/storages", lambda call, user: call.list_things("storages")),
    ("POST api/storages/localfiles/validate", lambda call, user: (400, {"detail": "cannot be the same"})),
    *_things("hooks", "api/webhooks"),
    *_things("ml", "api/ml"),
    *_things("views", "api/dm/views"),
    *_things("storages", "api/storages/localfiles"),
]

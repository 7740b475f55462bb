"""A small project of its own on the live Label Studio for every test, and people who label it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from werkzeug.serving import BaseWSGIServer, make_server

from label_config.labelling import regions
from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.spec import Spec
from label_config.values import FrameKey, ImageRef, PointState, Pose2D, Provenance
from label_config.values.skeleton import Skeleton
from ml_backend.server.app import create_app
from ml_backend.store import frames, generations, projects, tasks, versions
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.generations import Generation, PickRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.workspace import Workspace
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.new_tasks import create_missing
from plugins.label_studio_sync.push_order import push
from plugins.label_studio_sync.tick import TickReport, tick

collect_ignore = [] if find_spec("label_studio_ml") else ["test_inside_label_studio_ml.py"]

SKELETON = Skeleton("tripod", ("head", "left_foot", "right_foot"))
VIEWS = ("front", "side")
SIZE = (200, 100)


class NoQueue:
    """Jobs stay in the store; nothing runs them."""

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        return 0


def pose(index: int, shift_px: float = 0.0) -> Pose2D:
    """A different posture for every frame; all points inside the picture."""
    xy = np.array([[[20.0 + index % 50 + 10 * k + shift_px, 30.0 + 20 * v + 5 * k] for k in range(3)] for v in range(2)])
    full = np.ones((2, 3), dtype=np.int64)
    return Pose2D(xy, np.full((2, 3), 0.9), full * PointState.VISIBLE, full * Provenance.PREDICTED)


@dataclass
class Lab:
    """One project: ``workspace`` and ``client`` as sync has them, ``platform`` to act behind sync's back."""

    workspace: Workspace
    client: Client
    platform: Platform
    ids: list[int]
    version: int
    people: list[Annotator] = field(default_factory=list)

    @property
    def project(self) -> int:
        return self.workspace.project.ls_project_id

    def pick(self, rank: int, index: int, *, blind: bool = False, pseudo: bool = False, shift_px: float = 0.0) -> PickRow:
        shown = {"0": pose(index, shift_px).to_json()}
        return PickRow(rank, self.ids[index], rank / 1000, blind, pseudo, f"reason {rank}", None, shown, None)

    def select(
        self, indices: list[int], *, blind: Set[int] = frozenset(), pseudo: Set[int] = frozenset(), **more: Any
    ) -> Generation:
        """Write down an order of these frames."""
        order = [self.pick(rank, i, blind=i in blind, pseudo=i in pseudo, **more) for rank, i in enumerate(indices)]
        return generations.add(self.workspace.store, self.version, order)

    def serve(self, indices: list[int], **more: Any) -> Generation:
        """Select and push."""
        self.select(indices, **more)
        report = push(self.workspace, self.client)
        assert report is not None
        return self.current()

    def make_tasks(self, indices: list[int]) -> list[int]:
        """Tasks without an order; their numbers."""
        rows = {row.id: row for row in frames.list_frames(self.workspace.store)}
        create_missing(self.workspace, self.client, [self.pick(n, i) for n, i in enumerate(indices)], rows)
        return [self.task(i).ls_task_id for i in indices]

    def current(self) -> Generation:
        number = self.workspace.project.generation
        assert number is not None
        return generations.get(self.workspace.store, number)

    def new_model(self) -> None:
        """Another model is live; it has scored nothing yet."""
        store, project = self.workspace.store, self.workspace.project
        attempt = project.live_attempt + 1
        row = versions.add(
            store.of_project(project.id), attempt=attempt, snapshot_id=None, path=f"m{attempt}", sha256="", metrics={}
        )
        versions.publish(store.of_project(project.id), row.id, attempt)
        self.version = row.id

    def task(self, index: int) -> TaskRow:
        everything = tasks.list_tasks(self.workspace.store, deleted=True)
        return next(row for row in everything if row.frame_id == self.ids[index])

    def index_of(self, ls_task: int) -> int:
        row = tasks.by_ls_id(self.workspace.store, ls_task)
        assert row is not None
        return self.ids.index(row.frame_id)

    def person(self) -> Annotator:
        """A fresh annotator, signed up like any other."""
        someone = Annotator(self.platform.url, f"{secrets.token_hex(6)}@parallax.test", "pw12345678")
        self.people.append(someone)
        someone.sign_up(self.client.call("GET", "api/invite")["token"])
        return someone

    def hand_made(self, index: int, shift_px: float = 0.0) -> list[dict[str, Any]]:
        """The regions of a person who placed every point."""
        result = regions.encode({0: pose(index, shift_px)}, self.workspace.binding, dict.fromkeys(VIEWS, SIZE), 0)
        for n, region in enumerate(result):
            region |= {"id": f"hand{n}", "origin": "manual"}
            region.pop("score", None)
        return result

    def submit(self, someone: Annotator, task: dict[str, Any], result: list[dict[str, Any]] | None = None) -> int:
        """Submit what is shown (or ``result``); the annotation's number."""
        if result is None:
            shown = task["predictions"][0]["result"] if task["predictions"] else []
            result = [{**region, "origin": "prediction"} for region in shown]
        answer = someone.submit(task, result, 3.0)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def predictions(self) -> dict[int, list[str]]:
        """Task → versions of its predictions, in Label Studio."""
        return {task: sorted(held.values()) for task, held in self.client.predictions(self.project)}

    def tick(self, **more: Any) -> TickReport:
        return tick(self.workspace, self.client, NoQueue(), "test", **more)  # type: ignore[arg-type]


def make_spec(platform: Platform, tmp_path: Path, **more: Any) -> Spec:
    settings: dict[str, Any] = {
        "label_studio": {"url": platform.url, "token": platform.token},
        "store": f"sqlite:///{tmp_path}/store.sqlite3",
        "models": str(tmp_path / "models"),
        "arrays": str(tmp_path / "arrays"),
        "documents_root": str(platform.documents.resolve()),
        "backend": {"secret": "hush"},
        "sync": {"push_every_minutes": 0, "chunk": 5},
    }
    return Spec.model_validate({**settings, **more})


@pytest.fixture
def make_lab(platform: Platform, tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Makes a project with that many frames; more arguments go into parallax.yaml."""
    made: list[Lab] = []

    def make(n_frames: int = 12, client: type[Client] = Client, **more: Any) -> Lab:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        spec = make_spec(platform, folder, **more)
        real = client(platform.url, platform.token)
        xml = build_label_config(SKELETON, VIEWS)
        project = real.create_project(f"test {platform.port}", xml)
        label_studio = spec.label_studio.model_copy(update={"project": project["id"]})
        spec = spec.model_copy(update={"label_studio": label_studio})
        store = open_store(spec.store)
        row = projects.register(store, platform.url, project["id"], project["created_at"])
        projects.change(store.of_project(row.id), binding=bind(xml, SKELETON, views=VIEWS).to_json())
        root = platform.documents.resolve()
        images = [{v: ImageRef(f"{root}/{project['id']}/{v}/{i:04d}.jpg", size_px=SIZE) for v in VIEWS} for i in range(n_frames)]
        frames.add_frames(store.of_project(row.id), [(FrameKey("walk", i), images[i], "train") for i in range(n_frames)])
        held = frames.ids_by_key(store.of_project(row.id))
        lab = Lab(Workspace(spec, store.of_project(row.id), ArrayStore(folder / "arrays")), real, platform, [], 0)
        lab.ids = [held[FrameKey("walk", i)] for i in range(n_frames)]
        lab.new_model()
        made.append(lab)
        return lab

    yield make
    for lab in made:
        for someone in lab.people:
            someone.close()
        lab.client.close()
        lab.workspace.store.close()


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab()


class FaultyClient(Client):
    """The real client on a bad line.

    ``fail`` decides for every call: None = let it pass, "lost" = the request never arrives, "500" = refused before anything
    happened, "silent" = the server does the work but the answer is lost.
    """

    fail: Callable[[str, str], str | None] = staticmethod(lambda method, path: None)

    def __init__(self, url: str, token: str) -> None:
        super().__init__(url, token)
        self.calls: list[tuple[str, str]] = []

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
        self.calls.append((method, path))
        how = self.fail(method, path)
        if how == "500":
            raise LabelStudioError("refused", 500)
        if how == "lost":
            raise LabelStudioError("no connection", None)
        answer = super().call(method, path, params=params, body=body)
        if how == "silent":
            raise LabelStudioError("timed out", None)
        return answer


def fail_on(word: str, how: str, *, method: str = "POST", times: int = 1) -> Callable[[str, str], str | None]:
    """Fail the first calls whose path ends in ``word``."""
    left = [times]

    def decide(asked: str, path: str) -> str | None:
        if asked == method and path.rstrip("/").endswith(word) and left[0]:
            left[0] -= 1
            return how
        return None

    return decide


@pytest.fixture
def serve_backend() -> Iterator[Callable[..., None]]:
    """Runs the real backend of a workspace on a port of this machine; ``before`` is called ahead of every request."""
    running: list[tuple[BaseWSGIServer, threading.Thread]] = []

    def serve(workspace: Workspace, port: int, secret: str = "hush", before: Callable[[], Any] | None = None) -> None:
        app = create_app(workspace, secret)
        if before is not None:
            app.before_request_funcs.setdefault(None, []).append(before)
        server = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()

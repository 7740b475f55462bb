"""A project of any size on a live Label Studio, and annotators who submit at a steady pace."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.spec import Spec
from label_config.values import FloatArray, FrameKey, ImageRef, PointState, Pose2D, Provenance
from label_config.values.skeleton import Skeleton
from ml_backend.store import frames, generations, projects, versions
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client

VIEWS = ("cam1", "cam2", "cam3", "cam4")
SKELETON = Skeleton("eight", tuple(f"point{k}" for k in range(8)))
SIZE = (640, 480)


class CountingClient(Client):
    """Counts requests."""

    calls = 0

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
        self.calls += 1
        return super().call(method, path, params=params, body=body)


class NoQueue:
    """Takes no job."""

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        return 0


@dataclass
class SyncLab:
    """4 views × 8 keypoints; frames without files, since nothing here looks at a picture."""

    platform: Platform
    workspace: Workspace
    client: CountingClient
    frame_ids: list[int]
    version_id: int

    @property
    def project(self) -> int:
        """Label Studio's number."""
        return self.workspace.project.ls_project_id

    def select(self, first: int, count: int) -> None:
        """Write down an order of ``count`` frames from ``first`` on."""
        rng = np.random.default_rng(first)
        shape = (len(VIEWS), len(SKELETON))
        full = np.ones(shape, dtype=np.int64)
        order = []
        for rank, frame in enumerate(self.frame_ids[first : first + count]):
            xy = rng.uniform(10, 460, (*shape, 2))
            pose = Pose2D(xy, np.full(shape, 0.8), full * PointState.VISIBLE, full * Provenance.PREDICTED)
            reason = "views disagree about point3 by 12 px"
            order.append(PickRow(rank, frame, rank / count, False, False, reason, None, {"0": pose.to_json()}, None))
        generations.add(self.workspace.store, self.version_id, order)

    def annotator(self) -> Annotator:
        """A new user."""
        someone = Annotator(self.platform.url, f"{secrets.token_hex(6)}@parallax.test", "pw12345678")
        someone.sign_up(self.client.call("GET", "api/invite")["token"])
        return someone


def make_lab(platform: Platform, folder: Path, n_frames: int, **sync: Any) -> SyncLab:
    """A new project; tasks come with the first push."""
    folder.mkdir(parents=True, exist_ok=True)
    client = CountingClient(platform.url, platform.token, rests=True)
    xml = build_label_config(SKELETON, VIEWS)
    project = client.create_project("benchmark", xml)
    settings = {
        "label_studio": {"url": platform.url, "token": platform.token, "project": project["id"]},
        "store": f"sqlite:///{folder}/store.sqlite3",
        "arrays": str(folder / "arrays"),
        "documents_root": str(platform.documents.resolve()),
        "sync": {"push_every_minutes": 0, **sync},
    }
    spec = Spec.model_validate(settings)
    store = open_store(spec.store)
    row = projects.register(store, platform.url, project["id"], project["created_at"])
    projects.change(store.of_project(row.id), binding=bind(xml, SKELETON, views=VIEWS).to_json())
    root = platform.documents.resolve()
    images = [{v: ImageRef(f"{root}/bench/{v}/{i:06d}.jpg", size_px=SIZE) for v in VIEWS} for i in range(n_frames)]
    frames.add_frames(store.of_project(row.id), [(FrameKey("run", i), images[i], "train") for i in range(n_frames)])
    ids = [number for _, number in sorted(frames.ids_by_key(store.of_project(row.id)).items())]
    version = versions.add(store.of_project(row.id), attempt=1, snapshot_id=None, path="m1", sha256="", metrics={})
    versions.publish(store.of_project(row.id), version.id, 1)
    return SyncLab(platform, Workspace(spec, store.of_project(row.id), ArrayStore(folder / "arrays")), client, ids, version.id)


@dataclass
class Submitter:
    """A person who takes the next task and submits it, ``every_s`` seconds after the last, in a thread of its own."""

    someone: Annotator
    project: int
    every_s: float = 1.0
    taken: list[tuple[float, float, int]] = field(default_factory=list)  #: (moment, seconds of the submit, status)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self.every_s, time.monotonic())
            task = self.someone.next_task(self.project)
            if task is None:
                return
            shown = task["predictions"][0]["result"] if task["predictions"] else []
            started = time.monotonic()
            answer = self.someone.submit(task, [{**region, "origin": "prediction"} for region in shown], 1.0)
            self.taken.append((started, time.monotonic() - started, answer.status_code))

    def between(self, start: float, stop: float) -> FloatArray:
        """Seconds of the submits that began in this span."""
        return np.array([seconds for moment, seconds, _ in self.taken if start <= moment < stop])

    def end(self) -> None:
        """Stop after the submit in progress."""
        self._stop.set()
        self._thread.join()
        self.someone.close()

"""A small multi-camera project on a live Label Studio whose order is pushed and shows points that are almost right."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from werkzeug.serving import BaseWSGIServer, make_server

from label_config.settings.skeleton_files import skeleton_to_mapping
from label_config.settings.spec import load_spec
from label_config.values import FloatArray, PointState, Pose2D, Provenance
from ml_backend.server.app import create_app
from ml_backend.simulation.studio import CaptureStudio
from ml_backend.store import frames, generations
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from plugins.cli.processes.ports import free_port
from plugins.demo.annotator_session import Annotator
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.push_order import push
from plugins.label_studio_sync.set_up import carry_out
from plugins.label_studio_sync.webhook_and_backend import connect

SIZE_PX = (192, 192)
VIEWS = 3
#: Frames in the order in which they are served, each with its reason; the last is pseudo-labelled.
ORDER = {
    7: "cameras disagree on left wrist (cam2: 31 px)",
    2: "left ankle jumps in 3-D",
    9: "unlike the labelled frames",
    4: "all cameras agree; pseudo-labelled",
}
#: (view, keypoint) that the model did not find in the first frame.
MISSING = (0, 0)
#: Spread of what is shown around the truth.
NOISE_PX = 1.0
SECRET = "a-secret-that-nobody-guesses"


@dataclass(frozen=True)
class Scene:
    """What was set up.  ``shown`` is (V, K, 2) pixels per frame, NaN where no point is shown."""

    platform: Platform
    studio: CaptureStudio
    workspace: Workspace
    client: Client
    shown: dict[int, FloatArray]
    annotator: Annotator
    backend: BaseWSGIServer

    @property
    def project(self) -> int:
        return self.workspace.project.ls_project_id

    def close(self) -> None:
        self.backend.shutdown()
        self.backend.server_close()
        self.annotator.close()
        self.client.close()
        self.workspace.store.close()


def set_up(platform: Platform, folder: Path) -> Scene:
    """Record, create the project, push the order, and let one more person join."""
    studio = CaptureStudio(seed=1, n_frames=12, n_views=VIEWS, size_px=SIZE_PX)
    studio.write(folder / "recording")
    content = {
        "label_studio": {"url": platform.url, "token": platform.token, "title": "browser"},
        "documents_root": str(platform.documents),
        "skeleton": skeleton_to_mapping(studio.skeleton),
        "recordings": [
            {
                "sequence": studio.sequence,
                "calibration": "recording/calibration.toml",
                "views": {name: f"recording/{name}" for name in studio.rig.names},
            }
        ],
    }
    port = free_port()
    content["backend"] = {"url": f"http://127.0.0.1:{port}", "port": port}
    path = folder / "parallax.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    spec = load_spec(path)
    client = Client(platform.url, platform.token)
    workspace = carry_out(understand(spec, client), SECRET)
    backend = make_server("127.0.0.1", port, create_app(workspace, SECRET), threaded=True)
    threading.Thread(target=backend.serve_forever, name="backend", daemon=True).start()
    connect(workspace, client, SECRET)
    shown = _shown(studio)
    _order(workspace, studio, shown)
    assert push(workspace, client) is not None
    annotator = Annotator(platform.url, f"browser{workspace.project.ls_project_id}@parallax.test", "a-password-1")
    annotator.sign_up(str(client.call("GET", "api/invite")["token"]))
    return Scene(platform, studio, workspace, client, shown, annotator, backend)


def _shown(studio: CaptureStudio) -> dict[int, FloatArray]:
    rng = np.random.default_rng(0)
    shown = {frame: studio.truth_xy[frame] + rng.normal(0, NOISE_PX, studio.truth_xy[frame].shape) for frame in ORDER}
    shown[next(iter(ORDER))][MISSING] = np.nan
    return shown


def _order(workspace: Workspace, studio: CaptureStudio, shown: dict[int, FloatArray]) -> None:
    ids = frames.ids_by_key(workspace.store)
    last = len(ORDER) - 1
    picks = [
        PickRow(
            rank=rank,
            frame_id=ids[studio.frames[frame]],
            score=rank / len(ORDER),
            without_points=False,
            pseudo=rank == last,
            reason=reason,
            record=None,
            poses={"0": _pose(shown[frame]).to_json()},
            notes=None,
        )
        for rank, (frame, reason) in enumerate(ORDER.items())
    ]
    generations.add(workspace.store, None, picks)


def _pose(xy_px: FloatArray) -> Pose2D:
    placed = np.isfinite(xy_px).all(axis=-1)
    return Pose2D(
        xy_px=xy_px,
        confidence=np.where(placed, 0.9, np.nan),
        state=np.where(placed, PointState.VISIBLE, PointState.UNLABELLED).astype(np.int64),
        provenance=np.where(placed, Provenance.PREDICTED, Provenance.NONE).astype(np.int64),
    )

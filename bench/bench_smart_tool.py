"""Time to answer a click of the smart tool: the whole request through Flask, against an empty route with the same body.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_smart_tool

Twelve full-HD cameras, 17 keypoints, SQLite.  The request holds the task with its prediction and a draft of all 204 points, as
Label Studio sends them; the click goes round cameras and keypoints.  *First click*: nothing is remembered, so that the model's
points are searched along the ray of the one click.  *Later clicks*: those of the last 90 s are remembered, so that soon every
keypoint was clicked in several cameras and all 204 points are answered.  At most 50 ms at the 95th percentile is wanted.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask, request

from bench.bench_triangulation import KEYPOINTS, ring
from label_config.labelling import regions
from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.skeleton_files import load_skeleton
from label_config.settings.spec import Spec
from label_config.values import FloatArray, FrameKey, ImageRef, Pose2D
from label_config.values.prediction import predicted_pose
from ml_backend.geometry.cameras import Rig
from ml_backend.server.app import create_app
from ml_backend.store import frames, generations, projects, tasks
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace

VIEWS, CLICKS, WARM = 12, 120, 20
TASK = 7
SIZE = (1920, 1080)


def set_up(folder: Path, rig: Rig, pose: Pose2D) -> tuple[Workspace, Binding]:
    """A task per click, served with these points, all of one calibrated recording."""
    spec = Spec(store=f"sqlite:///{folder}/store.sqlite3")
    skeleton = load_skeleton({"name": "body", "keypoints": [f"k{i}" for i in range(KEYPOINTS)]})
    binding = bind(build_label_config(skeleton, rig.names), skeleton)
    store = open_store(spec.store)
    project = projects.register(store, spec.label_studio.url, 1, "2026-01-01T00:00:00Z", title="bench")
    mine = store.of_project(project.id)
    projects.change(mine, binding=binding.to_json())
    frames.save_sequence(mine, SequenceRow("s", rig.to_json(), True))
    images = {view: ImageRef(f"/nowhere/{view}.mp4", 0, size_px=SIZE) for view in rig.names}
    frames.add_frames(mine, [(FrameKey("s", number), images, "train") for number in range(CLICKS)])
    rows = frames.list_frames(mine)
    tasks.save(mine, [{"ls_task_id": TASK + number, "frame_id": row.id} for number, row in enumerate(rows)])
    picks = [PickRow(n, row.id, n / CLICKS, False, False, "", None, {"0": pose.to_json()}, None) for n, row in enumerate(rows)]
    generations.switch(mine, generations.add(mine, None, picks).number)
    return Workspace(spec, mine, ArrayStore(folder / "arrays")), binding


def bodies(binding: Binding, pose: Pose2D, true_px: FloatArray) -> list[dict[str, Any]]:
    """One request per click."""
    shown = regions.encode({0: pose}, binding, dict.fromkeys(binding.names, SIZE), 1)
    draft = [region | {"origin": "prediction"} for region in shown]
    task = {
        "id": TASK, "data": {}, "drafts": [{"result": draft, "updated_at": "2026-01-01T00:00:00Z"}],
        "predictions": [{"result": shown, "model_version": "px-0.1"}], "annotations": [],
    }  # fmt: skip
    found = []
    for number in range(CLICKS):
        view, keypoint = number % VIEWS, number % KEYPOINTS
        held = next(region for region in shown if region["id"] == f"px:1:{view}:0:{keypoint}")
        x, y = (regions.to_percent(float(px), length) for px, length in zip(true_px[view, keypoint], SIZE, strict=True))
        click = {**held, "id": "new", "is_positive": True, "value": {**held["value"], "x": x, "y": y}}
        found.append({"tasks": [task], "params": {"context": {"result": [held, click]}}})
    return found


def main() -> None:
    rng, rig = np.random.default_rng(0), ring(VIEWS)
    true_px = rig.project(rng.uniform(-400, 400, (KEYPOINTS, 3)))
    pose = predicted_pose(true_px + rng.normal(0, 6, true_px.shape), np.full(true_px.shape[:2], 0.9))
    with tempfile.TemporaryDirectory() as folder:
        workspace, binding = set_up(Path(folder), rig, pose)
        empty = Flask("empty")
        empty.add_url_rule("/predict", "predict", lambda: {"n": len(request.get_json())}, methods=["POST"])
        ours = create_app(workspace, None).test_client()
        wall, cpu = (np.empty((CLICKS, 3)) for _ in range(2))
        for number, body in enumerate(bodies(binding, pose, true_px)):
            other_task = {**body, "tasks": [{**body["tasks"][0], "id": TASK + 1 + number % (CLICKS - 1)}]}
            for place, (client, sent) in enumerate(((empty.test_client(), body), (ours, other_task), (ours, body))):
                start, used = time.perf_counter(), time.process_time()
                answer = client.post("/predict", json=sent)
                wall[number, place], cpu[number, place] = time.perf_counter() - start, time.process_time() - used
                if answer.status_code != 200:
                    raise SystemExit(answer.get_data(as_text=True))
        workspace.store.close()
    print(f"  {VIEWS} cameras × {KEYPOINTS} keypoints")
    for place, name in enumerate(("empty route, same body", "first click", "later clicks")):
        for clock, seconds in (("CPU", cpu), ("wall", wall)):
            part = seconds[WARM:, place] * 1000
            print(f"  {name:<24} {clock:4} median {np.median(part):6.1f} ms, p95 {np.percentile(part, 95):6.1f} ms", flush=True)


if __name__ == "__main__":
    main()

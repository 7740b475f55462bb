"""The capture studio with several figures, in a project that exists already: its tasks hold a detector's boxes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from label_config.labelling.build_xml import build_label_config
from label_config.values import FloatArray
from ml_backend.simulation.studio import CaptureStudio
from plugins.demo.demo_recordings import DemoRecording, DemoTruth, every_frame, of_studio
from plugins.label_studio_sync.client import Client

#: Of a detector: room around the points, standard deviation of each edge, share of boxes that it misses, least points.
ROOM_PX, NOISE_PX, MISSED, LEAST_POINTS = 5.0, 1.5, 0.03, 5
_BOXES, _ORDER = 1, 2


def studio_of_several(
    recording: Path,
    documents: Path,
    seed: int,
    figures: int,
    *,
    numbered: bool,
    pool: int = 300,
    held_out: int = 60,
    views: int = 4,
) -> DemoRecording:
    """A recording of figures that cross; every second frame has a task, the held-out frames lie evenly between those.

    recording  the folder that it is written to, below ``documents``, which Label Studio serves
    numbered   the boxes say who is who; else every camera lists them in an order of its own in every frame
    """
    studio = CaptureStudio(seed=seed, n_frames=2 * pool, n_views=views, size_px=(192, 192), fill=0.6, figures=figures)
    boxes = detected(studio, np.random.default_rng([seed, _BOXES]))
    truth = DemoTruth(studio.subjects_xy, studio.subjects_occluded, studio.subjects_xyz, studio.rare, boxes)
    source = of_studio(studio, recording, truth, f"capture studio, {figures} figures, seed {seed}", held_out)
    every = every_frame(source.entry)
    rng = np.random.default_rng([seed, _ORDER])
    tasks = [
        {
            **{name: _address(documents, every[i].images[name].source) for name in source.views},
            "sequence": studio.sequence,
            "frame": i,
            "box": {name: _listed(boxes[i, :, v], rng, numbered=numbered) for v, name in enumerate(source.views)},
        }
        for i in range(0, studio.n_frames, 2)
    ]
    return replace(source, tasks=tuple(tasks))


def project_of_tasks(client: Client, source: DemoRecording) -> int:
    """Make a project as a lab has it whose detector has run: tasks with pictures and boxes, no labels.  Returns its number."""
    sizes = {view: ref.size_px for view, ref in source.held_out[0].images.items() if ref.size_px is not None}
    subjects = source.truth.subjects
    xml = build_label_config(source.skeleton, source.views, sizes_px=sizes, boxes=True, subjects=subjects, reason=False)
    number = int(client.create_project(f"Parallax demo: {source.title}", xml)["id"])
    pictures = Path(source.entry["views"][source.views[0]]).parent
    client.create_local_storage(number, str(pictures.resolve()), "pictures")
    client.import_tasks(number, source.tasks)
    return number


def settings_of(source: DemoRecording) -> dict[str, Any]:
    """What parallax.yaml says of such a project."""
    return {"subjects": {"max": source.truth.subjects}, "frames": {"sequence": "sequence", "index": "frame"}}


def detected(studio: CaptureStudio, rng: np.random.Generator) -> FloatArray:
    """(n, S, V, 4) boxes as a detector gives them: not quite right, and some are missing; NaN where there is none."""
    width, height = studio.size_px
    xy = studio.subjects_xy
    inside = np.asarray(((xy >= 0) & (xy <= (width - 1, height - 1))).all(axis=-1))
    low = np.where(inside[..., None], xy, np.inf).min(axis=-2) - ROOM_PX
    high = np.where(inside[..., None], xy, -np.inf).max(axis=-2) + ROOM_PX
    found = (inside.sum(axis=-1) >= LEAST_POINTS) & (rng.random(inside.shape[:-1]) >= MISSED)
    edges = np.concatenate([low, high], axis=-1) + rng.normal(0.0, NOISE_PX, (*inside.shape[:-1], 4))
    edges = np.clip(np.where(found[..., None], edges, 0.0), 0.0, [width, height, width, height])
    boxes = np.concatenate([edges[..., :2], edges[..., 2:] - edges[..., :2]], axis=-1)
    return np.where(found[..., None], boxes, np.nan)


def _listed(boxes: FloatArray, rng: np.random.Generator, *, numbered: bool) -> list[dict[str, Any]]:
    """One camera's boxes (S, 4) as task data lists them."""
    there = np.flatnonzero(np.isfinite(boxes).all(axis=-1))
    if numbered:
        return [{"id": s, "box": boxes[s].round(2).tolist()} for s in there.tolist()]
    return [{"box": boxes[s].round(2).tolist()} for s in rng.permutation(there).tolist()]


def _address(documents: Path, picture: str) -> str:
    return f"/data/local-files/?d={quote(Path(os.path.relpath(picture, documents)).as_posix())}"

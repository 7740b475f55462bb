"""One frame in all cameras: points that were predicted, triangulated, labelled and pseudo-labelled, and how they agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup

from label_config.values import DEFAULT_SUBJECT, BadInputError, BoolArray, FloatArray, Pose2D
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.triangulation import triangulate_robust
from ml_backend.labels.merge import merge_annotations
from ml_backend.project.label_snapshot import as_annotation
from ml_backend.store import generations, page_rows
from ml_backend.store.frames import FrameRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.tables import Table, number
from ml_backend.web_page.task_links import task_address

#: What can be shown, in the order in which it is drawn; each has a colour and a shape of its own.
LAYERS = ("predicted", "triangulated", "labelled", "pseudo-labelled")
#: A picture whose size is not known yet is drawn on as if it had this one.
_UNKNOWN_SIZE = (640, 480)


@dataclass(frozen=True)
class CameraView:
    """One picture: ``drawing`` lies over it in its own pixels."""

    position: int
    view: str
    size_px: tuple[int, int]
    drawing: Markup
    alt: str


@dataclass(frozen=True)
class FrameView:
    """What the viewer shows; ``before`` and ``after``: frames of the pool; ``tasks``: (number, address)."""

    frame_id: int
    sequence: str
    index: int
    split: str
    reason: str
    order: str
    cameras: list[CameraView]
    layers: list[str]
    tables: list[Table]
    before: int | None
    after: int | None
    tasks: list[tuple[int, str]]
    places: str


def frame_view(workspace: Workspace, frame_id: int) -> FrameView | None:
    """A frame of the project, None when there is none with this number."""
    row = page_rows.frame(workspace.store, frame_id)
    if row is None:
        return None
    project, binding = workspace.project, workspace.binding
    views, skeleton = workspace.views_of(binding), binding.skeleton
    recording = page_rows.sequence(workspace.store, row.key.sequence)
    rig = Rig.from_json(recording.rig).subset(views) if recording is not None and recording.rig and len(views) > 1 else None
    pick = None if project.generation is None else generations.pick_of(workspace.store, project.generation, frame_id)
    shape = (len(views), len(skeleton))
    points = _points(workspace, row, None if pick is None else pick.poses, shape)
    limit = workspace.spec.pseudo_labels.threshold_px
    places: dict[str, FloatArray] = {}
    tables = []
    for name in ("predicted", "labelled"):
        if name in points and rig is not None:
            solved = triangulate_robust(rig, points[name][None], threshold_px=limit)
            places[name] = solved.xyz_world[0]
            tables.append(_residuals(name, solved.reprojection_px[0], solved.inlier[0], skeleton, views))
    if rig is not None and (base := places.get("predicted", places.get("labelled"))) is not None:
        points["triangulated"] = rig.project(base)
    if "predicted" in points and "labelled" in points:
        tables.append(_differences(points["predicted"], points["labelled"], skeleton, views))
    cameras = [
        CameraView(v, view, size, _drawing(points, v, skeleton, size), _alt(row, view, points, v))
        for v, view in enumerate(views)
        if view in row.images
        for size in (row.images[view].size_px or _UNKNOWN_SIZE,)
    ]
    return FrameView(
        frame_id,
        row.key.sequence,
        row.key.index,
        row.split,
        "" if pick is None else pick.reason,
        ""
        if pick is None
        else f"place {pick.rank + 1} of the order" + (", served without points" if pick.without_points else ""),
        cameras,
        [name for name in LAYERS if name in points],
        tables,
        page_rows.frame_before(workspace.store, row.key.sequence, row.key.index),
        page_rows.frame_after(workspace.store, row.key.sequence, row.key.index),
        [(task.ls_task_id, task_address(project, task.ls_task_id)) for task in page_rows.tasks_of(workspace.store, frame_id)],
        _places(places, skeleton),
    )


def _place(pick: PickRow) -> str:
    return f"place {pick.rank + 1} of the order" + (", served without points" if pick.without_points else "")


def _points(
    workspace: Workspace, row: FrameRow, shown: Mapping[str, object] | None, shape: tuple[int, int]
) -> dict[str, FloatArray]:
    """Layer → points (V, K, 2), of the layers that the frame has."""
    found: dict[str, FloatArray] = {}
    predicted = _predicted(workspace, row, shape)
    if predicted is None and shown and str(DEFAULT_SUBJECT) in shown:
        predicted = Pose2D.from_json(shown[str(DEFAULT_SUBJECT)]).xy_px  # type: ignore[arg-type]
    labelled = _labelled(workspace, row.id, shape)
    pseudo = page_rows.pseudo_of(workspace.store, row.id)
    for name, xy in (
        ("predicted", predicted),
        ("labelled", labelled),
        ("pseudo-labelled", None if pseudo is None else Pose2D.from_json(pseudo.pose).xy_px),
    ):
        if xy is not None and xy.shape == (*shape, 2) and np.isfinite(xy).any():
            found[name] = xy
    return found


def _predicted(workspace: Workspace, row: FrameRow, shape: tuple[int, int]) -> FloatArray | None:
    """(V, K, 2) what the live model predicted, uncorrected; None before it has, or when the arrays are gone."""
    version = workspace.project.live_version_id
    if version is None:
        return None
    path = page_rows.shard_with(workspace.store, version, row.key.sequence, row.id)
    if path is None:
        return None
    try:
        arrays = workspace.arrays.load_only(path, ("frame_ids", "xy_px"))
    except BadInputError:  # removed meanwhile
        return None
    at = np.flatnonzero(arrays["frame_ids"] == row.id)
    return np.asarray(arrays["xy_px"][at[0]], dtype=np.float64) if len(at) else None


def _labelled(workspace: Workspace, frame_id: int, shape: tuple[int, int]) -> FloatArray | None:
    """(V, K, 2) what people say together, of all tasks of the frame."""
    views = workspace.views
    shown = {task.id: task.views for task in page_rows.tasks_of(workspace.store, frame_id)}
    xy: FloatArray = np.full((*shape, 2), np.nan)
    rows = page_rows.annotations_of(workspace.store, frame_id)
    for task in dict.fromkeys(row.task_id for row in rows):
        merged = merge_annotations([as_annotation(row) for row in rows if row.task_id == task])
        if merged is None or DEFAULT_SUBJECT not in merged.poses:
            continue
        pose, of = merged.poses[DEFAULT_SUBJECT], shown.get(task)
        if len(pose.state) < len(views) and of:
            pose = pose.in_views(len(views), views.index(of[0]))
        if pose.xy_px.shape == xy.shape:
            xy = np.where(pose.placed[..., None], pose.xy_px, xy)
    return xy if np.isfinite(xy).any() else None


def _drawing(points: Mapping[str, FloatArray], v: int, skeleton: Skeleton, size: tuple[int, int]) -> Markup:
    """A group for every layer: limbs, then points as discs, crosses, squares or diamonds."""
    unit = max(size) / 160
    groups = []
    for layer in LAYERS:
        if layer not in points:
            continue
        xy = points[layer][v]
        parts = [
            f'<path class="limb" d="M{xy[a, 0]:.1f} {xy[a, 1]:.1f}L{xy[b, 0]:.1f} {xy[b, 1]:.1f}"/>'
            for a, b in skeleton.limbs
            if np.isfinite(xy[[a, b]]).all()
        ]
        for k, name in enumerate(skeleton.keypoints):
            if np.isfinite(xy[k]).all():
                where = f"{name}, {layer}: {xy[k, 0]:.1f}, {xy[k, 1]:.1f}"
                parts.append(f"<g><title>{escape(where)}</title>{_mark(layer, xy[k, 0], xy[k, 1], unit)}</g>")
        groups.append(f'<g class="{layer}">{"".join(parts)}</g>')
    return Markup("".join(groups))


def _mark(layer: str, x: float, y: float, r: float) -> str:
    if layer == "predicted":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"/>'
    if layer == "triangulated":
        return f'<path d="M{x - r:.1f} {y:.1f}h{2 * r:.1f}M{x:.1f} {y - r:.1f}v{2 * r:.1f}"/>'
    if layer == "labelled":
        return f'<rect x="{x - r:.1f}" y="{y - r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}"/>'
    d = 1.3 * r
    return f'<path d="M{x:.1f} {y - d:.1f}l{d:.1f} {d:.1f}l{-d:.1f} {d:.1f}l{-d:.1f} {-d:.1f}z"/>'


def _alt(row: FrameRow, view: str, points: Mapping[str, FloatArray], v: int) -> str:
    counts = ", ".join(f"{int(np.isfinite(xy[v]).all(axis=-1).sum())} {name}" for name, xy in points.items())
    return f"Camera {view}, frame {row.key.index}" + (f", points: {counts}" if counts else ", without points")


def _residuals(layer: str, px: FloatArray, inlier: BoolArray, skeleton: Skeleton, views: tuple[str, ...]) -> Table:
    def cell(v: int, k: int) -> str:
        return number(float(px[v, k]), ".1f") + (" *" if np.isfinite(px[v, k]) and not inlier[v, k] else "")

    rows = [(name, *(cell(v, k) for v in range(len(views)))) for k, name in enumerate(skeleton.keypoints)]
    caption = f"Residuals of {layer} points, px: from each to where the cameras together see it (* contradicts the others)"
    return Table(caption, ("keypoint", *views), rows, "", frozenset(range(1, len(views) + 1)))


def _differences(predicted: FloatArray, labelled: FloatArray, skeleton: Skeleton, views: tuple[str, ...]) -> Table:
    off = np.linalg.norm(predicted - labelled, axis=-1)
    rows = [(name, *(number(float(off[v, k]), ".1f") for v in range(len(views)))) for k, name in enumerate(skeleton.keypoints)]
    return Table("Predicted to labelled, px", ("keypoint", *views), rows, "", frozenset(range(1, len(views) + 1)))


def _places(places: Mapping[str, FloatArray], skeleton: Skeleton) -> str:
    """Points in 3-D for the drawing that can be turned, as JSON; empty without any."""
    known = {
        name: [point.tolist() if np.isfinite(point).all() else None for point in xyz]
        for name, xyz in places.items()
        if np.isfinite(xyz).all(axis=-1).any()
    }
    return json.dumps({"limbs": skeleton.limbs, "names": skeleton.keypoints, "points": known}) if known else ""

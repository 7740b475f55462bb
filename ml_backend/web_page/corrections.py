"""How far people moved what they were shown: by version, by camera and keypoint, and on a picture of the skeleton."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from markupsafe import Markup

from label_config.values import DEFAULT_SUBJECT, FloatArray, IntArray, Pose2D
from label_config.values.masked import masked_median
from label_config.values.skeleton import Skeleton
from ml_backend.labels.edit_distance import Edit, EditDistance
from ml_backend.store import page_rows
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.tables import Table, number

#: Annotations that are read, the newest; and versions in the table.
ANNOTATIONS, VERSIONS = 1000, 12
#: Keypoints that are named in the picture, those that are moved farthest: more names would lie over one another.
NAMED = 4
_SIDE, _MARGIN = 420, 46


@dataclass(frozen=True)
class Corrections:
    """What the page shows; ``annotations`` is how many are behind it."""

    annotations: int
    by_version: Table
    by_keypoint: Table
    by_camera: Table
    picture: Markup


def corrections(workspace: Workspace) -> Corrections:
    """Of the newest annotations of tasks that had shown points."""
    binding = workspace.binding
    skeleton, views, subject = binding.skeleton, workspace.views_of(binding), str(DEFAULT_SUBJECT)
    shape = (len(views), len(skeleton))
    read = [
        (row.version, EditDistance.from_json(row.edit[subject]))
        for row in page_rows.newest_edits(workspace.store, ANNOTATIONS)
        if subject in row.edit
    ]
    known = [(version, edit) for version, edit in read if edit.status.shape == shape]
    empty = np.full((0, *shape), np.nan)
    distance = np.stack([edit.distance_px for _, edit in known]) if known else empty
    status = np.stack([edit.status for _, edit in known]) if known else np.zeros((0, *shape), dtype=np.int64)
    versions = [version for version, _ in known]
    medians = masked_median(np.moveaxis(distance, 0, -1))  # (V, K)
    return Corrections(
        len(known),
        _by_version(versions, distance, status, skeleton),
        _by_keypoint(distance, status, skeleton, views, medians),
        _by_camera(distance, status, views),
        _skeleton_picture(
            skeleton, _posture(workspace, shape), masked_median(np.moveaxis(distance, -1, 0).reshape(shape[1], -1))
        ),
    )


def _by_last_axis(values: FloatArray) -> FloatArray:
    """(..., K) → (K,) medians."""
    return masked_median(np.moveaxis(values, -1, 0).reshape(values.shape[-1], -1))


def _share(status: IntArray, edit: Edit) -> float:
    shown = np.isin(status, (Edit.UNTOUCHED, Edit.MOVED, Edit.REMOVED)).sum()
    return float((status == edit).sum() / shown) if shown else float("nan")


def _by_version(
    versions: Sequence[int | None],
    distance: FloatArray,
    status: IntArray,
    skeleton: Skeleton,
) -> Table:
    rows = []
    of: dict[int | None, list[int]] = defaultdict(list)
    for at, version in enumerate(versions):
        of[version].append(at)
    newest = sorted((v for v in of if v is not None), reverse=True)[:VERSIONS]
    for version in newest:
        mine, said = distance[of[version]], status[of[version]]
        by_keypoint = _by_last_axis(mine)
        worst = int(np.nanargmax(by_keypoint)) if np.isfinite(by_keypoint).any() else None
        rows.append(
            (
                f"px-{version}",
                str(len(of[version])),
                number(float(masked_median(mine.ravel())), ".2f"),
                number(_share(said, Edit.UNTOUCHED), ".0%"),
                number(_share(said, Edit.MOVED), ".0%"),
                number(_share(said, Edit.REMOVED), ".0%"),
                "–" if worst is None else f"{skeleton.keypoints[worst]} ({by_keypoint[worst]:.1f} px)",
            )
        )
    heads = ("version", "annotations", "edit distance, px (median)", "left", "moved", "removed", "keypoint moved farthest")
    return Table(
        "Edit distance by version", heads, rows, "Nobody has submitted a task that showed points yet.", frozenset(range(1, 6))
    )


def _by_keypoint(
    distance: FloatArray,
    status: IntArray,
    skeleton: Skeleton,
    views: Sequence[str],
    medians: FloatArray,
) -> Table:
    rows = []
    for k, name in enumerate(skeleton.keypoints) if len(distance) else ():
        row = [
            name,
            number(float(masked_median(distance[..., k].ravel())), ".2f"),
            number(_share(status[..., k], Edit.MOVED), ".0%"),
        ]
        rows.append([*row, *(number(float(medians[v, k]), ".1f") for v in range(len(views)))])
    heads = ("keypoint", "edit distance, px (median)", "moved", *views)
    return Table("Edit distance by keypoint and camera, px", heads, rows, "Nothing to show yet.", frozenset(range(1, len(heads))))


def _by_camera(distance: FloatArray, status: IntArray, views: Sequence[str]) -> Table:
    rows = []
    for v, name in enumerate(views) if len(distance) else ():
        moved = distance[:, v][status[:, v] == Edit.MOVED]
        rows.append(
            (
                name,
                number(float(masked_median(distance[:, v].ravel())), ".2f"),
                number(_share(status[:, v], Edit.MOVED), ".0%"),
                number(float(masked_median(moved)) if moved.size else float("nan"), ".2f"),
            )
        )
    heads = ("camera", "edit distance, px (median)", "moved", "of those moved, px (median)")
    return Table("Edit distance by camera", heads, rows, "Nothing to show yet.", frozenset({1, 2, 3}))


def _posture(workspace: Workspace, shape: tuple[int, int]) -> FloatArray | None:
    """(K, 2) the most complete view of the newest labels."""
    best: FloatArray | None = None
    for row in page_rows.newest_annotations(workspace.store, 20):
        if str(DEFAULT_SUBJECT) not in row.poses:
            continue
        pose = Pose2D.from_json(row.poses[str(DEFAULT_SUBJECT)])
        if pose.state.shape[1] != shape[1]:
            continue
        xy = pose.xy_px[int(pose.placed.sum(axis=1).argmax())]
        if best is None or np.isfinite(xy).sum() > np.isfinite(best).sum():
            best = xy
    return best


def _skeleton_picture(skeleton: Skeleton, xy: FloatArray | None, off_px: FloatArray) -> Markup:
    """The labelled posture with a disc at each keypoint, as large as people move it far."""
    if xy is None or not np.isfinite(off_px).any():
        return Markup("")
    low, high = np.nanmin(xy, axis=0), np.nanmax(xy, axis=0)
    scale = (_SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)
    spots = (xy - low) * scale + _MARGIN
    size = (high - low) * scale + 2 * _MARGIN
    parts = [
        f'<path d="M{spots[a, 0]:.1f} {spots[a, 1]:.1f}L{spots[b, 0]:.1f} {spots[b, 1]:.1f}" stroke="#8794a8" stroke-width="2"/>'
        for a, b in skeleton.limbs
        if np.isfinite(spots[[a, b]]).all()
    ]
    largest = float(np.nanmax(off_px))
    named = set(np.argsort(-np.nan_to_num(off_px, nan=-1.0), kind="stable")[:NAMED].tolist())
    for k, name in enumerate(skeleton.keypoints):
        if np.isfinite(spots[k]).all() and np.isfinite(off_px[k]):
            radius = 4 + 18 * float(off_px[k]) / max(largest, 1e-9)
            x, y = spots[k]
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#b34700" fill-opacity="0.55"/>')
            text = f"{name} {off_px[k]:.1f} px"
            parts[-1] = f"<g><title>{escape(text)}</title>{parts[-1]}</g>"
            if k in named:
                parts.append(f'<text x="{x + radius + 3:.1f}" y="{y + 5:.1f}">{escape(text)}</text>')
    name = f"Skeleton with a disc at each keypoint, as large as people moved it far in the median, at most {largest:.1f} px"
    head = f'<svg class="chart" role="img" aria-label="{name}" viewBox="0 0 {size[0] + 130:.0f} {size[1]:.0f}"'
    return Markup(f'{head} width="{size[0] + 130:.0f}" height="{size[1]:.0f}">{"".join(parts)}</svg>')

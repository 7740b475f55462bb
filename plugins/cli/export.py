"""``parallax export``: the labels in another tool's format."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from label_config.values import BadInputError, ParallaxError
from plugins.cli.context import console, open_project

if TYPE_CHECKING:
    from ml_backend.formats.records import LabelledImage, LabelSet
    from ml_backend.store.workspace import Workspace

SCORER = "parallax"


class Format(StrEnum):
    """What can be written."""

    COCO = "coco"
    DLC = "dlc"
    LIGHTNING_POSE = "lightning-pose"


def export(
    ctx: typer.Context,
    format: Annotated[Format, typer.Argument(help="Tool to write for.")],
    target: Annotated[Path, typer.Argument(help="File (coco) or folder (one file per camera) to write.")],
) -> None:
    """Write the labels of the last training snapshot; points that people placed, nothing predicted."""
    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    workspace = open_project(ctx)
    labels = labels_of_last_snapshot(workspace)
    _writers()[format](labels, target, workspace.views)
    console().print(f"{target}: {len(labels.labels)} labelled pictures", markup=False)


def _writers() -> dict[Format, Callable[[LabelSet, Path, tuple[str, ...]], None]]:
    from dataclasses import replace

    from ml_backend.formats.coco import write_coco
    from ml_backend.formats.dlc import write_dlc
    from ml_backend.formats.lightning_pose import write_lightning_pose

    def coco(labels: LabelSet, target: Path, views: tuple[str, ...]) -> None:
        write_coco(labels, target)

    def dlc(labels: LabelSet, target: Path, views: tuple[str, ...]) -> None:
        labels = _one_name_per_picture(labels)
        target.mkdir(parents=True)
        for view in views:
            chosen = tuple(label for label in labels.labels if label.view == view)
            write_dlc(replace(labels, labels=chosen), target / f"CollectedData_{view}.csv", scorer=SCORER)

    def lightning_pose(labels: LabelSet, target: Path, views: tuple[str, ...]) -> None:
        labels = _one_name_per_picture(labels)
        target.mkdir(parents=True)
        write_lightning_pose(labels, {view: target / f"{view}.csv" for view in views}, scorer=SCORER)

    return {Format.COCO: coco, Format.DLC: dlc, Format.LIGHTNING_POSE: lightning_pose}


def _one_name_per_picture(labels: LabelSet) -> LabelSet:
    """These tools know pictures by path only, so a frame of a video gets the path that they would extract it to."""
    from dataclasses import replace

    def named(label: LabelledImage) -> LabelledImage:
        if label.image.frame_index is None or label.key is None:
            return label
        source = f"labeled-data/{label.key.sequence}_{label.view}/img{label.key.index:06d}.png"
        return replace(label, image=replace(label.image, source=source, frame_index=None))

    return replace(labels, labels=tuple(named(label) for label in labels.labels))


def labels_of_last_snapshot(workspace: Workspace) -> LabelSet:
    """One label per picture; what people did not say (filled by geometry, pseudo-labels) is unlabelled."""
    import numpy as np

    from label_config.values import PointState
    from ml_backend.formats.records import LabelledImage, LabelSet
    from ml_backend.jobs.collect import box_or_none
    from ml_backend.labels.snapshot import Snapshot
    from ml_backend.store import frames, versions

    taken = versions.list_snapshots(workspace.store, workspace.project_id)
    if not taken:
        raise ParallaxError("no snapshot yet: labels are exported as the last training saw them; `parallax train` takes one")
    snapshot = Snapshot.from_arrays(workspace.arrays.load(taken[-1].path))
    rows = {row.id: row for row in frames.list_frames(workspace.store, workspace.project_id, snapshot.frame_ids.tolist())}
    absent = snapshot.state == PointState.ABSENT
    state = np.where(snapshot.human | absent, snapshot.state, PointState.UNLABELLED).astype(np.int64)
    xy = np.where(snapshot.human[..., None], snapshot.xy_px, np.nan)
    labels = [
        LabelledImage(
            rows[frame].images[view],
            xy[i, v],
            state[i, v],
            box_px=box_or_none(snapshot.box_px[i, v]),
            view=view,
            key=rows[frame].key,
        )
        for i, frame in enumerate(snapshot.frame_ids.tolist())
        for v, view in enumerate(workspace.views)
        if view in rows[frame].images and (state[i, v] != PointState.UNLABELLED).any()
    ]
    return LabelSet(workspace.binding.skeleton, tuple(labels))

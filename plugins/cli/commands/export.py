"""``parallax export``: the labels in another tool's format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from label_config.values import BadInputError, ParallaxError
from ml_backend.formats.names import LabelFormat
from plugins.cli.context import connect, console, open_project

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from label_config.values import ImageRef
    from ml_backend.formats.exporting import WritePictures
    from ml_backend.formats.label_records import LabelSet
    from ml_backend.labels.snapshot import Snapshot
    from ml_backend.store.workspace import Workspace


#: Formats that say how sure a network is of a point.
PREDICTED = (LabelFormat.MOVEMENT, LabelFormat.ANIPOSE, LabelFormat.SLEAP)


def export(
    ctx: typer.Context,
    format: Annotated[LabelFormat, typer.Argument(help="Tool to write for.")],
    target: Annotated[
        Path, typer.Argument(help="File to write; a folder for tracks, dlc, lightning-pose, yolo and with --pictures.")
    ],
    pictures: Annotated[bool, typer.Option("--pictures", help="Write the pictures too, so that the folder is complete.")] = False,
    predicted: Annotated[
        bool,
        typer.Option("--predicted", help="What the live model says about every frame, not labels: movement, anipose or sleap."),
    ] = False,
    occluded_as_visible: Annotated[
        bool, typer.Option("--occluded-as-visible", help="Lightning Pose trains on placed points only where they are visible.")
    ] = False,
) -> None:
    """Write the labels of the last training snapshot; points that people placed, nothing predicted unless asked for."""
    from ml_backend.formats.exporting import Export
    from ml_backend.jobs.predicted_tracks import predicted_of

    if target.exists():
        raise BadInputError(f"{target}: exists already; choose another name")
    if occluded_as_visible and format is not LabelFormat.LIGHTNING_POSE:
        raise BadInputError(
            "--occluded-as-visible: expected the format lightning-pose; the others keep the state or say that it is lost"
        )
    if predicted and format not in PREDICTED:
        raise BadInputError(f"--predicted: expected one of {', '.join(PREDICTED)}, got {format.value}")
    workspace = open_project(ctx)
    out = console()
    if predicted:
        found = predicted_of(workspace)
        notes = [*found.notes, *Export(found.labels, format, target, world=found.world).write()]
        out.print(f"{target}: predictions of px-{found.version} for {len(found.labels.labels)} pictures", markup=False)
        for note in notes:
            out.print(f"note: {note}", markup=False)
        return
    # Rows of Lightning Pose's files correspond, so that each camera has a row for every frame.
    labels = labels_of_last_snapshot(workspace, every_view=format is LabelFormat.LIGHTNING_POSE)
    brings = pictures or format is LabelFormat.YOLO or (format is LabelFormat.SLEAP and target.name.endswith(".pkg.slp"))
    notes = Export(labels, format, target, _writer(workspace) if brings else None, occluded_as_visible).write()
    out.print(f"{target}: {sum(label.says_something for label in labels.labels)} labelled pictures", markup=False)
    for note in notes:
        out.print(f"note: {note}", markup=False)


def _writer(workspace: Workspace) -> WritePictures:
    """Pictures of the views, from disk or from Label Studio, as files."""
    from ml_backend.project.frame_pictures import Pictures
    from ml_backend.recordings import UnreadableImageError, write_picture

    source = Pictures(workspace)

    def write(wanted: Sequence[tuple[ImageRef, Path]]) -> Mapping[Path, Exception]:
        failed: dict[Path, Exception] = {}
        for ref, path in wanted:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(source.read(ref), path)
            except UnreadableImageError as error:
                failed[path] = error
        return failed

    return write


def labels_of_last_snapshot(workspace: Workspace, *, every_view: bool = False) -> LabelSet:
    """One label per picture; what people did not say (filled by geometry, pseudo-labels) is unlabelled.

    every_view  pictures of labelled frames about which nobody said anything are there too
    """
    import numpy as np

    from label_config.values import PointState
    from ml_backend.formats.label_records import LabelledImage, LabelSet
    from ml_backend.labels.snapshot import Snapshot, box_or_none
    from ml_backend.store import frames, versions

    taken = versions.list_snapshots(workspace.store)
    if not taken:
        raise ParallaxError("no snapshot yet: labels are exported as the last training saw them; `parallax train` takes one")
    snapshot = Snapshot.from_arrays(workspace.arrays.load(taken[-1].path))
    rows = {row.id: row for row in frames.list_frames(workspace.store, snapshot.frame_ids.tolist())}
    absent = snapshot.state == PointState.ABSENT
    state = np.where(snapshot.human | absent, snapshot.state, PointState.UNLABELLED).astype(np.int64)
    xy = np.where(snapshot.human[..., None], snapshot.xy_px, np.nan)
    people = _people(workspace, snapshot)
    labels = [
        LabelledImage(
            rows[frame].images[view],
            xy[i, v],
            state[i, v],
            box_px=box_or_none(snapshot.box_px[i, v]),
            view=view,
            key=rows[frame].key,
            subject=int(snapshot.subjects[i]),
            people=people.get((frame, view), ()),
        )
        for i, frame in enumerate(snapshot.frame_ids.tolist())
        for v, view in enumerate(workspace.views)
        if view in rows[frame].images and (every_view or (state[i, v] != PointState.UNLABELLED).any())
    ]
    return LabelSet(workspace.binding.skeleton, tuple(labels))


def _people(workspace: Workspace, snapshot: Snapshot) -> dict[tuple[int, str], tuple[str, ...]]:
    """(frame id, view) → who labelled it: e-mail addresses, or numbers where Label Studio cannot be asked."""
    from ml_backend.store import submissions, tasks

    used = {number for number, _ in snapshot.annotations}
    rows = [row for row in submissions.list_annotations(workspace.store) if row.ls_annotation_id in used]
    views_of = {task.id: task.views for task in tasks.list_tasks(workspace.store)}
    try:
        client = connect(workspace.spec)
        names = {number: email for email, number in client.users().items()}
        client.close()
    except ParallaxError:
        names = {}
    found: dict[tuple[int, str], dict[str, None]] = {}
    for row in rows:
        for view in views_of.get(row.task_id) or workspace.views:
            if row.person is not None:
                found.setdefault((row.frame_id, view), {})[names.get(row.person, f"user {row.person}")] = None
    return {key: tuple(people) for key, people in found.items()}

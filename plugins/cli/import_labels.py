"""``parallax import``: labels of other tools into the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from label_config.values import BadInputError
from ml_backend.formats.names import LabelFormat
from plugins.cli.context import connect, console, open_project


def import_labels(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(help="Label file, or folder of a data set.")],
    format: Annotated[LabelFormat | None, typer.Option(help="Tool that wrote it; without it by name and content.")] = None,
    view: Annotated[str | None, typer.Option(help="Camera that all labels are of.")] = None,
    subject: Annotated[int | None, typer.Option(help="Which of several animals; without it the first.")] = None,
    category: Annotated[str | None, typer.Option(help="COCO: which category, where several have keypoints.")] = None,
    visibility: Annotated[str, typer.Option(help="COCO: auto, ternary (1 = occluded) or binary (1 = visible).")] = "auto",
    video: Annotated[str | None, typer.Option(help="DeepLabCut's predictions: the video that they are of.")] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder that the names of pictures count from.")] = None,
    predictions: Annotated[
        str | None, typer.Option("--as-predictions", help="Not annotations, but predictions of this model version.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what was understood and would be imported.")] = False,
) -> None:
    """Put labels, and pictures that the project does not have, into it: DeepLabCut, Lightning Pose, COCO, SLEAP, YOLO-pose,
    Label Studio.

    Frames with annotations are left alone.
    """
    from ml_backend.formats.registry import read_labels
    from plugins.label_studio_sync.import_labels import carry_out_import, plan_import

    if visibility not in ("auto", "ternary", "binary"):
        raise BadInputError(f"--visibility {visibility}: expected auto, ternary or binary")
    found = read_labels(source, format, category=category, visibility=visibility, video=video)  # type: ignore[arg-type]
    workspace = open_project(ctx)
    # What a network placed is no annotation; of a person's labels either may be made.
    predicted = predictions is not None and all(label.confidence is not None for label in found.labels)
    plan = plan_import(workspace, source, found, view=view, subject=subject, predicted=predicted, pictures=pictures)
    out = console()
    for line in plan.lines:
        out.print(line, markup=False)
    if dry_run:
        out.print("dry run: nothing was changed")
        return
    made = carry_out_import(plan, workspace, connect(workspace.spec), version=predictions)
    what = "annotations" if predictions is None else f"predictions of version {predictions}"
    out.print(f"made {made} {what}", markup=False)
    if predictions is None and made < len(plan.labelled.poses):
        out.print("frames that have annotations already, or were imported before, were left alone")

"""``parallax import``: labels of other tools into the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from label_config.values import BadInputError
from ml_backend.formats.names import LabelFormat
from plugins.cli.context import connect, console, open_project


def import_labels(
    ctx: typer.Context,
    sources: Annotated[list[Path], typer.Argument(help="Label file, or folder of a data set; one per camera with --view.")],
    format: Annotated[LabelFormat | None, typer.Option(help="Tool that wrote it; without it by name and content.")] = None,
    view: Annotated[list[str], typer.Option(help="Camera that the labels of a file are of, for each file.")] = [],  # noqa: B006
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
    from ml_backend.formats.format_registry import joined, read_labels
    from plugins.label_studio_sync.label_import import carry_out_import, plan_import

    if visibility not in ("auto", "ternary", "binary"):
        raise BadInputError(f"--visibility {visibility}: expected auto, ternary or binary")
    workspace = open_project(ctx)
    options: dict[str, Any] = {"category": category, "visibility": visibility, "video": video}
    files = [read_labels(path, format, words=workspace.spec.visibility, **options) for path in sources]
    found = joined(files, sources[0], view)
    unknown = [name for name in view if name not in workspace.views]
    if unknown:
        raise BadInputError(f"--view {unknown[0]}: expected one of {', '.join(workspace.views)}")
    # What a network placed is no annotation; of a person's labels either may be made.
    predicted = predictions is not None and all(label.confidence is not None for label in found.labels)
    plan = plan_import(workspace, sources[0], found, subject=subject, predicted=predicted, pictures=pictures)
    out = console()
    for line in plan.lines:
        out.print(line, markup=False)
    if dry_run:
        out.print("dry run: nothing was changed")
        return
    client = connect(workspace.spec)
    ctx.call_on_close(client.close)
    made = carry_out_import(plan, workspace, client, version=predictions)
    what = "annotations" if predictions is None else f"predictions of version {predictions}"
    out.print(f"made {made} {what}", markup=False)
    if predictions is None and made < len(plan.labelled.poses):
        out.print("frames that have annotations already, or were imported before, were left alone")

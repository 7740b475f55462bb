"""How much worse a model becomes on perturbed pictures of the validation frames."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from label_config.values import Box, ByteArray, FloatArray, ImageRef, IntArray, ParallaxError
from label_config.values.masked import masked_mean, mean_of
from ml_backend.metrics.bootstrap import Comparison, paired_bootstrap
from ml_backend.metrics.perturbation import CLEAN, PERTURBATIONS, Perturbation
from ml_backend.pose.adapter import PoseModel
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import collect
from ml_backend.project.load_model import load_predictor
from ml_backend.recordings import UnreadableImageError
from ml_backend.store.frames import list_frames
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

#: Pictures that the network sees together.
BATCH = 32


@dataclass(frozen=True)
class RobustnessRow:
    """One perturbation.

    points    labelled points that are still in the perturbed picture
    error_px  mean distance to them, in pixels of the unperturbed picture
    clean_px  the same for the unperturbed picture, over the same points
    change    of the frames' mean errors, with its 95 % interval
    """

    name: str
    points: int
    error_px: float
    clean_px: float
    change: Comparison


def measure(workspace: Workspace, version: VersionRow) -> list[RobustnessRow]:
    """All perturbations on the validation labels of this moment, people's points only.

    Raises ParallaxError when no validation frame is labelled.
    """
    snapshot, views = collect(workspace), workspace.views
    rows = snapshot.rows("val")
    frames = {row.id: row for row in list_frames(workspace.store, snapshot.frame_ids[rows].tolist())}
    slots = [
        (int(i), v, frames[int(snapshot.frame_ids[i])].images[view])
        for i in rows
        for v, view in enumerate(views)
        if view in frames[int(snapshot.frame_ids[i])].images and snapshot.human[i, v].any()
    ]
    if not slots:
        raise ParallaxError(
            "robustness: no validation frame is labelled yet; expected at least one, they come up as random picks"
        )
    truth = np.stack([np.where(snapshot.human[i, v, :, None], snapshot.xy_px[i, v], np.nan) for i, v, _ in slots])
    model = load_predictor(workspace, workspace.models / version.path)
    boxes = [frames[int(snapshot.frame_ids[i])].box(views[v], subject=int(snapshot.subjects[i])) for i, v, _ in slots]
    errors = {perturbation.name: np.full(truth.shape[:2], np.nan) for perturbation in PERTURBATIONS}
    with closing(Pictures(workspace)) as pictures:
        for positions, batch in _batches(pictures, [ref for *_, ref in slots]):
            for perturbation in PERTURBATIONS:
                found = errors_under(perturbation, model, batch, truth[positions], [boxes[i] for i in positions])
                errors[perturbation.name][positions] = found
    return compare(errors, np.array([i for i, *_ in slots]))


def _batches(pictures: Pictures, refs: Sequence[ImageRef]) -> Iterable[tuple[list[int], list[ByteArray]]]:
    """Readable pictures with their positions, a batch at a time."""
    positions: list[int] = []
    batch: list[ByteArray] = []
    for position, picture in pictures.stream(refs):
        if isinstance(picture, UnreadableImageError):
            continue
        positions.append(position)
        batch.append(picture)
        if len(batch) == BATCH:
            yield positions, batch
            positions, batch = [], []
    if batch:
        yield positions, batch


def errors_under(
    perturbation: Perturbation,
    model: PoseModel,
    images: Sequence[ByteArray],
    truth_px: FloatArray,
    boxes_px: Sequence[Box | None] | None = None,
) -> FloatArray:
    """(m, K) distances to the truth (m, K, 2), pixels of the unperturbed pictures; NaN without truth or outside the picture.

    boxes_px  (m) where the subject is in the unperturbed pictures, None = not known
    """
    boxes = [
        perturbation.box(box, (image.shape[1], image.shape[0])) if box is not None else None
        for box, image in zip(boxes_px or [None] * len(images), images, strict=True)
    ]
    predicted = model.predict([perturbation.picture(image) for image in images], boxes).xy_px
    error = np.empty(truth_px.shape[:2])
    for i, image in enumerate(images):
        size = (image.shape[1], image.shape[0])
        inside = np.isfinite(perturbation.points(truth_px[i], size)).all(axis=-1)
        distance = np.linalg.norm(perturbation.back(predicted[i], size) - truth_px[i], axis=-1)
        error[i] = np.where(inside, distance, np.nan)
    return error


def compare(errors: Mapping[str, FloatArray], frame_of: IntArray) -> list[RobustnessRow]:
    """Each perturbation against the clean pictures, on the points that both have.

    errors    name → (m, K) of m pictures, among them that of CLEAN
    frame_of  (m,) frame of each picture; pictures of one frame are drawn together for the interval
    """
    clean = errors[CLEAN.name]
    rows = []
    for name, error in errors.items():
        both = np.isfinite(error) & np.isfinite(clean)
        change = paired_bootstrap(
            masked_mean(np.where(both, clean, np.nan), axis=1)[0],
            masked_mean(np.where(both, error, np.nan), axis=1)[0],
            seed=0,
            group=frame_of,
        )
        rows.append(RobustnessRow(name, int(both.sum()), mean_of(error[both]), mean_of(clean[both]), change))
    return rows


def write_report(rows: Sequence[RobustnessRow], target: Path) -> None:
    """One line per perturbation as CSV; change_px with its 95 % interval is over pictures, all else over points."""
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["perturbation", "points", "error_px", "clean_px", "change_px", "change_low_px", "change_high_px"])
        for row in rows:
            figures = (row.error_px, row.clean_px, row.change.delta, row.change.lo, row.change.hi)
            writer.writerow([row.name, row.points, *(f"{figure:.4f}" for figure in figures)])

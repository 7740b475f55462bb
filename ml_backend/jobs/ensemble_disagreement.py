"""Predictions of several models: where they disagree, the live one is not to be relied on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from label_config.values import ParallaxError
from label_config.values.prediction import Prediction
from ml_backend.acquisition.scores.disagreement import ENSEMBLE_MODELS
from ml_backend.pose.adapter import PoseModel
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.store import versions
from ml_backend.store.frames import FrameRow
from ml_backend.store.statuses import VersionStatus
from ml_backend.store.versions import VersionRow
from ml_backend.store.workspace import Workspace

log = logging.getLogger("parallax.ensemble")


def earlier_models(workspace: Workspace, live: VersionRow) -> list[PoseModel]:
    """The models that were live last beside ``live``, newest first (``store.retention`` keeps as many).

    Those that cannot be loaded any more are left out.
    """
    known = versions.list_versions(workspace.store)
    models: list[PoseModel] = []
    for row in sorted(known, key=lambda row: -row.number):
        if len(models) == ENSEMBLE_MODELS - 1:
            break
        if row.status is not VersionStatus.PUBLISHED or row.removed_at is not None or row.id == live.id:
            continue
        try:
            model = load_predictor(workspace, workspace.models / row.path)
        except (ParallaxError, OSError) as error:
            log.warning("px-%s takes no part in the ensemble: %s", row.number, error)
            continue
        if model.keypoints == workspace.binding.skeleton.keypoints:
            models.append(model)
    return models


def predict_ensemble(
    workspace: Workspace,
    prediction: Prediction,
    earlier: Sequence[PoseModel],
    frames: Sequence[FrameRow],
    pictures: Pictures,
    *,
    alive: Callable[[], None] = lambda: None,
) -> Prediction:
    """The live model's ``prediction`` of ``frames`` with the points of the earlier models beside its own; unchanged without any.

    Costs one forward pass over every picture for each of them."""
    return prediction.beside([predict_frames(workspace, model, frames, pictures, alive=alive).xy_px for model in earlier])

"""Frames that somebody opened although no order contains them: predicted at once and added to the current generation."""

from __future__ import annotations

from label_config.values import DEFAULT_SUBJECT
from label_config.values.prediction import predicted_pose
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.store import frames, generations, versions
from ml_backend.store.workspace import Workspace


def predict_misses(workspace: Workspace, frame_ids: list[int]) -> None:
    """Predict the frames with the model of the current generation and append them to it, behind everything else."""
    number = workspace.project.generation
    if number is None:
        return
    generation = generations.get(workspace.store, number)
    if generation.version_id is None:
        return
    version = versions.get(workspace.store, generation.version_id)
    rows = frames.list_frames(workspace.store, frame_ids)
    model = load_predictor(workspace, workspace.models / version.path)
    pictures = Pictures(workspace)
    seen = predict_frames(workspace, model, rows, pictures)
    pictures.close()
    for i, row in enumerate(rows):
        if not seen.valid[i].any():
            continue  # unreadable: an empty answer would be stored as the model's word
        pose = predicted_pose(seen.xy_px[i], seen.confidence[i])
        generations.append(workspace.store, number, row.id, {str(DEFAULT_SUBJECT): pose.to_json()})

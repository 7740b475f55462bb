"""Frames that somebody opened although no order contains them: predicted at once and added to the current generation."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from label_config.values import DEFAULT_SUBJECT
from label_config.values.prediction import predicted_pose
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.load_model import load_predictor
from ml_backend.project.predict_frames import predict_frames
from ml_backend.project.subject_rows import rows_of_subject, subjects_of
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
    most = workspace.spec.subjects.max
    of_subject = {s: rows_of_subject(rows, s) for s in subjects_of(rows, most)} if most > 1 else {DEFAULT_SUBJECT: rows}
    model = load_predictor(workspace, workspace.models / version.path)
    poses: dict[int, dict[str, Any]] = {}
    with closing(Pictures(workspace)) as pictures:
        for subject, shown in of_subject.items():
            seen = predict_frames(workspace, model, shown, pictures)
            for i, row in enumerate(shown):
                if seen.valid[i].any():  # else unreadable: an empty answer would be stored as the model's word
                    pose = predicted_pose(seen.xy_px[i], seen.confidence[i])
                    poses.setdefault(row.id, {})[str(subject)] = pose.to_json()
    for frame_id, of_frame in poses.items():
        generations.append(workspace.store, number, frame_id, of_frame)

"""The rig of one recording: its calibration, matched to its views and fitted to their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from label_config.settings.recording_settings import RecordingSettings
from ml_backend.geometry.calibration import read_calibration, rig_of_views
from ml_backend.geometry.calibration.check import check_rig
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.views import camera_of_view
from ml_backend.recordings import Recording


@dataclass(frozen=True)
class RecordingRig:
    """rig has the cameras of the views; about says file and format, notes what was assumed or looks wrong."""

    rig: Rig
    about: str
    n_cameras: int
    notes: tuple[str, ...]


def rig_of_recording(entry: RecordingSettings, recording: Recording, views: Sequence[str]) -> RecordingRig | None:
    """None without a calibration, or with fewer than two views.  Raises BadInputError where they do not fit."""
    if entry.calibration is None or len(recording.views) < 2:
        return None
    calibration = read_calibration(entry.calibration, unit=entry.unit)
    about = f"calibration {Path(entry.calibration).name} ({calibration.format})"
    notes = [f"{about}: {note}" for note in calibration.notes]
    rig, remarks = rig_of_views(calibration, views, recording.source_size_px)
    notes += [f"note: {remark}" for remark in remarks]
    cameras = []
    for camera in rig.cameras:
        transform = recording.transforms.get(camera.name)
        if transform is not None:
            stated = entry.views[camera.name].calibrated_on
            camera, more = camera_of_view(camera, transform, recording.source_size_px[camera.name], stated)
            notes += more
        cameras.append(camera)
    found = Rig(tuple(cameras), rig.unit)
    for finding in check_rig(found):
        of = f"{finding.camera}: " if finding.camera else ""
        notes.append(f"{about}: {'looks wrong' if finding.level == 'error' else 'note'}: {of}{finding.message}")
    return RecordingRig(found, about, len(calibration.rig.cameras), tuple(notes))

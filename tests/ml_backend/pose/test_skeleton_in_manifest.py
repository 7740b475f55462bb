"""The skeleton of a model's manifest is that of the project, whenever the manifest was written."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from ml_backend.pose.config import TrainConfig
from ml_backend.pose.weights import Manifest
from ml_backend.simulation.studio_figure import STUDIO_SKELETON


def manifest_of() -> Manifest:
    config = TrainConfig()
    return Manifest(
        skeleton=STUDIO_SKELETON, config=config, two_stage=False, subject_px=float("nan"), files={}, metrics={}, extra={}
    )


def test_every_field_comes_back() -> None:
    stored = json.loads(json.dumps(manifest_of().to_json()))
    assert STUDIO_SKELETON.head is not None
    assert asdict(Manifest.from_json(stored).skeleton) == asdict(STUDIO_SKELETON)


def test_a_model_of_an_earlier_release_fits_a_skeleton_that_names_what_pck_is_measured_by() -> None:
    stored = json.loads(json.dumps(manifest_of().to_json()))
    for name in ("head", "torso"):
        del stored["skeleton"][name]
    assert Manifest.from_json(stored).skeleton == STUDIO_SKELETON
    assert Manifest.from_json(stored).skeleton != replace(STUDIO_SKELETON, root=1)

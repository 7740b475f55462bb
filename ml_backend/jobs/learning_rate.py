"""``parallax train --find-lr``: a learning-rate range test on the labels of this moment."""

from __future__ import annotations

from contextlib import closing

from label_config.values import ParallaxError
from ml_backend.pose.lr_finder import RangeTest, find_learning_rate
from ml_backend.project.frame_pictures import Pictures
from ml_backend.project.label_snapshot import collect_labels
from ml_backend.project.round_state import RoundState
from ml_backend.project.training_config import config_for
from ml_backend.project.training_set import human_targets, training_rows
from ml_backend.store.workspace import Workspace


def range_test(workspace: Workspace, steps: int = 100) -> RangeTest:
    """On a fresh network with the settings of parallax.yaml; neither a version nor a snapshot is made.

    Raises ParallaxError when no frame of the training part is labelled.
    """
    now = RoundState(workspace)
    snapshot = collect_labels(now)
    targets = human_targets(now, snapshot, training_rows(workspace, snapshot))
    if not targets:
        raise ParallaxError("learning rate: no labelled frame lies in the training part yet; label some, then try again")
    config = config_for(workspace.spec.train, warm=False, round_=0)
    with closing(Pictures(workspace)) as pictures:
        pictures.prepare([target.image for target in targets])
        return find_learning_rate(config, targets, now.binding.skeleton, pictures.read, steps=steps)

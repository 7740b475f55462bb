"""A model version as parallax.yaml wants it to predict."""

from __future__ import annotations

from pathlib import Path

from ml_backend.pose.infer import Predictor
from ml_backend.project.training_config import own_networks, threads_of
from ml_backend.store.workspace import Workspace


def load_predictor(workspace: Workspace, folder: Path) -> Predictor:
    """The model in ``folder``.  Raises BadInputError as :meth:`Predictor.load`."""
    train = workspace.spec.train
    return Predictor.load(
        folder,
        train.device,
        n_threads=threads_of(train),
        plugins=own_networks(train),
        flip_test=train.flip_test,
        limb_refinement=train.limb_refinement,
    )

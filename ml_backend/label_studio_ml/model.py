"""Parallax as a model of ``label-studio-ml``: the same answers as those of our own server; nothing is computed here."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from flask import g
from label_studio_ml.model import LabelStudioMLBase

from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.settings.spec import load_spec
from ml_backend.server.events import NO_VERSION, ring, serving
from ml_backend.server.predictions import Compute, Predictions
from ml_backend.server.wishes import Wishes
from ml_backend.store.workspace import Workspace, open_workspace


class Served(NamedTuple):
    """The project that the process serves, its answers, and the flags that events want set."""

    workspace: Workspace
    predictions: Predictions
    wishes: Wishes


@cache
def served() -> Served:
    """Opened once; the host makes one model object per request."""
    workspace = open_workspace(load_spec(Path(os.environ.get(CONFIG_VARIABLE, "parallax.yaml"))))
    return Served(workspace, Predictions(workspace, _compute(workspace)), Wishes(workspace))


def _compute(workspace: Workspace) -> Compute | None:
    """Frames outside the order are predicted by a worker, where there is a queue to ask it through."""
    redis = workspace.spec.redis
    if redis is None:
        return None
    from ml_backend.jobs.queue import JobQueue

    queue = JobQueue(redis.get_secret_value())
    return lambda frame_ids: queue.predict(workspace, frame_ids)


class Parallax(LabelStudioMLBase):  # type: ignore[misc]
    """One served project."""

    def setup(self) -> None:
        """Say the version that annotators are served."""
        self.set("model_version", serving(served().workspace) or NO_VERSION)

    def predict(self, tasks: list[dict[str, Any]], context: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """One answer per task.  Raises ForeignProjectError and PoolMissError, which the host answers with status 500.

        context  what somebody clicked with the smart tool, if that is what is asked
        """
        return served().predictions.of(tasks, self.project_id or None, context)

    def fit(self, event: str, data: dict[str, Any], **additional_params: Any) -> dict[str, str]:
        """Set the flags that the event asks for; a training runs in a worker."""
        project = served()
        ring(project.wishes, project.workspace.project.ls_project_id, {"action": event, **data}, may_train=g.may_train)
        return {"status": "accepted"}

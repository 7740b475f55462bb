"""A selected order becomes what annotators are served: tasks, predictions, then one atomic switch.

Nothing is repaired in place.  When an answer leaves open whether a write landed, the generation is abandoned and the
same order is pushed under a new number; what landed of the old one is never served and is cleaned up later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ml_backend.store import generations, ledger, presence, projects
from ml_backend.store.fault_points import reach
from ml_backend.store.frames import list_frames
from ml_backend.store.generations import Generation
from ml_backend.store.statuses import EventLevel, GenerationStatus
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.new_tasks import ImportOpenError, create_missing
from plugins.label_studio_sync.prediction_payload import predictions_of
from plugins.label_studio_sync.strangers import reach_strangers

#: Attempts under new numbers before a tick gives up; the next tick starts again.
ATTEMPTS = 3
#: The two fields of the project that make Label Studio serve our order.
SERVED = ("model_version", "sampling")
#: Noted in the ledger at a generation that reached the switch.
MAY_BE_SERVED = "may be served"


@dataclass(frozen=True)
class PushReport:
    """What one push did."""

    generation: str
    predictions: int
    seconds: float = 0.0


def push(workspace: Workspace, client: Client, *, step: Callable[[str], None] = lambda name: None) -> PushReport | None:
    """Push the order that waits, if one does.  ``step`` gets the name of each stage as it is reached.

    Raises LabelStudioError when Label Studio refuses a call; the next tick reads every task before it tries again.
    """
    generation = _waiting(workspace, client)
    if generation is None:
        return None
    started = time.monotonic()
    try:
        for _ in range(ATTEMPTS):
            report = _attempt(workspace, client, generation, step)
            if report is not None:
                return replace(report, seconds=time.monotonic() - started) if report.predictions else None
            generation = generations.renumber(workspace.store, generation.number)
    except ImportOpenError as error:
        presence.tell(workspace.store, str(error), level=EventLevel.WARNING, key="push")
        return None
    except LabelStudioError as error:
        if not error.ambiguous:  # a task was deleted a moment ago, say
            projects.change(workspace.store, swept_at=None)
        raise
    presence.tell(
        workspace.store,
        f"Label Studio took no complete order in {ATTEMPTS} attempts; the previous one stays and the next tick tries again",
        level=EventLevel.WARNING,
        key="push",
    )
    return None


def _waiting(workspace: Workspace, client: Client) -> Generation | None:
    """The newest selected order; one whose push was interrupted comes back under a new number.

    An interruption may also have come after the switch: what is served then is what counts.
    """
    store, project = workspace.store, workspace.project
    rows = generations.list_generations(store)
    selected = [row for row in rows if row.status is GenerationStatus.SELECTED]
    interrupted = [row for row in rows if row.status is GenerationStatus.PUSHING]
    if interrupted:
        served = client.project(project.ls_project_id).get("model_version")
        for row in [row for row in interrupted if row.name == served]:
            _switched(workspace, row)
            interrupted.remove(row)
    for row in interrupted:
        if selected or row is not interrupted[-1]:
            generations.set_status(store, row.number, GenerationStatus.ABANDONED)
    if selected:
        return selected[-1]
    return generations.renumber(store, interrupted[-1].number) if interrupted else None


def _attempt(workspace: Workspace, client: Client, generation: Generation, step: Callable[[str], None]) -> PushReport | None:
    """Push this generation; None when it is not, or not surely, complete in Label Studio."""
    ls_project = workspace.project.ls_project_id
    picks = generations.list_picks(workspace.store, generation.number)
    frames = {row.id: row for row in list_frames(workspace.store, [pick.frame_id for pick in picks])}
    create_missing(workspace, client, picks, frames)
    step("tasks")
    predictions = predictions_of(workspace, generation, picks, frames)
    if not predictions:
        generations.set_status(workspace.store, generation.number, GenerationStatus.EMPTY)
        presence.tell(workspace.store, "no open task is left to put in order", key="push")
        return PushReport(generation.name, 0)
    predictions += reach_strangers(workspace, client, generation.name, client.project(ls_project))
    ledger.record(workspace.store, "generation", generation.name)
    generations.set_status(workspace.store, generation.number, GenerationStatus.PUSHING)
    if not _import(client, ls_project, predictions, workspace.spec.sync.chunk, step):
        return None
    if not _complete(client, ls_project, generation.name, predictions):
        return None
    step("imported")
    _switch(workspace, client, generation)
    step("switched")
    return PushReport(generation.name, len(predictions))


def _import(client: Client, project: int, predictions: list[dict[str, Any]], chunk: int, step: Callable[[str], None]) -> bool:
    """False when an answer leaves open what landed."""
    for start in range(0, len(predictions), chunk):
        try:
            client.import_predictions(project, predictions[start : start + chunk])
        except LabelStudioError as error:
            if error.ambiguous:
                return False
            raise
        step("chunk")
    return True


def _complete(client: Client, project: int, name: str, predictions: list[dict[str, Any]]) -> bool:
    """Every task of the window carries this generation exactly once, by the server's own count.

    Every import was answered and named each task once, so that the sum says it; where it does not agree, a listing does.
    """
    if client.model_versions(project).get(name) == len(predictions):
        return True
    wanted = {prediction["task"] for prediction in predictions}
    carrying = _carrying(client, project, name)
    if carrying == dict.fromkeys(wanted, 1):
        return True
    if carrying.keys() - wanted or any(count > 1 for count in carrying.values()):
        return False
    # Label Studio drops what it does not like without a word; the order is worth more than the points.
    dropped = [{**prediction, "result": []} for prediction in predictions if prediction["task"] not in carrying]
    try:
        client.import_predictions(project, dropped)
    except LabelStudioError as error:
        if error.ambiguous:
            return False
        raise
    return _carrying(client, project, name) == dict.fromkeys(wanted, 1)


def _carrying(client: Client, project: int, name: str) -> dict[int, int]:
    """Task → number of its predictions of this version."""
    listed = ((task, list(held.values()).count(name)) for task, held in client.predictions(project, containing=[name]))
    return {task: count for task, count in listed if count}


def _switch(workspace: Workspace, client: Client, generation: Generation) -> None:
    """Atomic for annotators: from this call on the new order and its points are served."""
    project = workspace.project
    before = before_us(client.project(project.ls_project_id))
    for field in SERVED:
        ledger.record(workspace.store, "project_field", field, old=before.get(field), new=_served(generation)[field])
    # Whatever becomes of the call: from now on annotators may have this generation open.
    ledger.record(workspace.store, "generation", generation.name, new=MAY_BE_SERVED)
    client.change_project(project.ls_project_id, **_served(generation))
    reach("served")
    _switched(workspace, generation)


def before_us(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stood there before us: Label Studio's own defaults where an earlier set-up of Parallax left its settings."""
    ours = str(settings.get("model_version") or "").startswith("px-")
    return dict(zip(SERVED, ("", "Sequential sampling"), strict=True)) if ours else settings


def _switched(workspace: Workspace, generation: Generation) -> None:
    generations.switch(workspace.store, generation.number)
    projects.change(workspace.store, pushed_at=time.time())
    presence.settle(workspace.store, "push")


def _served(generation: Generation) -> dict[str, str]:
    return dict(zip(SERVED, (generation.name, "Uncertainty sampling"), strict=True))


def restore_service(workspace: Workspace, client: Client, settings: Mapping[str, Any]) -> bool:
    """Serve the current generation again when somebody set the project to something else; True when that was needed.

    ``settings`` are the project's, as seen a moment ago.
    """
    project = workspace.project
    if project.generation is None:
        return False
    wanted = _served(generations.get(workspace.store, project.generation))
    changed = {field: settings.get(field) for field in SERVED if settings.get(field) != wanted[field]}
    if not changed:
        return False
    text = f"the project was set to {', '.join(f'{name} {value!r}' for name, value in changed.items())}"
    try:
        client.change_project(project.ls_project_id, **wanted)
    except LabelStudioError as error:
        if error.status != 400:
            raise
        projects.change(workspace.store, select_requested=True, pushed_at=None)
        text += f", and the predictions of {wanted['model_version']} are gone; a new order is selected"
    presence.tell(workspace.store, f"{text}; set back, as order and points depend on it", level=EventLevel.WARNING, key="service")
    return True

"""Which tasks a person should open again, because something contradicts what was labelled in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from label_config.values import ParallaxError
from ml_backend.project.label_problems import LabelProblem, label_problems
from ml_backend.store import presence, submissions
from ml_backend.store.statuses import EventLevel
from ml_backend.store.workspace import Workspace

#: Tasks with such a mark at a time, the worst first: Label Studio takes 10 to 19 changes of a task a second.
MOST_TASKS = 200
_EVENT = "label check"


@dataclass(frozen=True)
class LabelChecks:
    """``texts``: task → what should be checked in it; ``labels``: which labels that is about."""

    labels: str
    texts: dict[int, str]


def due_checks(workspace: Workspace) -> LabelChecks | None:
    """Check the labels, if any changed since they were checked; None when there is nothing new to say."""
    labels = f"{submissions.state(workspace.store)} {workspace.spec.pseudo_labels.threshold_px}"
    if labels == workspace.project.labels_checked:
        return None
    try:
        problems = label_problems(workspace)
    except ParallaxError as error:  # labels are pulled and served all the same
        presence.tell(workspace.store, f"labels cannot be checked: {error}", level=EventLevel.WARNING, key=_EVENT)
        return None
    presence.settle(workspace.store, _EVENT)
    return LabelChecks(labels, _texts(problems))


def _texts(problems: Sequence[LabelProblem]) -> dict[int, str]:
    by_task: dict[int, list[LabelProblem]] = defaultdict(list)
    for problem in problems:
        for number in problem.tasks:
            by_task[number].append(problem)
    worst = list(by_task.items())[:MOST_TASKS]
    return {number: found[0].line + (f" (and {len(found) - 1} more)" if len(found) > 1 else "") for number, found in worst}

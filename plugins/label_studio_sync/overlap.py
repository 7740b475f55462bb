"""More than one annotation per task: what Label Studio makes of our order then (measured on 1.23.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ONE = "one annotation per task"


def wanted_annotations(settings: Mapping[str, Any]) -> int:
    """Annotations that a task gets before it counts as labelled."""
    return int(settings.get("maximum_annotations") or 1)


def what_happens(settings: Mapping[str, Any]) -> str:
    """In a few sentences, for a project that wants several annotations; empty for one that does not."""
    wanted = wanted_annotations(settings)
    if wanted == 1:
        return ""
    share = settings.get("overlap_cohort_percentage")
    of = "every task" if share in (None, 100) else f"{share} % of the tasks, chosen by Label Studio,"
    return (
        f"{of} is served to {wanted} people. Whoever is ahead follows our order; the others first get, in random order, "
        "the tasks that somebody else has labelled and they have not, then our order. They are shown what the first person "
        "was shown. A task is trained on from its first annotation on, later ones are merged into it (the median); "
        "`parallax status` says how far people agree"
    )

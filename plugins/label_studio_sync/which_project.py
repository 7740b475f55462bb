"""The project that parallax.yaml names, or what there is to do when Label Studio has none of that number."""

from __future__ import annotations

from typing import Any

from label_config.values.errors import ServiceError
from plugins.label_studio_sync.client import Client, LabelStudioError

#: Projects that are listed for somebody who gave a wrong number.
LISTED = 12


class NoProjectError(ServiceError):
    """Label Studio has no project of this number that the token's user may see."""


def named_project(client: Client, number: int) -> dict[str, Any]:
    """All settings of the project.  Raises NoProjectError that lists the projects there are."""
    try:
        return client.project(number)
    except LabelStudioError as error:
        if error.status != 404:
            raise
    there = client.projects()[::-1]  # the newest first
    listed = ", ".join(f"{project['id']} {project['title']!r}" for project in there[:LISTED])
    more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
    raise NoProjectError(
        f"Label Studio at {client.url} has no project {number} that this token's user may see; there: {listed or 'none'}{more}. "
        "If another one is meant, correct label_studio.project in parallax.yaml. If it was deleted: what people labelled is "
        "still in Parallax's store (`parallax export`, `parallax backup`), and `parallax leave` ends the set-up"
    )

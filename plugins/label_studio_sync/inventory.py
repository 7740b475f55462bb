"""What the tasks of an existing project show, in words, before anything is changed."""

from __future__ import annotations

from label_config.values import BadInputError, FrameKey
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_names import TaskNames


def describe_tasks(client: Client, project: int, names: TaskNames) -> list[str]:
    """Frames, sequences and views that the tasks show, and the tasks that show nothing that can be used."""
    seen: dict[FrameKey, set[str]] = {}
    nowhere: dict[str, list[int]] = {}
    total = annotated = boxed = 0
    refused: list[str] = []
    for task in client.tasks(project, fields="id,data,total_annotations"):
        total += 1
        annotated += bool(task["total_annotations"])
        read = names.read(task["data"])
        if read is None:
            nowhere.setdefault(names.why(task["data"]), []).append(task["id"])
        else:
            seen.setdefault(read[0], set()).update(read[1])
            try:
                boxed += any((names.boxes(task["data"]) or {}).values())
            except BadInputError as error:
                refused.append(f"the first is task {task['id']}: {error}" if not refused else "")
    if not total:
        return ["the project has no task yet"]
    sequences = sorted({key.sequence for key in seen})
    views = [name for name in names.view_names if any(name in of for of in seen.values())]
    lines = [
        f"{total} tasks show {len(seen)} frames of {len(sequences)} sequences ({', '.join(sequences[:5]) or 'none'}) "
        f"in the views {', '.join(views) or 'none'}; {annotated} tasks are annotated"
    ]
    key = names.spec.frames.box
    if boxed:
        lines.append(f"{boxed} tasks say in data[{key!r}] where the subject is; crops follow these boxes")
    if refused:
        lines.append(
            f"warning: data[{key!r}] of {len(refused)} tasks is not used as the subject's box, {refused[0]}; see frames.box"
        )
    for why, numbers in nowhere.items():
        lines.append(f"warning: {len(numbers)} tasks are left alone, the first is task {numbers[0]}: {why}")
    return lines

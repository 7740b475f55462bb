"""What the web page reads: a frame, a page of a list, a count; never a whole table of frames, tasks, picks or annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, cast, exists, func, select

from ml_backend.store.database import ProjectStore
from ml_backend.store.frames import FrameRow, SequenceRow, list_frames
from ml_backend.store.generations import LAST, PickRow, _pick
from ml_backend.store.pseudo_labels import PseudoRow
from ml_backend.store.schema import (
    frames,
    generations,
    label_annotations,
    picks,
    pseudo_labels,
    sequences,
    shards,
    snapshots,
    tasks,
    versions,
)
from ml_backend.store.statuses import VersionStatus, WorkStatus
from ml_backend.store.submissions import _COUNTS, AnnotationRow, _annotation
from ml_backend.store.tasks import TaskRow, _task
from ml_backend.store.versions import VersionRow


@dataclass(frozen=True)
class SequenceCount:
    """One recording: how many frames of it are in the project, and the first and last number."""

    name: str
    frames: int
    first: int
    last: int


@dataclass(frozen=True)
class LearningPoint:
    """One version: labelled frames that it could learn from, the round of its snapshot, and its figures."""

    number: int
    n_frames: int
    round: int
    metrics: dict[str, Any]


@dataclass(frozen=True)
class EditRow:
    """What one person changed of what was shown, and the version that had predicted it (None: not known)."""

    edit: dict[str, Any]
    version: int | None


def _one_frame(store: ProjectStore, query: Select[Any]) -> int | None:
    with store.read() as connection:
        return connection.execute(query.limit(1)).scalar()


def frame(store: ProjectStore, frame_id: int) -> FrameRow | None:
    """One frame of the project, None when there is none with this number."""
    return next(iter(list_frames(store, [frame_id])), None)


def frame_before(store: ProjectStore, sequence: str, index: int, *, included: bool = False) -> int | None:
    """The frame of the pool just before a number, or with it when ``included``; None at the beginning."""
    earlier = frames.c.frame_index <= index if included else frames.c.frame_index < index
    query = select(frames.c.id).where(frames.c.project_id == store.project_id, frames.c.sequence == sequence, earlier)
    return _one_frame(store, query.order_by(frames.c.frame_index.desc()))


def frame_after(store: ProjectStore, sequence: str, index: int) -> int | None:
    """The frame of the pool just after a number, None at the end."""
    query = select(frames.c.id).where(
        frames.c.project_id == store.project_id, frames.c.sequence == sequence, frames.c.frame_index > index
    )
    return _one_frame(store, query.order_by(frames.c.frame_index))


def sequence(store: ProjectStore, name: str) -> SequenceRow | None:
    """One recording."""
    query = select(sequences).where(sequences.c.project_id == store.project_id, sequences.c.name == name)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else SequenceRow(row.name, row.rig, row.video, row.split)


def sequence_counts(store: ProjectStore) -> list[SequenceCount]:
    """The recordings that have frames, by name."""
    columns = (frames.c.sequence, func.count(), func.min(frames.c.frame_index), func.max(frames.c.frame_index))
    query = select(*columns).where(frames.c.project_id == store.project_id).group_by(frames.c.sequence)
    with store.read() as connection:
        return [SequenceCount(*row) for row in connection.execute(query.order_by(frames.c.sequence))]


def tasks_of(store: ProjectStore, frame_id: int) -> list[TaskRow]:
    """The tasks that show a frame."""
    query = select(tasks).where(tasks.c.project_id == store.project_id, tasks.c.frame_id == frame_id, ~tasks.c.deleted)
    with store.read() as connection:
        return [_task(row) for row in connection.execute(query.order_by(tasks.c.ls_task_id))]


def first_tasks(store: ProjectStore, frame_ids: list[int]) -> dict[int, int]:
    """Frame → Label Studio's number of its first task."""
    query = select(tasks.c.frame_id, func.min(tasks.c.ls_task_id)).where(
        tasks.c.project_id == store.project_id, tasks.c.frame_id.in_(frame_ids), ~tasks.c.deleted
    )
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query.group_by(tasks.c.frame_id))}


def annotations_of(store: ProjectStore, frame_id: int) -> list[AnnotationRow]:
    """Annotations of a frame that count."""
    query = (
        select(label_annotations, tasks.c.frame_id)
        .join(tasks, tasks.c.id == label_annotations.c.task_id)
        .where(label_annotations.c.project_id == store.project_id, tasks.c.frame_id == frame_id, _COUNTS)
        .order_by(label_annotations.c.ls_annotation_id)
    )
    with store.read() as connection:
        return [_annotation(row) for row in connection.execute(query)]


def pseudo_of(store: ProjectStore, frame_id: int) -> PseudoRow | None:
    """The newest pseudo-label of a frame that was not withdrawn."""
    query = _pseudo(store).where(pseudo_labels.c.frame_id == frame_id, ~pseudo_labels.c.withdrawn)
    with store.read() as connection:
        row = connection.execute(query.order_by(pseudo_labels.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _pseudo_row(row)


def newest_pseudo(store: ProjectStore, limit: int) -> list[PseudoRow]:
    """The newest pseudo-labels, withdrawn or not."""
    with store.read() as connection:
        found = connection.execute(_pseudo(store).order_by(pseudo_labels.c.id.desc()).limit(limit))
        return [_pseudo_row(row) for row in found]


def pseudo_counts(store: ProjectStore) -> list[tuple[int, int, int, int]]:
    """(round, pseudo-labels, of those with every keypoint, of those withdrawn), the newest round first."""
    c = pseudo_labels.c
    whole, withdrawn = func.sum(c.whole.cast(_INTEGER)), func.sum(c.withdrawn.cast(_INTEGER))
    query = select(c.round, func.count(), whole, withdrawn).where(c.project_id == store.project_id).group_by(c.round)
    with store.read() as connection:
        return [(int(r), int(n), int(w), int(d)) for r, n, w, d in connection.execute(query.order_by(c.round.desc()).limit(50))]


_INTEGER = label_annotations.c.round.type


def _pseudo(store: ProjectStore) -> Select[Any]:
    return select(pseudo_labels).where(pseudo_labels.c.project_id == store.project_id)


def _pseudo_row(row: Any) -> PseudoRow:
    return PseudoRow(**{name: value for name, value in row._mapping.items() if name != "project_id"})


def newest_edits(store: ProjectStore, limit: int) -> list[EditRow]:
    """The newest annotations of tasks that had shown points."""
    c = label_annotations.c
    query = (
        select(c.edit, versions.c.number)
        .join(tasks, tasks.c.id == c.task_id)
        .outerjoin(generations, (generations.c.project_id == c.project_id) & (generations.c.number == c.shown_generation))
        .outerjoin(versions, versions.c.id == generations.c.version_id)
        .where(c.project_id == store.project_id, c.shown_generation.is_not(None), _COUNTS)
        .order_by(c.id.desc())
        .limit(limit)
    )
    with store.read() as connection:
        return [EditRow(row.edit, row.number) for row in connection.execute(query) if row.edit]


def newest_annotations(store: ProjectStore, limit: int) -> list[AnnotationRow]:
    """The newest annotations that count."""
    query = (
        select(label_annotations, tasks.c.frame_id)
        .join(tasks, tasks.c.id == label_annotations.c.task_id)
        .where(label_annotations.c.project_id == store.project_id, _COUNTS)
        .order_by(label_annotations.c.id.desc())
        .limit(limit)
    )
    with store.read() as connection:
        return [_annotation(row) for row in connection.execute(query)]


def hours_by_round(store: ProjectStore) -> dict[int, float]:
    """Round → hours that people spent on the annotations that were first submitted in it."""
    c = label_annotations.c
    query = select(c.round, func.sum(c.lead_time_s)).join(tasks, tasks.c.id == c.task_id)
    query = query.where(c.project_id == store.project_id, _COUNTS).group_by(c.round)
    with store.read() as connection:
        return {int(round_): float(seconds or 0.0) / 3600 for round_, seconds in connection.execute(query)}


def learning_points(store: ProjectStore, limit: int) -> list[LearningPoint]:
    """The newest versions with a training set, oldest first."""
    query = (
        select(versions.c.number, snapshots.c.n_frames, snapshots.c.round, versions.c.metrics)
        .join(snapshots, snapshots.c.id == versions.c.snapshot_id)
        .where(versions.c.project_id == store.project_id)
        .order_by(versions.c.number.desc())
        .limit(limit)
    )
    with store.read() as connection:
        return [LearningPoint(*row) for row in connection.execute(query)][::-1]


def version_page(store: ProjectStore, before: int | None, limit: int) -> list[tuple[VersionRow, int | None]]:
    """(version, labelled frames of its training set) below a number, the newest first."""
    query = select(versions, snapshots.c.n_frames).outerjoin(snapshots, snapshots.c.id == versions.c.snapshot_id)
    query = query.where(versions.c.project_id == store.project_id).order_by(versions.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(versions.c.number < before)
    with store.read() as connection:
        found = connection.execute(query).all()
    names = [name for name in VersionRow.__dataclass_fields__ if name != "status"]
    return [
        (VersionRow(**{name: row._mapping[name] for name in names}, status=VersionStatus(row.status)), row.n_frames)
        for row in found
    ]


def pick_page(store: ProjectStore, generation: int, start: int, limit: int) -> list[PickRow]:
    """Picks of an order from a rank on."""
    query = select(picks).where(picks.c.project_id == store.project_id, picks.c.generation == generation, picks.c.rank >= start)
    with store.read() as connection:
        return [_pick(row) for row in connection.execute(query.order_by(picks.c.rank).limit(limit))]


def window_counts(store: ProjectStore, generation: int) -> tuple[int, int]:
    """(frames of the window of an order, those of them without an annotation)."""
    window = select(func.count()).where(
        picks.c.project_id == store.project_id, picks.c.generation == generation, picks.c.score < LAST
    )
    labelled = exists().where(tasks.c.frame_id == picks.c.frame_id, label_annotations.c.task_id == tasks.c.id, _COUNTS)
    with store.read() as connection:
        return int(connection.execute(window).scalar_one()), int(connection.execute(window.where(~labelled)).scalar_one())


def shard_paths(store: ProjectStore, version_id: int, name: str) -> list[str]:
    """Files of the arrays that a version predicted of a recording, of its newest rescan, in order of time."""
    done = _done(store, version_id, name)
    with store.read() as connection:
        newest = connection.execute(select(func.max(shards.c.round)).where(done)).scalar()
        found = connection.execute(select(shards.c.path).where(done, shards.c.round == newest).order_by(shards.c.id))
        return [str(path) for path in found.scalars()]


def shard_with(store: ProjectStore, version_id: int, name: str, frame_id: int) -> str | None:
    """The file of the arrays that a version predicted of a frame, the newest; None before it has."""
    c = shards.c
    # The database leaves out shards whose list cannot hold the number; only the few that are left are read.
    likely = cast(c.frame_ids, Text).contains(str(frame_id))
    query = select(c.frame_ids, c.path).where(_done(store, version_id, name), likely).order_by(c.round.desc(), c.id)
    with store.read() as connection:
        return next((str(row.path) for row in connection.execute(query) if frame_id in row.frame_ids), None)


def _done(store: ProjectStore, version_id: int, name: str) -> ColumnElement[bool]:
    c = shards.c
    mine = (c.project_id == store.project_id) & (c.version_id == version_id) & (c.sequence == name)
    return and_(mine, c.status == WorkStatus.DONE, c.path.is_not(None))


def labelled_numbers(store: ProjectStore, name: str) -> list[int]:
    """Numbers of the frames of a recording that people labelled."""
    query = (
        select(frames.c.frame_index)
        .join(tasks, tasks.c.frame_id == frames.c.id)
        .join(label_annotations, label_annotations.c.task_id == tasks.c.id)
        .where(frames.c.project_id == store.project_id, frames.c.sequence == name, _COUNTS)
        .distinct()
    )
    return _numbers(store, query)


def chosen_numbers(store: ProjectStore, name: str, generation: int) -> list[int]:
    """Numbers of the frames of a recording that are in the window of an order."""
    query = select(frames.c.frame_index).join(picks, picks.c.frame_id == frames.c.id)
    mine = (picks.c.project_id == store.project_id) & (picks.c.generation == generation) & (picks.c.score < LAST)
    return _numbers(store, query.where(mine, frames.c.sequence == name))


def pseudo_numbers(store: ProjectStore, name: str) -> list[int]:
    """Numbers of the frames of a recording that have a pseudo-label in force."""
    query = select(frames.c.frame_index).join(pseudo_labels, pseudo_labels.c.frame_id == frames.c.id)
    mine = (pseudo_labels.c.project_id == store.project_id) & ~pseudo_labels.c.withdrawn
    return _numbers(store, query.where(mine, frames.c.sequence == name).distinct())


def _numbers(store: ProjectStore, query: Select[Any]) -> list[int]:
    with store.read() as connection:
        return sorted(int(number) for number in connection.execute(query).scalars())

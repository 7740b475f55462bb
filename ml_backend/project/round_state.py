"""What the project holds while one piece of work goes on, read once and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from label_config.labelling.binding import Binding
from label_config.settings.spec import Spec
from ml_backend.geometry.cameras import Rig
from ml_backend.project.several_subjects import frames_of_several
from ml_backend.store import frames, pseudo_labels, submissions, tasks, versions
from ml_backend.store.frames import FrameRow, SequenceRow
from ml_backend.store.projects import Project
from ml_backend.store.pseudo_labels import PseudoRow
from ml_backend.store.submissions import AnnotationRow
from ml_backend.store.tasks import TaskRow
from ml_backend.store.versions import SnapshotRow, VersionRow
from ml_backend.store.workspace import Workspace


@dataclass(frozen=True)
class RoundState:
    """The rows of a project: a table is read when it is first needed, and the same rows are given ever after.

    All steps of one selection or training share one, so that they agree on what was labelled.  Whoever waits for people, or
    for pictures, takes a new one.
    """

    workspace: Workspace

    @property
    def spec(self) -> Spec:
        """The settings of parallax.yaml."""
        return self.workspace.spec

    @cached_property
    def project(self) -> Project:
        """The project's own row."""
        return self.workspace.project

    @cached_property
    def binding(self) -> Binding:
        """How the project's labelling config maps to views and keypoints."""
        return Binding.from_json(self.project.binding or {})

    @cached_property
    def views(self) -> tuple[str, ...]:
        """(V,) camera names, the order of every V axis."""
        return self.workspace.views_of(self.binding)

    @cached_property
    def sequences(self) -> Mapping[str, SequenceRow]:
        """Name → recording."""
        return frames.list_sequences(self.workspace.store)

    @cached_property
    def rigs(self) -> Mapping[str, Rig]:
        """Sequence → its rig, cameras in the order of ``views``; sequences without calibration are left out."""
        if len(self.views) < 2:
            return {}
        return {name: Rig.from_json(row.rig).subset(self.views) for name, row in self.sequences.items() if row.rig is not None}

    @cached_property
    def videos(self) -> frozenset[str]:
        """Sequences whose frames follow each other in time."""
        return frozenset(name for name, row in self.sequences.items() if row.video)

    @cached_property
    def frames(self) -> Mapping[int, FrameRow]:
        """Frame id → frame, in the order of their keys."""
        return {row.id: row for row in frames.list_frames(self.workspace.store)}

    @cached_property
    def tasks(self) -> list[TaskRow]:
        """Tasks that exist in Label Studio."""
        return tasks.list_tasks(self.workspace.store)

    @cached_property
    def annotations(self) -> list[AnnotationRow]:
        """Annotations that count: neither cancelled nor deleted."""
        return submissions.list_annotations(self.workspace.store)

    @cached_property
    def labelled(self) -> frozenset[int]:
        """Ids of the frames that somebody labelled."""
        return frozenset(row.frame_id for row in self.annotations)

    @cached_property
    def of_several(self) -> Mapping[int, int]:
        """Frame id → how many subjects people labelled there, where these are more than ``subjects.max``."""
        return frames_of_several(self.annotations, self.spec.subjects.max)

    @cached_property
    def pseudo_labels(self) -> list[PseudoRow]:
        """Pseudo-labels that were not withdrawn."""
        return pseudo_labels.list_pseudo(self.workspace.store)

    @cached_property
    def snapshots(self) -> list[SnapshotRow]:
        """Training sets, oldest first."""
        return versions.list_snapshots(self.workspace.store)

    @property
    def round(self) -> int:
        """The round that labels of this moment belong to: the number of snapshots taken so far."""
        return self.snapshots[-1].round + 1 if self.snapshots else 0

    @cached_property
    def live(self) -> VersionRow | None:
        """The model that is live, None before the first."""
        return versions.live(self.workspace.store)

    @property
    def live_snapshot(self) -> SnapshotRow | None:
        """What the live model was trained on."""
        return None if self.live is None else next((row for row in self.snapshots if row.id == self.live.snapshot_id), None)

"""The tables.  ``projects`` is the root key of every other table.

Times of our own are seconds since the epoch (float); times of Label Studio stay the strings it sent, because
they are cursors and must be given back to it unchanged.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _project() -> Column[int]:
    return Column("project_id", Integer, ForeignKey("projects.id", ondelete="CASCADE"), nullable=False, index=True)


projects = Table(
    "projects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("ls_url", String(500), nullable=False),
    Column("ls_project_id", Integer, nullable=False),
    Column("ls_created_at", String(64), nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("binding", JSON, nullable=True),  # label_config.labelling.binding.Binding
    Column("binding_problem", Text, nullable=True),  # why training and pushing stand still, None when they do not
    Column("cursor", String(64), nullable=True),  # largest task updated_at seen, Label Studio's own clock
    Column("swept_at", Float, nullable=True),  # last full sweep
    Column("pulled_at", Float, nullable=True),
    Column("pushed_at", Float, nullable=True),
    Column("live_version_id", Integer, nullable=True),
    Column("live_attempt", Integer, nullable=False, server_default="0"),  # fencing token of the publish
    Column("pinned", Boolean, nullable=False, server_default="0"),
    Column("generation", Integer, nullable=True),  # number of the generation that annotators are served
    Column("train_requested", Boolean, nullable=False, server_default="0"),
    Column("pull_requested", Boolean, nullable=False, server_default="0"),
    Column("select_requested", Boolean, nullable=False, server_default="0"),
    Column("public_url", Text, nullable=True),  # of Label Studio, as it says itself
    Column("halted", Text, nullable=True),  # why training stopped and asks, None when it does not
    Column("seed", Integer, nullable=False, server_default="0"),
    Column("labels_checked", String(120), nullable=True),  # submissions.state of the labels that were checked last
    UniqueConstraint("ls_url", "ls_project_id", "ls_created_at"),
)

counters = Table(
    "counters",
    metadata,
    Column("project_id", Integer, ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(40), primary_key=True),
    Column("value", Integer, nullable=False),
)

sequences = Table(
    "sequences",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("name", String(300), nullable=False),
    Column("rig", JSON, nullable=True),  # geometry.cameras.Rig, None = not calibrated
    Column("video", Boolean, nullable=False, server_default="0"),  # neighbours in time exist
    Column("split", JSON, nullable=True),  # labels.split.SplitRule, None = before there were such rules
    UniqueConstraint("project_id", "name"),
)

frames = Table(
    "frames",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("sequence", String(300), nullable=False),
    Column("frame_index", BigInteger, nullable=False),
    Column("images", JSON, nullable=False),  # view -> ImageRef
    Column("split", String(8), nullable=False),  # train | val | guard, assigned once
    Column("random_pick", Boolean, nullable=False, server_default="0"),
    Column("marks", JSON, nullable=True),  # view -> PictureMark of a picture that could not be used
    Column("boxes", JSON, nullable=True),  # subject -> view -> [x, y, width, height] px, from task data
    UniqueConstraint("project_id", "sequence", "frame_index"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("ls_task_id", Integer, nullable=False),  # below 0: the number belongs to another task now
    Column("frame_id", Integer, ForeignKey("frames.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("views", JSON, nullable=True),  # names of the views that the task shows, None = all
    Column("created_at", String(64), nullable=True),  # Label Studio's time; with the number the identity of a task
    Column("data_digest", String(64), nullable=True),  # sha256 of the task's data when its frame and pictures were read
    Column("key", String(400), nullable=True),  # data.parallax_key of a task that we imported
    Column("ours", Boolean, nullable=False, server_default="0"),
    Column("is_labeled", Boolean, nullable=False, server_default="0"),
    Column("skipped", Boolean, nullable=False, server_default="0"),
    Column("updated_at", String(64), nullable=True),
    Column("pseudo", Boolean, nullable=False, server_default="0"),  # data.parallax_source == "pseudo" in Label Studio
    Column("reason", Text, nullable=True),  # data.parallax_reason in Label Studio
    Column("check", Text, nullable=True),  # data.parallax_check in Label Studio: what contradicts the task's labels
    Column("deleted", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("project_id", "ls_task_id"),
)

label_annotations = Table(
    "annotations",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("ls_annotation_id", Integer, nullable=False),  # below 0: the number belongs to another annotation now
    Column("task_id", Integer, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("updated_at", String(64), nullable=False),
    Column("person", Integer, nullable=True),
    Column("cancelled", Boolean, nullable=False, server_default="0"),
    Column("ground_truth", Boolean, nullable=False, server_default="0"),
    Column("lead_time_s", Float, nullable=True),
    Column("poses", JSON, nullable=False),  # subject -> Pose2D
    Column("boxes", JSON, nullable=True),  # subject -> position of the view -> [x, y, width, height] px, as drawn
    Column("problems", JSON, nullable=False),
    Column("unsized", Boolean, nullable=False, server_default="0"),  # points wait for the size of their picture
    Column("shown_generation", Integer, nullable=True),
    Column("edit", JSON, nullable=True),  # labels.edit_distance against what was shown
    Column("round", Integer, nullable=False),  # round in which it was first submitted
    Column("seen_at", Float, nullable=False),
    Column("deleted", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("project_id", "ls_annotation_id"),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("round", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("n_frames", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("project_id", "round"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("number", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("snapshot_id", Integer, ForeignKey("snapshots.id"), nullable=True),
    Column("status", String(12), nullable=False),  # statuses.VersionStatus
    Column("path", String(200), nullable=False),  # folder under MODEL_URL
    Column("sha256", String(64), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_at", Float, nullable=False),
    Column("removed_at", Float, nullable=True),  # weights and shards are gone, or are about to go
    UniqueConstraint("project_id", "number"),
    UniqueConstraint("project_id", "path"),
)

generations = Table(
    "generations",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("number", Integer, nullable=False),
    Column("version_id", Integer, ForeignKey("versions.id"), nullable=True),
    Column("name", String(60), nullable=False),  # px-<model>.<generation>, model_version in Label Studio
    Column("status", String(12), nullable=False),  # statuses.GenerationStatus
    Column("created_at", Float, nullable=False),
    Column("switched_at", Float, nullable=True),
    UniqueConstraint("project_id", "number"),
)

picks = Table(
    "picks",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("generation", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("frame_id", Integer, ForeignKey("frames.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("score", Float, nullable=False),  # rank-coded, 0 = label next
    Column("blind", Boolean, nullable=False, server_default="0"),  # served without points
    Column("pseudo", Boolean, nullable=False, server_default="0"),
    Column("reason", Text, nullable=False, server_default=""),
    Column("record", JSON, nullable=True),  # ScoreRecord
    Column("poses", JSON, nullable=False),  # subject -> Pose2D that is shown
    Column("notes", JSON, nullable=True),  # (V, K) reprojection residual px
    UniqueConstraint("project_id", "generation", "rank"),
    Index("ix_picks_project_generation_frame", "project_id", "generation", "frame_id"),
)

pseudo_labels = Table(
    "pseudo_labels",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("frame_id", Integer, ForeignKey("frames.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("subject", Integer, nullable=False, server_default="0"),
    Column("round", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("whole", Boolean, nullable=False),  # every keypoint of the frame was accepted
    Column("xyz_world", JSON, nullable=False),  # (K, 3), null where not accepted
    Column("pose", JSON, nullable=False),  # Pose2D with PSEUDO points only
    Column("weight", Float, nullable=False),
    Column("withdrawn", Boolean, nullable=False, server_default="0"),
    UniqueConstraint("project_id", "round", "frame_id", "subject"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("kind", String(16), nullable=False),  # statuses.JobKind
    Column("status", String(10), nullable=False),  # statuses.WorkStatus
    Column("arguments", JSON, nullable=False),
    Column("attempt", Integer, nullable=False, server_default="0"),  # fencing token of the last claim
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("owner", String(120), nullable=True),
    Column("lease_until", Float, nullable=True),
    Column("progress", JSON, nullable=True),
    Column("error", Text, nullable=True),
    Column("created_at", Float, nullable=False),
    Column("started_at", Float, nullable=True),
    Column("finished_at", Float, nullable=True),
)

shards = Table(
    "shards",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("version_id", Integer, ForeignKey("versions.id", ondelete="CASCADE"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("sequence", String(300), nullable=False),
    Column("frame_ids", JSON, nullable=False),  # core frames in temporal order
    Column("halo_ids", JSON, nullable=False),  # neighbours of its frames: [before, after]
    Column("status", String(10), nullable=False),  # statuses.WorkStatus
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("owner", String(120), nullable=True),
    Column("lease_until", Float, nullable=True),
    Column("path", Text, nullable=True),
    Column("error", Text, nullable=True),
    Index("ix_shards_project_version_status", "project_id", "version_id", "status"),
)

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("kind", String(30), nullable=False),  # project_field | webhook | ml_backend | view | task | generation | task_data
    Column("ls_id", String(120), nullable=False),
    Column("old", JSON, nullable=True),
    Column("new", JSON, nullable=True),
    Column("created_at", Float, nullable=False),
    Column("undone_at", Float, nullable=True),
    Index("ix_ledger_project_kind_ls", "project_id", "kind", "ls_id"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("owner", String(120), nullable=False),
    Column("until", Float, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("process", String(120), primary_key=True),  # sync | infer@host:pid | train@host:pid | server@host:pid
    Column("at", Float, nullable=False),
    Column("detail", JSON, nullable=True),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    _project(),
    Column("at", Float, nullable=False),
    Column("level", String(8), nullable=False),  # statuses.EventLevel
    Column("text", Text, nullable=False),
    Column("key", String(200), nullable=True),  # events with one key are kept once
    UniqueConstraint("project_id", "key"),
)

"""``parallax init``: understand a project and its recordings, say what would change, then do it.

A project is created when parallax.yaml names none, else adopted as it is.  Everything done is repeatable: a second init
finds what the first one made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from label_config.binding import Binding, bind
from label_config.build_xml import build_label_config
from label_config.problems import Problem
from label_config.skeleton import Skeleton
from label_config.skeleton_files import load_skeleton
from label_config.spec import Spec
from label_config.values import BadInputError
from ml_backend.geometry.calibration import match_views, read_calibration
from ml_backend.geometry.cameras import Rig
from ml_backend.labels.split import assign_split
from ml_backend.recordings import Recording, open_recording, reconcile_size
from ml_backend.store import frames, ledger, presence, projects, submissions
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client, LabelStudioError
from plugins.label_studio_sync.connection import connect
from plugins.label_studio_sync.existing_labels import LabelledFrames, read_existing_labels
from plugins.label_studio_sync.inventory import describe_tasks
from plugins.label_studio_sync.new_tasks import OUR_FOLDER
from plugins.label_studio_sync.task_names import TaskNames

#: Columns of the platform's that say nothing about the order.
_HIDDEN = (
    "inner_id completed_at cancelled_annotations total_predictions annotators annotations_results annotations_ids "
    "predictions_model_versions predictions_results file_upload storage_filename created_at updated_at updated_by "
    "avg_lead_time draft_exists data.parallax_key data.parallax_source"
)
_COLUMNS: dict[str, Any] = {
    "hiddenColumns": {"explore": [f"tasks:{name}" for name in _HIDDEN.split()], "labeling": []},
    "columnsWidth": {"tasks:data.parallax_reason": 520, "tasks:id": 90},
}
#: Tabs of the data manager: views of our tasks, never the queue.
TABS: tuple[dict[str, Any], ...] = (
    {
        **_COLUMNS,
        "title": "Parallax: next",
        "type": "list",
        "target": "tasks",
        "ordering": ["tasks:predictions_score"],
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}],
        },
    },
    {
        "title": "Parallax: labelled by itself",
        "type": "list",
        "target": "tasks",
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:data.parallax_source", "operator": "equal", "type": "String", "value": "pseudo"}],
        },
    },
)


@dataclass(frozen=True)
class Plan:
    """What init understood.  ``lines`` say it, and what it would change, to a person."""

    spec: Spec
    client: Client
    project: dict[str, Any] | None  #: None: it will be created
    label_config: str
    binding: Binding
    views: tuple[str, ...]
    recordings: tuple[tuple[Recording, Rig | None], ...]
    labels: tuple[LabelledFrames, ...]
    lines: list[str] = field(default_factory=list)


def understand(spec: Spec, client: Client) -> Plan:
    """Look at everything and change nothing.  Raises ParallaxError for what cannot work."""
    lines = [f"Label Studio {client.version()} at {spec.label_studio.url} as {client.whoami()['email']}"]
    recordings = tuple(_recording(entry, spec, lines) for entry in spec.recordings)
    number = spec.label_studio.project
    project = client.project(number) if number is not None else None
    skeleton = load_skeleton(spec.skeleton) if spec.skeleton is not None else None
    views = spec.views
    if project is None:
        views = views or _views_of(recordings)
        xml = _new_config(skeleton, views)
        lines.append(f"would create the project {spec.label_studio.title!r} with the views {', '.join(views)}")
    else:
        xml = project["label_config"]
        lines.append(f"adopts project {number} {project['title']!r}; its labelling config stays as it is")
    binding = bind(xml, skeleton, views=views, aliases=spec.aliases)
    if len(binding.views) == 1 and views is not None and len(views) > 1:
        lines.append(f"one picture per task; the camera is read by frames.view among {', '.join(views)}")
    else:
        views = binding.names
    lines += [f"{problem.severity}: {_where(problem)}{problem.message}" for problem in binding.problems]
    lines.append(f"skeleton {binding.skeleton.name!r}: {', '.join(binding.skeleton.keypoints)}")
    labels = tuple(
        read_existing_labels(entry, recording, binding.skeleton, views)
        for entry, (recording, _) in zip(spec.recordings, recordings, strict=True)
        if entry.labels is not None
    )
    for found in labels:
        lines.append(f"would import {len(found.poses)} labelled frames of {found.sequence!r}")
    if project is not None:
        lines += describe_tasks(client, project["id"], TaskNames(spec, binding, tuple(views)))
    lines += _would_change(spec, client, project)
    if recordings and spec.documents_root is None:
        raise BadInputError(
            "documents_root in parallax.yaml: expected Label Studio's LOCAL_FILES_DOCUMENT_ROOT, got nothing; "
            "the pictures of frames that become tasks are written there"
        )
    return Plan(spec, client, project, xml, binding, tuple(views), recordings, labels, lines)


def _views_of(recordings: tuple[tuple[Recording, Rig | None], ...]) -> tuple[str, ...]:
    views = tuple(dict.fromkeys(view for recording, _ in recordings for view in recording.views))
    if not views:
        raise BadInputError(
            "parallax.yaml: expected label_studio.project (to adopt a project) or recordings (to create one), got neither"
        )
    return views


def _new_config(skeleton: Skeleton | None, views: tuple[str, ...]) -> str:
    if skeleton is None:
        raise BadInputError(
            "skeleton in parallax.yaml: expected coco17, hand21, a file or a mapping for a new project, got nothing"
        )
    return build_label_config(skeleton, views)


def _where(problem: Problem) -> str:
    return f"{problem.view}: " if problem.view else ""


def _would_change(spec: Spec, client: Client, project: dict[str, Any] | None) -> list[str]:
    if project is None:
        return ["would register a webhook, an ML backend, two tabs and a local storage"]
    lines = []
    if project["sampling"] != "Uncertainty sampling":
        lines.append(f"would change sampling {project['sampling']!r} → 'Uncertainty sampling' at the first push")
    if not str(project.get("model_version") or "").startswith("px-"):
        lines.append(f"would change model_version {project.get('model_version')!r} → px-… at the first push")
    if project.get("maximum_annotations", 1) > 1:
        lines.append("warning: more than one annotation per task; Label Studio then serves started tasks first, in random order")
    lines += [f"would {what}" for what in _missing(spec, client, project["id"])]
    return [*lines, "`parallax leave` takes everything back"]


def _missing(spec: Spec, client: Client, project: int) -> list[str]:
    """What :func:`carry_out` will create."""
    url = spec.backend.url.rstrip("/")
    missing = []
    if not any(hook["url"].rstrip("/") == f"{url}/webhook" for hook in client.webhooks(project)):
        missing.append(f"register the webhook {url}/webhook")
    if not any(backend["url"].rstrip("/") == url for backend in client.backends(project)):
        missing.append(f"connect the ML backend {url}")
    have = {view.get("data", {}).get("title") for view in client.views(project)}
    missing += [f"create the tab {tab['title']!r}" for tab in TABS if tab["title"] not in have]
    if spec.recordings and str(_folder(spec, project)) not in {storage["path"] for storage in client.local_storages(project)}:
        missing.append(f"let Label Studio serve {_folder(spec, project)}")
    return missing


def _folder(spec: Spec, project: int) -> Path:
    """Where the pictures of frames that become tasks are written."""
    return Path(spec.documents_root or "") / OUR_FOLDER / str(project)


def _recording(entry: Any, spec: Spec, lines: list[str]) -> tuple[Recording, Rig | None]:
    recording = open_recording(entry)
    lines.append(f"recording {entry.sequence!r}: {len(recording.frames)} frames, {len(recording.views)} views")
    lines += [f"note: {note}" for note in recording.notes]
    if entry.calibration is None or len(recording.views) < 2:
        return recording, None
    calibration = read_calibration(entry.calibration)
    lines += [f"calibration {Path(entry.calibration).name} ({calibration.format}): {note}" for note in calibration.notes]
    rig = match_views(calibration.rig, spec.views or recording.views)
    cameras = []
    for camera in rig.cameras:
        size = recording.size_px.get(camera.name)
        if size is not None and camera.size_px is not None:
            fix = reconcile_size(camera.name, size, camera.size_px)
            if fix.warning:
                lines.append(f"warning: {fix.warning}")
            camera = camera.cropped(0, 0, *fix.keep_px).resized(fix.size_px)
        cameras.append(camera)
    return recording, Rig(tuple(cameras), rig.unit)


def carry_out(plan: Plan, secret: str) -> Workspace:
    """Do it.  ``secret`` is what Label Studio will bring when it calls the backend."""
    spec, client = plan.spec, plan.client
    project = plan.project or client.create_project(spec.label_studio.title, plan.label_config)
    spec = spec.model_copy(update={"label_studio": spec.label_studio.model_copy(update={"project": project["id"]})})
    store = open_store(spec.store)
    row = projects.register(
        store, spec.label_studio.url, project["id"], project["created_at"], title=project["title"], seed=spec.train.seed
    )
    workspace = Workspace(spec, store, ArrayStore(Path(spec.arrays)), row.id)
    _take_over_binding(workspace, plan.binding)
    for recording, rig in plan.recordings:
        _save_recording(workspace, recording, rig)
    _storage(workspace, client, project["id"])
    _tabs(workspace, client, project["id"])
    try:
        for line in connect(workspace, client, secret):
            presence.tell(store, row.id, line)
    except LabelStudioError as error:
        # Everything works without: the queue is served by Label Studio itself, labels are found by polling.
        presence.tell(store, row.id, f"backend not registered: {error}", level="warning", key="connect")
    for found in plan.labels:
        found.import_into(workspace, client)
    return workspace


def _take_over_binding(workspace: Workspace, binding: Binding) -> None:
    """The first one, or one that differs: then labels are read again, all of them when their points changed places."""
    store, project = workspace.store, workspace.project
    values: dict[str, Any] = {"binding": binding.to_json(), "binding_problem": None}
    if project.binding != values["binding"]:
        values["swept_at"] = None
    if project.binding is not None:
        before = workspace.binding
        if (before.skeleton.keypoints, before.names) != (binding.skeleton.keypoints, binding.names):
            rows = submissions.list_annotations(store, project.id, every=True)
            submissions.mark_deleted(store, project.id, [row.ls_annotation_id for row in rows])
    if project.generation is None or "swept_at" in values:
        values["select_requested"] = True
    projects.change(store, project.id, **values)


def _save_recording(workspace: Workspace, recording: Recording, rig: Rig | None) -> None:
    rules, project = workspace.spec.validation, workspace.project
    video = recording.fps is not None or len(recording.frames) > 1
    frames.save_sequence(
        workspace.store, project.id, SequenceRow(recording.sequence, rig.to_json() if rig is not None else None, video)
    )
    splits = assign_split(
        recording.sequence,
        np.array([frame.key.index for frame in recording.frames]),
        fraction=rules.fraction,
        block_frames=rules.block_frames,
        guard_frames=rules.guard_frames,
        seed=project.seed,
    )
    frames.add_frames(
        workspace.store,
        project.id,
        [(frame.key, frame.images, str(split)) for frame, split in zip(recording.frames, splits, strict=True)],
    )


def _storage(workspace: Workspace, client: Client, project: int) -> None:
    """Label Studio shows local files only below a storage of the project."""
    if workspace.spec.documents_root is None or not workspace.spec.recordings:
        return
    folder = _folder(workspace.spec, project)
    folder.mkdir(parents=True, exist_ok=True)
    if any(storage["path"] == str(folder) for storage in client.local_storages(project)):
        return
    number = client.create_local_storage(project, str(folder), "Parallax frames")
    ledger.record(workspace.store, workspace.project_id, "local_storage", number, new=str(folder))


def _tabs(workspace: Workspace, client: Client, project: int) -> None:
    have = {view.get("data", {}).get("title") for view in client.views(project)}
    for tab in TABS:
        if tab["title"] not in have:
            number = client.create_view(project, tab)
            ledger.record(workspace.store, workspace.project_id, "view", number, new=tab["title"])

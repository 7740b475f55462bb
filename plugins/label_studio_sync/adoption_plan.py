"""``parallax init``: understand a project and its recordings, and say what would change.

A project is created when parallax.yaml names none, else adopted as it is.  ``set_up`` then does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from label_config.labelling.binding import Binding, bind
from label_config.labelling.build_xml import build_label_config
from label_config.settings.skeleton_files import load_skeleton
from label_config.settings.spec import Spec
from label_config.values import BadInputError
from label_config.values.problem import Problem
from label_config.values.skeleton import Skeleton
from ml_backend.geometry.calibration import same_unit
from ml_backend.geometry.cameras import Rig
from ml_backend.geometry.recording_rig import rig_of_recording
from ml_backend.labels.split import SplitRule
from ml_backend.recordings import Recording, limits_of, open_recording
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.existing_labels import LabelledFrames, read_existing_labels
from plugins.label_studio_sync.inventory import describe_tasks
from plugins.label_studio_sync.local_storage import check_documents_root, lacks_storage, picture_folder
from plugins.label_studio_sync.moved_server import former_address, moved
from plugins.label_studio_sync.picture_check import pictures_of_tasks, try_pictures
from plugins.label_studio_sync.project_findings import check_project
from plugins.label_studio_sync.reason_header import shows_reason
from plugins.label_studio_sync.split_plan import plan_split, shown_frames
from plugins.label_studio_sync.tabs import missing_tabs
from plugins.label_studio_sync.task_names import TaskNames
from plugins.label_studio_sync.webhook_and_backend import answers
from plugins.label_studio_sync.which_project import named_project


@dataclass(frozen=True)
class Plan:
    """What init understood, and what it is going to do.

    lines    what was understood, in words
    changes  what will be done now, each as in "would …" or "will …"
    remarks  what else a person should know before
    """

    spec: Spec
    client: Client
    project: dict[str, Any] | None  #: None: it will be created
    label_config: str
    binding: Binding
    views: tuple[str, ...]
    recordings: tuple[tuple[Recording, Rig | None], ...]
    labels: tuple[LabelledFrames, ...]
    split: dict[str, SplitRule]
    lines: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def understand(spec: Spec, client: Client) -> Plan:
    """Read everything and change nothing.  Raises ParallaxError for what cannot work."""
    changes: list[str] = []
    lines = [f"Label Studio {client.version()} at {spec.label_studio.url} as {client.whoami()['email']}"]
    recordings = _in_one_unit(tuple(_recording(entry, spec, lines) for entry in spec.recordings), lines)
    number = spec.label_studio.project
    project = named_project(client, number) if number is not None else None
    skeleton = load_skeleton(spec.skeleton) if spec.skeleton is not None else None
    views = spec.views
    if project is None:
        views = views or _views_of(recordings)
        sizes = {view: size for recording, _ in recordings for view, size in recording.size_px.items()}
        xml = _new_config(skeleton, views, sizes, spec.subjects.max)
        changes.append(f"create the project {spec.label_studio.title!r} with the views {', '.join(views)}")
    else:
        xml = project["label_config"]
        lines.append(f"adopts project {number} {project['title']!r}; its labelling config stays as it is")
        if former := former_address(spec, project):
            what = f"take over what was set up for it: {moved(former, spec.label_studio.url)}"
            changes.append(f"{what}; it is the same project by number and time of creation")
    binding = bind(xml, skeleton, views=views, aliases=spec.aliases, visibility=spec.visibility)
    if spec.subjects.max > 1 and (without := [view.view for view in binding.views if view.box is None]):
        raise BadInputError(
            f"subjects.max: {spec.subjects.max} subjects are labelled in boxes, and the labelling config has none for "
            f"{', '.join(without)}; add a RectangleLabels for each picture"
        )
    if len(binding.views) == 1 and views is not None and len(views) > 1:
        lines.append(f"one picture per task; the camera is read by frames.view among {', '.join(views)}")
    else:
        views = binding.names
    lines += [f"{problem.severity}: {_where(problem)}{problem.message}" for problem in binding.problems]
    lines.append(f"skeleton {binding.skeleton.name!r}: {', '.join(binding.skeleton.keypoints)}")
    labels = tuple(
        read_existing_labels(entry, recording, binding.skeleton, views, spec)
        for entry, (recording, _) in zip(spec.recordings, recordings, strict=True)
        if entry.labels is not None
    )
    for found in labels:
        changes.append(f"import {len(found.poses)} labelled frames of {next(iter(found.poses)).sequence!r} from {found.source}")
        lines += [f"note: {found.source}: {note}" for note in found.notes]
    names = TaskNames(spec, binding, tuple(views))
    if project is not None:
        lines += describe_tasks(client, project["id"], names)
        pictures = list(pictures_of_tasks(client, project["id"], names))
        tried = try_pictures(spec, pictures)
        lines += [f"{'error: ' if result.problem else ''}{result.seen}" for result in tried]
        folders = any("/data/local-files/" in address for _, address in pictures)
        lines += [finding.line for finding in check_project(spec, client, project, serves_folders=folders)]
    split = plan_split(spec, [recording for recording, _ in recordings], shown_frames(client, project, names), lines)
    any_project = project["id"] if project is not None else next((found["id"] for found in client.projects()), None)
    check_documents_root(spec, client, any_project)
    views = tuple(views)
    return Plan(
        *(spec, client, project, xml, binding, views, recordings, labels, split, lines),
        changes=[*changes, *_changes(spec, client, project, views)],
        remarks=_remarks(spec, project),
    )


def _in_one_unit(
    recordings: tuple[tuple[Recording, Rig | None], ...], lines: list[str]
) -> tuple[tuple[Recording, Rig | None], ...]:
    """Lengths of all recordings are compared with one another, so they are all measured in the unit of the first rig."""
    rigs = [rig for _, rig in recordings if rig is not None]
    if len({rig.unit for rig in rigs}) < 2:
        return recordings
    converted = iter(same_unit(rigs))
    lines.append(f"note: calibrations in {', '.join(sorted({rig.unit for rig in rigs}))}; all are converted to {rigs[0].unit}")
    return tuple((recording, None if rig is None else next(converted)) for recording, rig in recordings)


def _views_of(recordings: tuple[tuple[Recording, Rig | None], ...]) -> tuple[str, ...]:
    views = tuple(dict.fromkeys(view for recording, _ in recordings for view in recording.views))
    if not views:
        raise BadInputError(
            "parallax.yaml: expected label_studio.project (to adopt a project) or recordings (to create one), got neither"
        )
    return views


def _new_config(skeleton: Skeleton | None, views: tuple[str, ...], sizes: Mapping[str, tuple[int, int]], subjects: int) -> str:
    if skeleton is None:
        raise BadInputError(
            "skeleton in parallax.yaml: expected coco17, hand21, a file or a mapping for a new project, got nothing"
        )
    return build_label_config(skeleton, views, sizes_px=sizes, boxes=subjects > 1, subjects=subjects)


def _where(problem: Problem) -> str:
    return f"{problem.view}: " if problem.view else ""


def _changes(spec: Spec, client: Client, project: dict[str, Any] | None, views: tuple[str, ...]) -> list[str]:
    """What ``set_up.carry_out``, and then the first push, will do."""
    if project is None:
        storage = ", a local storage" if spec.recordings else ""
        return [f"create our tabs{storage}, a webhook and an ML backend in it"]
    lines = [f"create the tab {tab['title']!r}" for tab in missing_tabs(spec, client, project["id"], views)]
    if lacks_storage(spec, client, project["id"]):
        lines.append(f"let Label Studio serve {picture_folder(spec, project['id'])}")
    url, when = spec.backend.url.rstrip("/"), "" if answers(spec.backend.url) else " as soon as `parallax up` runs"
    if not any(hook["url"].rstrip("/") == f"{url}/webhook" for hook in client.webhooks(project["id"])):
        lines.append(f"register the webhook {url}/webhook{when}")
    if not any(backend["url"].rstrip("/") == url for backend in client.backends(project["id"])):
        lines.append(f"connect the ML backend {url}{when}")
    if project["sampling"] != "Uncertainty sampling":
        lines.append(f"change sampling {project['sampling']!r} → 'Uncertainty sampling' at the first push")
    if not str(project.get("model_version") or "").startswith("px-"):
        lines.append(f"change model_version {project.get('model_version')!r} → px-… at the first push")
    return lines


def _remarks(spec: Spec, project: dict[str, Any] | None) -> list[str]:
    if project is None:
        untouched = "with `--remove-tasks` also tasks that nobody has touched"
        return [f"`parallax leave` takes everything back but the project with its tasks, {untouched}"]
    found = []
    if not shows_reason(project["label_config"]):
        found.append(
            "why a task was chosen stands in the tab 'Parallax: next', not on the labelling screen; "
            "`parallax init --header` adds a line above the pictures"
        )
    return [*found, "`parallax leave` takes everything back"]


def _recording(entry: Any, spec: Spec, lines: list[str]) -> tuple[Recording, Rig | None]:
    recording = open_recording(entry, limits_of(spec.cache))
    complete = f", all of them at {recording.n_complete} frames" if len(recording.views) > 1 else ""
    lines.append(f"recording {entry.sequence!r}: {len(recording.frames)} frames, {len(recording.views)} views{complete}")
    lines += [f"note: {note}" for note in recording.notes]
    found = rig_of_recording(entry, recording, spec.views or recording.views)
    if found is None:
        return recording, None
    lines.append(f"{found.about}: {found.n_cameras} cameras in {found.rig.unit}")
    lines += found.notes
    return recording, found.rig

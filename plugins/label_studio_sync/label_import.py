"""Labels of other tools into a project: as annotations of the frames that it has, and with pictures that it does not have yet.

A picture of the file that no frame shows is taken from beside the label file, or out of it, becomes a frame of a sequence called
as its folder or video, and is copied to where Label Studio serves pictures.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from label_config.values import BadInputError, Frame, FrameKey, ImageRef, ParallaxError
from label_config.values.file_names import file_name
from ml_backend.formats.label_records import EmbeddedPicture, LabelledImage, LabelSet
from ml_backend.formats.matching import LabelPlace, Matches, match_labels_to_frames, picture_parts
from ml_backend.project.splitting import split_of
from ml_backend.recordings import probe
from ml_backend.store import frames
from ml_backend.store.frames import SequenceRow
from ml_backend.store.workspace import Workspace
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.embedded_pictures import Embedded, write_embedded
from plugins.label_studio_sync.existing_labels import LabelledFrames, fit_to_project, frames_of, in_frames, said_of_rest
from plugins.label_studio_sync.local_storage import picture_folder, serve_our_pictures


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do.

    labelled  poses by frame, those of new frames among them
    new       frames that the project does not have yet
    embedded  file to write → the picture in the label file that goes there
    """

    labelled: LabelledFrames
    new: tuple[Frame, ...]
    embedded: Mapping[Path, EmbeddedPicture] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """For people to read."""
        known = len(self.labelled.poses) - len(self.new)
        counts = f"{self.labelled.source}: labels of {known} frames of the project"
        lines = [f"{counts} and of {len(self.new)} pictures that are new to it" if self.new else counts]
        return lines + [f"note: {note}" for note in self.labelled.notes]


def plan_import(
    workspace: Workspace,
    source: Path,
    found: LabelSet,
    *,
    subject: int | None = None,
    predicted: bool = False,
    pictures: Path | None = None,
) -> ImportPlan:
    """Understand what labels mean for this project.

    pictures  the folder that the names of pictures count from, None = that of the label file

    Raises BadInputError when none of the pictures is a frame or can be found.
    """
    views = workspace.views
    fitted = fit_to_project(found, workspace.binding.skeleton, views, workspace.spec.aliases, subject, predicted)
    rows = frames.list_frames(workspace.store)
    matches = match_labels_to_frames(fitted.labels, frames_of(rows), views)
    folders = [pictures] if pictures is not None else [source if source.is_dir() else source.parent, *source.parents[1:4]]
    embedded = Embedded(found.embedded, picture_folder(workspace.spec, workspace.project.ls_project_id))
    new, matches = _bring(matches, folders, embedded, views, {row.key: row.images for row in rows})
    if not matches.found:
        raise BadInputError(
            f"{source}: none of its {len({label.image for label in found.labels})} pictures is a frame of the project, and none "
            f"lies below {folders[0]}; name their folder with --pictures, or the recording in parallax.yaml"
            + "".join(f"\n  {note}" for note in matches.notes)
        )
    notes = (*fitted.notes, *matches.notes, *said_of_rest(matches))
    return ImportPlan(in_frames(source.name, replace(fitted, notes=notes), matches, views), tuple(new), embedded.targets)


def carry_out_import(plan: ImportPlan, workspace: Workspace, client: Client, *, version: str | None = None) -> int:
    """Make the frames, their tasks, and annotations (or, of this ``version``, predictions); how many of the latter."""
    if plan.new:
        if workspace.spec.documents_root is None:
            raise ParallaxError(
                f"{len(plan.new)} pictures are new to the project, and documents_root in parallax.yaml is not set; "
                "set it to Label Studio's LOCAL_FILES_DOCUMENT_ROOT, so that they can be written there"
            )
        serve_our_pictures(workspace, client)
    write_embedded(plan.embedded)
    if plan.new:
        _save(workspace, plan.new)
    if version is not None:
        return plan.labelled.predict_into(workspace, client, version)
    return plan.labelled.import_into(workspace, client)


def _bring(
    matches: Matches,
    folders: Sequence[Path],
    embedded: Embedded,
    views: Sequence[str],
    known: Mapping[FrameKey, Mapping[str, ImageRef]],
) -> tuple[list[Frame], Matches]:
    """Frames out of pictures beside the file or in it, and the matches with them."""
    images: dict[FrameKey, dict[str, ImageRef]] = defaultdict(dict)
    brought: list[tuple[LabelledImage, LabelPlace]] = []
    rest: list[LabelledImage] = []
    keys: dict[str, FrameKey] = {}
    for label in matches.rest:
        path, named = _file(label, folders), embedded.as_picture(label)
        view = label.view if label.view in views else view_of_folder(named, views)
        if view is None or (path is None and label not in embedded):
            rest.append(label)
            continue
        key = keys.setdefault(named.image.source, _key(named, view, len(keys)))
        size_px = label.image.size_px
        if path is None:
            path = embedded.target(label, key, view)
        else:
            size_px = probe(path).size_px
        before = known.get(key, {}).get(view)
        if before is not None and before.source == str(path):  # out of the label file, by an import before
            brought.append((label, LabelPlace(key, view, before)))
            continue
        if key in known:
            raise BadInputError(
                f"{label.image.source}: would be frame {key}, which the project has with other pictures; files of cameras "
                "are imported together: parallax import FILE FILE --view CAMERA --view CAMERA"
            )
        held = images[key].get(view)
        if held is not None and held.source != str(path):
            raise BadInputError(f"{label.image.source}: would be {view} of frame {key}, and so would {held.source}; rename one")
        ref = held or ImageRef(str(path), size_px=size_px)
        images[key][view] = ref
        brought.append((label, LabelPlace(key, view, ref)))
    new = [Frame(key, of_views) for key, of_views in sorted(images.items())]
    return new, Matches((*matches.found, *brought), tuple(rest), matches.notes)


def view_of_folder(label: LabelledImage, views: Sequence[str]) -> str | None:
    """The camera whose name the picture's folder has, or ends in; the only one of a project with one."""
    if len(views) == 1:
        return views[0]
    folder = picture_parts(label.image.source)[-2:-1]
    named = [view for view in views if folder and re.search(rf"(^|[_.-]){re.escape(view)}$", folder[0])]
    return max(named, key=len, default=None)


def _file(label: LabelledImage, folders: Sequence[Path]) -> Path | None:
    """The picture below one of the folders, by as much of its path as is there."""
    if label.image.frame_index is not None:
        return None
    parts = picture_parts(label.image.source)
    for folder in folders:
        for start in range(len(parts)):
            path = folder.joinpath(*parts[start:])
            if path.is_file():
                return path.resolve()
    return None


def _key(label: LabelledImage, view: str, position: int) -> FrameKey:
    """Sequence = its folder without the camera's name; frame = the last number of its name, else its place in the file."""
    if label.key is not None and label.view is not None:
        folder, number = label.key.sequence, label.key.index
    else:
        parts = picture_parts(label.image.source)
        digits = re.findall(r"\d+", parts[-1].rpartition(".")[0])
        folder, number = (parts[-2] if len(parts) > 1 else "imported"), int(digits[-1][-9:]) if digits else position
    stripped = re.sub(rf"(^|[_.-]){re.escape(view)}$", "", folder)
    name = file_name(stripped or folder or "imported").lstrip(".") or "imported"
    return FrameKey(name, number)


def _save(workspace: Workspace, new: Sequence[Frame]) -> None:
    have = frames.list_sequences(workspace.store)
    numbers: Mapping[str, list[int]] = defaultdict(list)
    for frame in new:
        numbers[frame.key.sequence].append(frame.key.index)
    split = split_of(workspace, {sequence: np.array(of, dtype=np.int64) for sequence, of in numbers.items()})
    for sequence in numbers.keys() - have.keys():
        frames.save_sequence(workspace.store, SequenceRow(sequence, None, False))
    frames.add_frames(workspace.store, [(frame.key, frame.images, split[frame.key]) for frame in new])

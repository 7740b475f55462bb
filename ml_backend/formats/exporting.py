"""Labels of a project into another tool's files: pictures named as that tool has them, and what it has no word for, in notes."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from label_config.values import ImageRef, PointState
from label_config.values.errors import LabelFileError
from label_config.values.file_names import file_name, inner_path
from ml_backend.formats.anipose_files import WorldTrack, write_anipose
from ml_backend.formats.coco import write_coco
from ml_backend.formats.dlc_project import write_dlc_project
from ml_backend.formats.label_records import LabelledImage, LabelSet, join_views
from ml_backend.formats.label_studio import write_label_studio
from ml_backend.formats.lightning_pose import write_lightning_pose
from ml_backend.formats.matching import picture_parts
from ml_backend.formats.movement import write_movement
from ml_backend.formats.names import READ_ONLY, LabelFormat
from ml_backend.formats.sleap import write_sleap
from ml_backend.formats.yolo import write_yolo
from ml_backend.recordings import SERVER, ViewTransform, probe

#: Writes the picture of each view to its target; target → error for those that failed.
WritePictures = Callable[[Sequence[tuple[ImageRef, Path]]], Mapping[Path, Exception]]
#: Who made labels of several people.
SCORER = "parallax"

_FOLDER = {LabelFormat.DLC: "labeled-data", LabelFormat.LIGHTNING_POSE: "labeled-data"}
_LOST = {
    LabelFormat.DLC: (PointState.OCCLUDED, PointState.ABSENT),
    LabelFormat.SLEAP: (PointState.ABSENT,),
    LabelFormat.YOLO: (PointState.ABSENT,),
}
#: Files of points over time name no pictures; frames are those of the videos.
TRACKS = (LabelFormat.MOVEMENT, LabelFormat.ANIPOSE)
_WITHOUT_PEOPLE = (LabelFormat.SLEAP, LabelFormat.YOLO)


@dataclass(frozen=True)
class Export:
    """What to write.

    labels    with views and keys; pictures as the project knows them
    pictures  None = only labels: coordinates are then those of the source pictures, before crop and rotation
    occluded_as_visible  Lightning Pose only
    world     anipose only: points in 3-D by recording
    package   SLEAP only: the file that pictures are put into, those in ``target`` being there for the time of writing
    """

    labels: LabelSet
    format: LabelFormat
    target: Path
    pictures: WritePictures | None = None
    occluded_as_visible: bool = False
    world: Mapping[str, WorldTrack] = field(default_factory=dict)
    package: Path | None = None

    @property
    def packs(self) -> bool:
        """Whether the pictures go into the label file, as SLEAP's packages have them."""
        return self.format is LabelFormat.SLEAP and self.target.name.endswith(".pkg.slp")

    def write(self) -> list[str]:
        """Write everything; notes on what was lost.  Raises BadInputError for what the format cannot hold."""
        if self.format in READ_ONLY:
            raise LabelFileError(f"{self.format.value}: files of this data set are only read; export as coco or another format")
        if self.format is LabelFormat.YOLO and self.pictures is None:
            raise LabelFileError("YOLO finds labels by their pictures: expected --pictures")
        if self.format in TRACKS and self.pictures is not None:
            raise LabelFileError(f"{self.format.value}: its files name no pictures, got --pictures")
        if self.format is LabelFormat.ANIPOSE and any(label.confidence is None for label in self.labels.labels):
            raise LabelFileError(
                "anipose has no file of labels that people made: export them as dlc, or predictions with --predicted"
            )
        if self.packs and self.pictures is not None:
            with TemporaryDirectory() as folder:
                return replace(self, target=Path(folder), package=self.target).write()
        notes: list[str] = []
        if self.pictures is not None:
            labels = self._with_pictures(notes)
        else:
            labels = replace(self.labels, labels=_named(self.labels.labels, self.format))
        notes += self._write(labels)
        return notes + self._losses(labels.labels)

    def _with_pictures(self, notes: list[str]) -> LabelSet:
        """Every view as a picture of its own; the labels name these."""
        assert self.pictures is not None
        names = _own_names(self.labels.labels, _FOLDER.get(self.format, "images"))
        wanted = {(label.image, self.target / name) for label, name in zip(self.labels.labels, names, strict=True)}
        failed = self.pictures(sorted(wanted, key=lambda item: (item[0].source, item[0].frame_index or 0)))
        if failed:
            notes.append(f"{len(failed)} pictures cannot be read, and their labels are left out: {next(iter(failed.values()))}")
        kept = []
        for label, name in zip(self.labels.labels, names, strict=True):
            path = self.target / name
            if path not in failed:
                source = str(path) if self.format is LabelFormat.SLEAP else name
                kept.append(replace(label, image=ImageRef(source, size_px=label.image.size_px or probe(path).size_px)))
        return replace(self.labels, labels=tuple(kept))

    def _write(self, labels: LabelSet) -> list[str]:
        target, folder = self.target, self.pictures is not None
        if self.format in (LabelFormat.DLC, LabelFormat.LIGHTNING_POSE, *TRACKS) or folder:
            target.mkdir(parents=True, exist_ok=True)
        if self.format is LabelFormat.COCO:
            write_coco(labels, target / "annotations.json" if folder else target)
        elif self.format is LabelFormat.SLEAP:
            path = self.package or (target / "labels.slp" if folder else target)
            write_sleap(labels, path, embed=self.package is not None)
        elif self.format is LabelFormat.LABEL_STUDIO:
            write_label_studio(labels, target / "tasks.json" if folder else target)
        elif self.format is LabelFormat.YOLO:
            write_yolo(labels, target)
        elif self.format is LabelFormat.LIGHTNING_POSE:
            views = dict.fromkeys(label.view for label in labels.labels)
            paths = {view: target / f"{file_name(view or 'CollectedData')}.csv" for view in views}
            write_lightning_pose(labels, paths, scorer=_scorer(labels.labels), occluded_as_visible=self.occluded_as_visible)
        elif self.format is LabelFormat.MOVEMENT:
            write_movement(labels, target)
        elif self.format is LabelFormat.ANIPOSE:
            return write_anipose(labels, self.world, target)
        else:
            return write_dlc_project(_views_joined(labels), target, scorer=_scorer(labels.labels))
        return []

    def _losses(self, labels: Sequence[LabelledImage]) -> list[str]:
        count = {state: sum(int((label.state == state).sum()) for label in labels) for state in PointState}
        notes = []
        for state in _LOST.get(self.format, ()):
            if count[state]:
                becomes = "visible" if state is PointState.OCCLUDED else "not labelled"
                notes.append(f"{count[state]} {state.name.lower()} points read as {becomes}: the format has no word for them")
        hidden = count[PointState.OCCLUDED]
        if self.format is LabelFormat.LIGHTNING_POSE and hidden:
            notes.append(
                f"{hidden} occluded points are written as visible"
                if self.occluded_as_visible
                else f"{hidden} occluded points keep their place, which Lightning Pose's training does not use "
                "(--occluded-as-visible writes them so that it does)"
            )
        if self.format is LabelFormat.MOVEMENT and (hidden or count[PointState.ABSENT]):
            notes.append("occluded and absent are in a variable of our own, `state`, which movement itself does not use")
        people = {label.people for label in labels if label.people}
        if people and self.format in _WITHOUT_PEOPLE:
            notes.append("who labelled is not written: the format has no place for it")
        elif (len(people) > 1 or any(len(p) > 1 for p in people)) and self.format in (
            LabelFormat.DLC,
            LabelFormat.LIGHTNING_POSE,
        ):
            notes.append(f"several people labelled; the format has one name, which is {SCORER!r}")
        elif any(len(p) > 1 for p in people) and self.format is LabelFormat.LABEL_STUDIO:
            notes.append("labels that several people agreed on are written without a name")
        return notes


def _views_joined(labels: LabelSet) -> LabelSet:
    """Cameras that share a picture, as mirror rigs do, become keypoints of it: ``<keypoint>_<camera>``."""
    shown: dict[str, set[str | None]] = defaultdict(set)
    for label in labels.labels:
        shown[label.image.source].add(label.view)
    if all(len(views) == 1 for views in shown.values()):
        return labels
    views = sorted({str(label.view) for label in labels.labels})
    names = [f"{name}_{view}" for view in views for name in labels.skeleton.keypoints]
    return join_views(labels, {view: f"_{view}" for view in views}, names)


def _scorer(labels: Sequence[LabelledImage]) -> str:
    people = {label.people for label in labels if label.people}
    only = next(iter(people)) if len(people) == 1 else ()
    return file_name(re.sub(r"[,;\s]", "_", only[0])) if len(only) == 1 else SCORER


def _number(label: LabelledImage) -> int:
    """The camera's own number of the picture: of the frame in its video, else the last one in the picture's name."""
    if label.image.frame_index is not None:
        return label.image.frame_index
    digits = re.findall(r"\d+", picture_parts(label.image.source)[-1].rpartition(".")[0])
    return int(digits[-1][-9:]) if digits else (label.key.index if label.key is not None else 0)


def _own_names(labels: Sequence[LabelledImage], top: str) -> list[str]:
    """``top/<sequence>_<camera>/img<number>.png``, without the camera where there is one."""
    several = len({label.view for label in labels}) > 1
    folders = [_folder(label, several) for label in labels]
    numbers = [_number(label) for label in labels]
    pictures: dict[tuple[str, int], set[ImageRef]] = defaultdict(set)
    for folder, number, label in zip(folders, numbers, labels, strict=True):
        pictures[folder, number].add(label.image)
    mixed = {folder for (folder, _), of_number in pictures.items() if len(of_number) > 1}
    return [
        f"{top}/{folder}/img{label.key.index if folder in mixed and label.key is not None else number:06d}.png"
        for folder, number, label in zip(folders, numbers, labels, strict=True)
    ]


def _folder(label: LabelledImage, several: bool) -> str:
    sequence = label.key.sequence if label.key is not None else "pictures"
    return inner_path(f"{sequence}_{label.view}" if several and label.view else sequence)


def _named(labels: Sequence[LabelledImage], format: LabelFormat) -> tuple[LabelledImage, ...]:
    """Labels of the source pictures, named so that neither a folder of this machine nor a server's address is needed."""
    stems = _video_folders(labels)
    tails = _tails([label.image.source for label in labels if label.image.frame_index is None])
    named = []
    for label in labels:
        ref = label.image
        own = (format is LabelFormat.SLEAP and "://" not in ref.source) or format in TRACKS
        own = own or (format is LabelFormat.LABEL_STUDIO and "://" in ref.source)
        if own:  # SLEAP opens pictures and videos by their path, Label Studio by their address; tracks are named by these
            source, frame = ref.source.removeprefix(SERVER), ref.frame_index if format is not LabelFormat.LABEL_STUDIO else None
        elif ref.frame_index is not None:
            source, frame = f"labeled-data/{stems[ref.source]}/img{ref.frame_index:06d}.png", None
        else:
            source, frame = tails[ref.source], None
            if format is LabelFormat.DLC:
                source = inner_path(
                    f"labeled-data/{PurePosixPath(source).parent.name or 'pictures'}/{PurePosixPath(source).name}"
                )
        size = _source_size(ref)
        xy = label.xy_px
        if ref != replace(ref, crop=None, flip=False, rotation=0):
            xy = ViewTransform.of_view(ref).to_source(xy)
            box = None
        else:
            box = label.box_px
        named.append(replace(label, image=ImageRef(source, frame_index=frame, size_px=size), xy_px=xy, box_px=box))
    return tuple(named)


def _source_size(ref: ImageRef) -> tuple[int, int] | None:
    if ref.crop is not None:
        return probe(ref.source).size_px
    return ref.size_px[::-1] if ref.size_px is not None and ref.rotation in (90, 270) else ref.size_px


def _video_folders(labels: Sequence[LabelledImage]) -> dict[str, str]:
    """Video → the folder to which DeepLabCut would extract its frames; with the sequence where two videos have one name."""
    videos = {label.image.source: label for label in labels if label.image.frame_index is not None}
    stem = {source: picture_parts(source)[-1].rpartition(".")[0] or picture_parts(source)[-1] for source in videos}
    count = Counter(stem.values())
    return {source: stem[source] if count[stem[source]] == 1 else _folder(label, True) for source, label in videos.items()}


def _tails(sources: Sequence[str]) -> dict[str, str]:
    """Picture → the end of its path: folder and name, or as much as it takes to tell all of them apart."""
    parts = {source: picture_parts(source) for source in sources}
    longest = max((len(p) for p in parts.values()), default=0)
    for count in range(2, longest + 1):
        tails = {source: "/".join(p[-count:]) for source, p in parts.items()}
        if len(set(tails.values())) == len(tails):
            return tails
    return {source: "/".join(p) for source, p in parts.items()}

"""What ``parallax predict`` works on: a model, and the recordings that were named, of a project or of no project."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from label_config.settings.config_variable import CONFIG_VARIABLE
from label_config.settings.recording_settings import RecordingSettings, ViewSource
from label_config.settings.spec import Spec, load_spec
from label_config.values import BadInputError
from label_config.values.errors import RecordingError
from ml_backend.geometry.calibration import read_calibration
from ml_backend.geometry.cameras import Rig
from ml_backend.pose.infer import Predictor
from ml_backend.recordings import decoding_process, iter_images, limits_of
from ml_backend.tracks.given_files import named_cameras, recording_name, recordings_of
from ml_backend.tracks.opening import Opened, open_files, open_frames, settings_of_views, shared_picture
from ml_backend.tracks.reading_ahead import Stream
from plugins.cli.context import chosen_version, open_project

if TYPE_CHECKING:
    from ml_backend.pose.single_view_model import SingleViewModel
    from ml_backend.tracks.predicting import Place


@dataclass(frozen=True)
class Asked:
    """What the command line says about recordings and model; see ``parallax predict --help``."""

    what: Sequence[str]
    camera: Sequence[str]
    calibration: Path | None
    unit: Literal["m", "cm", "mm"] | None
    pairing: Literal["time", "index", "number"] | None
    networks: Sequence[str]
    device: str | None


@dataclass(frozen=True)
class GivenSource:
    """model  what its tracks are of, for people;  task_of  (recording, instant) → address of its task in Label Studio"""

    model: str
    predictor: Predictor | SingleViewModel
    recordings: tuple[Opened, ...]
    stream: Stream
    threshold_px: float | None
    about: Mapping[str, Any]
    task_of: Callable[[str, int], str | None]
    close: Callable[[], None] = lambda: None
    place: Place | None = None


def _refuse_several(spec: Spec) -> None:
    """Boxes in task data say where several subjects are; recordings have none."""
    if spec.subjects.max > 1:
        raise BadInputError(
            "predict: expected one subject in a frame, got subjects.max above 1 in parallax.yaml; frames with tasks are "
            "predicted by `parallax rescore` and written by `parallax export --predicted`"
        )


def source_of_folder(config: Path, asked: Asked, model: Path) -> GivenSource:
    """A model folder; recordings and settings are those of parallax.yaml where there is one, and no database is opened."""
    os.environ[CONFIG_VARIABLE] = str(config)  # own networks are found beside it, there or not
    spec = load_spec(config) if config.exists() else Spec()
    _refuse_several(spec)
    predictor = _predictor(spec, model, asked)
    opened = _Namer(spec, asked, spec.views or _views(spec), {}).opened()
    stream = partial(iter_images, limits=limits_of(spec.cache), decode=decoding_process(limits_of(spec.cache)))
    return GivenSource(
        model.name,
        predictor,
        opened,
        stream,
        spec.pseudo_labels.threshold_px,
        _about(spec, predictor),
        lambda sequence, index: None,
    )


def with_single_view(source: GivenSource, weights: Path, asked: Asked) -> GivenSource:
    """The same with places in 3-D from single pictures; every recording must have one camera, that of the weights.

    Raises BadInputError where one has more, or where the weights are none of ours or of other keypoints.
    """
    from ml_backend.pose.single_view_model import SingleViewModel
    from ml_backend.pose.single_view_network import load_single_view

    assert isinstance(source.predictor, Predictor)
    network, about = load_single_view(weights, plugins=asked.networks)
    for recording in source.recordings:
        if len(recording.views) != 1:
            raise BadInputError(
                f"--single-view: recording {recording.sequence!r} has cameras {', '.join(recording.views)}; expected one, such "
                f"as the video of {about.camera.name}; several calibrated cameras are triangulated without it"
            )
        if recording.views[0] != about.camera.name:
            raise BadInputError(
                f"--single-view: recording {recording.sequence!r}: camera {recording.views[0]!r} is not the weights' camera "
                f"{about.camera.name!r}; if it is that one: --camera {about.camera.name}=FILE"
            )
    model = SingleViewModel(source.predictor, network, about)
    opened = tuple(replace(recording, rig=Rig((about.camera,), about.unit)) for recording in source.recordings)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return replace(source, predictor=model, recordings=opened, about={**source.about, "single_view": digest}, place=model.place)


def source_of_project(ctx: typer.Context, asked: Asked, version: str | None) -> GivenSource:
    """A version of the project.  Raises ParallaxError without a model."""
    from ml_backend.project.frame_pictures import Pictures
    from ml_backend.project.label_snapshot import rigs_of

    number = _version_number(version)
    workspace = open_project(ctx)
    row = chosen_version(workspace, number)
    spec = workspace.spec
    _refuse_several(spec)
    predictor = _predictor(spec, workspace.models / row.path, asked)
    namer = _Namer(spec, asked, workspace.views, rigs_of(workspace), lambda name: _frames(workspace, name))
    pictures = Pictures(workspace)
    return GivenSource(
        f"px-{row.number}",
        predictor,
        namer.opened(),
        pictures.stream,
        spec.pseudo_labels.threshold_px,
        _about(spec, predictor),
        _task_addresses(workspace),
        pictures.close,
    )


@dataclass(frozen=True)
class _Namer:
    """Finds out what names on the command line mean.

    views  of the project;  rigs  of its recordings;  known  the frames of a recording that is in the database alone
    """

    spec: Spec
    asked: Asked
    views: tuple[str, ...]
    rigs: Mapping[str, Rig]
    known: Callable[[str], Sequence[Any]] = lambda name: ()

    def opened(self) -> tuple[Opened, ...]:
        """Every recording, its files found and paired."""
        listed = {entry.sequence: entry for entry in self.spec.recordings}
        found, files = list[Opened](), list[Path]()
        for name in self.asked.what:
            of_project = name in listed or bool(self.known(name))
            if of_project and Path(name).exists():
                raise BadInputError(f"{name}: is a recording of the project and a file here; write ./{name} for the file")
            if name in listed:
                found.append(self._open(listed[name]))
            elif of_project:
                found.append(open_frames(name, self.known(name), self.views, self.rigs.get(name)))
            else:
                files.append(Path(name))
        found += [self._open(entry) for entry in self._of_files(files)]
        if not found:
            names = ", ".join(listed) or "none in parallax.yaml"
            raise BadInputError(f"predict: expected recordings of the project ({names}), videos or folders of pictures")
        return tuple(found)

    def _open(self, entry: RecordingSettings) -> Opened:
        return open_files(entry, self._rig(entry), order=self._cameras(), limits=limits_of(self.spec.cache))

    def _rig(self, entry: RecordingSettings) -> Rig | None:
        if self.asked.calibration is not None:
            return None  # the entry has it
        if entry.sequence in self.rigs:
            return self.rigs[entry.sequence]
        rigs = {json.dumps(rig.to_json()): rig for rig in self.rigs.values()}
        return next(iter(rigs.values())) if len(rigs) == 1 else None

    def _cameras(self) -> tuple[str, ...]:
        """Of the project; without one those of the calibration."""
        if self.views or self.asked.calibration is None:
            return self.views
        return read_calibration(self.asked.calibration, unit=self.asked.unit).rig.names

    def _of_files(self, files: Sequence[Path]) -> list[RecordingSettings]:
        cameras = self._cameras()
        if self.asked.camera:
            if files:
                raise BadInputError(f"{files[0]}: with --camera every file needs its camera: --camera NAME={files[0]}")
            of_camera = named_cameras(self.asked.camera, cameras)
            name = recording_name("_".join(Path(file).stem for file in of_camera.values()))
            groups = {name if len(of_camera) == 1 else _common_name(of_camera): of_camera}
        else:
            groups = recordings_of(files, cameras, shared=shared_picture(self.spec)) if files else {}
        settings = settings_of_views(self.spec) if groups else {}
        return [self._entry(name, of_camera, settings) for name, of_camera in groups.items()]

    def _entry(self, name: str, files: Mapping[str, str], settings: Mapping[str, ViewSource]) -> RecordingSettings:
        plain = ViewSource(source="video")
        views = {view: settings.get(view, plain).model_copy(update={"source": file}) for view, file in files.items()}
        pairings = {entry.pairing for entry in self.spec.recordings}
        calibration = self._calibration() if len(views) > 1 else None
        return RecordingSettings(
            sequence=name,
            views=views,
            pairing=self.asked.pairing or (next(iter(pairings)) if len(pairings) == 1 else None),
            calibration=calibration,
            unit=self.asked.unit,
        )

    def _calibration(self) -> str | None:
        """That of the command line; of a spec without a database the one that all recordings share."""
        if self.asked.calibration is not None:
            return str(self.asked.calibration.resolve())
        files = {entry.calibration for entry in self.spec.recordings if entry.calibration is not None}
        if len(files) > 1 and len({json.dumps(rig.to_json()) for rig in self.rigs.values()}) != 1:
            raise RecordingError(
                "the project's recordings have different calibrations, and which one is that of this video is not known: "
                "--calibration FILE"
            )
        return str(next(iter(files))) if files and not self.rigs else None


def _common_name(of_camera: Mapping[str, str]) -> str:
    """What the names of the files have in common, else their folder's."""
    stems = [Path(file).stem for file in of_camera.values()]
    common = re.split(r"[\s_.,-]*$", _prefix(stems))[0]
    return recording_name(common or Path(next(iter(of_camera.values()))).resolve().parent.name)


def _prefix(names: Sequence[str]) -> str:
    low, high = min(names), max(names)
    return low[: next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))]


def _views(spec: Spec) -> tuple[str, ...]:
    """Of the recordings, in the order in which they appear."""
    return tuple(dict.fromkeys(view for entry in spec.recordings for view in entry.views))


def _predictor(spec: Spec, folder: Path, asked: Asked) -> Predictor:
    from ml_backend.project.training_config import own_networks, threads_of

    return Predictor.load(
        folder,
        asked.device or spec.train.device,
        n_threads=threads_of(spec.train),
        plugins=(*own_networks(spec.train), *asked.networks),
        flip_test=spec.train.flip_test,
        limb_refinement=spec.train.limb_refinement,
    )


def _about(spec: Spec, predictor: Predictor) -> dict[str, Any]:
    manifest = predictor.manifest
    settings = {
        "flip_test": predictor.flip_test,
        "limb_refinement": predictor.limb_refinement,
        "threshold_px": spec.pseudo_labels.threshold_px,
    }
    return {"format": 1, "model": dict(manifest.files), "settings": settings}


def _version_number(version: str | None) -> int | None:
    if version is None:
        return None
    match = re.fullmatch(r"(?:px-)?(\d+)", version.strip())
    if match is None:
        raise BadInputError(f"--version {version}: expected a version such as px-3")
    return int(match.group(1))


def _frames(workspace: Any, sequence: str) -> Sequence[Any]:
    """Frames of a recording that came as tasks, in order."""
    from label_config.values import Frame
    from ml_backend.store import frames

    if sequence not in frames.list_sequences(workspace.store):
        return ()
    rows = [row for row in frames.list_frames(workspace.store) if row.key.sequence == sequence]
    return [Frame(row.key, row.images) for row in sorted(rows, key=lambda row: row.key.index)]


def _task_addresses(workspace: Any) -> Callable[[str, int], str | None]:
    """Where Label Studio opens the task of a frame."""
    from ml_backend.store import frames, tasks

    keys = {row.id: row.key for row in frames.list_frames(workspace.store)}
    first: dict[tuple[str, int], int] = {}
    for task in tasks.list_tasks(workspace.store):
        if task.frame_id in keys:
            key = keys[task.frame_id]
            first.setdefault((key.sequence, key.index), task.ls_task_id)
    settings = workspace.spec.label_studio
    home = f"{(settings.public_url or settings.url).rstrip('/')}/projects/{settings.project}/data?task="
    return lambda sequence, index: f"{home}{first[sequence, index]}" if (sequence, index) in first else None

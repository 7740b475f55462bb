"""Labels of a project through every format into a new project of a live Label Studio, states and people included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.values import BadInputError, FrameKey, ImageRef, PointState
from label_config.values.skeleton import Skeleton
from ml_backend.formats.coco import write_coco
from ml_backend.formats.exporting import TRACKS, Export
from ml_backend.formats.format_registry import joined, read_labels
from ml_backend.formats.label_records import LabelledImage, LabelSet
from ml_backend.formats.names import LabelFormat
from ml_backend.labels.snapshot import Snapshot
from ml_backend.project.label_snapshot import collect
from ml_backend.store import frames, projects, submissions, versions
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.database import open_store
from ml_backend.store.workspace import Workspace
from plugins.cli.commands.export import _writer, labels_of_last_snapshot
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.label_import import carry_out_import, plan_import
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.set_up import carry_out

from .conftest import make_spec

pytestmark = pytest.mark.ls

U, V, H, A = PointState.UNLABELLED, PointState.VISIBLE, PointState.OCCLUDED, PointState.ABSENT
SKELETON = Skeleton("mouse", ("nose", "ear", "tail"), limbs=((0, 1), (1, 2)))
VIEWS, SIZE = ("left", "right"), (80, 60)


@pytest.fixture
def client(platform: Platform) -> Iterator[Client]:
    opened = Client(platform.url, platform.token)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for view in VIEWS:
        (tmp_path / "run" / view).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(tmp_path / "run" / view / f"img{i:03d}.png"), np.full((60, 80, 3), 40 * i, np.uint8))
    return tmp_path


def given(folder: Path, who: str) -> LabelSet:
    """Frames 0 and 2 in both cameras, all four states."""
    states = {(0, "left"): [V, H, A], (0, "right"): [V, V, U], (2, "left"): [H, V, V], (2, "right"): [U, A, V]}
    labels = []
    for n, ((i, view), of) in enumerate(states.items()):
        state = np.array(of, dtype=np.int64)
        xy = np.array([[10.123 + 9 * k + n, 20.457 + 7 * k + i] for k in range(3)])
        xy[~np.isin(state, (V, H))] = np.nan
        image = ImageRef(str(folder / "run" / view / f"img{i:03d}.png"), size_px=SIZE)
        labels.append(LabelledImage(image, xy, state, view, FrameKey("run", i), people=(who,)))
    return LabelSet(SKELETON, tuple(labels))


def by_place(workspace: Workspace) -> dict[tuple[int, str], tuple[list[list[float]], list[int]]]:
    """(frame number, camera) → coordinates, states, as a training would see them."""
    snapshot = collect(workspace)
    human = snapshot.human | (snapshot.state == A)
    return {
        (key.index, view): (snapshot.xy_px[i, v].tolist(), np.where(human[i, v], snapshot.state[i, v], U).tolist())
        for i, key in enumerate(snapshot.keys)
        for v, view in enumerate(VIEWS)
    }


def new_project(platform: Platform, client: Client, folder: Path) -> Workspace:
    """Empty, with the same cameras and keypoints."""
    folder.mkdir()
    xml = build_label_config(SKELETON, VIEWS)
    project = client.create_project("import", xml)
    label_studio = {"url": platform.url, "token": platform.token, "project": project["id"]}
    spec = make_spec(platform, folder, label_studio=label_studio)
    store = open_store(spec.store)
    row = projects.register(store, platform.url, project["id"], project["created_at"])
    projects.change(store.of_project(row.id), binding=bind(xml, SKELETON, views=VIEWS).to_json())
    return Workspace(spec, store.of_project(row.id), ArrayStore(folder / "arrays"))


def snapshot_of(workspace: Workspace) -> Snapshot:
    taken = collect(workspace)
    path, _ = workspace.arrays.save("snapshots", taken.to_arrays())
    versions.save_snapshot(workspace.store, sha256=taken.sha256, path=path, n_frames=len(taken.keys))
    return taken


#: Format → (file of the export, camera that the import must be told, states that are lost and what they become).
WAYS: dict[str, tuple[list[tuple[str, str | None]], dict[PointState, PointState]]] = {
    "coco": ([("annotations.json", None)], {}),
    "label-studio": ([("tasks.json", None)], {}),
    "lightning-pose": ([("left.csv", "left"), ("right.csv", "right")], {}),
    "sleap": ([("labels.slp", None)], {A: U}),
    "yolo": ([("data.yaml", None)], {A: U}),
    "dlc": ([("", None)], {A: U, H: V}),
    "movement": ([("run_left.nc", None), ("run_right.nc", None)], {}),
}


def test_labels_come_back_from_every_format(platform: Platform, client: Client, folder: Path) -> None:
    me = str(client.whoami()["email"])
    write_coco(given(folder, me), folder / "labels.json")
    recording = {
        "sequence": "run",
        "views": {view: {"source": str(folder / "run" / view)} for view in VIEWS},
        "labels": str(folder / "labels.json"),
    }
    label_studio = {"url": platform.url, "token": platform.token, "title": "there"}
    skeleton = {"name": "mouse", "keypoints": list(SKELETON.keypoints)}
    spec = make_spec(platform, folder, label_studio=label_studio, skeleton=skeleton, recordings=[recording])
    plan = understand(spec, client)
    assert "2 labelled frames of 'run' from labels.json" in str(plan)
    first = carry_out(plan, "hush")
    pull(first, client)
    snapshot_of(first)
    expected = {(label.key.index, label.view): label for label in given(folder, me).labels if label.key and label.view}
    for place, (xy, state) in by_place(first).items():
        np.testing.assert_allclose(xy, expected[place].xy_px, atol=0.01)
        assert state == expected[place].state.tolist()

    for name, (files, lost) in WAYS.items():
        whole = labels_of_last_snapshot(first, every_view=name == "lightning-pose")
        assert {label.people for label in whole.labels} == {(me,)}
        pictures = None if LabelFormat(name) in TRACKS else _writer(first)
        notes = Export(whole, LabelFormat(name), folder / name, pictures).write()
        assert all(any(state.name.lower() in note for note in notes) for state in lost)
        second = new_project(platform, client, folder / f"into {name}")
        # Files of tracks name no pictures, so these have to be there; all others bring them.
        there = frames.list_frames(first.store) if LabelFormat(name) in TRACKS else []
        frames.add_frames(second.store, [(row.key, row.images, row.split) for row in there])
        paths = [folder / name / file for file, _ in files]
        found = joined([read_labels(path) for path in paths], paths[0], [view for _, view in files if view])
        carry_out_import(plan_import(second, paths[0], found), second, client)
        pull(second, client)
        back = by_place(second)
        assert back.keys() == expected.keys(), name
        for place, (xy, state) in back.items():
            wanted = [int(lost.get(PointState(s), PointState(s))) for s in expected[place].state]
            assert state == wanted, (name, place)
            np.testing.assert_allclose(xy, expected[place].xy_px, atol=0.01, err_msg=name)
        second.store.close()
    first.store.close()


def test_people_of_a_file_are_people_of_the_project(platform: Platform, client: Client, folder: Path, make_lab: Any) -> None:
    lab = make_lab(1)
    lab.person()
    users = client.users()
    email = next(name for name, number in users.items() if number == max(users.values()))
    workspace = new_project(platform, client, folder / "project")
    write_coco(given(folder, email), folder / "labels.json")
    found = read_labels(folder / "labels.json")
    plan = plan_import(workspace, folder / "labels.json", found)
    assert carry_out_import(plan, workspace, client) == 2
    pull(workspace, client)
    rows = submissions.list_annotations(workspace.store)
    assert {row.person for row in rows} == {users[email]}
    # Once more: frames that have annotations are left alone, and nothing is new any more.
    again = plan_import(workspace, folder / "labels.json", found)
    assert again.new == ()
    assert carry_out_import(again, workspace, client) == 0
    # Predictions beside them, of a name of their own.
    assert carry_out_import(again, workspace, client, version="theirs-1") == 2
    assert client.model_versions(workspace.project.ls_project_id)["theirs-1"] == 2
    with pytest.raises(BadInputError, match="has predictions 'theirs-1' already"):
        carry_out_import(again, workspace, client, version="theirs-1")
    # Labels of pictures that are nowhere.
    elsewhere = replace(found, labels=tuple(replace(i, image=ImageRef("else/9.png")) for i in found.labels[:1]))
    with pytest.raises(BadInputError, match="none of its 1 pictures is a frame of the project, and none lies below"):
        plan_import(workspace, folder / "labels.json", elsewhere)
    workspace.store.close()

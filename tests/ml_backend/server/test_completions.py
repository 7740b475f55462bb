"""A click of the smart tool, in the shape that Label Studio 1.23 sends it, and what it is answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from label_config.labelling import regions
from label_config.labelling.binding import bind
from label_config.labelling.build_xml import build_label_config
from label_config.labelling.region_frame import to_percent
from label_config.labelling.region_ids import RegionId
from label_config.settings.skeleton_files import load_skeleton
from label_config.values import FloatArray, ImageRef, PointState, Pose2D, Provenance
from ml_backend.geometry.cameras import Camera, Rig
from ml_backend.server.recent_clicks import EXPIRY_S, MAX_TASKS, RecentClicks
from ml_backend.store import frames, generations, projects
from ml_backend.store.frames import SequenceRow
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace
from tests.small_project import KEYPOINTS, SKELETON

VIEWS = ("north", "east", "south", "west")
SIZE = (640, 480)
PLACES = np.array([[0.0, 0, 0], [120, 40, 60], [-80, 60, 120]])
NOSE, TAIL, PAW = range(3)
SHOWN, BLIND = 0, 2


def _rig() -> Rig:
    K = np.array([[600.0, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
    cameras = []
    for v, name in enumerate(VIEWS):
        forward = -np.array([np.cos(1.3 * v), np.sin(1.3 * v), 0.0])
        right = np.cross(forward, [0, 0, 1.0])
        rotation = np.stack((right, np.cross(forward, right), forward))
        cameras.append(Camera(name, K, rotation, 2000 * rotation @ forward, np.zeros(0), "pinhole", SIZE))
    return Rig(tuple(cameras))


RIG = _rig()
TRUE = RIG.project(PLACES)
#: What the model shows: near the truth, apart from the tail in the north.
MODEL = TRUE + np.random.default_rng(0).normal(0, 2, TRUE.shape)
MODEL[0, TAIL] += [60, -40]


@pytest.fixture
def calibrated(workspace: Workspace) -> Workspace:
    """The small project with four calibrated cameras; frame 0 is served with the model's points, frame 2 without."""
    skeleton = load_skeleton(SKELETON)
    projects.change(workspace.store, binding=bind(build_label_config(skeleton, VIEWS), skeleton).to_json())
    frames.save_sequence(workspace.store, SequenceRow("s", RIG.to_json(), True))
    rows = frames.list_frames(workspace.store)
    for row in rows:
        images = {view: ImageRef(f"/nowhere/{view}.mp4", row.key.index, size_px=SIZE) for view in VIEWS}
        frames.replace_images(workspace.store, row.id, images)
    picks = [
        PickRow(rank, row.id, rank / 9, row.key.index == BLIND, False, "", None, {"0": _pose(MODEL).to_json()}, None)
        for rank, row in enumerate(rows[:4])
    ]
    generations.switch(workspace.store, generations.add(workspace.store, None, picks).number)
    return workspace


def _pose(xy_px: FloatArray) -> Pose2D:
    shape = xy_px.shape[:2]
    visible = np.full(shape, PointState.VISIBLE, dtype=np.int64)
    return Pose2D(xy_px, np.full(shape, 0.8), visible, np.full(shape, Provenance.PREDICTED, dtype=np.int64))


def region(view: int, keypoint: int, xy_px: FloatArray, name: str, **more: Any) -> dict[str, Any]:
    x, y = (to_percent(float(px), length) for px, length in zip(xy_px, SIZE, strict=True))
    return {
        "id": name, "type": "keypointlabels", "from_name": f"kp_{VIEWS[view]}", "to_name": VIEWS[view], "original_width": SIZE[0],
        "original_height": SIZE[1], "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.625, "keypointlabels": [KEYPOINTS[keypoint]]}, **more,
    }  # fmt: skip


def drafted(
    *placed: dict[str, Any], at: str = "2026-01-01T00:00:05Z", without: tuple[tuple[int, int], ...] = ()
) -> dict[str, Any]:
    """A draft: the shown points untouched, apart from those ``without``, and what the person placed."""
    shown = [
        region(v, k, MODEL[v, k], f"px:2:{v}:0:{k}", origin="prediction")
        for v in range(len(VIEWS))
        for k in range(len(KEYPOINTS))
        if (v, k) not in without and not any(r["id"] == f"px:2:{v}:0:{k}" for r in placed)
    ]
    return {"id": 5, "result": [*shown, *placed], "created_at": "2026-01-01T00:00:00Z", "updated_at": at}


def click(
    client: FlaskClient,
    view: int,
    keypoint: int,
    xy_px: FloatArray | None = None,
    *,
    task: int = 100 + SHOWN,
    drafts: Any = (),
    **more: Any,
) -> list[dict[str, Any]]:
    """The regions that a click is answered with; ``around`` are further regions of the request."""
    place = TRUE[view, keypoint] if xy_px is None else xy_px
    around = more.pop("around", [])
    result = [*around, region(view, keypoint, place, "made-by-the-editor", is_positive=True) | more]
    sent = {"id": task, "data": {}, "drafts": list(drafts), "predictions": [], "annotations": []}
    body = {"tasks": [sent], "project": "7.1767225600", "params": {"context": {"result": result}}}
    answer = client.post("/predict", json=body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    (only,) = answer.get_json()["results"]
    assert only["model_version"] == "px-0.2"
    return list(only["result"])


def by_place(workspace: Workspace, result: list[dict[str, Any]]) -> dict[tuple[int, int], FloatArray]:
    """(view, keypoint) → pixels, of an answer."""
    decoded = regions.decode(result, workspace.binding)
    assert decoded.problems == ()
    return {(v, k): pose.xy_px[v, k] for pose in decoded.poses.values() for v, k in np.argwhere(pose.placed)}


@pytest.fixture
def asked(calibrated: Workspace, client: FlaskClient) -> FlaskClient:
    return client


def test_one_click_is_echoed_and_completed_in_every_other_camera(calibrated: Workspace, client: FlaskClient) -> None:
    result = click(client, 0, TAIL)
    found = by_place(calibrated, result)
    assert set(found) == {(v, TAIL) for v in range(len(VIEWS))}
    np.testing.assert_allclose(found[0, TAIL], TRUE[0, TAIL], atol=1e-2)
    for view in (1, 2, 3):
        assert np.linalg.norm(found[view, TAIL] - TRUE[view, TAIL]) < 4.0


def test_the_click_is_the_persons_and_the_suggestions_are_accepted_predictions(
    calibrated: Workspace, client: FlaskClient
) -> None:
    first, *others = click(client, 0, TAIL)
    assert (first["origin"], "score" in first, first["value"]["width"]) == ("manual", False, 0.625)
    assert {other["origin"] for other in others} == {"prediction"}
    assert all(0 < other["score"] <= 1 and "from the model" in other["meta"]["text"][0] for other in others)
    pose = regions.decode([first, *others], calibrated.binding).poses[0]
    assert pose.provenance[0, TAIL] == Provenance.PLACED
    assert pose.provenance[1, TAIL] == Provenance.ACCEPTED


def test_suggestions_take_the_place_of_the_points_on_the_screen(asked: FlaskClient) -> None:
    """Their ids are those of what they replace: accepting leaves no second point behind, in the clicked camera neither."""
    old = region(0, TAIL, MODEL[0, TAIL], "px:2:0:0:1")
    assert [r["id"] for r in click(asked, 0, TAIL, around=[old])] == [f"px:2:{v}:0:1" for v in range(4)]
    theirs = region(0, TAIL, MODEL[0, TAIL], "a-person-drew-it")
    assert click(asked, 0, TAIL, around=[theirs])[0]["id"] == "a-person-drew-it"


def test_a_task_opened_with_an_earlier_order_keeps_its_ids(asked: FlaskClient) -> None:
    old = region(0, TAIL, MODEL[0, TAIL], "px:1:0:0:1")
    assert [r["id"] for r in click(asked, 0, TAIL, around=[old])] == [f"px:1:{v}:0:1" for v in range(4)]


def test_two_clicks_in_a_row_are_triangulated_although_no_draft_was_saved(calibrated: Workspace, client: FlaskClient) -> None:
    click(client, 0, TAIL)
    result = click(client, 1, TAIL)
    found = by_place(calibrated, result)
    assert set(found) == {(1, TAIL), (2, TAIL), (3, TAIL)}  # what the person clicked before stays as it is
    for view in (2, 3):
        np.testing.assert_allclose(found[view, TAIL], TRUE[view, TAIL], atol=0.05)
    assert result[-1]["meta"]["text"] == ["from the clicks in north, east"]


def test_the_draft_says_what_was_placed_before(calibrated: Workspace, client: FlaskClient) -> None:
    placed = region(0, TAIL, TRUE[0, TAIL], "drawn", origin="manual")
    moved = region(3, TAIL, TRUE[3, TAIL], "px:2:3:0:1", origin="prediction-changed")
    found = by_place(calibrated, click(client, 1, TAIL, drafts=[drafted(placed, moved, without=((0, TAIL),))]))
    assert set(found) == {(1, TAIL), (2, TAIL)}
    np.testing.assert_allclose(found[2, TAIL], TRUE[2, TAIL], atol=0.05)


def test_the_newest_draft_counts(calibrated: Workspace, client: FlaskClient) -> None:
    wrong = drafted(region(0, TAIL, TRUE[0, TAIL] + 90, "drawn", origin="manual"), at="2026-01-01T00:00:01Z")
    right = drafted(region(0, TAIL, TRUE[0, TAIL], "drawn", origin="manual"), at="2026-01-01T00:00:09Z")
    found = by_place(calibrated, click(client, 1, TAIL, drafts=[right, wrong]))
    np.testing.assert_allclose(found[2, TAIL], TRUE[2, TAIL], atol=0.05)


def test_a_click_that_was_dragged_since_is_where_the_draft_has_it(calibrated: Workspace, client: FlaskClient) -> None:
    click(client, 0, TAIL, TRUE[0, TAIL] + 30)
    dragged = drafted(region(0, TAIL, TRUE[0, TAIL], "px:2:0:0:1", origin="manual"))
    found = by_place(calibrated, click(client, 1, TAIL, drafts=[dragged]))
    np.testing.assert_allclose(found[2, TAIL], TRUE[2, TAIL], atol=0.05)


def test_a_second_click_in_the_same_camera_replaces_the_first(calibrated: Workspace, client: FlaskClient) -> None:
    click(client, 0, TAIL, TRUE[0, TAIL] + 90)
    click(client, 0, TAIL)
    found = by_place(calibrated, click(client, 1, TAIL))
    np.testing.assert_allclose(found[2, TAIL], TRUE[2, TAIL], atol=0.05)


def test_one_click_completes_all_keypoints_that_have_two(calibrated: Workspace, client: FlaskClient) -> None:
    """Nose and paw were placed in two cameras; the click on the tail brings them to the others as well."""
    placed = [region(v, k, TRUE[v, k], f"px:2:{v}:0:{k}", origin="manual") for v, k in ((0, NOSE), (2, NOSE), (1, PAW), (3, PAW))]
    found = by_place(calibrated, click(client, 0, TAIL, drafts=[drafted(*placed)]))
    assert set(found) == {(0, TAIL), (1, TAIL), (2, TAIL), (3, TAIL), (1, NOSE), (3, NOSE), (0, PAW), (2, PAW)}
    for place in ((1, NOSE), (3, NOSE), (0, PAW), (2, PAW)):
        np.testing.assert_allclose(found[place], TRUE[place], atol=0.05)


def test_what_lies_there_already_is_not_suggested_again(calibrated: Workspace, client: FlaskClient) -> None:
    placed = [region(v, NOSE, TRUE[v, NOSE], f"px:2:{v}:0:0", origin="manual") for v in (0, 2)]
    accepted = [region(v, NOSE, TRUE[v, NOSE], f"px:2:{v}:0:0", origin="prediction") for v in (1, 3)]
    found = by_place(calibrated, click(client, 0, TAIL, drafts=[drafted(*placed, *accepted)]))
    assert {keypoint for _, keypoint in found} == {TAIL}


def test_what_a_person_took_away_does_not_come_back_unasked(calibrated: Workspace, client: FlaskClient) -> None:
    placed = [region(v, NOSE, TRUE[v, NOSE], f"px:2:{v}:0:0", origin="manual") for v in (0, 2)]
    draft = drafted(*placed, without=((1, NOSE), (1, TAIL)))
    found = by_place(calibrated, click(client, 0, TAIL, drafts=[draft]))
    assert (3, NOSE) in found
    assert (1, NOSE) not in found
    assert (1, TAIL) in found  # the tail was asked for


def test_absent_stays_absent_and_occluded_stays_occluded(calibrated: Workspace, client: FlaskClient) -> None:
    said = []
    for view, word in ((1, "absent"), (3, "occluded")):
        point = region(view, TAIL, MODEL[view, TAIL], f"px:2:{view}:0:1", origin="prediction")
        choice = point | {"type": "choices", "from_name": f"vis_{VIEWS[view]}", "value": {"choices": [word]}, "origin": "manual"}
        said += [point, choice]
    result = click(client, 0, TAIL, drafts=[drafted(*said)])
    pose = regions.decode(result, calibrated.binding).poses[0]
    assert not pose.placed[1, TAIL]
    assert pose.state[3, TAIL] == PointState.OCCLUDED
    assert pose.state[2, TAIL] == PointState.VISIBLE


def test_a_task_that_measures_the_model_is_not_led_by_it(calibrated: Workspace, client: FlaskClient) -> None:
    task = 100 + BLIND
    assert set(by_place(calibrated, click(client, 0, TAIL, task=task))) == {(0, TAIL)}
    found = by_place(calibrated, click(client, 1, TAIL, task=task))
    np.testing.assert_allclose(found[2, TAIL], TRUE[2, TAIL], atol=0.05)


def test_a_task_outside_the_order_is_answered_from_clicks_alone(calibrated: Workspace, client: FlaskClient) -> None:
    assert set(by_place(calibrated, click(client, 0, TAIL, task=105))) == {(0, TAIL)}
    assert (2, TAIL) in by_place(calibrated, click(client, 1, TAIL, task=105))


def test_before_the_first_order_too(calibrated: Workspace, client: FlaskClient) -> None:
    projects.change(calibrated.store, generation=None)
    sent = {"id": 100, "data": {}, "drafts": []}
    result = [region(0, TAIL, TRUE[0, TAIL], "x", is_positive=True)]
    answer = client.post("/predict", json={"tasks": [sent], "params": {"context": {"result": result}}}).get_json()
    assert [len(each["result"]) for each in answer["results"]] == [1]


def test_without_a_calibration_the_click_is_answered_by_itself(calibrated: Workspace, client: FlaskClient) -> None:
    frames.save_sequence(calibrated.store, SequenceRow("s", None, True))
    assert set(by_place(calibrated, click(client, 0, TAIL))) == {(0, TAIL)}
    assert set(by_place(calibrated, click(client, 1, TAIL))) == {(1, TAIL)}


def test_a_camera_without_a_picture_gets_no_suggestion(calibrated: Workspace, client: FlaskClient) -> None:
    row = next(row for row in frames.list_frames(calibrated.store) if row.key.index == SHOWN)
    frames.replace_images(calibrated.store, row.id, {view: ref for view, ref in row.images.items() if view != "south"})
    assert set(by_place(calibrated, click(client, 0, TAIL))) == {(0, TAIL), (1, TAIL), (3, TAIL)}


@pytest.mark.parametrize(
    "context",
    [
        {"result": []}, {"result": None}, {"result": "x"}, {"result": [None, 3]}, {"other": 1},
        {"result": [region(0, TAIL, TRUE[0, TAIL], "x", is_positive=False)]},
        {"result": [region(0, TAIL, TRUE[0, TAIL], "x", is_positive=True) | {"from_name": "nobody"}]},
        {"result": [region(0, TAIL, TRUE[0, TAIL], "x", is_positive=True) | {"value": {"x": "a", "y": 1e400}}]},
    ],
)  # fmt: skip
def test_what_is_no_click_is_answered_with_nothing(calibrated: Workspace, client: FlaskClient, context: Any) -> None:
    sent = {"id": 100, "data": {}, "drafts": [None, {"result": 3}, {"result": [None]}]}
    answer = client.post("/predict", json={"tasks": [sent], "params": {"context": context}})
    assert answer.status_code == 200
    assert answer.get_json()["results"] == [{"result": [], "score": 0.0, "model_version": "px-0.2"}]


def test_hostile_drafts_do_not_break_a_click(asked: FlaskClient) -> None:
    drafts = [None, 7, {"result": "x", "updated_at": 3}, {"result": [{"id": ["x"], "value": None}, 5], "updated_at": {"a": 1}}]
    assert len(click(asked, 0, TAIL, drafts=drafts)) >= 1


def test_an_unknown_task_is_refused(asked: FlaskClient) -> None:
    context = {"result": [region(0, TAIL, TRUE[0, TAIL], "x", is_positive=True)]}
    assert asked.post("/predict", json={"tasks": [{"id": 999}], "params": {"context": context}}).status_code == 503


def test_clicks_are_forgotten_in_time_and_their_number_is_bounded() -> None:
    now = [0.0]
    clicks = RecentClicks(clock=lambda: now[0])
    clicks.note(1, (0, 0, 0), (1.0, 2.0), None)
    now[0] = EXPIRY_S / 2
    clicks.note(1, (0, 1, 0), (3.0, 4.0), "a")
    assert set(clicks.of(1)) == {(0, 0, 0), (0, 1, 0)}
    now[0] = EXPIRY_S + 1
    assert set(clicks.of(1)) == {(0, 1, 0)}
    assert clicks.of(2) == {}
    for task in range(10, 11 + MAX_TASKS):
        clicks.note(task, (0, 0, 0), (0.0, 0.0), None)
    assert clicks.of(1) == clicks.of(10) == {}
    assert clicks.of(10 + MAX_TASKS) != {}


def test_ids_that_are_made_here_are_ours(asked: FlaskClient) -> None:
    names = [RegionId.parse(r["id"]) for r in click(asked, 3, PAW)]
    assert names == [RegionId(2, 3, 0, PAW), *(RegionId(2, v, 0, PAW) for v in range(3))]

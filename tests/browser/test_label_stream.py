"""A person opens the label stream in a real browser, corrects what is shown, and submits."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from label_config.labelling import regions
from label_config.labelling.region_frame import to_percent
from label_config.labelling.region_ids import RegionId
from label_config.values import FloatArray, PointState, Provenance
from tests.browser.chrome import Person
from tests.browser.scene import MISSING, ORDER, SIZE_PX, VIEWS, Scene

pytestmark = [pytest.mark.browser, pytest.mark.ls]

FIRST, SECOND = list(ORDER)[:2]
KEYPOINTS = 15
HEAD, ELBOW = 2, 4
#: Places that a person means, as share of width and height of a picture.
PLACED, MOVED = (0.30, 0.80), (0.70, 0.20)


def share(xy_px: FloatArray) -> tuple[float, float]:
    """Where a point is shown in its picture."""
    return to_percent(float(xy_px[0]), SIZE_PX[0]) / 100, to_percent(float(xy_px[1]), SIZE_PX[1]) / 100


def test_tabs_show_the_order_with_reasons_and_what_labels_itself(scene: Scene, person: Person, tabs: dict[str, int]) -> None:
    person.open_tab(scene.project, tabs["Parallax: next"])
    person.see(ORDER[FIRST])
    places = [person.text().index(reason) for reason in ORDER.values()]
    assert places == sorted(places)
    person.open_tab(scene.project, tabs["Parallax: pseudo-labelled"])
    *others, itself = ORDER.values()
    person.see(itself)
    assert not any(reason in person.text() for reason in others)


def test_a_person_corrects_what_is_shown(scene: Scene, person: Person, tabs: dict[str, int]) -> None:
    person.open_tab(scene.project, tabs["Parallax: next"])
    person.open_label_stream()
    person.see(ORDER[FIRST])
    assert len(person.pictures()) == VIEWS
    assert person.n_points() == VIEWS * KEYPOINTS - 1
    assert person.zoom() == pytest.approx([1.0] * VIEWS, abs=0.005)  # else the edges of the pictures are hidden
    assert person.out_of_sight() == [0.0] * VIEWS

    (link,) = [
        element
        for element in person.all(".lsf-main-content a, a[target=_blank]")
        if "/page/frame/" in str(element.get_attribute("href"))
    ]
    assert link.text == "all cameras, before and after"
    check_hotkeys(person)
    place_the_missing_point(person)
    person.drag(1, share(scene.shown[FIRST][1, HEAD]), MOVED)
    mark_occluded(person, scene)
    person.click("button", "Submit")
    person.see(ORDER[SECOND])

    (annotation,) = annotations_of(scene, FIRST)
    assert annotation["parent_prediction"] is not None
    check_regions(annotation["result"])
    check_pose(scene, annotation["result"])


def check_hotkeys(person: Person) -> None:
    """A key selects its keypoint in every camera and nothing else, whichever camera it is written at."""
    first, *others = person.hotkeys()
    assert others == [first] * (VIEWS - 1)
    assert len(set(first)) == KEYPOINTS
    for key in (first[0], first[-1]):
        person.press(key)
        selected = person.until(person.selected_labels, f"the labels of {key}")
        assert selected == [(camera, person.names(camera)[first.index(key)]) for camera in range(VIEWS)]
        person.press(Keys.ESCAPE)
        person.until(lambda: not person.selected_labels(), "no label to be selected")


def place_the_missing_point(person: Person) -> None:
    before = person.n_points()
    view, keypoint = MISSING
    person.press(person.hotkeys()[view][keypoint])
    person.click_at(view, PLACED)
    person.until(lambda: person.n_points() == before + 1, "the new point")


def mark_occluded(person: Person, scene: Scene) -> None:
    person.click_at(2, share(scene.shown[FIRST][2, ELBOW]))
    person.until(lambda: person.choices(), "the choice to appear beside the camera's name")
    choice = next(element for element in person.choices() if element.text.startswith("occluded"))
    choice.click()


def annotations_of(scene: Scene, frame: int) -> list[dict[str, Any]]:
    key = str(scene.studio.frames[frame])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = [task["annotations"] for task in scene.client.tasks(scene.project) if task["data"]["parallax_key"] == key]
        if found and found[0]:
            return list(found[0])
    return []


def check_regions(result: list[dict[str, Any]]) -> None:
    """Ids and origins tell what was shown and what the person did."""
    points = [region for region in result if region["type"] == "keypointlabels"]
    assert len(points) == VIEWS * KEYPOINTS
    ours = {RegionId.parse(region["id"]): region["origin"] for region in points if RegionId.parse(region["id"])}
    moved = RegionId(1, 1, 0, HEAD)
    assert ours == {
        RegionId(1, view, 0, keypoint): "prediction-changed" if (view, keypoint) == (moved.view, moved.keypoint) else "prediction"
        for view in range(VIEWS)
        for keypoint in range(KEYPOINTS)
        if (view, keypoint) != MISSING
    }
    (new,) = [region for region in points if RegionId.parse(region["id"]) is None]
    assert new["origin"] == "manual"


def check_pose(scene: Scene, result: list[dict[str, Any]]) -> None:
    decoded = regions.decode(result, scene.workspace.binding)
    assert decoded.problems == ()
    pose = decoded.poses[0]
    expected = scene.shown[FIRST].copy()
    size = np.array(SIZE_PX)
    expected[MISSING] = np.array(PLACED) * size - 0.5
    expected[1, HEAD] = np.array(MOVED) * size - 0.5
    # One pixel of the screen is less than half a pixel of the picture.
    np.testing.assert_allclose(pose.xy_px, expected, atol=1.0)
    touched = np.full((VIEWS, KEYPOINTS), Provenance.ACCEPTED)
    touched[MISSING] = touched[1, HEAD] = Provenance.PLACED
    np.testing.assert_array_equal(pose.provenance, touched)
    state = np.full((VIEWS, KEYPOINTS), PointState.VISIBLE)
    state[2, ELBOW] = PointState.OCCLUDED
    np.testing.assert_array_equal(pose.state, state)

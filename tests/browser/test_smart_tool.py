"""A person clicks a keypoint with the smart tool, accepts what is suggested in the other cameras, and submits."""

from __future__ import annotations

import numpy as np
import pytest

from label_config.labelling import regions
from label_config.labelling.region_ids import RegionId
from label_config.values import BoolArray, FloatArray, Provenance
from tests.browser.chrome import Person
from tests.browser.scene import ORDER, Scene
from tests.browser.test_label_stream import KEYPOINTS, annotations_of, share

pytestmark = [pytest.mark.browser, pytest.mark.ls]

ELBOW = 4


def elsewhere(scene: Scene, frame: int) -> FloatArray:
    """(V, 2) where an elbow may be, away from all points on the screen: a click on a point selects it."""
    places = np.moveaxis(scene.studio.truth_xy, 2, 1).reshape(-1, *scene.studio.truth_xy.shape[1::2])
    apart = [np.nanmin(np.linalg.norm(scene.shown[frame] - place[:, None], axis=-1)) for place in places]
    return np.asarray(places[int(np.argmax(apart))])


def test_two_clicks_bring_a_keypoint_to_every_camera(scene: Scene, person: Person) -> None:
    tabs = {view["data"]["title"]: view["id"] for view in scene.client.views(scene.project)}
    person.open_tab(scene.project, tabs["Parallax: next"])
    person.open_label_stream()
    text = person.text()
    frame = next(number for number, reason in ORDER.items() if reason in text)
    meant = elsewhere(scene, frame)
    before = person.n_points()
    person.annotate_automatically()

    for camera in (0, 1):
        person.press(person.hotkeys()[camera][ELBOW])
        person.until(person.selected_labels, "the label to be selected")
        person.click_at(camera, share(meant[camera]))
        assert person.accept_suggestions() >= 2  # the click itself, and another camera
    assert person.n_points() == before  # what was there has moved; nothing lies twice
    person.click("button", "Submit")
    person.until(lambda: ORDER[frame] not in person.text(), "the next task")

    (annotation,) = annotations_of(scene, frame)
    decoded = regions.decode(annotation["result"], scene.workspace.binding)
    assert decoded.problems == ()
    pose = decoded.poses[0]
    assert pose.provenance[:, ELBOW].tolist() == [Provenance.PLACED, Provenance.PLACED, Provenance.ACCEPTED]
    # One pixel of the screen is half a pixel of the picture; two clicks' rounding reaches the third camera.
    np.testing.assert_allclose(pose.xy_px[:2, ELBOW], meant[:2], atol=1.0)
    np.testing.assert_allclose(pose.xy_px[2, ELBOW], meant[2], atol=3.0)
    others = np.delete(np.arange(KEYPOINTS), ELBOW)
    shown: BoolArray = np.asarray(np.isfinite(scene.shown[frame]).all(axis=-1))
    np.testing.assert_allclose(
        pose.xy_px[:, others][shown[:, others]], scene.shown[frame][:, others][shown[:, others]], atol=0.01
    )
    ids = [RegionId.parse(region["id"]) for region in annotation["result"]]
    assert None not in ids
    assert len(set(ids)) == len(ids) == before

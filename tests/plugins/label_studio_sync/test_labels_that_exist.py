"""Labels that a recording brings along become annotations, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from label_config.values import BadInputError, Provenance
from ml_backend.project.label_snapshot import collect
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import LabelStudioError
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.set_up import carry_out

from .conftest import FaultyClient, fail_on, make_spec

pytestmark = pytest.mark.ls

#: Two mirror views of one picture: the side view is the right half, so that its x begins at 40.
LABELS = """scorer,me,me,me,me,me,me,me,me
bodyparts,nose_front,nose_front,tail_front,tail_front,nose_side,nose_side,obstacle,obstacle
coords,x,y,x,y,x,y,x,y
labeled-data/run/img002.png,10,20,,,55,30,1,1
labeled-data/run/img000.png,11,21,12,22,50,25,1,1
labeled-data/run/img999.png,1,1,1,1,1,1,1,1
"""


@pytest.fixture
def recording(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "run"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"img{i:03d}.png"), np.full((60, 80, 3), 40 * i, np.uint8))
    (tmp_path / "CollectedData_me.csv").write_text(LABELS)
    views = {name: {"source": str(folder), "crop": [x, 0, 40, 60]} for name, x in (("front", 0), ("side", 40))}
    return {"sequence": "run", "views": views, "labels": str(tmp_path / "CollectedData_me.csv")}


@pytest.fixture
def client(platform: Platform) -> Iterator[FaultyClient]:
    opened = FaultyClient(platform.url, platform.token)
    yield opened
    opened.close()


@pytest.fixture
def settings(platform: Platform, tmp_path: Path, recording: dict[str, Any]) -> Callable[..., Any]:
    def make(**more: Any) -> Any:
        skeleton = {"name": "mouse", "keypoints": ["nose", "tail"]}
        label_studio = {"url": platform.url, "token": platform.token, "title": "mouse", **more}
        return make_spec(platform, tmp_path, label_studio=label_studio, skeleton=skeleton, recordings=[recording])

    return make


def annotation_counts(client: FaultyClient, project: int) -> list[int]:
    return [len(task["annotations"]) for task in client.tasks(project, fields="id,annotations")]


def test_labels_are_imported_once_and_read_back_as_they_were(client: FaultyClient, settings: Callable[..., Any]) -> None:
    plan = understand(settings(), client)
    assert "import 2 labelled frames of 'run' from CollectedData_me.csv" in plan.changes
    assert "note: CollectedData_me.csv: keypoints that name no camera are left out: obstacle" in plan.lines
    assert any(
        line.endswith("1 pictures are no frames here and are left out: labeled-data/run/img999.png") for line in plan.lines
    )
    workspace = carry_out(plan, "hush")
    number = workspace.project.ls_project_id
    assert annotation_counts(client, number) == [1, 1]
    pull(workspace, client)
    snapshot = collect(workspace)
    assert [key.index for key in snapshot.keys] == [0, 2]
    xy = snapshot.xy_px
    # DeepLabCut's pixels are Parallax's; the side view's crop begins at x = 40; tail_front of picture 2 has no point.
    np.testing.assert_allclose(xy[0, 0], [[11, 21], [12, 22]], atol=1e-3)
    np.testing.assert_allclose(xy[1, 0, 0], [10, 20], atol=1e-3)
    np.testing.assert_allclose(xy[:, 1, 0], [[10, 25], [15, 30]], atol=1e-3)
    assert np.isnan(xy[1, 0, 1]).all()
    assert snapshot.provenance[0, 0].tolist() == [Provenance.PLACED] * 2
    carry_out(understand(settings(project=number), client), "hush").store.close()
    assert annotation_counts(client, number) == [1, 1]
    workspace.store.close()


def test_an_import_that_was_cut_short_goes_on_without_a_double(client: FaultyClient, settings: Callable[..., Any]) -> None:
    client.fail = fail_on("annotations", "silent")
    with pytest.raises(LabelStudioError):
        carry_out(understand(settings(), client), "hush")
    (number,) = [p["id"] for p in client.call("GET", "api/projects", params={"ordering": "-id", "page_size": 1})["results"]]
    workspace = carry_out(understand(settings(project=number), client), "hush")
    assert annotation_counts(client, number) == [1, 1]
    workspace.store.close()


def test_an_annotation_that_a_person_deleted_does_not_come_back(client: FaultyClient, settings: Callable[..., Any]) -> None:
    workspace = carry_out(understand(settings(), client), "hush")
    number = workspace.project.ls_project_id
    task = next(iter(client.tasks(number, fields="id,annotations")))
    client.call("DELETE", f"api/annotations/{task['annotations'][0]['id']}/")
    carry_out(understand(settings(project=number), client), "hush").store.close()
    assert sorted(annotation_counts(client, number)) == [0, 1]
    workspace.store.close()


def test_labels_of_other_pictures_are_refused_with_words(
    client: FaultyClient, settings: Callable[..., Any], recording: dict[str, Any]
) -> None:
    path = Path(recording["labels"])
    path.write_text(LABELS.replace("img000", "other000").replace("img002", "other002"))
    with pytest.raises(BadInputError, match=r"none of its .* is a frame of recording 'run'"):
        understand(settings(), client)

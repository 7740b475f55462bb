"""An annotator renames or removes a label: a clear message, training and pushing wait, nothing labelled is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from label_config.values import PointState, Pose2D
from ml_backend.store import presence, projects, submissions
from ml_backend.store.workspace import Workspace

pytestmark = pytest.mark.ls


def xml_of(lab: Any) -> str:
    return str(lab.client.project(lab.project)["label_config"])


def rename(lab: Any, old: str, new: str) -> None:
    lab.client.change_project(lab.project, label_config=xml_of(lab).replace(f'value="{old}"', f'value="{new}"'))


def labelled_as(lab: Any, index: int, old: str, new: str) -> list[dict[str, Any]]:
    result = lab.hand_made(index)
    for region in result:
        if region["value"].get("keypointlabels") == [old]:
            region["value"]["keypointlabels"] = [new]
    return list(result)


def states(lab: Any) -> list[list[int]]:
    """State of the head in every view, per annotation that counts."""
    rows = submissions.list_annotations(lab.workspace.store)
    return [Pose2D.from_json(row.poses["0"]).state[:, 0].tolist() for row in rows]


def test_a_renamed_label_halts_names_the_fix_and_loses_nothing(lab: Any) -> None:
    lab.serve([0, 1, 2])
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project), lab.hand_made(0))
    lab.tick()
    rename(lab, "head", "Nose tip")
    task = someone.next_task(lab.project)
    lab.submit(someone, task, labelled_as(lab, 1, "head", "Nose tip"))
    projects.change(lab.workspace.store, train_requested=True)
    lab.select([2])
    report = lab.tick()

    problem = lab.workspace.project.binding_problem
    assert "front: the keypoint 'head' has no label any more" in problem
    assert "'Nose tip'" in problem
    assert "aliases in parallax.yaml" in problem
    assert (report.decision.train, report.decision.push) == (False, False)
    assert any(f"task {task['id']}" in text and "'Nose tip'" in text for text in report.pulled.problems)
    assert states(lab) == [[PointState.VISIBLE] * 2, [PointState.UNLABELLED] * 2], "what can be read is read"

    rename(lab, "Nose tip", "head")
    lab.tick()
    assert lab.workspace.project.binding_problem is None
    assert states(lab) == [[PointState.VISIBLE] * 2, [PointState.UNLABELLED] * 2], "that annotation still says Nose tip"


def test_an_alias_takes_the_new_name_over_and_keeps_what_the_old_one_said(lab: Any) -> None:
    lab.serve([0, 1, 2])
    someone = lab.person()
    lab.submit(someone, someone.next_task(lab.project), lab.hand_made(0))
    rename(lab, "head", "Nose tip")
    lab.submit(someone, someone.next_task(lab.project), labelled_as(lab, 1, "head", "Nose tip"))
    lab.tick()
    assert lab.workspace.project.binding_problem is not None

    spec = lab.workspace.spec.model_copy(update={"aliases": {"Nose tip": "head"}})
    lab.workspace = replace(lab.workspace, spec=spec)
    assert isinstance(lab.workspace, Workspace)
    report = lab.tick()
    assert lab.workspace.project.binding_problem is None
    assert report.pulled.deleted == 0
    assert states(lab) == [[PointState.VISIBLE] * 2, [PointState.VISIBLE] * 2], "both names mean the head"
    assert report.decision.select, "what is shown must carry the new name"

    lab.serve([2])
    (prediction,) = someone.next_task(lab.project)["predictions"]
    assert {r["value"]["keypointlabels"][0] for r in prediction["result"]} == {"Nose tip", "left_foot", "right_foot"}


def test_a_config_without_keypoints_is_a_message_and_pulling_goes_on(lab: Any) -> None:
    lab.serve([0])
    xml = '<View><Image name="front" value="$front"/><Choices name="c" toName="front"><Choice value="x"/></Choices></View>'
    lab.client.change_project(lab.project, label_config=xml)
    lab.tick()
    assert "no longer fits" in lab.workspace.project.binding_problem
    texts = [e.text for e in presence.list_events(lab.workspace.store) if e.level == "error"]
    assert len(texts) == 1


def test_a_config_that_only_looks_different_changes_nothing(lab: Any) -> None:
    lab.serve([0])
    lab.tick()
    lab.client.change_project(lab.project, label_config=xml_of(lab).replace('strokeWidth="3"', 'strokeWidth="5"'))
    lab.tick()
    assert lab.workspace.project.binding_problem is None
    assert not lab.workspace.project.select_requested

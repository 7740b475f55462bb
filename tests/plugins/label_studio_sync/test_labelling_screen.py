"""``parallax screen`` on a live project: the difference first, the change on request, and the way back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from label_config.labelling.binding import bind
from plugins.label_studio_sync.labelling_screen import plan_screen, write_screen
from plugins.label_studio_sync.reason_header import add_header
from plugins.label_studio_sync.take_back import leave
from tests.plugins.label_studio_sync.conftest import SKELETON, VIEWS, Lab

pytestmark = pytest.mark.ls

LABELS = "".join(f'<Label value="{name}"/>' for name in SKELETON.keypoints)
PICTURES = "".join(
    f'<Image name="{v}" value="${v}"/><KeyPointLabels name="kp_{v}" toName="{v}">{LABELS}</KeyPointLabels>' for v in VIEWS
)
THEIRS = f'<View>{PICTURES}<TextArea name="remark" toName="{VIEWS[0]}"/></View>'


def test_a_config_is_shown_rearranged_written_and_restored(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(n_frames=2)
    workspace, client, number = lab.workspace, lab.client, lab.workspace.project.ls_project_id
    client.change_project(number, label_config=THEIRS)
    assert add_header(workspace, client)
    held = client.project(number)["label_config"]

    planned = plan_screen(workspace, client)
    assert any(line.startswith("+") and "grid-template-columns" in line for line in planned.difference)
    assert client.project(number)["label_config"] == held, "showing changes nothing"
    write_screen(workspace, client, planned)
    written = client.project(number)["label_config"]
    assert bind(written, SKELETON, views=VIEWS).views == bind(held, SKELETON, views=VIEWS).views
    again = plan_screen(workspace, client)
    assert again.difference == []

    write_screen(workspace, client, again)  # whoever writes twice still gets the first one back
    leave(workspace, client)
    assert client.project(number)["label_config"] == THEIRS

"""Two figures that cross, in a project with a detector's boxes, on a live Label Studio: labelled, learnt and shown again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from label_config.settings.skeleton_files import skeleton_to_mapping
from label_config.settings.spec import load_spec
from label_config.values import Pose2D
from ml_backend.jobs import run_job as jobs
from ml_backend.store import frames, submissions, versions, work
from ml_backend.store.workspace import Workspace
from plugins.demo.annotator_session import Annotator
from plugins.demo.demo_recordings import DemoRecording
from plugins.demo.oracle import Oracle
from plugins.demo.platform import Platform
from plugins.demo.several_figures import project_of_tasks, settings_of, studio_of_several
from plugins.demo.subject_figures import subject_figures
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.set_up import carry_out
from plugins.label_studio_sync.tick import tick

pytestmark = [pytest.mark.ls, pytest.mark.slow]

LABELS, POOL, VIEWS = 6, 24, 3
SIZES = {f"cam{v + 1}": (192, 192) for v in range(VIEWS)}


class NoQueue:
    """Jobs stay in the store until the test runs them."""

    def enqueue_open_jobs(self, workspace: Workspace) -> int:
        return 0


class Loop:
    """Sync and workers of one project in this process, and an annotator at its label stream."""

    def __init__(self, platform: Platform, folder: Path, monkeypatch: pytest.MonkeyPatch, *, numbered: bool) -> None:
        documents = platform.documents.resolve()
        place = documents / f"figures-{secrets.token_hex(4)}"
        self.source: DemoRecording = studio_of_several(
            place, documents, 0, 2, numbered=numbered, pool=POOL, held_out=2, views=VIEWS
        )
        self.client = Client(platform.url, platform.token)
        self.project = project_of_tasks(self.client, self.source)
        config: dict[str, Any] = {
            "label_studio": {"url": platform.url, "token": platform.token, "project": self.project},
            "documents_root": str(documents),
            "skeleton": skeleton_to_mapping(self.source.skeleton),
            "views": list(self.source.views),
            "recordings": [self.source.entry],
            "train": {"min_new_frames": LABELS, "input_px": 64, "steps_first": 150, "batch": 8, "auto": True},
            "selection": {"window": 12, "random_every": 0},
            "sync": {"push_every_minutes": 0},
            **settings_of(self.source),
        }
        path = folder / "parallax.yaml"
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        spec = load_spec(path)
        self.workspace = carry_out(understand(spec, self.client), "secret")
        monkeypatch.setattr(jobs, "open_from_environment", lambda: self.workspace)
        self.annotator = Annotator(platform.url, f"{secrets.token_hex(6)}@parallax.test", "oracle-password-1")
        self.annotator.sign_up(str(self.client.call("GET", "api/invite")["token"]))
        self.oracle = Oracle(self.annotator, self.source, 0)

    def settle(self) -> None:
        """Until nothing is left to do."""
        for _ in range(12):
            tick(self.workspace, self.client, NoQueue(), "test")  # type: ignore[arg-type]
            waiting = work.open_jobs(self.workspace.store)
            if not waiting:
                return
            for job in waiting:
                jobs.run_job(job.id)
        pytest.fail("still not at rest")

    def next_result(self) -> list[dict[str, Any]]:
        """What the next person is shown."""
        task = self.annotator.next_task(self.project)
        assert task is not None
        assert task["predictions"], "boxes are shown before there is a model, too"
        return list(task["predictions"][0]["result"])

    def close(self) -> None:
        self.annotator.close()
        self.client.close()
        self.workspace.store.close()


@pytest.fixture(params=[True, False], ids=["numbered", "without numbers"])
def loop(request: pytest.FixtureRequest, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    made = Loop(platform, tmp_path, monkeypatch, numbered=request.param)
    yield made
    made.close()


def labels_of_boxes(result: list[dict[str, Any]]) -> set[str]:
    return {region["value"]["rectanglelabels"][0] for region in result if region["type"] == "rectanglelabels"}


def check_labels_are_of_one_figure_each(loop: Loop) -> None:
    """Every stored pose lies on one figure in all cameras."""
    index = {row.id: row.key.index for row in frames.list_frames(loop.workspace.store)}
    rows = submissions.list_annotations(loop.workspace.store)
    assert len(rows) == LABELS
    for row in rows:
        truth = loop.source.truth.px[index[row.frame_id]]
        for pose in row.poses.values():
            apart = np.linalg.norm(truth - Pose2D.from_json(pose).xy_px, axis=-1)
            assert np.nanmax(apart, axis=(1, 2)).min() < 3.5, f"frame {index[row.frame_id]}"


def test_a_round_with_two_figures(loop: Loop, request: pytest.FixtureRequest) -> None:
    numbered = "without" not in request.node.name
    loop.settle()
    assert labels_of_boxes(loop.next_result()) <= ({"1", "2"} if numbered else {"subject"})
    while len(loop.oracle.submitted) < LABELS:
        assert loop.oracle.label_next(loop.project, SIZES)
    loop.settle()
    check_labels_are_of_one_figure_each(loop)
    live = versions.live(loop.workspace.store)
    assert live is not None
    figures = subject_figures(loop.workspace, loop.source, live)
    assert figures.matched >= (1.0 if numbered else 0.5), figures
    result = loop.next_result()
    assert labels_of_boxes(result) <= {"1", "2"}
    boxes = {region["id"] for region in result if region["type"] == "rectanglelabels"}
    points = [region for region in result if region["type"] == "keypointlabels"]
    assert points
    assert sum(region.get("parentID") in boxes for region in points) > 0.9 * len(points)

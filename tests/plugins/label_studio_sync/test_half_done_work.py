"""``parallax init`` as a person types it: it does everything or nothing, and says what to correct."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from plugins.cli.main import app
from plugins.demo.platform import Platform
from plugins.label_studio_sync import set_up
from plugins.label_studio_sync.client import Client, LabelStudioError

pytestmark = pytest.mark.ls

SKELETON = "{name: mouse, keypoints: [nose, tail]}"


@pytest.fixture
def client(platform: Platform) -> Iterator[Client]:
    opened = Client(platform.url, platform.token)
    yield opened
    opened.close()


@pytest.fixture
def init(platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``parallax init`` in a folder with pictures of one camera; ``text`` is the beginning of its parallax.yaml."""
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", platform.token)
    monkeypatch.setenv("PARALLAX_CONFIG", "parallax.yaml")
    (tmp_path / "cam").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "cam" / f"{number:03}.png"), np.zeros((40, 60, 3), np.uint8))

    def run(text: str, *arguments: str, root: Path = platform.documents) -> Result:
        rest = f"documents_root: {root.resolve()}\nskeleton: {SKELETON}\nrecordings:\n  - {{sequence: s, views: {{cam: cam}}}}\n"
        (tmp_path / "parallax.yaml").write_text(text + rest)
        return CliRunner().invoke(app, ["-c", str(tmp_path / "parallax.yaml"), "init", *arguments])

    return run


def numbers(client: Client) -> set[int]:
    return {project["id"] for project in client.projects()}


def test_settings_in_braces_get_their_number_and_keep_their_remarks(
    init: Callable[..., Result], client: Client, platform: Platform, tmp_path: Path
) -> None:
    before = numbers(client)
    text = f"# ours\nlabel_studio: {{url: '{platform.url}', title: mice}}  # the lab's\n"
    dry = init(text, "--dry-run")
    assert "would create the project 'mice'" in dry.stdout
    assert numbers(client) == before
    result = init(text)
    assert result.exit_code == 0, result.output
    (made,) = numbers(client) - before
    assert "will create the project 'mice'" in result.stdout
    assert "`parallax leave` takes everything back but the project with its tasks" in " ".join(result.stdout.split())
    assert "would" not in result.stdout
    assert f"project {made} is set up" in result.stdout
    after = (tmp_path / "parallax.yaml").read_text()
    assert yaml.safe_load(after)["label_studio"]["project"] == made
    assert "# ours" in after
    assert "# the lab's" in after
    assert [view["data"]["title"] for view in client.views(made)] == ["Parallax: next", "Parallax: check labels"], (
        "one camera, no pseudo-labels"
    )


def test_a_folder_that_label_studio_does_not_serve_is_found_before_anything_is_made(
    init: Callable[..., Result], client: Client, platform: Platform, tmp_path: Path
) -> None:
    client.create_project("any", "<View/>")
    before = numbers(client)
    inside = platform.documents / "inside"
    inside.mkdir(exist_ok=True)
    for root, words in (
        (tmp_path, "LOCAL_FILES_DOCUMENT_ROOT"),
        (inside, "lies inside of that folder"),
        (tmp_path / "nowhere", "expected a folder, found none"),
    ):
        result = init(f"label_studio: {{url: '{platform.url}'}}\n", root=root)
        assert result.exit_code == 1
        assert words in result.stderr
        assert "documents_root" in result.stderr
    assert numbers(client) == before


def test_a_set_up_that_fails_half_way_leaves_nothing_behind(
    init: Callable[..., Result], client: Client, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = numbers(client)
    text = f"label_studio: {{url: '{platform.url}'}}  # the lab's\n"
    seen: list[str] = []

    def refused(workspace: object, client: Client) -> None:
        seen.append((tmp_path / "parallax.yaml").read_text())
        raise LabelStudioError("Label Studio answered 500", 500)

    monkeypatch.setattr(set_up, "create_tabs", refused)
    for _ in range(2):
        result = init(text)
        assert result.exit_code == 1
        assert "answered 500" in result.stderr
        assert "project:" in seen[-1], "a process that is killed here is found again by its number"
        assert (tmp_path / "parallax.yaml").read_text().startswith(text)
    assert numbers(client) == before


def test_a_wrong_number_is_answered_with_the_projects_there_are(
    init: Callable[..., Result], client: Client, platform: Platform
) -> None:
    made = client.create_project("open field of the lab", "<View/>")["id"]
    result = init(f"label_studio: {{url: '{platform.url}', project: 999999}}\n")
    assert result.exit_code == 1
    assert "no project 999999" in result.stderr
    assert f"{made} 'open field of the lab'" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_an_address_copied_from_the_browser_is_taken_apart(init: Callable[..., Result], platform: Platform) -> None:
    result = init(f"label_studio: {{url: '{platform.url}/projects/7/data?tab=3'}}\n")
    assert result.exit_code == 1
    assert f"write url: {platform.url}, and project: 7" in result.stderr

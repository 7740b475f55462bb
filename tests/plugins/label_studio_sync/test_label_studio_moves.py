"""Label Studio gets another address: the project is taken over with everything in it, and leaving restores what was before us."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from label_config.values import ParallaxError
from ml_backend.project.frame_pictures import Pictures
from ml_backend.store import frames, generations, presence, projects, submissions
from ml_backend.store.generations import PickRow
from ml_backend.store.workspace import Workspace, open_workspace
from plugins.cli.processes.ports import free_port
from plugins.demo.platform import Platform
from plugins.label_studio_sync.adoption_plan import understand
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.pull import pull
from plugins.label_studio_sync.push_order import push
from plugins.label_studio_sync.reason_header import add_header
from plugins.label_studio_sync.set_up import carry_out
from plugins.label_studio_sync.take_back import leave
from plugins.label_studio_sync.webhook_and_backend import connect

from .conftest import make_spec

pytestmark = pytest.mark.ls

XML = """<View><Image name="img" value="$image"/><KeyPointLabels name="kp" toName="img">
  <Label value="Nose"/><Label value="Tail"/></KeyPointLabels></View>"""
NOSE = {
    "id": "nose",
    "type": "keypointlabels",
    "origin": "manual",
    "from_name": "kp",
    "to_name": "img",
    "original_width": 32,
    "original_height": 24,
    "image_rotation": 0,
    "value": {"x": 50.0, "y": 50.0, "width": 1.0, "keypointlabels": ["Nose"]},
}


@pytest.fixture
def theirs(platform: Platform) -> int:
    """A team's project: two tasks with one uploaded picture, once relative and once with the server's address, and one label."""
    with closing(Client(platform.url, platform.token)) as client:
        number = int(client.create_project("theirs", XML)["id"])
        picture = cv2.imencode(".png", np.full((24, 32, 3), 80, np.uint8))[1].tobytes()
        answer = httpx.post(
            f"{platform.url}/api/projects/{number}/import",
            files={"file": ("a 1.png", picture)},
            headers={"Authorization": f"Token {platform.token}"},
            timeout=60,
        )
        answer.raise_for_status()
        (uploaded,) = client.tasks(number, fields="id,data")
        address = uploaded["data"]["image"]
        client.delete_task(uploaded["id"])
        tasks = client.import_tasks(number, [{"image": address, "t": 1}, {"image": f"{platform.url}{address}", "t": 2}])
        client.annotate(tasks[0], [NOSE])
        client.change_project(number, sampling="Uniform sampling")
    return number


def settings(platform: Platform, folder: Path, number: int, address: str, backend: int) -> Any:
    return make_spec(
        platform,
        folder,
        label_studio={"url": address, "token": platform.token, "project": number},
        backend={"url": f"http://127.0.0.1:{backend}", "secret": "hush"},
        frames={"index": "t"},
        documents_root=None,
        cache={"folder": str(folder / f"cache{backend}")},
    )


def outside(client: Client, number: int) -> dict[str, Any]:
    project = client.project(number)
    return {
        **{name: project[name] for name in ("title", "label_config", "sampling", "model_version")},
        "webhooks": [hook["url"] for hook in client.webhooks(number)],
        "backends": [backend["url"] for backend in client.backends(number)],
        "tabs": [view["data"]["title"] for view in client.views(number)],
        "data": [task["data"] for task in client.tasks(number, fields="id,data")],
        "predictions": dict(client.predictions(number)),
    }


def order(workspace: Workspace) -> None:
    ids = frames.ids_by_key(workspace.store).values()
    picks = [PickRow(rank, frame, rank / 2, True, False, "first", None, {}, None) for rank, frame in enumerate(ids)]
    generations.add(workspace.store, None, picks)


def test_the_project_is_taken_over_at_the_new_address(
    platform: Platform, theirs: int, tmp_path: Path, serve_backend: Callable[..., None]
) -> None:
    before_move = settings(platform, tmp_path, theirs, platform.url, free_port())
    with closing(Client(platform.url, platform.token)) as client:
        untouched = outside(client, theirs)
        workspace = carry_out(understand(before_move, client), "hush")
        serve_backend(workspace, int(before_move.backend.url.rpartition(":")[2]))
        connect(workspace, client, "hush")
        assert add_header(workspace, client)
        pull(workspace, client)
        order(workspace)
        push(workspace, client)
    sources = [row.images["img"].source for row in frames.list_frames(workspace.store)]
    assert all(source.startswith("label-studio:///data/upload/") for source in sources), sources
    # the port stays, as it is the same server; the name does not
    address = platform.url.replace("127.0.0.1", "localhost")
    after_move = settings(platform, tmp_path, theirs, address, free_port())
    with pytest.raises(ParallaxError, match=r"but project \d+ on http://127.* If Label Studio has moved, run `parallax init`"):
        open_workspace(after_move)
    with closing(Client(address, platform.token)) as client:
        plan = understand(after_move, client)
        assert f"Label Studio has moved from {platform.url} to {address}" in " ".join(plan.changes)
        again = carry_out(plan, "hush")
        assert [row.id for row in projects.list_all(again.store)] == [workspace.store.project_id]
        assert f"has moved from {platform.url}" in presence.list_events(again.store)[0].text
        report = pull(again, client, full=True)
        assert (report.changed, report.deleted, report.problems) == (0, 0, [])
        assert submissions.count(again.store) == 1
        with closing(Pictures(again)) as pictures:
            greys = [pictures.read(row.images["img"])[0, 0, 0] for row in frames.list_frames(again.store)]
        assert greys == [80, 80]
        serve_backend(again, int(after_move.backend.url.rpartition(":")[2]))
        done = " ".join(connect(again, client, "hush"))
        assert f"removed the webhook {before_move.backend.url}/webhook" in done
        assert f"disconnected the ML backend {before_move.backend.url}" in done
        assert outside(client, theirs)["backends"] == [after_move.backend.url]
        assert "Label Studio has moved" not in " ".join(understand(after_move, client).changes), "said once"
        leave(again, client)
        assert outside(client, theirs) == untouched
    again.store.close()
    workspace.store.close()


def test_leaving_takes_along_what_a_forgotten_set_up_left(
    platform: Platform, theirs: int, tmp_path: Path, serve_backend: Callable[..., None]
) -> None:
    """The store was lost, or the folder deleted: what stands in the project is ours all the same."""
    port = free_port()
    with closing(Client(platform.url, platform.token)) as client:
        untouched = outside(client, theirs)

        def set_up(folder: Path) -> Workspace:
            folder.mkdir()
            return carry_out(understand(settings(platform, folder, theirs, platform.url, port), client), "hush")

        def work(workspace: Workspace) -> None:
            connect(workspace, client, "hush")
            pull(workspace, client)
            order(workspace)
            push(workspace, client)

        forgotten = set_up(tmp_path / "first")
        serve_backend(forgotten, port)
        add_header(forgotten, client)
        work(forgotten)
        workspace = set_up(tmp_path / "second")
        work(workspace)
        leave(workspace, client)
        # what the forgotten set-up changed of theirs, nobody knows any more; Label Studio's own default stands there
        assert outside(client, theirs) == {**untouched, "sampling": "Sequential sampling"}
        workspace.store.close()

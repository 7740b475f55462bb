"""The kinds of project that are adopted in the tests: how their pictures are stored, and what a task shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from plugins.cli.processes.ports import free_port
from plugins.demo.platform import Platform
from plugins.label_studio_sync.client import Client
from tests.s3 import S3Server

from .other_team import OtherTeam, all_cameras, one_picture, picture, region, truth
from .their_backend import TheirBackend

CAMERAS = ("left", "right")


def _project(platform: Platform, title: str, xml: str) -> tuple[Client, int]:
    client = Client(platform.url, platform.token)
    return client, int(client.create_project(title, xml)["id"])


def _numbered(pattern: str, key: str, cameras: tuple[str, ...] = ()) -> Any:
    """Reads frame and camera of a task from the file name in its data."""

    def read(data: dict[str, Any]) -> tuple[int, tuple[int, ...]]:
        found = re.search(pattern, data[key])
        assert found is not None, data
        return int(found["frame"]), (cameras.index(found["camera"]),) if cameras else (0,)

    return read


def uploaded(platform: Platform, folder: Path, count: int) -> OtherTeam:
    """One camera; pictures dropped on the project's page, with the names of a mouse lab."""
    client, number = _project(platform, "mice in the open field", one_picture())
    team = OtherTeam(platform, folder, client, number, {("kp-1", "img"): 0}, _numbered(r"img(?P<frame>\d+)", "image"))
    team.settings = {"frames": {"index": {"key": "image", "pattern": r"img(\d+)"}}}
    team.upload([f"img{i:04d}.png" for i in range(count)], [picture(i) for i in range(count)])
    return team


def local_storage(platform: Platform, folder: Path, count: int) -> OtherTeam:
    """All cameras of a frame in one task; pictures in a folder that Label Studio serves, one of them broken.

    The team has a webhook, a tab, and an ML backend with predictions of its own.
    """
    client, number = _project(platform, "reaching, two cameras", all_cameras(CAMERAS))
    shared = platform.documents.resolve() / f"reaching{number}"
    shared.mkdir(parents=True)
    client.create_local_storage(number, str(shared), "our pictures")
    data = []
    for i in range(count):
        item: dict[str, Any] = {"trial": "mouse A/1", "t": i}
        for c, camera in enumerate(CAMERAS):
            name = f"{camera} (trial 1)#{i:03d}ü.png"
            content = picture(i, c)
            (shared / name).write_bytes(content[: len(content) // 2] if (i, c) == (5, 1) else content)
            quoted = name.replace("#", "%23").replace(" ", "%20")
            item[f"{camera}_url"] = f"/data/local-files/?d=reaching{number}/{quoted}"
        data.append(item)
    tasks = client.import_tasks(number, data)
    client.create_webhook(number, f"http://127.0.0.1:{free_port()}/theirs", {}, ["ANNOTATION_CREATED"])
    client.create_view(number, {"title": "Ben's tab", "type": "list", "target": "tasks", "ordering": ["tasks:id"]})
    x, y = truth(7)["Nose"]
    point = {"x": x, "y": y, "width": 1, "keypointlabels": ["Nose"]}
    theirs = {"from_name": "pts_left", "to_name": "pic_left", "type": "keypointlabels", "value": point}
    client.import_predictions(number, [{"task": tasks[7], "model_version": "their-model", "score": 0.5, "result": [theirs]}])
    pairs = {(f"pts_{camera}", f"pic_{camera}"): c for c, camera in enumerate(CAMERAS)}
    team = OtherTeam(platform, folder, client, number, pairs, lambda data: (int(data["t"]), (0, 1)))
    team.their_backend = TheirBackend()
    client.connect_backend(number, team.their_backend.url, "their model", "ben", "their-secret")
    team.settings = {"frames": {"sequence": "trial", "index": "t"}}
    return team


def cloud(platform: Platform, folder: Path, count: int, s3: S3Server, *, presign: bool = False) -> OtherTeam:
    """One picture of one of two cameras per task, synchronised from a bucket whose pictures nobody may read without a key.

    Files of one camera are missing for some frames.
    """
    client, number = _project(platform, "flies, bucket", one_picture())
    bucket = f"flies-{number}"
    s3.make_bucket(bucket)
    for i in range(count):
        for c, camera in enumerate(CAMERAS):
            if (i, c) not in {(3, 1), (9, 0)}:
                s3.put(bucket, f"fly 1 (wild type)/cam-{camera}/frame {i:03d}+a.png", picture(i, c))
    storage = {
        "project": number,
        "title": "their bucket",
        "bucket": bucket,
        "s3_endpoint": s3.url,
        "region_name": "us-east-1",
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "regex_filter": ".*png",
        "use_blob_urls": True,
        "recursive_scan": True,
        "presign": presign,
    }
    made = client.call("POST", "api/storages/s3", body=storage)
    client.call("POST", f"api/storages/s3/{made['id']}/sync", body={})
    pattern = r"cam-(?P<camera>\w+)/frame (?P<frame>\d+)"
    team = OtherTeam(platform, folder, client, number, {("kp-1", "img"): 0}, _numbered(pattern, "image", CAMERAS))
    team.settings = {
        "views": list(CAMERAS),
        "cache": {"hosts": [urlsplit(s3.url).netloc, "127.0.0.1"] if presign else []},
        "frames": {
            "sequence": {"key": "image", "pattern": "(fly [0-9]+)"},
            "index": {"key": "image", "pattern": "frame ([0-9]+)"},
            "view": {"key": "image", "pattern": "cam-([a-z]+)"},
        },
    }
    return team


def nested(platform: Platform, folder: Path, count: int) -> OtherTeam:
    """All cameras of a frame in one task, their pictures in a list and in a mapping of the task's data."""
    xml = all_cameras(CAMERAS).replace("$left_url", "$images[1].url").replace("$right_url", "$files.side")
    client, number = _project(platform, "nested data", xml)
    shared = platform.documents.resolve() / f"nested{number}"
    shared.mkdir(parents=True)
    client.create_local_storage(number, str(shared), "pictures")
    data = []
    for i in range(count):
        for c, camera in enumerate(CAMERAS):
            (shared / f"{camera}{i}.png").write_bytes(picture(i, c))
        left, right = (f"/data/local-files/?d=nested{number}/{camera}{i}.png" for camera in CAMERAS)
        data.append({"trial": "a", "images": [{"url": "a map"}, {"url": left, "n": i}], "files": {"side": right}})
    client.import_tasks(number, data)
    pairs = {(f"pts_{camera}", f"pic_{camera}"): c for c, camera in enumerate(CAMERAS)}
    team = OtherTeam(platform, folder, client, number, pairs, lambda data: (int(data["images"][1]["n"]), (0, 1)))
    team.settings = {"frames": {"sequence": "trial", "index": "images[1].n"}}
    return team


def large(platform: Platform, folder: Path, count: int) -> OtherTeam:
    """One camera, ``count`` tasks from a folder, a fifth of them labelled: imported with their annotations by a converter."""
    client, number = _project(platform, "two thousand mice", one_picture())
    shared = platform.documents.resolve() / f"large{number}"
    shared.mkdir(parents=True)
    client.create_local_storage(number, str(shared), "pictures")
    team = OtherTeam(platform, folder, client, number, {("kp-1", "img"): 0}, lambda data: (int(data["n"]), (0,)))
    team.settings = {"frames": {"index": "n"}}
    tasks: list[dict[str, Any]] = []
    for i in range(count):
        (shared / f"{i}.png").write_bytes(picture(i))
        data = {"image": f"/data/local-files/?d=large{number}/{i}.png", "n": i}
        points = [region("kp-1", "img", x, y, label) for label, (x, y) in truth(i).items()]
        labelled = [{"result": points, "ground_truth": False}] if i % 5 == 0 else []
        tasks.append({"data": data, "annotations": labelled})
    client.call("POST", f"api/projects/{number}/import", body=tasks)
    return team

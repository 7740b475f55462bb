"""``make fuzz``: requests to the backend, task data, region ids and every file reader, each fed thousands of damaged inputs.

    python -m tests.fuzz [--count 10000] [--only backend] [--start SEED]

What breaks something is written to ``tests/corpus``; ``tests/test_corpus.py`` tries everything there in every run of the tests,
so that a finding stays found.
"""

from __future__ import annotations

import argparse
import base64
import copy
import hashlib
import importlib
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from label_config.settings.caller_secret import BASIC_USER, SECRET_HEADER, webhook_key
from label_config.values import ParallaxError
from ml_backend.server.app import create_app
from plugins.label_studio_sync.client import Client
from plugins.label_studio_sync.task_reader import TaskReader
from tests.campaign import campaign, damager
from tests.ml_backend.formats.test_mutated_files import TEXT as LABEL_TEXTS
from tests.ml_backend.geometry.calibration.test_mutated_calibrations import TEXT as CALIBRATIONS
from tests.ml_backend.recordings.test_mutated_inputs import EVERYTHING as RECORDINGS
from tests.ml_backend.server.test_server_fuzz import ODD, REGION, SEEDS, mutated
from tests.small_project import SECRET, make_project

CORPUS = Path(__file__).parent / "corpus"
#: Seconds of CPU that one input may take.
MAY_TAKE_S = 1.0
#: Feeds one input; raises what breaks.
Try = Callable[[bytes], None]
#: (draw) → an input
Draw = Callable[[random.Random], bytes]

_FORMATS, _CALIBRATIONS = (
    "tests.ml_backend.formats.test_mutated_files",
    "tests.ml_backend.geometry.calibration.test_mutated_calibrations",
)
READERS = (
    *(f"tests.label_config.test_mutated_configs:{name}" for name in ("parallax_yaml", "skeleton_yaml", "labelling_config")),
    *(f"{_FORMATS}:{name}" for name in (*LABEL_TEXTS, "deeplabcut_h5", "sleap", "sleap_pictures", "movement")),
    *(f"{_CALIBRATIONS}:calibration:{name}" for name in CALIBRATIONS),
    f"{_CALIBRATIONS}:matlab",
    *(f"tests.ml_backend.recordings.test_mutated_inputs:{name}" for name in RECORDINGS),
)


class BrokenError(Exception):
    """An answer that no input may get."""


# --- requests ------------------------------------------------------------------------------------------------------------

_PATHS = (
    "/predict",
    "/webhook",
    "/setup",
    "/health",
    "/versions",
    "/metrics",
    "/",
    "/train",
    "/predict/",
    "//predict",
    "/%00",
    "/x" * 2000,
)
_LOGIN = base64.b64encode(f"{BASIC_USER}:{SECRET}".encode()).decode()
_CREDENTIALS: tuple[dict[str, str], ...] = (
    *(
        {SECRET_HEADER: SECRET},
        {SECRET_HEADER: SECRET},
        {SECRET_HEADER: webhook_key(SECRET)},
        {"Authorization": f"Basic {_LOGIN}"},
    ),
    *(
        {},
        {"Authorization": "Basic é"},
        {"Authorization": "Basic " + "A" * 999},
        {SECRET_HEADER: ""},
        {SECRET_HEADER: "\x80\xff"},
    ),
)
_MORE: tuple[dict[str, str], ...] = (
    *({}, {}, {}, {"Content-Type": "application/json; charset=utf-16"}, {"Content-Encoding": "gzip"}, {"Content-Length": "-1"}),
    *(
        {"Script-Name": "/x"},
        {"X-Forwarded-For": "é" * 99},
        {"Accept": "\x00"},
        {"Cookie": "a=" * 5000},
        {"Content-Length": "7" * 30},
    ),
    *({"Transfer-Encoding": "chunked"}, {"Host": "a b"}, {"Expect": "100-continue"}, {"Range": "bytes=0-0,-1,x"}),
)
_METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "x")


def draw_request(draw: random.Random) -> bytes:
    """A request as JSON: method, path, headers, body (base64)."""
    path = draw.choice(_PATHS[:3] if draw.random() < 0.8 else _PATHS)
    body = mutated(SEEDS.get(path, SEEDS["/predict"]), draw)
    for _ in range(draw.choice([0, 0, 0, 1])):
        body = draw.choice(
            [b"", b"[", b"[" * 5000, b"{" * 70, b"\xff\xfe", draw.randbytes(99), b"1" * 9999, body[: len(body) // 2]]
        )
    method = draw.choice(_METHODS[:3] if draw.random() < 0.8 else _METHODS)
    headers = {**draw.choice(_CREDENTIALS[:4] if draw.random() < 0.8 else _CREDENTIALS)}
    headers |= draw.choice(_MORE[:3] if draw.random() < 0.8 else _MORE)
    query = draw.choice(["", "", "", "?a=%ff", "?" + "a&" * 999])
    case = {"method": method, "path": path + query, "headers": headers, "body": base64.b64encode(body).decode()}
    return json.dumps(case).encode()


@contextmanager
def backend(folder: Path) -> Iterator[Try]:
    """The real application over the small project."""
    workspace = make_project(folder)
    client = create_app(workspace, SECRET).test_client()

    def send(raw: bytes) -> None:
        case = json.loads(raw)
        headers = {"Content-Type": "application/json", **case["headers"]}
        environment = {
            "HTTP_" + name.upper().replace("-", "_"): value.encode().decode("latin-1") for name, value in headers.items()
        }
        for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            if f"HTTP_{name}" in environment:
                environment[name] = environment.pop(f"HTTP_{name}")
        body = base64.b64decode(case["body"])
        answer = client.open(case["path"], method=case["method"], data=body, environ_overrides=environment)
        if answer.status_code >= 500 and answer.status_code != 503:
            raise BrokenError(f"{answer.status_code} {answer.text[:200]}")

    try:
        yield send
    finally:
        workspace.store.close()


# --- what annotators and importers write into tasks ----------------------------------------------------------------------

_ANNOTATION = {
    "id": 1,
    "result": [REGION],
    "updated_at": "2026-01-02T00:00:00Z",
    "was_cancelled": False,
    "completed_by": 1,
    "lead_time": 3.5,
    "parent_prediction": None,
    "ground_truth": False,
}
_DATA = {
    "parallax_key": "s/000001",
    "parallax_reason": "because",
    "sequence": "s",
    "frame": 1,
    "left": "/data/local-files/?d=a.jpg",
    "right": "http://127.0.0.1:9/b.jpg",
    "box": {"x": 1, "y": 2, "width": 30, "height": 40},
}
_IDS = (
    "px:1:0:0:0",
    "px:1:0:1:2",
    "px:99:0:0:0",
    "px:-1:0:0:0",
    "px:1:0:0",
    "px::::",
    "px:1:0:0:9999999999",
    "px:1e3:0:0:0",
    "",
    "px",
)
_NUMBERS = ("0", "1", "-1", "00", "٣", "²", "1_0", "9" * 20, "9" * 5000, "\x00", "\ud800", " 1", "1.0", "0x1", "")


def _task(number: int, data: dict[str, Any], annotations: list[Any]) -> dict[str, Any]:
    counted = {"total_annotations": len(annotations), "cancelled_annotations": 0, "is_labeled": bool(annotations)}
    times = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"}
    return {"id": number, "data": data, "annotations": annotations, **counted, **times}


def _whole(value: bytes) -> Any:
    """The JSON value; damage to the text itself, which Label Studio does not let through, is not what is tried here."""
    try:
        return json.loads(value)
    except ValueError:
        return {}


def draw_region_ids(draw: random.Random) -> bytes:
    """Annotations whose regions have forged, foreign and damaged ids."""
    drawn = []
    for _ in range(draw.randint(1, 4)):
        parts = [
            draw.choice(_NUMBERS) if draw.random() < 0.4 else str(draw.randrange(4)) for _ in range(draw.choice([4, 4, 4, 3, 5]))
        ]
        name = draw.choice([":".join(["px", *parts]), draw.choice(_IDS), draw.choice(ODD)])
        drawn.append({**copy.deepcopy(REGION), "id": name, "parentID": draw.choice([None, name, "px:1:0:0:0", 7])})
    damaged = _whole(mutated({"result": drawn}, draw)).get("result", [])
    return json.dumps([_task(100 + draw.randrange(6), _DATA, [{**_ANNOTATION, "result": damaged}])]).encode()


def draw_task_data(draw: random.Random) -> bytes:
    """Tasks whose data says what no task of ours would."""
    data = _whole(mutated(_DATA, draw))
    odd = _task(
        draw.choice([100, 105, 900]), data if isinstance(data, dict) else {}, [copy.deepcopy(_ANNOTATION)] * draw.randrange(2)
    )
    odd["annotations"] = [
        a for a in (_whole(mutated(item, draw)) for item in odd["annotations"]) if isinstance(a.get("result"), list)
    ]
    for item in odd["annotations"]:  # Label Studio itself gives these
        item |= {name: _ANNOTATION[name] for name in ("id", "updated_at", "was_cancelled") if name not in item}
        item["id"], item["updated_at"] = 1, _ANNOTATION["updated_at"]
    return json.dumps([odd, _task(101, {**_DATA}, [{**_ANNOTATION, "id": 2}])]).encode()


class _Listed(Client):
    """A Label Studio that has these tasks."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.items = items

    def tasks_by_id(self, project: int, numbers: Any, **more: Any) -> Iterator[dict[str, Any]]:
        return (item for item in self.items if item["id"] in numbers)

    def prediction_version(self, prediction: int) -> str | None:
        return None


@contextmanager
def pulled(folder: Path) -> Iterator[Try]:
    """What sync does with tasks that Label Studio lists."""
    workspace = make_project(folder)

    def take(raw: bytes) -> None:
        items = json.loads(raw)
        TaskReader(workspace, _Listed(items)).read(items)

    try:
        yield take
    finally:
        workspace.store.close()


# --- all of it -----------------------------------------------------------------------------------------------------------

VALUES: dict[str, tuple[Draw, Callable[[Path], Any]]] = {
    "backend": (draw_request, backend),
    "regions": (draw_region_ids, pulled),
    "tasks": (draw_task_data, pulled),
}


def attempt(act: Try, raw: bytes) -> str | None:
    """What broke, None when nothing did."""
    started = time.process_time()
    try:
        act(raw)
    except ParallaxError:
        pass
    except Exception as error:  # whatever it is, it is what this is about
        return f"{type(error).__name__}: {str(error)[:200]}"
    took = time.process_time() - started
    return f"took {took:.1f} s" if took > MAY_TAKE_S else None


def fuzz_values(name: str, count: int, first: int) -> list[tuple[bytes, str]]:
    """(input, what it broke) of so many drawn inputs."""
    draw, opened = VALUES[name]
    found = []
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as act:
        for seed in range(first, first + count):
            raw = draw(random.Random(f"{name} {seed}"))
            broken = attempt(act, raw)
            if broken is not None:
                found.append((raw, broken))
    return found


def fuzz_reader(target: str, count: int, first: int) -> list[tuple[bytes, str]]:
    """The same for files: they are damaged, and read by a process that may die."""
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(target, Path(folder), count, first)
        module, name, *arguments = target.split(":")
        (home := Path(folder) / "whole").mkdir()
        whole = getattr(importlib.import_module(module), name)(home, *arguments)[0].read_bytes()
    damage, outcome = damager(whole), []
    for line in (*found.problems, *found.deaths):
        seed = int(line.split(":")[0].removeprefix("seed "))
        outcome.append((damage(whole, random.Random(f"{target} {seed}")), line[:200]))
    return outcome


def keep(target: str, raw: bytes) -> Path:
    """Write a finding into the corpus."""
    folder = CORPUS / target.replace(":", "+")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(raw).hexdigest()[:12]
    path.write_bytes(raw)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", help="a part of the targets' names, without the module")
    options = parser.parse_args()
    broken = 0
    for target in (*VALUES, *READERS):
        if options.only and options.only not in target.split(":", 1)[-1]:  # every reader's module has "backend" in its name
            continue
        began = time.monotonic()
        fuzz = fuzz_values if target in VALUES else fuzz_reader
        found = fuzz(target, options.count, options.start)
        kinds: dict[str, bytes] = {}
        for raw, why in found:
            kinds.setdefault(why.split(": ", 1)[-1][:60], raw)
        for why, raw in kinds.items():
            print(f"{target}: {why} → {keep(target, raw)}")
        broken += len(found)
        print(f"{target}: {options.count} inputs, {len(found)} broke something, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

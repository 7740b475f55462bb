"""Record what a live Label Studio sends to an ML backend: ``python -m tests.ml_backend.server.record_requests PROGRAM FILE``.

A small server of our own takes the backend's place and keeps every request; secrets and addresses are replaced.  FILE is the
fixture of ``test_recorded_requests.py``: one object per kind of request, in the order in which they first came.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from plugins.cli.processes.ports import free_port
from plugins.demo.platform import Platform
from tests.label_studio import fresh_platform

CONFIG = (
    '<View><Image name="left" value="$left"/><KeyPointLabels name="kp-left" toName="left" smart="true">'
    '<Label value="nose"/></KeyPointLabels></View>'
)
POINT = {"x": 10.0, "y": 20.0, "width": 1.0, "keypointlabels": ["nose"]}
REGION = {
    "id": "abc", "type": "keypointlabels", "from_name": "kp-left", "to_name": "left", "original_width": 640,
    "original_height": 480, "image_rotation": 0, "value": POINT,
}  # fmt: skip
VERSION = "px-1.1"


def main() -> None:
    """Start, record, write."""
    program, target = Path(sys.argv[1]), Path(sys.argv[2])
    recorded: list[dict[str, Any]] = []
    backend = ThreadingHTTPServer(("127.0.0.1", free_port()), _recorder(recorded))
    threading.Thread(target=backend.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        platform = fresh_platform(program, Path(folder) / "ls")
        platform.start()
        try:
            release = _provoke(platform, f"http://127.0.0.1:{backend.server_port}")
        finally:
            platform.stop()
            backend.shutdown()
    text = json.dumps({"label_studio": release, "requests": _kinds(recorded)}, indent=1, ensure_ascii=False)
    for secret, name in ((platform.token, "TOKEN"), (platform.url, "http://label-studio"), (str(backend.server_port), "9090")):
        text = text.replace(secret, name)
    target.write_text(re.sub(r"20\d\d-\d\d-\d\dT[\d:.]+", "2026-01-01T00:00:00.000000", text) + "\n", encoding="utf-8")


def _provoke(platform: Platform, backend: str) -> str:
    """Do everything that makes Label Studio call its backend; returns its version."""
    with httpx.Client(base_url=platform.url, headers={"Authorization": f"Token {platform.token}"}, timeout=60) as api:

        def call(method: str, path: str, **arguments: Any) -> Any:
            answer = api.request(method, path, **arguments)
            answer.raise_for_status()
            return answer.json() if answer.content else None

        project = call("POST", "/api/projects/", json={"title": "recorded", "label_config": CONFIG})["id"]
        call("POST", f"/api/projects/{project}/import", json=[{"left": "/a.jpg"}, {"left": "/b.jpg"}, {"left": "/c.jpg"}])
        listed = call("GET", "/api/tasks/", params={"project": project, "fields": "all"})["tasks"]
        first, second, third = sorted(task["id"] for task in listed)
        hook = {"url": f"{backend}/webhook", "project": project, "headers": {"X-Parallax-Secret": "SECRET"}}
        call("POST", "/api/webhooks/", json=hook | {"send_payload": True, "send_for_all_actions": True})
        ml = {"url": backend, "project": project, "title": "Parallax", "is_interactive": True}
        ml |= {"auth_method": "BASIC_AUTH", "basic_auth_user": "parallax", "basic_auth_pass": "SECRET"}
        number = call("POST", "/api/ml/", json=ml)["id"]
        batch = {"selectedItems": {"all": False, "included": [first, second]}}
        call("POST", "/api/dm/actions/", params={"id": "retrieve_tasks_predictions", "project": project}, json=batch)
        clicked = {"result": [REGION | {"is_positive": True}]}
        call("POST", f"/api/ml/{number}/interactive-annotating", json={"task": first, "context": clicked})
        call("GET", f"/api/ml/{number}/versions")
        call("POST", f"/api/ml/{number}/train", json={})
        made = call("POST", f"/api/tasks/{first}/annotations/", json={"result": [REGION]})["id"]
        call("PATCH", f"/api/annotations/{made}/", json={"result": [REGION | {"value": POINT | {"x": 30.0}}]})
        call("DELETE", f"/api/annotations/{made}/")
        batch = {"selectedItems": {"all": False, "included": [second]}}
        call("POST", "/api/dm/actions/", params={"id": "predictions_to_annotations", "project": project}, json=batch)
        call("POST", "/api/dm/actions/", params={"id": "delete_tasks_annotations", "project": project}, json=batch)
        call("DELETE", f"/api/tasks/{third}/")
        call("PATCH", f"/api/projects/{project}/", json={"title": "renamed"})
        return str(call("GET", "/api/version/")["release"])


def _recorder(recorded: list[dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Recorder(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body: Any = json.loads(raw) if raw else None
            kept = {"method": self.command, "path": self.path, "content_type": self.headers.get("Content-Type")}
            scheme = (self.headers.get("Authorization") or "none").split(" ")[0]
            recorded.append(kept | {"authorization": scheme, "header": self.headers.get("X-Parallax-Secret"), "body": body})
            result = {"result": [REGION], "score": 0.5, "model_version": VERSION}
            answers: dict[str, Any] = {"/versions": {"versions": [VERSION]}, "/setup": {"model_version": VERSION}}
            if self.path == "/predict":
                answers["/predict"] = {"results": [result for _ in body["tasks"]]}
            sent = json.dumps(answers.get(self.path, {"status": "UP"})).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return Recorder


def _kinds(recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds: dict[tuple[str, str, str], dict[str, Any]] = {}
    for request in recorded:
        body = request["body"] or {}
        detail = body.get("action") or ("interactive" if (body.get("params") or {}).get("context") else "")
        kinds.setdefault((request["method"], request["path"], detail), request)
    return [{"kind": " ".join(filter(None, (m, p, d))), **request} for (m, p, d), request in kinds.items()]


if __name__ == "__main__":
    main()

"""A person at Label Studio: signs up, takes one task at a time, submits, skips, deletes.  Uses HTTP and nothing else."""

from __future__ import annotations

import re
from typing import Any

import httpx

from label_config.values import ParallaxError


class Annotator:
    """One user of the server in a session of their own."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self.email, self.password = email, password
        self.http = httpx.Client(base_url=url, timeout=60, follow_redirects=True)

    def sign_up(self, invite: str) -> None:
        """Join the organization by its invite token, as the sign-up form does."""
        self._form(f"/user/signup/?token={invite}")

    def log_in(self) -> None:
        """Open a session."""
        self._form("/user/login/")

    def _form(self, path: str) -> None:
        page = self.http.get(path).text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        form = {"email": self.email, "password": self.password, "allow_newsletters": "false", "how_find_us": "other"}
        form["csrfmiddlewaretoken"] = token.group(1) if token else ""
        answer = self.http.post(path, data=form, headers={"Referer": str(self.http.base_url)})
        if self.http.get("/api/current-user/whoami").status_code != 200:
            raise ParallaxError(f"{self.email} could not enter by {path}: status {answer.status_code}")

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"X-CSRFToken": self.http.cookies.get("csrftoken") or "", "Referer": str(self.http.base_url)}
        return self.http.request(method, path, headers=headers, **more)

    def next_task(self, project: int) -> dict[str, Any] | None:
        """The task that the label stream serves next, None when there is no more."""
        answer = self._call("GET", f"/api/projects/{project}/next")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return dict(answer.json())

    def submit(self, task: dict[str, Any], result: list[dict[str, Any]], lead_time_s: float) -> httpx.Response:
        """Submit what was drawn, with the prediction that it started from."""
        predictions = task.get("predictions") or []
        body: dict[str, Any] = {"result": result, "lead_time": lead_time_s, "draft_id": 0, "project": task["project"]}
        if predictions:
            body["parent_prediction"] = predictions[0]["id"]
        if task.get("unique_lock_id"):
            body["unique_id"] = task["unique_lock_id"]
        return self._call("POST", f"/api/tasks/{task['id']}/annotations/", params={"project": task["project"]}, json=body)

    def skip(self, task: dict[str, Any]) -> httpx.Response:
        """Skip the task."""
        body = {"result": [], "was_cancelled": True, "lead_time": 1.0}
        return self._call("POST", f"/api/tasks/{task['id']}/annotations/", params={"project": task["project"]}, json=body)

    def delete(self, annotation: int) -> httpx.Response:
        """Delete an annotation."""
        return self._call("DELETE", f"/api/annotations/{annotation}/")

    def close(self) -> None:
        """End the session."""
        self.http.close()

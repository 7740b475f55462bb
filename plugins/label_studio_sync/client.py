"""The only place that calls Label Studio's API.

Every call goes through label-studio-sdk's transport, which knows both kinds of token (legacy, and personal access
tokens with their short-lived access token).  Nothing is retried here: a write that timed out may have landed, and the
caller must look before it writes again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError

from label_config.values import ParallaxError

TIMEOUT_S = 60
PAGE = 1000
#: Oldest and newest release that the contract tests have seen.
TESTED_VERSIONS = ("1.23.2", "1.23.2")

#: Fields of a task and of its annotations that a pull needs; the listing then leaves predictions and drafts out.
_PULL_FIELDS = (
    "id,data,updated_at,is_labeled,total_annotations,cancelled_annotations,annotations,"
    "result,completed_by,was_cancelled,ground_truth,lead_time,parent_prediction"
)


class LabelStudioError(ParallaxError):
    """Label Studio refused a call (``status``), or could not be reached (``status`` None)."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def ambiguous(self) -> bool:
        """The call may have had its effect all the same."""
        return self.status is None or self.status >= 500


class Client:
    """Label Studio as Parallax sees it.  ``project`` arguments are Label Studio's project numbers."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/")
        try:
            self._sdk: Any = LabelStudio(base_url=self.url, api_key=token, timeout=TIMEOUT_S)  # type: ignore[no-untyped-call]
        except (ApiError, httpx.HTTPError) as error:
            raise self._failure("connect", error) from error

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
        """One request; the decoded JSON answer, None for an empty one.  Raises LabelStudioError."""
        try:
            response = self._sdk._client_wrapper.httpx_client.request(
                path, method=method, params=params, json=body, request_options={"max_retries": 0}
            )
        except (ApiError, httpx.HTTPError) as error:
            raise self._failure(f"{method} /{path}", error) from error
        if response.status_code >= 400:
            raise LabelStudioError(self._explain(f"{method} /{path}", response.status_code, response.text), response.status_code)
        return response.json() if response.content else None

    def _failure(self, what: str, error: Exception) -> LabelStudioError:
        if isinstance(error, ApiError):
            return LabelStudioError(self._explain(what, error.status_code or 0, str(error.body)), error.status_code)
        why = f"Label Studio at {self.url} did not answer {what} ({type(error).__name__})"
        return LabelStudioError(f"{why}; is it running, and is label_studio.url right?", None)

    def _explain(self, what: str, status: int, text: str) -> str:
        if status == 401:
            return (
                f"Label Studio at {self.url} refused the token (401 on {what}). Expected a personal access token or a legacy "
                "token of a user of this server; take one from Account & Settings and set LABEL_STUDIO_API_KEY. "
                "A legacy token also needs legacy tokens switched on in the organization."
            )
        return f"Label Studio at {self.url} answered {status} to {what}: {text[:500]}"

    # --- server and people -------------------------------------------------------------------------------------

    def version(self) -> str:
        """Release of the server, such as ``1.23.2``."""
        return str(self.call("GET", "api/version")["release"])

    def whoami(self) -> dict[str, Any]:
        """The user that the token belongs to."""
        return dict(self.call("GET", "api/current-user/whoami"))

    # --- projects ----------------------------------------------------------------------------------------------

    def project(self, project: int) -> dict[str, Any]:
        """All settings of one project."""
        return dict(self.call("GET", f"api/projects/{project}/"))

    def create_project(self, title: str, label_config: str) -> dict[str, Any]:
        """A new project."""
        return dict(self.call("POST", "api/projects/", body={"title": title, "label_config": label_config}))

    def change_project(self, project: int, **fields: Any) -> dict[str, Any]:
        """Set fields of the project.  ``model_version`` must already exist among its predictions."""
        return dict(self.call("PATCH", f"api/projects/{project}/", body=fields))

    def model_versions(self, project: int) -> dict[str, int]:
        """Prediction version → number of predictions."""
        return dict(self.call("GET", f"api/projects/{project}/model-versions/"))

    # --- tasks -------------------------------------------------------------------------------------------------

    def tasks(self, project: int, *, since: str | None = None, fields: str = _PULL_FIELDS) -> Iterator[dict[str, Any]]:
        """Tasks with their annotations, oldest change first, of those changed after ``since`` when it is given."""
        query: dict[str, Any] = {"ordering": ["tasks:updated_at"]}
        if since is not None:
            item = {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": since}
            query["filters"] = {"conjunction": "and", "items": [item]}
        yield from self._listing(project, fields, query)

    def _listing(self, project: int, fields: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        page, seen = 1, 0
        while True:
            params = {
                "project": project,
                "fields": "all",
                "include": fields,
                "page": page,
                "page_size": PAGE,
                "query": json.dumps(query),
            }
            answer = self.call("GET", "api/tasks", params=params)
            yield from answer["tasks"]
            seen += len(answer["tasks"])
            if seen >= answer["total"] or not answer["tasks"]:
                return
            page += 1

    def import_tasks(self, project: int, data: Sequence[dict[str, Any]]) -> list[int]:
        """Create tasks; their numbers in the order given."""
        path = f"api/projects/{project}/import"
        answer = self.call("POST", path, params={"return_task_ids": "true"}, body=[{"data": item} for item in data])
        return [int(task) for task in answer["task_ids"]]

    def change_task_data(self, task: int, data: dict[str, Any]) -> str:
        """Replace the task's data; its new ``updated_at``."""
        return str(self.call("PATCH", f"api/tasks/{task}/", body={"data": data})["updated_at"])

    def annotate(self, task: int, result: Sequence[dict[str, Any]]) -> int:
        """Submit an annotation as the token's own user; its number."""
        body = {"result": list(result), "ground_truth": False}
        return int(self.call("POST", f"api/tasks/{task}/annotations/", body=body)["id"])

    def delete_task(self, task: int) -> None:
        """Delete one task."""
        self.call("DELETE", f"api/tasks/{task}/")

    # --- predictions -------------------------------------------------------------------------------------------

    def import_predictions(self, project: int, predictions: Sequence[dict[str, Any]]) -> int:
        """Create predictions; how many Label Studio took (invalid ones are dropped without a word)."""
        return int(self.call("POST", f"api/projects/{project}/import/predictions", body=list(predictions))["created"])

    def prediction_versions(self, project: int) -> dict[int, list[str]]:
        """Task → versions of its predictions."""
        fields = "id,predictions_model_versions"
        listing = self._listing(project, fields, {})
        return {task["id"]: _split_versions(task["predictions_model_versions"]) for task in listing}

    def predictions_of(self, task: int) -> list[dict[str, Any]]:
        """All predictions of one task."""
        return list(self.call("GET", "api/predictions/", params={"task": task}))

    def predictions(self, project: int) -> list[dict[str, Any]]:
        """All predictions of the project, with their regions: large."""
        return list(self.call("GET", "api/predictions/", params={"task__project": project}))

    def delete_prediction(self, prediction: int) -> None:
        """Delete one prediction; one that is gone already is no error."""
        try:
            self.call("DELETE", f"api/predictions/{prediction}/")
        except LabelStudioError as error:
            if error.status != 404:
                raise

    # --- webhooks, backends, views, storage ------------------------------------------------------------------

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        """Webhooks of the project."""
        return list(self.call("GET", "api/webhooks/", params={"project": project}))

    def create_webhook(self, project: int, url: str, headers: dict[str, str], actions: Sequence[str]) -> dict[str, Any]:
        """A webhook for these actions only."""
        body = {"project": project, "url": url, "headers": headers, "send_for_all_actions": False, "actions": list(actions)}
        return dict(self.call("POST", "api/webhooks/", body={**body, "is_active": True, "send_payload": True}))

    def change_webhook(self, webhook: int, **fields: Any) -> dict[str, Any]:
        """Set fields of a webhook."""
        return dict(self.call("PATCH", f"api/webhooks/{webhook}/", body=fields))

    def delete_webhook(self, webhook: int) -> None:
        """Delete a webhook."""
        self.call("DELETE", f"api/webhooks/{webhook}/")

    def backends(self, project: int) -> list[dict[str, Any]]:
        """ML backends connected to the project."""
        return list(self.call("GET", "api/ml/", params={"project": project}))

    def connect_backend(self, project: int, url: str, title: str, user: str, password: str) -> dict[str, Any]:
        """Connect an ML backend with basic auth."""
        body = {"project": project, "url": url, "title": title, "is_interactive": False, "auth_method": "BASIC_AUTH"}
        return dict(self.call("POST", "api/ml/", body={**body, "basic_auth_user": user, "basic_auth_pass": password}))

    def disconnect_backend(self, backend: int) -> None:
        """Disconnect an ML backend."""
        self.call("DELETE", f"api/ml/{backend}/")

    def views(self, project: int) -> list[dict[str, Any]]:
        """Tabs of the data manager."""
        return list(self.call("GET", "api/dm/views/", params={"project": project}))

    def create_view(self, project: int, data: dict[str, Any]) -> int:
        """A new tab; its number."""
        return int(self.call("POST", "api/dm/views/", body={"project": project, "data": data})["id"])

    def delete_view(self, view: int) -> None:
        """Delete a tab."""
        self.call("DELETE", f"api/dm/views/{view}/")

    def local_storages(self, project: int) -> list[dict[str, Any]]:
        """Local file storages of the project."""
        return list(self.call("GET", "api/storages/localfiles", params={"project": project}))

    def create_local_storage(self, project: int, path: str, title: str) -> int:
        """Let the server serve files under ``path`` to annotators of this project."""
        body = {"project": project, "path": path, "title": title, "use_blob_urls": True}
        return int(self.call("POST", "api/storages/localfiles/", body=body)["id"])

    def delete_local_storage(self, storage: int) -> None:
        """Take a local file storage away; the files stay."""
        self.call("DELETE", f"api/storages/localfiles/{storage}/")


def _split_versions(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [part.strip() for part in str(value or "").split(",") if part.strip()]

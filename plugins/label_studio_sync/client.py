"""The only place that calls Label Studio's API, through label-studio-sdk.

The SDK calls over a connection of ours: its own follows redirects, and loses sub-path and certificates when it trades a
personal access token for the short-lived access token.  Nothing is retried here: a write that timed out may have landed, and
the caller must look before it writes again.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import httpx
from label_studio_sdk import LabelStudio

from label_config.settings.spec import Network
from label_config.values.errors import ServiceError
from ml_backend.recordings import Credentials, FetchError, certificate_problem, proxy_for, trusted

TIMEOUT_S = 60
#: Tasks per page: about 2 ms each on the development server, which serves nobody else meanwhile.
PAGE = 100
#: Tasks per page where Label Studio reads all predictions of each.
PREDICTIONS_PAGE = 25
#: Task numbers in one request; they travel in the address.
IDS = 200
#: A client that rests waits as long after a call as the call took, at most so long.
REST_S = 2.0
#: Oldest and newest release that the live tests ran on; docs/label-studio-versions.md says which of them.
TESTED_VERSIONS = ("1.20.0", "1.23.2")

#: Fields of a task and of its annotations that a pull needs; the listing then leaves predictions and drafts out.
PULL_FIELDS = (
    "id,data,created_at,updated_at,is_labeled,total_annotations,cancelled_annotations,annotations,"
    "result,completed_by,was_cancelled,ground_truth,lead_time,parent_prediction"
)


class LabelStudioError(ServiceError):
    """Label Studio refused a call (``status``), or could not be reached (``status`` None)."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def ambiguous(self) -> bool:
        """The call may have had its effect all the same."""
        return self.status is None or self.status >= 500


class Client:
    """Label Studio as Parallax sees it.  ``project`` arguments are Label Studio's project numbers.

    network  certificates and proxies
    rests    leaves every second moment to annotators: the development server answers one request at a time in effect
    """

    def __init__(self, url: str, token: str, *, rests: bool = False, network: Network = Network()) -> None:
        self.url, self.rests = url.rstrip("/"), rests
        self._rested_at = 0.0
        self._credentials = Credentials(token)
        self._http = httpx.Client(
            auth=self._authorize,
            follow_redirects=False,  # a POST would become a GET
            timeout=TIMEOUT_S,
            trust_env=False,
            verify=trusted(network.ca_file),
            proxy=proxy_for(self.url) if network.proxies == "environment" else None,
        )
        # The header that this key gives is replaced by :meth:`_authorize`.
        self._sdk: Any = LabelStudio(  # type: ignore[no-untyped-call]
            base_url=self.url, api_key="ours", httpx_client=self._http, max_retries=0
        )

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = self._credentials.header(self._trade)
        return request

    def _trade(self, path: str, content: dict[str, str]) -> tuple[int, object]:
        """A personal access token goes, an access token comes."""
        response = self._http.post(self.url + path, json=content, auth=httpx.Auth())
        self._refuse(f"POST {path}", path, response)
        return response.status_code, self._decoded(f"POST {path}", response)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None) -> Any:
        """One request; the decoded JSON answer, None for an empty one.  Raises LabelStudioError."""
        started = time.monotonic()
        if started < self._rested_at:
            time.sleep(self._rested_at - started)
            started = self._rested_at
        what = f"{method} /{path}"
        try:
            response = self._sdk._client_wrapper.httpx_client.request(path, method=method, params=params, json=body)
        except FetchError as error:
            raise LabelStudioError(f"Label Studio at {self.url} {error.problem}", 401) from error
        except httpx.HTTPError as error:
            raise self._failure(what, error) from error
        finally:
            ended = time.monotonic()
            self._rested_at = ended + min(ended - started, REST_S) if self.rests else 0.0
        self._refuse(what, path, response)
        return self._decoded(what, response)

    def _refuse(self, what: str, path: str, response: httpx.Response) -> None:
        if response.is_redirect:
            raise self._moved(what, path, response)
        if response.status_code >= 400:
            refused = LabelStudioError(self._explain(what, response.status_code, response.text), response.status_code)
            refused.retry_after_s = seconds_of(response.headers.get("retry-after"))
            raise refused

    def _decoded(self, what: str, response: httpx.Response) -> Any:
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise LabelStudioError(
                f"{self.url} answered {what} with something that is not JSON; is label_studio.url right?", response.status_code
            ) from error

    def _failure(self, what: str, error: httpx.HTTPError) -> LabelStudioError:
        certificate = certificate_problem(error)
        if certificate is not None:
            return LabelStudioError(f"Label Studio at {self.url}: {certificate}", None)
        why = f"Label Studio at {self.url} did not answer {what} ({type(error).__name__})"
        return LabelStudioError(f"{why}; is it running, and is label_studio.url right?", None)

    def _moved(self, what: str, path: str, response: httpx.Response) -> LabelStudioError:
        target = urljoin(str(response.request.url), response.headers.get("location", ""))
        base, found, _ = target.partition(f"/{path.strip('/')}")
        fix = f"write `url: {base}` under label_studio" if found and base != self.url else "correct label_studio.url"
        shown = target.partition("?")[0]
        return LabelStudioError(f"{self.url} redirects {what} to {shown}; {fix} in parallax.yaml", response.status_code)

    def _explain(self, what: str, status: int, text: str) -> str:
        if status == 401:
            return (
                f"Label Studio at {self.url} refused the token (401 on {what}). Expected a personal access token or a legacy "
                "token of a user of this server; take one from Account & Settings and set LABEL_STUDIO_API_KEY. "
                "A legacy token also needs legacy tokens switched on in the organization."
            )
        if re.match(r"\s*<(!doctype|html)", text, re.IGNORECASE):
            return (
                f"{self.url} answered {status} to {what} with a web page. Expected Label Studio's API there; is label_studio.url "
                "right, with the path under which Label Studio is served (such as /label-studio) and nothing after it?"
            )
        return f"Label Studio at {self.url} answered {status} to {what}: {text[:500]}"

    # --- server and people -------------------------------------------------------------------------------------

    def version(self) -> str:
        """Release of the server, such as ``1.23.2``."""
        answer = self.call("GET", "api/version")
        if not isinstance(answer, dict) or "release" not in answer:
            raise LabelStudioError(f"{self.url} is no Label Studio: it answers GET /api/version without a release", 200)
        return str(answer["release"])

    def whoami(self) -> dict[str, Any]:
        """The user that the token belongs to."""
        return dict(self.call("GET", "api/current-user/whoami"))

    def users(self) -> dict[str, int]:
        """E-mail address → number of every user that the token may see."""
        return {str(user["email"]): int(user["id"]) for user in self.call("GET", "api/users/")}

    # --- projects ----------------------------------------------------------------------------------------------

    def projects(self) -> list[dict[str, Any]]:
        """Number and title of every project that the token's user may see."""
        answer = self.call("GET", "api/projects/", params={"page_size": 1000, "include": "id,title"})
        return sorted(({"id": int(p["id"]), "title": str(p["title"])} for p in answer["results"]), key=lambda p: p["id"])

    def delete_project(self, project: int) -> None:
        """Delete a project with everything in it."""
        self.call("DELETE", f"api/projects/{project}/")

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

    def tasks(
        self, project: int, *, since: str | None = None, fields: str = PULL_FIELDS, raw: bool = True
    ) -> Iterator[dict[str, Any]]:
        """Tasks by number, all or those changed after ``since`` (``YYYY-MM-DDThh:mm:ss.ffffffZ``).

        raw  data as it is stored; else addresses in cloud storages come as ones that can be fetched
        """
        changed = [] if since is None else [_filter("updated_at", "greater", "Datetime", since)]
        yield from self._listing(project, fields, changed, raw=raw)

    def tasks_by_id(
        self, project: int, numbers: Sequence[int], *, fields: str = PULL_FIELDS, raw: bool = False
    ) -> Iterator[dict[str, Any]]:
        """These tasks, those that are gone left out.

        raw  data as it is stored, to be written back; else addresses in cloud storages come as ones that can be fetched
        """
        for start in range(0, len(numbers), IDS):
            wanted = _filter("id", "in_list", "List", list(numbers[start : start + IDS]))
            yield from self._listing(project, fields, [wanted], raw=raw)

    def _listing(
        self, project: int, fields: str, filters: list[dict[str, Any]], *, raw: bool = False, size: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Pages are cut by task number: whatever is changed, added or deleted meanwhile, no task is passed over."""
        last, size = 0, size or PAGE
        while True:
            items = [*filters, _filter("id", "greater", "Number", last)]
            query = {"ordering": ["tasks:id"], "filters": {"conjunction": "and", "items": items}}
            params = {"project": project, "fields": "all", "include": fields, "page_size": size, "query": json.dumps(query)}
            page = self.call("GET", "api/tasks", params={**params, "resolve_uri": json.dumps(not raw)})["tasks"]
            yield from page
            if len(page) < size:
                return
            last = page[-1]["id"]

    def import_tasks(self, project: int, data: Sequence[dict[str, Any]]) -> list[int]:
        """Create tasks; their numbers in the order given."""
        path = f"api/projects/{project}/import"
        answer = self.call("POST", path, params={"return_task_ids": "true"}, body=[{"data": item} for item in data])
        return [int(task) for task in answer["task_ids"]]

    def change_task_data(self, task: int, data: dict[str, Any]) -> str:
        """Replace the task's data; its new ``updated_at``."""
        return str(self.call("PATCH", f"api/tasks/{task}/", body={"data": data})["updated_at"])

    def annotate(self, task: int, result: Sequence[dict[str, Any]], *, by: int | None = None) -> int:
        """Submit an annotation as made by this user, None = the token's own; its number."""
        body = {"result": list(result), "ground_truth": False} | ({} if by is None else {"completed_by": by})
        return int(self.call("POST", f"api/tasks/{task}/annotations/", body=body)["id"])

    def delete_task(self, task: int) -> None:
        """Delete one task."""
        self.call("DELETE", f"api/tasks/{task}/")

    # --- predictions -------------------------------------------------------------------------------------------

    def import_predictions(self, project: int, predictions: Sequence[dict[str, Any]]) -> int:
        """Create predictions; how many Label Studio took (invalid ones are dropped without a word)."""
        return int(self.call("POST", f"api/projects/{project}/import/predictions", body=list(predictions))["created"])

    def predictions(
        self, project: int, *, containing: Sequence[str] = (), labelled: bool = False
    ) -> Iterator[tuple[int, dict[int, str]]]:
        """(task, {prediction: version}) of tasks with a prediction; only those where a version holds one of these texts."""
        filters = [_filter("predictions_model_versions", "contains", "List", list(containing))] if containing else []
        if labelled:
            filters.append(_filter("total_annotations", "greater", "Number", 0))
        for task in self._listing(project, "id,predictions,model_version", filters, raw=True, size=PREDICTIONS_PAGE):
            if task["predictions"]:
                yield task["id"], {p["id"]: str(p["model_version"] or "") for p in task["predictions"]}

    def prediction_version(self, prediction: int) -> str | None:
        """The version of one prediction, None when it is gone."""
        try:
            return str(self.call("GET", f"api/predictions/{prediction}/")["model_version"] or "")
        except LabelStudioError as error:
            if error.status == 404:
                return None
            raise

    def delete_prediction(self, prediction: int) -> None:
        """Delete one prediction; one that is gone already is no error."""
        try:
            self.call("DELETE", f"api/predictions/{prediction}/")
        except LabelStudioError as error:
            if error.status != 404:
                raise

    def delete_predictions_of(self, project: int, tasks: Sequence[int]) -> None:
        """Delete every prediction of these tasks, whoever made it, and count anew."""
        selected = {"selectedItems": {"all": False, "included": list(tasks)}}
        self.call("POST", "api/dm/actions", params={"id": "delete_tasks_predictions", "project": project}, body=selected)

    def recount_predictions(self, project: int) -> None:
        """Let Label Studio count the predictions of every task, which it does not when one of them is deleted.

        It counts after every import, also after one of nothing.
        """
        self.import_predictions(project, [])

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
        """Connect an ML backend with basic auth; it answers the clicks of the smart tool as well."""
        body = {"project": project, "url": url, "title": title, "is_interactive": True, "auth_method": "BASIC_AUTH"}
        return dict(self.call("POST", "api/ml/", body={**body, "basic_auth_user": user, "basic_auth_pass": password}))

    def change_backend(self, project: int, backend: int, url: str, user: str, password: str) -> None:
        """Set the basic auth that Label Studio brings, also with the clicks of the smart tool; it tries them at once."""
        body = {"project": project, "url": url, "auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        body["is_interactive"] = True
        self.call("PATCH", f"api/ml/{backend}", body=body)

    def disconnect_backend(self, backend: int) -> None:
        """Disconnect an ML backend."""
        self.call("DELETE", f"api/ml/{backend}")

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

    def storages(self, project: int) -> list[dict[str, Any]]:
        """Every storage, of any kind, from which the project takes its tasks."""
        return list(self.call("GET", "api/storages/", params={"project": project}))

    def create_local_storage(self, project: int, path: str, title: str) -> int:
        """Let the server serve files under ``path`` to annotators of this project."""
        body = {"project": project, "path": path, "title": title, "use_blob_urls": True}
        return int(self.call("POST", "api/storages/localfiles/", body=body)["id"])

    def storage_refusal(self, project: int, path: str) -> str | None:
        """Why the server would not serve this folder as a storage, None when it would; nothing is created."""
        try:
            self.call("POST", "api/storages/localfiles/validate", body={"project": project, "path": path, "use_blob_urls": True})
        except LabelStudioError as error:
            if error.status != 400:
                raise
            return str(error)
        return None

    def delete_local_storage(self, storage: int) -> None:
        """Take a local file storage away; the files stay."""
        self.call("DELETE", f"api/storages/localfiles/{storage}")


def seconds_of(retry_after: str | None) -> float:
    """How long to wait as a header ``Retry-After`` says, in seconds or as a date; 0 where it says nothing of use."""
    if retry_after is None:
        return 0.0
    if re.fullmatch(r"\d{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}

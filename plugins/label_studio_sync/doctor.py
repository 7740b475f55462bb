"""Every hop between an annotator and the model, looked at one by one; what is wrong comes with its exact fix."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from label_config.binding import bind
from label_config.spec import Spec
from label_config.values import ParallaxError
from ml_backend.store import presence, versions
from ml_backend.store.workspace import Workspace, open_workspace
from plugins.label_studio_sync.client import TESTED_VERSIONS, Client, LabelStudioError
from plugins.label_studio_sync.connection import BACKEND_TITLE, SECRET_HEADER

State = Literal["ok", "warning", "error"]
#: Label Studio waits this long for a backend's health and for a webhook.
PATIENCE_S = 1.0
PRIVATE_HINT = "set ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false in Label Studio's environment and restart it"


@dataclass(frozen=True)
class Finding:
    """One hop: its state, what was seen, and the fix when there is something to fix."""

    hop: str
    state: State
    seen: str
    fix: str = ""


def examine(spec: Spec, connect: Callable[[str, str], Client] = Client) -> list[Finding]:
    """Look at every hop in order; where one is broken, those that need it are left out."""
    return list(_examine(spec, connect))


def _examine(spec: Spec, connect: Callable[[str, str], Client]) -> Iterator[Finding]:
    token = spec.label_studio.token
    if token is None:
        yield Finding("token", "error", "no token", "set LABEL_STUDIO_API_KEY to a personal access token (Account & Settings)")
        return
    try:
        client = connect(spec.label_studio.url, token.get_secret_value())
        release = client.version()
        user = client.whoami()
    except LabelStudioError as error:
        yield Finding("Label Studio", "error", str(error), _address_fix(error, spec))
        return
    yield Finding(
        "Label Studio", "ok", f"{spec.label_studio.url} answers as {user['email']}, {_token_kind(token.get_secret_value())}"
    )
    yield _release(release)
    try:
        workspace = open_workspace(spec)
        project = client.project(workspace.project.ls_project_id)
    except ParallaxError as error:
        yield Finding("project", "error", str(error), "run `parallax init`")
        return
    yield from _project(workspace, client, project)
    yield from _labels(workspace, project)
    yield from _backend(workspace, client)
    yield from _webhook(workspace, client)
    yield from _processes(workspace)
    yield from _window(workspace, client, project)


def _address_fix(error: LabelStudioError, spec: Spec) -> str:
    if error.status == 401:
        return (
            "take a new token from Account & Settings; for a legacy token switch legacy tokens on in the organization's settings"
        )
    if error.status is None:
        return f"start Label Studio, or correct label_studio.url ({spec.label_studio.url}) in parallax.yaml"
    return "see the message"


def _token_kind(token: str) -> str:
    return "with a personal access token" if token.count(".") == 2 else "with a legacy token"


def _release(release: str) -> Finding:
    oldest, newest = TESTED_VERSIONS
    known = _numbers(oldest) <= _numbers(release) <= _numbers(newest)
    if known:
        return Finding("release", "ok", f"Label Studio {release}")
    fix = f"Parallax was tested with {oldest} to {newest}; run its live tests against yours, or install one of those"
    return Finding("release", "warning", f"Label Studio {release} is unknown to this Parallax", fix)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:3] if part.isdigit())


def _project(workspace: Workspace, client: Client, project: dict[str, Any]) -> Iterator[Finding]:
    overlap = project.get("maximum_annotations", 1)
    if overlap > 1:
        yield Finding(
            "overlap",
            "warning",
            f"{overlap} annotations per task",
            "above 1 Label Studio serves started tasks first and picks among them at random; set it to 1 to keep the order",
        )
    else:
        yield Finding("overlap", "ok", "one annotation per task")
    version = project.get("model_version") or ""
    titles = {backend["title"] for backend in client.backends(project["id"])} | {BACKEND_TITLE}
    if version in titles:
        yield Finding(
            "model_version",
            "error",
            f"the model version is the title of an ML backend ({version!r}); no prediction has it, so the order is random",
            "`parallax sync` sets it at the next push; or choose a px-… version under Settings › Model",
        )
    elif version and not version.startswith("px-"):
        yield Finding(
            "model_version",
            "warning",
            f"annotators are served {version!r}, not ours",
            "`parallax sync` switches at its next push",
        )
    else:
        yield Finding("model_version", "ok", version or "not set yet")
    if project.get("sampling") != "Uncertainty sampling" and version:
        yield Finding(
            "sampling",
            "error",
            f"task order is {project.get('sampling')!r}",
            "`parallax sync` sets 'Uncertainty sampling' at its next push",
        )


def _labels(workspace: Workspace, project: dict[str, Any]) -> Iterator[Finding]:
    held = workspace.binding
    try:
        binding = bind(project["label_config"], held.skeleton, views=held.names, aliases=workspace.spec.aliases)
    except ParallaxError as error:
        yield Finding("labels", "error", str(error), "restore the labelling config, or run `parallax init` again")
        return
    for problem in binding.problems:
        yield Finding(
            "labels", problem.severity, problem.message, "correct the labelling config, or write `aliases` in parallax.yaml"
        )
    if not binding.problems:
        yield Finding("labels", "ok", f"{len(binding.skeleton)} keypoints in {len(binding.views)} pictures")
    for view in binding.views:
        missing = [name for index, name in enumerate(binding.skeleton.keypoints) if index not in view.label_of]
        if missing:
            yield Finding(
                "labels", "warning", f"{view.view}: no label for {', '.join(missing)}", "add the labels to the labelling config"
            )


def _backend(workspace: Workspace, client: Client) -> Iterator[Finding]:
    url = workspace.spec.backend.url.rstrip("/")
    started = time.monotonic()
    try:
        answer = httpx.get(f"{url}/health", timeout=5)
        took = time.monotonic() - started
    except httpx.HTTPError as error:
        yield Finding(
            "backend",
            "error",
            f"{url} does not answer ({type(error).__name__})",
            "start it with `parallax up` or `parallax serve`",
        )
        return
    if answer.status_code >= 300:
        yield Finding("backend", "error", f"{url}/health answers {answer.status_code}", "is another service on this port?")
    elif took > PATIENCE_S:
        yield Finding(
            "backend", "error", f"{url}/health took {took:.1f} s", "Label Studio gives up after 1 s; move the backend nearer"
        )
    else:
        yield Finding("backend", "ok", f"{url} answers in {took * 1000:.0f} ms")
    connected = [backend for backend in client.backends(workspace.project.ls_project_id) if backend["url"].rstrip("/") == url]
    if not connected:
        yield Finding(
            "backend entry",
            "warning",
            "the project has no ML backend with this address",
            f"run `parallax init`; on 403 {PRIVATE_HINT}",
        )
    elif connected[0].get("state") not in (None, "CO"):
        seen = f"Label Studio says {connected[0]['state']}: {connected[0].get('error_message') or 'no message'}"
        yield Finding("backend entry", "warning", seen, f"can Label Studio reach {url}? For a private address {PRIVATE_HINT}")
    else:
        yield Finding("backend entry", "ok", "connected")


def _webhook(workspace: Workspace, client: Client) -> Iterator[Finding]:
    url = f"{workspace.spec.backend.url.rstrip('/')}/webhook"
    hooks = [hook for hook in client.webhooks(workspace.project.ls_project_id) if hook["url"].rstrip("/") == url]
    polling = f"labels are still found by polling every {workspace.spec.sync.tick_seconds:.0f} s"
    if not hooks:
        yield Finding("webhook", "warning", f"none with our address; {polling}", f"run `parallax init`; on 403 {PRIVATE_HINT}")
    elif SECRET_HEADER not in (hooks[0].get("headers") or {}):
        yield Finding(
            "webhook", "warning", f"it brings no {SECRET_HEADER} header, so it is refused; {polling}", "run `parallax init` again"
        )
    elif not hooks[0].get("is_active"):
        yield Finding("webhook", "warning", f"it is switched off; {polling}", "run `parallax init` again")
    else:
        yield Finding("webhook", "ok", "registered with its secret")


def _processes(workspace: Workspace) -> Iterator[Finding]:
    alive = presence.alive(workspace.store, within_s=90)
    for role, command in (
        ("sync", "parallax sync"),
        ("infer", "parallax worker --queues infer"),
        ("train", "parallax worker --queues train"),
    ):
        if any(name.split("@")[0] == role for name in alive):
            yield Finding(role, "ok", "alive")
        else:
            yield Finding(role, "error", "no sign of life for 90 s", f"start `parallax up`, or `{command}`")


def _window(workspace: Workspace, client: Client, project: dict[str, Any]) -> Iterator[Finding]:
    live = versions.live(workspace.store, workspace.project_id)
    yield Finding("model", "ok", f"px-{live.number} is live" if live else "none yet: label the first frames")
    state = workspace.project
    if state.halted:
        yield Finding("training", "error", state.halted, "check Label Studio, then `parallax resume`")
    version = project.get("model_version") or ""
    if state.generation is None:
        yield Finding("window", "warning", "no order has been pushed yet", "wait for the first tick, or see `parallax status`")
        return
    count = client.model_versions(project["id"]).get(version, 0)
    if count == 0:
        yield Finding("window", "error", f"no prediction has the version {version!r} that is served", "run `parallax push`")
    else:
        yield Finding("window", "ok", f"{count} tasks carry {version}")

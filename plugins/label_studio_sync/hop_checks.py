"""Every hop between an annotator and the model, checked one by one; what is wrong comes with its exact fix."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from label_config.labelling.binding import bind
from label_config.settings.spec import Spec
from label_config.values import ParallaxError
from label_config.values.errors import SettingsError
from label_config.values.refusal import Refusal
from ml_backend.project.rig_findings import rig_findings
from ml_backend.project.round_state import RoundState
from ml_backend.store import frames, presence, submissions, tasks, versions
from ml_backend.store.frames import FrameRow
from ml_backend.store.workspace import Workspace, open_workspace
from plugins.label_studio_sync.client import TESTED_VERSIONS, Client, LabelStudioError
from plugins.label_studio_sync.config_watch import what_is_lost
from plugins.label_studio_sync.finding import Finding
from plugins.label_studio_sync.overlap import ONE
from plugins.label_studio_sync.picture_check import try_pictures
from plugins.label_studio_sync.project_findings import check_project, what_is_wrong
from plugins.label_studio_sync.troubles import Troubles
from plugins.label_studio_sync.webhook_and_backend import BACKEND_TITLE
from plugins.label_studio_sync.which_project import NoProjectError, named_project

#: Label Studio waits this long for a backend's health and for a webhook.
PATIENCE_S = 1.0
#: Processes give a sign of life every 10 to 30 seconds.
ALIVE_WITHIN_S = 90.0
_BY_ITSELF = "`parallax up` registers it within a minute of the backend's first answer"
PRIVATE_HINT = "set ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false in Label Studio's environment and restart it"


def examine(spec: Spec, connect: Callable[..., Client] = Client) -> list[Finding]:
    """Check every hop in order; where one is broken, those that need it are left out."""
    with contextlib.ExitStack() as opened:
        return list(_examine(spec, connect, opened))


def _examine(spec: Spec, connect: Callable[..., Client], opened: contextlib.ExitStack) -> Iterator[Finding]:
    token = spec.label_studio.token
    if token is None:
        yield Finding("token", "error", "no token", "set LABEL_STUDIO_API_KEY to a personal access token (Account & Settings)")
        return
    try:
        client = connect(spec.label_studio.url, token.get_secret_value(), network=spec.network)
        opened.callback(client.close)
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
        opened.callback(workspace.store.close)
    except ParallaxError as error:
        yield Finding("project", "error", str(error), "run `parallax init`")
        return
    try:
        project = named_project(client, workspace.project.ls_project_id)
    except NoProjectError as error:
        seen, _, fix = str(error).partition(". ")
        yield Finding("project", "error", seen, fix)
        return
    yield from _project(workspace, client, project)
    yield from _labels(workspace, project)
    yield from _annotations(workspace)
    yield from _cameras(workspace)
    yield from _pictures(workspace)
    yield from _scores(workspace)
    yield from _redis(spec)
    yield _backend(workspace)
    yield _backend_entry(workspace, client)
    yield _webhook(workspace, client)
    yield from _processes(workspace)
    yield from _window(workspace, client, project)


def _address_fix(error: LabelStudioError, spec: Spec) -> str:
    if error.status == 401:
        return (
            "take a new token from Account & Settings; for a legacy token switch legacy tokens on in the organization's settings"
        )
    return f"start Label Studio, or correct label_studio.url ({spec.label_studio.url}) in parallax.yaml"


def _token_kind(token: str) -> str:
    return "with a personal access token" if token.count(".") == 2 else "with a legacy token"


def _release(release: str) -> Finding:
    oldest, newest = TESTED_VERSIONS
    known = _numbers(oldest) <= _numbers(release) <= _numbers(newest)
    if known:
        return Finding("release", "ok", f"Label Studio {release}; tested were {oldest} to {newest}")
    fix = f"Parallax was tested with {oldest} to {newest}; run its live tests against yours, or install one of those"
    return Finding("release", "warning", f"Label Studio {release} is unknown to this Parallax", fix)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:3] if part.isdigit())


def _project(workspace: Workspace, client: Client, project: dict[str, Any]) -> Iterator[Finding]:
    folders = any("/data/local-files/" in ref.source for row in _frames(workspace) for ref in row.images.values())
    found = list(check_project(workspace.spec, client, project, serves_folders=folders))
    yield from (finding for finding in found if finding.hop != "webhook")  # it has a hop of its own
    if not any(finding.hop == "overlap" for finding in found):
        yield Finding("overlap", "ok", ONE)
    version = project.get("model_version") or ""
    titles = {backend["title"] for backend in client.backends(project["id"])} | {BACKEND_TITLE}
    if version in titles:
        yield Finding(
            "model_version",
            "error",
            f"the model version is the title of an ML backend ({version!r}); no prediction has it, so the order is random",
            "`parallax sync` sets it at its next tick; or choose a px-… version under Settings › Model",
        )
    elif version and not version.startswith("px-"):
        yield Finding(
            "model_version",
            "warning",
            f"annotators are served {version!r}, not ours",
            "`parallax sync` switches at its next tick, or with the first order",
        )
    else:
        yield Finding("model_version", "ok", version or "not set yet")
    if project.get("sampling") != "Uncertainty sampling" and version:
        yield Finding(
            "sampling",
            "error",
            f"task order is {project.get('sampling')!r}",
            "`parallax sync` sets 'Uncertainty sampling' at its next tick",
        )


def _labels(workspace: Workspace, project: dict[str, Any]) -> Iterator[Finding]:
    held, spec = workspace.binding, workspace.spec
    try:
        binding = bind(project["label_config"], held.skeleton, views=held.names, aliases=spec.aliases, visibility=spec.visibility)
    except ParallaxError as error:
        yield Finding("labels", "error", str(error), "restore the labelling config, or run `parallax init` again")
        return
    lost = what_is_lost(held, binding)
    if lost:
        yield Finding("labels", "error", lost, "restore the label, or write `aliases` in parallax.yaml")
    drafted = workspace.spec.skeleton is None
    fix = "correct the labelling config, or write `aliases` in parallax.yaml" + (
        "; labels that are new become keypoints with `parallax init`, and the next model learns them" if drafted else ""
    )
    for problem in binding.problems:
        yield Finding("labels", problem.severity, problem.message, fix)
    if not binding.problems and not lost:
        yield Finding("labels", "ok", f"{len(binding.skeleton)} keypoints in {len(binding.views)} pictures")


def _annotations(workspace: Workspace) -> Iterator[Finding]:
    """What people submitted and cannot be used: labels that nobody mapped, choices that nobody knows."""
    numbers = {task.id: task.ls_task_id for task in tasks.list_tasks(workspace.store)}
    troubles = Troubles()
    for row in submissions.list_annotations(workspace.store):
        for text in row.problems if row.task_id in numbers else ():
            expected, _, got = text.partition(", got ")
            troubles.add(numbers[row.task_id], Refusal(expected, got))
    for line in troubles.lines().values():
        yield Finding("annotations", "warning", line, "write `aliases` or `visibility` in parallax.yaml, or correct the labels")


def _frames(workspace: Workspace) -> list[FrameRow]:
    return frames.list_frames(workspace.store)


def _pictures(workspace: Workspace) -> Iterator[Finding]:
    places = ((f"{row.key}, view {view}", ref.source) for row in _frames(workspace) for view, ref in row.images.items())
    for tried in try_pictures(workspace.spec, places, workspace.project.public_url):
        fix = "" if tried.problem is None else "correct what it names; the frames stay in the pool and are tried again"
        yield Finding("pictures", "error" if tried.problem else "ok", tried.seen, fix)


def _cameras(workspace: Workspace) -> Iterator[Finding]:
    """What labels and predictions say about the calibration and the pairing."""
    try:
        found = rig_findings(workspace)
    except ParallaxError as error:
        yield Finding("cameras", "warning", str(error), "correct what it names")
        return
    yield from (Finding("cameras", "warning", one.seen, one.fix) for one in found)


def _scores(workspace: Workspace) -> Iterator[Finding]:
    from ml_backend.jobs.unavailable_scores import unmet  # needs torch, which the sync process does without

    try:
        lacking = unmet(RoundState(workspace))
    except ParallaxError as error:
        yield Finding("scores", "error", str(error), "correct `scores` in parallax.yaml")
        return
    for name, why in lacking.items():
        seen, _, fix = why.partition("; ")
        yield Finding("scores", "warning", f"{name!r} says nothing: {seen}", fix)


def _backend(workspace: Workspace) -> Finding:
    url = workspace.spec.backend.url.rstrip("/")
    started = time.monotonic()
    try:
        answer = httpx.get(f"{url}/health", timeout=5)
    except httpx.HTTPError as error:
        if not any(name.startswith("server@") for name in _ever_heard_of(workspace)):
            return Finding("backend", "warning", "has not run yet", "run `parallax up` in a terminal of its own")
        seen = f"{url} does not answer ({type(error).__name__})"
        return Finding("backend", "error", seen, "start it with `parallax up` or `parallax serve`")
    took = time.monotonic() - started
    if answer.status_code >= 300:
        return Finding("backend", "error", f"{url}/health answers {answer.status_code}", "is another service on this port?")
    if took > PATIENCE_S:
        fix = f"Label Studio gives up after {PATIENCE_S:.0f} s; move the backend nearer"
        return Finding("backend", "error", f"{url}/health took {took:.1f} s", fix)
    return Finding("backend", "ok", f"{url} answers in {took * 1000:.0f} ms")


def _backend_entry(workspace: Workspace, client: Client) -> Finding:
    url = workspace.spec.backend.url.rstrip("/")
    connected = [backend for backend in client.backends(workspace.project.ls_project_id) if backend["url"].rstrip("/") == url]
    if not connected:
        seen = "the project has no ML backend with this address"
        return Finding("backend entry", "warning", seen, f"{_BY_ITSELF}; on 403 {PRIVATE_HINT}")
    if connected[0].get("state") not in (None, "CO"):
        seen = f"Label Studio says {connected[0]['state']}: {connected[0].get('error_message') or 'no message'}"
        fix = f"can Label Studio reach {url}? For a private address {PRIVATE_HINT}"
        return Finding("backend entry", "warning", seen, fix)
    return Finding("backend entry", "ok", "connected")


def _webhook(workspace: Workspace, client: Client) -> Finding:
    url = f"{workspace.spec.backend.url.rstrip('/')}/webhook"
    hook = next((hook for hook in client.webhooks(workspace.project.ls_project_id) if hook["url"].rstrip("/") == url), None)
    again = "run `parallax init` again"
    if hook is None:
        wrong, again = "none with our address", f"{_BY_ITSELF}; on 403 {PRIVATE_HINT}"
    else:
        wrong = what_is_wrong(hook, workspace.spec)
    if not wrong:
        return Finding("webhook", "ok", "registered with its secret")
    polling = f"labels are still found by polling every {workspace.spec.sync.tick_seconds:.0f} s"
    return Finding("webhook", "warning", f"{wrong}; {polling}", again)


def _processes(workspace: Workspace) -> Iterator[Finding]:
    heard = _ever_heard_of(workspace)
    for role, command in (
        ("sync", "parallax sync"),
        ("infer", "parallax worker --queues infer"),
        ("train", "parallax worker --queues train"),
    ):
        age = min((age for name, age in heard.items() if name.split("@")[0] == role), default=None)
        if age is None:
            yield Finding(role, "warning", "has not run yet", f"run `parallax up`, or `{command}`")
        elif age > ALIVE_WITHIN_S:
            seen = f"last sign of life {age / 60:.0f} min ago"
            yield Finding(role, "error", seen, f"run `parallax up`, or `{command}`; why it ended stands in .parallax/logs")
        else:
            yield Finding(role, "ok", "alive")


def _ever_heard_of(workspace: Workspace) -> dict[str, float]:
    """Process → seconds since its last sign of life."""
    return presence.alive(workspace.store, within_s=time.time())


def _redis(spec: Spec) -> Iterator[Finding]:
    """Only one of the user's own: `parallax up` starts another where none is named."""
    if spec.redis is None:
        return
    from ml_backend.jobs.queue import away, connect

    address = spec.redis.get_secret_value()
    place = address.rpartition("@")[2].removeprefix("redis://")
    try:
        with connect(address, socket_timeout=2, socket_connect_timeout=2) as server:
            server.ping()
    except Exception as error:
        problem = error if isinstance(error, SettingsError) else away(error)
        fix = "start it, or correct PARALLAX_REDIS_URL (`redis` in parallax.yaml); without one `parallax up` starts its own"
        yield Finding("redis", "error", f"{place}: {problem}; no model is trained", fix)
    else:
        yield Finding("redis", "ok", f"{place} answers")


def _window(workspace: Workspace, client: Client, project: dict[str, Any]) -> Iterator[Finding]:
    live = versions.live(workspace.store)
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

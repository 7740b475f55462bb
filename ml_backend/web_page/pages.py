"""The addresses of the web page: who may enter, and which module says what is shown where."""

from __future__ import annotations

import hmac
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Flask, Response, abort, redirect, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from label_config.values import ParallaxError
from ml_backend.server.access import LOGIN, PAGE
from ml_backend.server.sessions import COOKIE, LIFETIME_S, form_token, is_session, new_session
from ml_backend.store import frames, generations, page_rows, submissions, versions
from ml_backend.store.workspace import Workspace
from ml_backend.web_page import label_quality, work_in_progress
from ml_backend.web_page.background import Background
from ml_backend.web_page.corrections import corrections
from ml_backend.web_page.frame_view import frame_view
from ml_backend.web_page.labelling_progress import advice, curve
from ml_backend.web_page.model_versions import model_versions
from ml_backend.web_page.next_window import window
from ml_backend.web_page.picture_answers import HEIGHTS, PictureAnswers
from ml_backend.web_page.recording_view import recording_view, recordings
from ml_backend.web_page.task_links import data_manager

#: Nothing from anywhere else, no inline script, no form to anywhere else, no frame around us.
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
NAVIGATION = (
    ("", "Overview"),
    ("curve", "Learning curve"),
    ("corrections", "Corrections"),
    ("window", "Next window"),
    ("labels", "Label check"),
    ("pseudo", "Pseudo-labels"),
    ("recordings", "Recordings"),
    ("versions", "Versions"),
    ("jobs", "Jobs"),
    ("doctor", "Doctor"),
)
#: Wrong secrets within so many seconds after which the login waits.
_TRIES, _WITHIN_S = 10, 60.0
#: What ``parallax doctor`` found is shown for so long before it is asked again.
_DOCTOR_S = 120.0


@dataclass(frozen=True)
class PageFinding:
    """One line of ``parallax doctor``."""

    hop: str
    state: str
    seen: str
    fix: str


@dataclass(frozen=True)
class PageCommands:
    """Commands that a person may give from the page; both run as ``parallax`` does, in a process of their own.

    doctor    its findings;  rollback  makes a version live: what it said, or ParallaxError
    """

    doctor: Callable[[], list[PageFinding]]
    rollback: Callable[[int], str]


class _Tries:
    """Counts wrong secrets."""

    def __init__(self) -> None:
        self._at: deque[float] = deque()
        self._lock = threading.Lock()

    def too_many(self) -> bool:
        with self._lock:
            while self._at and time.monotonic() - self._at[0] > _WITHIN_S:
                self._at.popleft()
            return len(self._at) >= _TRIES

    def wrong(self) -> None:
        with self._lock:
            self._at.append(time.monotonic())


def add_pages(app: Flask, workspace: Workspace, secret: str | None, commands: PageCommands | None = None) -> None:
    """Add the web page to the backend; see ``server.access`` for who gets this far.

    commands  None: neither findings of the doctor nor a button to go back
    """
    pages = Blueprint("page", __name__, url_prefix=PAGE, template_folder="templates", static_folder="static")
    pictures, tries = PictureAnswers(workspace), _Tries()
    advised = Background(lambda: advice(workspace))
    examined = Background(commands.doctor) if commands is not None else None

    def show(template: str, **values: Any) -> str:
        title = workspace.project.title
        token = form_token(secret, request.cookies.get(COOKIE, ""))
        return render_template(template, navigation=NAVIGATION, project=title, form_token=token, **values)

    @pages.after_request
    def _guard(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @pages.errorhandler(HTTPException)
    def _missing(error: HTTPException) -> tuple[str, int]:
        return show("message.html", heading=error.name, text=error.description or ""), error.code or 500

    @pages.get("/login")
    def login() -> str:
        return render_template("login.html", problem="", go_to=_ours(request.args.get("next")))

    @pages.post("/login")
    def enter() -> AnyResponse | tuple[str, int]:
        go_to = _ours(request.form.get("next"))
        if tries.too_many():
            return render_template("login.html", problem="Too many wrong secrets; wait a minute.", go_to=go_to), 429
        offered = request.form.get("secret", "").strip()
        if secret is not None and not hmac.compare_digest(offered.encode(), secret.encode()):
            tries.wrong()
            return render_template("login.html", problem="That is not the secret.", go_to=go_to), 403
        answer = redirect(go_to, 303)
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
        answer.set_cookie(
            COOKIE, new_session(secret or ""), max_age=int(LIFETIME_S), path=PAGE, httponly=True, samesite="Strict", secure=secure
        )
        return answer

    @pages.post("/logout")
    def leave() -> AnyResponse:
        _check_form(secret)
        answer = redirect(LOGIN, 303)
        answer.delete_cookie(COOKIE, path=PAGE, httponly=True, samesite="Strict")
        return answer

    @pages.get("/")
    def overview() -> str:
        return show(
            "overview.html",
            here="",
            facts=_facts(workspace),
            advice=advised.get(_labels(workspace), wait_s=0.1),
            jobs=work_in_progress.jobs(workspace)[:5],
            processes=work_in_progress.processes(workspace),
            events=work_in_progress.events(workspace),
            tasks=data_manager(workspace.project),
        )

    @pages.get("/curve")
    def learning_curve() -> str:
        known = advised.get(_labels(workspace), wait_s=0.1)
        forecast = None if known.value is None else known.value.forecast
        return show("curve.html", here="curve", curve=curve(workspace, forecast), advice=known)

    @pages.get("/corrections")
    def edits() -> str:
        return show("corrections.html", here="corrections", found=corrections(workspace))

    @pages.get("/window")
    def order() -> str:
        start = max(0, request.args.get("start", 0, type=int))
        return show("window.html", here="window", window=window(workspace, start), views=workspace.views)

    @pages.get("/labels")
    def labels() -> str:
        return show("labels.html", here="labels", listed=label_quality.tasks_to_check(workspace))

    @pages.get("/pseudo")
    def pseudo() -> str:
        rounds, newest = label_quality.pseudo_rounds(workspace), label_quality.newest_pseudo_labels(workspace)
        return show("tables.html", here="pseudo", heading="Pseudo-labels", intro=_PSEUDO, tables=[rounds, newest])

    @pages.get("/recordings")
    def list_recordings() -> str:
        return show("tables.html", here="recordings", heading="Recordings", intro="", tables=[recordings(workspace)])

    @pages.get("/recording")
    def recording() -> str:
        found = recording_view(workspace, request.args.get("name", ""), request.args.get("score"))
        if found is None:
            abort(404, "The project has no frame of such a recording.")
        return show("recording.html", here="recordings", recording=found)

    @pages.get("/open")
    def open_frame() -> AnyResponse:
        sequence, index = request.args.get("sequence", ""), request.args.get("index", 0, type=int)
        found = page_rows.frame_before(workspace.store, sequence, index, included=True)
        found = found or page_rows.frame_after(workspace.store, sequence, index)
        if found is None:
            abort(404, "The project has no frame of such a recording.")
        return redirect(f"{PAGE}/frame/{found}", 303)

    @pages.get("/frame/<int:frame_id>")
    def frame(frame_id: int) -> str:
        found = frame_view(workspace, frame_id) if frame_id < 2**31 else None
        if found is None:
            abort(404, "The project has no such frame.")
        return show("frame.html", here="recordings", frame=found, recording=quote(found.sequence, safe=""))

    @pages.get("/picture/<int:frame_id>/<int:position>/<int:height>")
    @pages.get("/picture/<int:frame_id>/<int:position>/full")
    def picture(frame_id: int, position: int, height: int | None = None) -> Response:
        known = height is None or height in HEIGHTS
        data = pictures.jpeg(frame_id, position, height) if known and frame_id < 2**31 else None
        if data is None:
            abort(404, "There is no such picture, or it cannot be read.")
        answer = Response(data, content_type="image/jpeg")
        answer.headers["Cache-Control"] = "private, max-age=3600"
        return answer

    @pages.get("/versions")
    def list_versions() -> str:
        before = request.args.get("before", None, type=int)
        return show("versions.html", here="versions", found=model_versions(workspace, before), can=commands is not None, said="")

    @pages.post("/rollback")
    def rollback() -> str | tuple[str, int]:
        _check_form(secret)
        number = request.form.get("version", -1, type=int)
        if commands is None or number < 0:
            abort(400, "No version was named.")
        try:
            said, status = commands.rollback(number), 200
        except ParallaxError as error:
            said, status = str(error), 409
        return show("versions.html", here="versions", found=model_versions(workspace, None), can=True, said=said), status

    @pages.get("/jobs")
    def list_jobs() -> str:
        values = {"jobs": work_in_progress.jobs(workspace), "processes": work_in_progress.processes(workspace)}
        return show("jobs.html", here="jobs", events=work_in_progress.events(workspace), **values)

    @pages.get("/jobs/now")
    def jobs_now() -> str:
        return render_template("jobs_now.html", jobs=work_in_progress.jobs(workspace))

    @pages.get("/doctor")
    def doctor() -> str:
        found = None if examined is None else examined.get(int(time.time() / _DOCTOR_S), wait_s=0.3)
        return show("doctor.html", here="doctor", found=found, now=time.time())

    app.register_blueprint(pages)


_PSEUDO = (
    "Frames on which the calibrated cameras agreed so well that the network may learn from what it predicted there. "
    "Open some of them and compare: a wrong one is corrected by labelling it."
)


def _ours(address: str | None) -> str:
    """Where to go after the login: one of these pages."""
    fits = address is not None and address.startswith(f"{PAGE}/") and "\\" not in address and address.isprintable()
    return address if fits and address is not None else f"{PAGE}/"


def _check_form(secret: str | None) -> None:
    """Only a form of this session's own pages may change something; callers with the secret itself need none."""
    session = request.cookies.get(COOKIE, "")
    brought = request.form.get("form_token", "")
    known = secret is None or is_session(secret, session)
    if not known or not hmac.compare_digest(brought.encode(), form_token(secret, session).encode()):
        abort(403, "The form is not of this session. Open the page again.")


def _labels(workspace: Workspace) -> object:
    """Changes when the advice may."""
    live = versions.live(workspace.store)
    return submissions.state(workspace.store), workspace.project.generation, None if live is None else live.id


def _facts(workspace: Workspace) -> Mapping[str, str]:
    """The overview's figures, in the order in which a person asks."""
    project, store = workspace.project, workspace.store
    live = versions.live(store)
    facts = {
        "Frames in the pool": f"{frames.count(store):,}",
        "Annotations": f"{submissions.count(store):,}",
        "Model": "none yet" if live is None else f"px-{live.number}" + (", pinned" if project.pinned else ""),
    }
    if live is not None and isinstance(error := live.metrics.get("validation_px"), int | float):
        facts["Its validation error"] = f"{error:.2f} px"
    if project.generation is None:
        facts["Order"] = "none pushed yet"
    else:
        size, still_open = page_rows.window_counts(store, project.generation)
        facts["Order"] = f"{generations.get(store, project.generation).name}: {still_open} of {size} frames are open"
    for what, text in (("Stopped", project.binding_problem), ("Training stopped", project.halted)):
        if text:
            facts[what] = text
    return facts

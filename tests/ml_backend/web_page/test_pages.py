"""The web page by Flask's test client: who may enter, what stands there, and what it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy.engine.cursor import CursorFetchStrategy

from label_config.settings.caller_secret import SECRET_HEADER, webhook_key
from label_config.values import ParallaxError
from ml_backend.server import sessions
from ml_backend.server.app import create_app
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.pages import PageCommands, PageFinding, add_pages
from tests.small_project import SECRET
from tests.web_project import LABELLED, SEQUENCE, make_web_project

PAGES = ("", "curve", "corrections", "window", "labels", "pseudo", "recordings", "versions", "jobs", "doctor")


class Browser:
    """Somebody with the page open."""

    def __init__(self, workspace: Workspace, *, secret: str | None = SECRET) -> None:
        self.asked: list[int] = []
        app = create_app(workspace, secret)
        add_pages(app, workspace, secret, PageCommands(self.findings, self.rollback))
        self.client: FlaskClient = app.test_client()

    def findings(self) -> list[PageFinding]:
        return [PageFinding("webhook", "warning", "none with our address", "run `parallax init`")]

    def rollback(self, number: int) -> str:
        self.asked.append(number)
        if number == 404:
            raise ParallaxError("version 'px-404': expected one of px-1")
        return f"px-{number} is live and pinned"

    def log_in(self, secret: str = SECRET, **more: str) -> Any:
        return self.client.post("/page/login", data={"secret": secret, **more})

    def read(self, page: str) -> str:
        answer = self.client.get(f"/page/{page}")
        assert answer.status_code == 200, page
        return answer.text

    def token(self) -> str:
        found = re.search(r'name="form_token" value="([0-9a-f]+)"', self.read("versions"))
        assert found
        return found[1]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    made = make_web_project(tmp_path_factory.mktemp("pool"), 1000)
    yield made
    made.store.close()


@pytest.fixture
def browser(pool: Workspace) -> Browser:
    made = Browser(pool)
    made.log_in()
    return made


# --- who may enter ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, "frame/1", "picture/1/0/120", "jobs/now", "recording"])
def test_who_has_no_session_is_led_to_the_login(workspace: Workspace, page: str) -> None:
    answer = Browser(workspace).client.get(f"/page/{page}")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/page/login?next=/page/{page}")
    assert "Content-Security-Policy" in answer.headers


def test_the_secret_gives_a_session_that_scripts_and_other_sites_cannot_use(workspace: Workspace) -> None:
    person = Browser(workspace)
    assert person.log_in("not the secret").status_code == 403
    answer = person.log_in(next="/page/window")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/page/window")
    cookie = answer.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/page"))
    assert SECRET not in cookie
    assert person.client.get("/page/").status_code == 200


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/page/\\evil", "/predict", "javascript:alert(1)"])
def test_the_login_leads_to_these_pages_alone(workspace: Workspace, target: str) -> None:
    assert Browser(workspace).log_in(next=target).headers["Location"] == "/page/"


def test_guessing_is_slowed_down(workspace: Workspace) -> None:
    person = Browser(workspace)
    assert [person.log_in(f"guess {n}").status_code for n in range(11)] == [403] * 10 + [429]
    assert person.log_in().status_code == 429


@pytest.mark.parametrize("cookie", ["", "1.2.3", "99999999999.00." + "0" * 64, "é", "a" * 3000, webhook_key(SECRET)])
def test_a_made_up_session_is_none(workspace: Workspace, cookie: str) -> None:
    person = Browser(workspace)
    person.client.set_cookie(sessions.COOKIE, cookie, path="/page")
    assert person.client.get("/page/").status_code == 303


def test_a_session_ends(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    person = Browser(workspace)
    monkeypatch.setattr(sessions, "LIFETIME_S", -1.0)
    person.log_in()
    assert person.client.get("/page/").status_code == 303


def test_a_session_is_for_pages_and_nothing_else(workspace: Workspace) -> None:
    person = Browser(workspace)
    answer = person.log_in()
    value = answer.headers["Set-Cookie"].split(";")[0]
    assert person.client.post("/predict", json={"tasks": []}, headers={"Cookie": value}).status_code == 401


def test_the_webhooks_key_opens_no_page(workspace: Workspace) -> None:
    person = Browser(workspace)
    assert person.client.get("/page/", headers={SECRET_HEADER: webhook_key(SECRET)}).status_code == 303
    assert person.client.get("/page/", headers={SECRET_HEADER: SECRET}).status_code == 200


def test_going_back_needs_the_form_of_this_session(browser: Browser) -> None:
    token = browser.token()
    for wrong in ("", "0" * 64):
        assert browser.client.post("/page/rollback", data={"version": "1", "form_token": wrong}).status_code == 403
    assert browser.client.get("/page/rollback").status_code == 405
    assert browser.asked == []
    answer = browser.client.post("/page/rollback", data={"version": "1", "form_token": token})
    assert (answer.status_code, browser.asked) == (200, [1])
    assert "px-1 is live and pinned" in answer.text
    refused = browser.client.post("/page/rollback", data={"version": "404", "form_token": token})
    assert refused.status_code == 409
    assert "expected one of px-1" in refused.text


def test_a_token_of_another_session_is_refused(pool: Workspace, browser: Browser) -> None:
    other = Browser(pool)
    other.log_in()
    assert browser.client.post("/page/rollback", data={"version": "1", "form_token": other.token()}).status_code == 403


def test_logging_out_ends_it(browser: Browser) -> None:
    assert browser.client.post("/page/logout", data={"form_token": browser.token()}).headers["Location"] == "/page/login"
    assert browser.client.get("/page/").status_code == 303


@pytest.mark.parametrize("page", [*PAGES, "login", "frame/1", "static/page.js"])
def test_every_answer_forbids_what_is_foreign(browser: Browser, page: str) -> None:
    answer = browser.client.get(f"/page/{page}")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"(src|href|action)=\"https?://(?!127\.0\.0\.1)", answer.text)
    assert " style=" not in answer.text
    assert not re.search(r"<script(?![^>]* src=)", answer.text)
    answer.close()


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    from ml_backend.store import presence

    made = make_web_project(tmp_path, 0)
    presence.tell(made.store, "<script>alert(1)</script>")
    person = Browser(made)
    person.log_in()
    assert "&lt;script&gt;alert(1)" in person.read("")


# --- what stands there ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", "no job has been asked for yet"),
        ("curve", "no version has a validation error yet"),
        ("corrections", "nobody has submitted a task that showed points yet"),
        ("window", "no order has been pushed yet"),
        ("labels", "nothing contradicts a label"),
        ("pseudo", "no frame was pseudo-labelled yet"),
        ("recordings", "the project has no frames yet"),
        ("versions", "no model has been trained yet"),
        ("jobs", "nothing runs; start"),
    ],
)
def test_a_project_without_a_frame_says_so(tmp_path: Path, page: str, text: str) -> None:
    person = Browser(make_web_project(tmp_path, 0))
    person.log_in()
    assert text in person.read(page).lower()


def test_the_overview_has_the_figures(browser: Browser) -> None:
    page = browser.read("")
    for text in ("1,000", f">{LABELLED}<", "px-3", "20 of 50 frames are open", "training 120 of 400", "about 2 min left"):
        assert text in page, text


def test_the_curve_has_every_version(browser: Browser) -> None:
    page = browser.read("curve")
    assert page.count("<circle") >= 3
    assert "px-2" in page


def test_corrections_are_by_version_camera_and_keypoint(browser: Browser, pool: Workspace) -> None:
    page = browser.read("corrections")
    skeleton = pool.binding.skeleton
    for text in (f"newest {LABELLED} annotations", "px-3", *pool.views, *skeleton.keypoints):
        assert text in page, text
    assert "Skeleton with a disc" in page


def test_the_window_has_pictures_reasons_and_links(browser: Browser, pool: Workspace) -> None:
    page = browser.read("window")
    assert "cameras disagree on left ankle (2.5 px)" in page
    assert "/projects/5/data?task=1000" in page
    assert page.count("<img ") == 24 * 2
    assert "later places" in page
    assert "earlier places" in browser.read("window?start=24")
    assert "ends before this place" in browser.read("window?start=999999")


def test_pictures_are_those_of_the_projects_frames(browser: Browser) -> None:
    answer = browser.client.get("/page/picture/1/0/120")
    assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
    assert answer.data[:2] == b"\xff\xd8"
    whole = cv2.imdecode(np.frombuffer(browser.client.get("/page/picture/1/0/full").data, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert whole is not None
    assert 'href="/page/picture/1/0/full"' in browser.read("frame/1")
    assert f'viewBox="0 0 {whole.shape[1]} {whole.shape[0]}"' in browser.read("frame/1")
    for missing in ("999999/0/120", "999999/0/full", "1/9/120", "1/0/121", "99999999999999/0/120", "-1/0/120"):
        assert browser.client.get(f"/page/picture/{missing}").status_code == 404


def test_doubtful_labels_and_pseudo_labels_are_listed(browser: Browser) -> None:
    assert "head in cam2: 31 px off" in browser.read("labels")
    assert "in force" in browser.read("pseudo")


def test_the_doctors_findings(browser: Browser) -> None:
    assert "none with our address" in browser.read("doctor")


def test_a_recording_at_a_glance_leads_to_its_frames(browser: Browser) -> None:
    assert "walk%2F1" in browser.read("recordings")
    page = browser.read("recording?name=walk%2F1")
    assert "one minus confidence" in page
    assert page.count('class="open"') == 240
    assert 'class="mark labelled"' in page
    assert browser.client.get("/page/open?sequence=walk%2F1&index=500").headers["Location"] == "/page/frame/501"
    assert browser.client.get("/page/recording?name=other").status_code == 404
    assert browser.client.get("/page/open?sequence=other&index=1").status_code == 404


def test_a_frame_shows_every_kind_of_point_and_what_is_beside_it(browser: Browser, pool: Workspace) -> None:
    page = browser.read("frame/1")
    for layer in ("predicted", "triangulated", "labelled"):
        assert f'id="show-{layer}"' in page
    assert page.count("<figure>") == 5, "four cameras and the skeleton in 3-D"
    assert 'rel="next" href="/page/frame/2"' in page
    assert "first frame" in page
    assert "Residuals of predicted points" in page
    assert "Predicted to labelled" in page
    drawn = json.loads(re.search(r'data-places="([^"]+)"', page)[1].replace("&#34;", '"'))  # type: ignore[index]
    assert set(drawn["points"]) == {"predicted", "labelled"}
    assert browser.client.get("/page/frame/99999").status_code == 404
    assert browser.client.get("/page/frame/99999999999999999999").status_code == 404


def test_a_frame_outside_the_order_shows_what_the_model_predicted(browser: Browser) -> None:
    page = browser.read("frame/778")
    assert 'id="show-predicted"' in page
    assert 'id="show-labelled"' not in page


def test_one_camera_without_calibration_or_predictions(workspace: Workspace) -> None:
    person = Browser(workspace)
    person.log_in()
    page = person.read("frame/1")
    assert 'id="show-predicted"' in page, "what the order shows"
    assert 'id="show-triangulated"' not in page
    assert "No model has predicted them yet" in person.read("recording?name=s")


# --- what it reads ----------------------------------------------------------------------------------------------------------


def count_rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the number of rows of every fetch."""
    counted: list[int] = []
    for name, of in (("fetchall", len), ("fetchmany", len), ("fetchone", lambda row: int(row is not None))):
        plain = getattr(CursorFetchStrategy, name)

        def fetch(*arguments: Any, plain: Callable[..., Any] = plain, of: Callable[[Any], int] = of, **more: Any) -> Any:
            rows = plain(*arguments, **more)
            counted.append(of(rows))
            return rows

        monkeypatch.setattr(CursorFetchStrategy, name, fetch)
    return counted


def test_pages_read_what_they_show_however_large_the_pool_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = make_web_project(tmp_path / "small", 150), make_web_project(tmp_path / "large", 600, n_versions=40)
    people = [Browser(small), Browser(large)]
    for person in people:
        person.log_in()
        for page in ("", "curve"):  # the advice, which is computed beside the page
            person.read(page)
    counted = count_rows(monkeypatch)
    for page in (*PAGES, "frame/100"):
        rows = []
        for person in people:
            counted.clear()
            person.read(page)
            rows.append(sum(counted))
        assert rows[1] <= rows[0] + 70, f"{page}: {rows}"


@pytest.mark.slow
def test_a_hundred_thousand_frames_and_five_hundred_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.bench_web_page import slowest

    person = Browser(make_web_project(tmp_path, 100_000, n_versions=500))
    person.log_in()
    counted = count_rows(monkeypatch)
    for page in (*PAGES, "frame/50000", f"recording?name={SEQUENCE.replace('/', '%2F')}"):
        counted.clear()
        slowest(lambda page=page: person.read(page))  # type: ignore[misc]
        assert sum(counted) < 3 * 3000, page

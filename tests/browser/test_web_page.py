"""The web page in a real browser: a person logs in, reads every page, opens a frame, turns the skeleton, and goes on by keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ml_backend.server.app import create_app
from ml_backend.server.http_server import make_server
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.pages import NAVIGATION, PageCommands, PageFinding, add_pages
from tests.browser.chrome import Person, chromium, missing_programs
from tests.small_project import SECRET
from tests.web_project import make_web_project

pytestmark = pytest.mark.browser

LAPTOP_PX = (1280, 800)
#: What axe-core calls worse than a nuisance.
SERIOUS = ("serious", "critical")


@contextmanager
def serving(workspace: Workspace) -> Iterator[str]:
    """The address of the real server."""
    app = create_app(workspace, SECRET)
    findings = [
        PageFinding("webhook", "warning", "none with our address", "run `parallax init`"),
        PageFinding("token", "ok", "in", ""),
    ]
    add_pages(app, workspace, SECRET, PageCommands(lambda: findings, lambda number: f"px-{number} is live and pinned"))
    server = make_server(app, "127.0.0.1", 0, SECRET)
    channels, port = server._map, server.effective_port  # type: ignore[attr-defined]  # left out of waitress's stubs
    thread = threading.Thread(target=server.asyncore.loop, kwargs={"timeout": 0.05, "use_poll": True, "map": channels})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(channels)
        thread.join()


@contextmanager
def logged_in(workspace: Workspace) -> Iterator[Person]:
    with serving(workspace) as url, chromium() as driver:
        driver.set_window_size(*LAPTOP_PX)
        person = Person(driver, url)
        driver.get(f"{url}/page/window")
        driver.find_element(By.ID, "secret").send_keys(SECRET + Keys.ENTER)
        person.until(lambda: driver.current_url.endswith("/page/window"), "the page that was asked for before the login")
        yield person


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    missing = missing_programs()
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)} (Debian: apt-get install chromium chromium-driver)")
    return make_web_project(tmp_path_factory.mktemp("page"), 1000)


@pytest.fixture(scope="module")
def person(pool: Workspace) -> Iterator[Person]:
    with logged_in(pool) as person:
        yield person


def problems(person: Person) -> list[str]:
    """What axe-core finds serious on the page that is open."""
    source = Path(str(distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")))
    person.script(source.read_text(encoding="utf-8"))
    found = person.driver.execute_async_script("const done = arguments[0]; axe.run().then(result => done(result.violations));")
    return [f"{v['id']}: {json.dumps([n['html'] for n in v['nodes']])[:400]}" for v in found if v["impact"] in SERIOUS]


def opened(person: Person, page: str) -> None:
    person.driver.get(f"{person.url}/page/{page}")
    person.until(lambda: person.script("return document.readyState") == "complete", page)


def complaints(person: Person) -> list[Any]:
    """What the browser refused or could not run."""
    entries = person.driver.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in entries if entry["level"] == "SEVERE"]


FRAME_PAGES = ("recording?name=walk%2F1", "frame/1")


@pytest.mark.parametrize("page", [*(address for address, _ in NAVIGATION), *FRAME_PAGES])
def test_a_page_is_accessible_and_fits_a_laptop(person: Person, page: str) -> None:
    opened(person, page)
    assert problems(person) == []
    assert complaints(person) == []
    assert person.script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert len(person.all("h1")) == 1


def test_the_login_is_accessible(person: Person) -> None:
    opened(person, "login")
    assert problems(person) == []


def test_a_click_into_the_recording_opens_that_frame_and_keys_lead_on(person: Person) -> None:
    opened(person, "recording?name=walk%2F1")
    person.all(".chart a")[120].click()
    person.see("frame 502")
    person.press(Keys.ARROW_RIGHT)
    person.see("walk/1, frame 503")
    person.press(Keys.ARROW_LEFT)
    person.see("walk/1, frame 502")


def test_points_are_switched_off_and_the_skeleton_turns(person: Person) -> None:
    opened(person, "frame/1")
    loaded = "return [...document.querySelectorAll('.picture image')].length"
    assert person.script(loaded) == 4
    shown = "return getComputedStyle(document.querySelector('.picture .labelled')).display"
    assert person.script(shown) != "none"
    person.all("#show-labelled")[0].click()
    assert person.script(shown) == "none"
    space = person.driver.find_element(By.ID, "space")
    before = space.get_attribute("innerHTML")
    person.script("arguments[0].focus()", space)
    person.press(Keys.ARROW_LEFT)
    person.until(lambda: space.get_attribute("innerHTML") != before, "the skeleton to turn")
    assert person.driver.current_url.endswith("/page/frame/1")


def test_pictures_arrive(person: Person) -> None:
    opened(person, "window")
    person.until(lambda: person.script("return document.images[0].naturalWidth") > 0, "the first picture")


def test_progress_moves_without_a_click(person: Person, pool: Workspace) -> None:
    from ml_backend.store import work

    opened(person, "jobs")
    person.see("training 120 of 400")
    (job,) = [row for row in work.list_jobs(pool.store) if row.status == "running"]
    work.heartbeat(pool.store, job, {"stage": "training", "step": 121, "steps": 400})
    person.see("training 121 of 400")


def test_going_back_by_its_button(person: Person) -> None:
    opened(person, "versions")
    person.click("button", "Make px-2 live")
    person.see("px-2 is live and pinned")


def test_a_project_without_a_frame(tmp_path: Path, pool: Workspace) -> None:
    with logged_in(make_web_project(tmp_path, 0)) as person:
        for page, _ in NAVIGATION:
            opened(person, page)
            assert problems(person) == [], page
            assert complaints(person) == [], page

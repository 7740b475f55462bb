"""Label Studio in Chromium, used as a person uses it: with keys, with the mouse, by what is written on the screen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

SCREEN_PX = (1600, 1000)
PATIENCE_S = 30.0
#: What a headless window takes away from the height of the page.
FRAME_PX = 143
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
)
T = TypeVar("T")


def missing_programs() -> list[str]:
    """Programs that are not installed, of the two that a browser test needs."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile; it ends with the block."""
    with TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = str(shutil.which("chromium"))
        width, height = SCREEN_PX
        for flag in (*_FLAGS, f"--window-size={width},{height + FRAME_PX}", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"), log_output=os.devnull))
        try:
            yield driver
        finally:
            driver.quit()


class Person:
    """Someone at Label Studio's pages.  Pictures are numbered as they stand on the labelling screen."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    # --- the page --------------------------------------------------------------------------------------------

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait until it is so; its value."""
        wait = WebDriverWait(self.driver, PATIENCE_S, 0.1, ignored_exceptions=[StaleElementReferenceException])
        found = wait.until(lambda _: condition(), f"waited {PATIENCE_S:.0f} s for {what}")
        assert found is not None
        return found

    def all(self, css: str) -> list[WebElement]:
        """Elements by selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def script(self, text: str, *arguments: Any) -> Any:
        """What a piece of JavaScript returns."""
        return self.driver.execute_script(text, *arguments)

    def text(self) -> str:
        """Everything that can be read."""
        return str(self.script("return document.body.innerText"))

    def see(self, text: str) -> None:
        """Wait until this can be read."""
        self.until(lambda: text in self.text(), f"the text {text!r}")

    def click(self, css: str, text: str) -> None:
        """Click on the first element that says this."""
        self.until(lambda: next((e for e in self.all(css) if e.text.strip() == text), None), f"{css} {text!r}").click()

    def press(self, keys: str) -> None:
        """Type."""
        ActionChains(self.driver).send_keys(keys).perform()

    # --- getting there ---------------------------------------------------------------------------------------

    def log_in(self, email: str, password: str) -> None:
        """Enter by the form."""
        self.driver.get(f"{self.url}/user/login/")
        for name, value in (("email", email), ("password", password)):
            self.driver.find_element(By.NAME, name).send_keys(value)
        self.driver.find_element(By.CSS_SELECTOR, "form button[type=submit]").click()
        self.until(lambda: "/user/login" not in self.driver.current_url, "the page after the login")

    def open_tab(self, project: int, tab: int) -> None:
        """A tab of the data manager."""
        self.driver.get(f"{self.url}/projects/{project}/data?tab={tab}")
        self.see("Label All Tasks")

    def bring_column_into_sight(self, name: str) -> None:
        """Scroll the table sideways, if need be, until a column is wholly in sight."""
        find = "const name = [...document.querySelectorAll('button, span, div')].find(e => e.innerText?.trim() === arguments[0]);"
        cell = "const cell = name.closest('[style*=width]') ?? name;"
        self.script(find + cell + "cell.scrollIntoView({inline: 'nearest', block: 'nearest'})", name)

    def see_thumbnails(self) -> None:
        """Wait until no picture of the page is still loading."""
        loading = "return [...document.images].filter(e => e.src && !(e.complete && e.naturalWidth)).length"
        self.until(lambda: self.script(loading) == 0, "the thumbnails")

    def open_label_stream(self) -> None:
        """From the data manager to the task that comes next."""
        self.click("button", "Label All Tasks")
        self.see_task()

    def see_task(self) -> None:
        """Wait until every picture of a task is there."""
        self.until(lambda: self.pictures() and all(self._size(picture)[0] > 50 for picture in self.pictures()), "the pictures")

    # --- the labelling screen --------------------------------------------------------------------------------

    def pictures(self) -> list[WebElement]:
        """The drawing areas over the pictures."""
        return self.all(".konvajs-content")

    def hotkeys(self) -> list[list[str]]:
        """The key that is written on every label, per camera."""
        groups = self.all(".lsf-labels")
        return [[hint.text for hint in group.find_elements(By.CSS_SELECTOR, ".lsf-label__hotkey")] for group in groups]

    def names(self, camera: int) -> list[str]:
        """The labels of a camera."""
        return [label.text for label in self.all(".lsf-labels")[camera].find_elements(By.CSS_SELECTOR, ".lsf-label__text")]

    def select_region(self, name: str) -> None:
        """Click on the first line of the list of regions with this name."""
        self.click(".lsf-labels-list", name)

    def choices(self) -> list[WebElement]:
        """What can be chosen for the selected point."""
        return self.all(".lsf-choices:not(.lsf-choices_hidden) .lsf-choice__checkbox")

    def selected_labels(self) -> list[tuple[int, str]]:
        """(camera, name) of the labels that the next click would place."""
        return [
            (camera, label.find_element(By.CSS_SELECTOR, ".lsf-label__text").text)
            for camera, group in enumerate(self.all(".lsf-labels"))
            for label in group.find_elements(By.CSS_SELECTOR, ".lsf-label_selected")
        ]

    def n_points(self) -> int:
        """Points in the list of regions, its hidden part included."""
        return len(self.script("return window.Htx.annotationStore.selected.regions.map(r => r.id)"))

    def zoom(self) -> list[float]:
        """How much each picture is enlarged beyond what fits into its place."""
        shown = "return [...document.querySelectorAll('.konvajs-content')].map(e => e.parentElement.closest('div:has(img)'))"
        widths = self.script(shown + ".map(e => e.querySelector('img').getBoundingClientRect().width)")
        return [width / self._size(picture)[0] for width, picture in zip(widths, self.pictures(), strict=True)]

    def out_of_sight(self) -> list[float]:
        """How many pixels of each picture, above or below, one would have to scroll to."""
        place = "const r = arguments[0].getBoundingClientRect(); return [r.top, r.bottom]"
        bar = self.script("return document.querySelector('.lsf-bottombar').getBoundingClientRect().top")
        edges = [self.script(place, picture) for picture in self.pictures()]
        return [max(-top, bottom - bar, 0.0) for top, bottom in edges]

    def annotate_automatically(self) -> None:
        """Switch the smart tools on, and take that of every picture."""
        self.until(lambda: self.all("[data-testid=bottombar-auto-annotation-toggle]"), "the switch of the smart tools")
        self.script("document.querySelector('[data-testid=bottombar-auto-annotation-toggle]').click()")
        tools = self.until(lambda: self.all(".lsf-tool_smart"), "the smart tools")
        for tool in tools:
            tool.click()

    def accept_suggestions(self) -> int:
        """Wait for suggestions and accept them all; how many there were."""
        number = "return window.Htx.annotationStore.selected.suggestions.size"
        self.until(lambda: self.script(number) > 0, "suggestions")
        count = int(self.script(number))
        self.all("[data-testid=bottombar-accept-suggestions-button]")[0].click()
        self.until(lambda: self.script(number) == 0, "no suggestion to be open")
        return count

    def click_at(self, picture: int, share: tuple[float, float]) -> None:
        """Click into a picture; ``share`` of its width and height."""
        x, y = self._place(picture, share)
        self._mouse().move_to_location(x, y).click()
        self._perform()

    def drag(self, picture: int, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at one place of a picture, move, and let go at another."""
        (x0, y0), (x1, y1) = (self._place(picture, share) for share in (start, end))
        mouse = self._mouse()
        mouse.move_to_location(x0, y0).pointer_down()
        for step in (0.25, 0.5, 0.75, 1.0):
            mouse.move_to_location(round(x0 + step * (x1 - x0)), round(y0 + step * (y1 - y0)))
        mouse.pointer_up()
        self._perform()

    def _mouse(self) -> Any:
        self._actions = ActionChains(self.driver, duration=50)
        return self._actions.w3c_actions.pointer_action

    def _perform(self) -> None:
        self._actions.w3c_actions.perform()

    def _place(self, picture: int, share: tuple[float, float]) -> tuple[int, int]:
        element = self.pictures()[picture]
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        left, top, width, height = self.script(
            "const r = arguments[0].getBoundingClientRect(); return [r.left, r.top, r.width, r.height]", element
        )
        return round(left + share[0] * width), round(top + share[1] * height)

    def _size(self, element: WebElement) -> tuple[int, int]:
        return element.size["width"], element.size["height"]

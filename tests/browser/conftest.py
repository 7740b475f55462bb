"""One project on a live Label Studio, and one browser, for all browser tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from plugins.demo.platform import Platform
from tests.browser.chrome import Person, chromium, missing_programs
from tests.browser.scene import Scene, set_up


@pytest.fixture(scope="session")
def scene(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    missing = missing_programs()
    if missing:
        pytest.skip(f"not on PATH: {', '.join(missing)} (Debian: apt-get install chromium chromium-driver)")
    scene = set_up(platform, tmp_path_factory.mktemp("browser"))
    yield scene
    scene.close()


@pytest.fixture(scope="session")
def person(scene: Scene) -> Iterator[Person]:
    with chromium() as driver:
        person = Person(driver, scene.platform.url)
        person.log_in(scene.annotator.email, scene.annotator.password)
        yield person


@pytest.fixture(scope="session")
def tabs(scene: Scene) -> dict[str, int]:
    return {view["data"]["title"]: view["id"] for view in scene.client.views(scene.project)}

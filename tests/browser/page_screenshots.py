"""The pictures of docs/web-page.md, of a simulated project: ``python -m tests.browser.page_screenshots``."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser.chrome import FRAME_PX, Person
from tests.browser.test_web_page import LAPTOP_PX, logged_in, opened
from tests.web_project import make_web_project

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "img"
SHOWN = {"curve": "curve", "window": "window", "recording": "recording?name=walk%2F1", "frame": "frame/1"}


def main() -> None:
    """Log in and take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_web_project(Path(folder), 1000, n_versions=8, size_px=(480, 360))
        with logged_in(workspace) as person:
            person.driver.set_window_size(LAPTOP_PX[0], LAPTOP_PX[1] + FRAME_PX)
            for name, page in SHOWN.items():
                opened(person, page)
                _take(person, f"page-{name}.png")


def _take(person: Person, name: str) -> None:
    person.until(lambda: person.script("return [...document.images].every(e => e.loading == 'lazy' || e.complete)"), "pictures")
    picture = Image.open(io.BytesIO(person.driver.get_screenshot_as_png())).convert("RGB")
    path = FOLDER / name
    picture.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(FOLDER.parents[1])}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

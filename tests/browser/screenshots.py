"""The pictures of the documentation, taken from a Label Studio that runs: ``make demo``, then, while it is up,

    .venv/bin/python -m tests.browser.screenshots http://127.0.0.1:PORT EMAIL PASSWORD

with the address and the login that the demo prints.  Takes the newest project; writes docs/img/*.png.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from PIL import Image

from plugins.demo.annotator_session import Annotator
from tests.browser.chrome import Person, chromium

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "img"
MAX_BYTES = 250_000
#: A label stream has no end event; by then its pictures and points are drawn.
SETTLED_S = 2.0


def main(url: str, email: str, password: str) -> None:
    """Log in and take the pictures."""
    project, tabs = _project(url, email, password)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with chromium() as driver:
        person = Person(driver, url)
        person.log_in(email, password)
        person.open_tab(project, tabs["Parallax: next"])
        person.see("parallax_reason")
        person.bring_column_into_sight("parallax_reason")
        person.see_thumbnails()
        _take(person, "tab.png")
        person.open_label_stream()
        time.sleep(SETTLED_S)
        person.select_region("left_elbow")
        _take(person, "labelling.png")


def _project(url: str, email: str, password: str) -> tuple[int, dict[str, int]]:
    """The newest project and its tabs."""
    annotator = Annotator(url, email, password)
    annotator.log_in()
    project = annotator.http.get("/api/projects/").json()["results"][0]["id"]
    views = annotator.http.get("/api/dm/views/", params={"project": project}).json()
    annotator.close()
    return int(project), {view["data"]["title"]: int(view["id"]) for view in views}


def _take(person: Person, name: str) -> None:
    time.sleep(SETTLED_S)
    picture = Image.open(io.BytesIO(person.driver.get_screenshot_as_png())).convert("RGB")
    path = FOLDER / name
    # Sensor noise does not compress; this palette keeps the colours of the labels.
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.relative_to(FOLDER.parents[1])}: {path.stat().st_size / 1000:.0f} kB of at most {MAX_BYTES / 1000:.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])

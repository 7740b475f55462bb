"""The web page: seconds that each page takes with 100,000 frames and 500 versions.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m bench.bench_web_page [--frames 100000] [--versions 500]

One recording of four cameras, with predictions of every frame, on SQLite; the first answer of each page, and the slowest of three
more.  Flask's test client, so without the time on the wire.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ml_backend.server.app import create_app
from ml_backend.web_page.pages import add_pages
from tests.web_project import SEQUENCE, make_web_project

SECRET = "a-secret-that-nobody-guesses"
PAGES = ("", "curve", "corrections", "window", "labels", "pseudo", "recordings", "versions", "jobs")


def slowest(read: Callable[[], object], times: int = 3) -> float:
    """Seconds of the slowest of some calls."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        read()
        took.append(time.perf_counter() - start)
    return max(took)


def main(n_frames: int, n_versions: int) -> None:
    """The table."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_web_project(Path(folder), n_frames, n_versions)
        app = create_app(workspace, SECRET)
        add_pages(app, workspace, SECRET)
        client = app.test_client()
        client.post("/page/login", data={"secret": SECRET})
        print("page | first answer | slowest of three more")
        name = SEQUENCE.replace("/", "%2F")
        for page in (*PAGES, f"recording?name={name}", f"frame/{n_frames // 2}", f"picture/{n_frames // 2}/0/900"):

            def read(page: str = page) -> None:
                assert client.get(f"/page/{page}").status_code == 200

            first = slowest(read, 1)
            print(f"/page/{page} | {first:.2f} s | {slowest(read):.2f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--versions", type=int, default=500)
    given = parser.parse_args()
    main(given.frames, given.versions)

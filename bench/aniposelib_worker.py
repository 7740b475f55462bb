"""Times aniposelib in an environment of its own, started by ``bench_triangulation --with-aniposelib``.

    python aniposelib_worker.py INPUT.npz OUTPUT.npz

aniposelib brings OpenCV's contrib build and numba with it, which have no place in Parallax's environment; hence nothing of
Parallax is imported here.  INPUT: K, R (V, 3, 3), t (V, 3), robust, linear (V, M, 2) pixels.  OUTPUT: the points (M, 3) of each
and the CPU seconds of every repeat after one that compiles.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from aniposelib.cameras import Camera, CameraGroup
from scipy.spatial.transform import Rotation

REPEATS = {"robust": 1, "linear": 5}


def main(source: str, target: str) -> None:
    """Robust and linear triangulation of the given points."""
    given = np.load(source)
    cameras = [
        Camera(matrix=K, dist=np.zeros(5), rvec=Rotation.from_matrix(R).as_rotvec(), tvec=t, name=str(v))
        for v, (K, R, t) in enumerate(zip(given["K"], given["R"], given["t"], strict=True))
    ]
    group = CameraGroup(cameras)
    methods: dict[str, Callable[[Any], Any]] = {
        "robust": lambda points: group.triangulate_ransac(points, undistort=True)[0],
        "linear": lambda points: group.triangulate(points, undistort=True),
    }
    found = {}
    for name, method in methods.items():
        points = given[name]
        if points.shape[1]:
            method(points[:, :3].copy())
            seconds = []
            for _ in range(REPEATS[name]):
                start = time.process_time()
                found[name] = method(points.copy())
                seconds.append(time.process_time() - start)
            found[f"{name}_seconds"] = np.array(seconds)
    np.savez(target, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])

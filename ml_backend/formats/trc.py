"""TRC, the marker files of OpenSim and Pose2Sim: points in 3-D at a constant rate, numbers between tabs.

Definition: OpenSim's "Marker (.trc) Files": five header lines, then per frame its number from 1, its time, and x, y, z of every
marker; empty cells are missing.  The axes are those of the calibration: OpenSim's own models have y upwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from label_config.values import FloatArray


def write_trc(path: Path, keypoints: Sequence[str], xyz_world: FloatArray, *, fps: float, unit: str) -> None:
    """xyz_world (n, K, 3) in ``unit``, NaN = none; the n frames follow each other at ``fps`` a second."""
    count, rate = len(xyz_world), f"{fps:.10g}"
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{count}\t{len(keypoints)}\t{unit}\t{rate}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(keypoints) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{i + 1}" for i in range(len(keypoints)) for axis in "XYZ"),
    ]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join([*lines, ""]))
        for number, pose in enumerate(xyz_world):
            known = np.isfinite(pose).all(axis=-1)
            cells = [f"{value:.6f}" if ok else "" for point, ok in zip(pose.tolist(), known, strict=True) for value in point]
            file.write("\t".join([str(number + 1), f"{number / fps:.6f}", *cells]) + "\n")

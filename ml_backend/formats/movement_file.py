"""``movement``'s datasets of poses through xarray.  Reading runs in a child process with limits: HDF5 and its filters are C."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray

from label_config.values.errors import LabelFileError

_DIMENSIONS = ("time", "space", "keypoints", "individuals")
# Imported when first used otherwise: what the libraries need themselves does not count against the limits.
_ENGINES = xarray.backends.list_engines()


def read(path: Path) -> dict[str, Any]:
    """A dataset of poses.

    keypoints, individuals, space  names; space is x, y or x, y, z
    position    (n, space, K, S), NaN = none; confidence (n, K, S), NaN = not said
    time        (n,) in ``time_unit``, seconds or frames; fps None = not said
    state       (n, K, S) and people (n, S) of files that Parallax wrote, else None
    video       of files that Parallax wrote, else None
    """
    data = xarray.load_dataset(path)
    missing = [name for name in _DIMENSIONS if name not in data.dims]
    if data.attrs.get("ds_type", "poses") != "poses" or "position" not in data or missing:
        what = f"no {', '.join(missing)}" if missing else f"a dataset of {data.attrs.get('ds_type', 'something else')}"
        raise LabelFileError(f"expected movement's poses (position over {', '.join(_DIMENSIONS)}), got {what}")
    position = data["position"].transpose(*_DIMENSIONS)
    unsaid = xarray.full_like(position.isel(space=0, drop=True), np.nan)
    confidence = data.get("confidence", unsaid).transpose("time", "keypoints", "individuals")
    ours = "state" in data
    return {
        "keypoints": [str(name) for name in data["keypoints"].values],
        "individuals": [str(name) for name in data["individuals"].values],
        "space": [str(name) for name in data["space"].values],
        "time_unit": str(data.attrs.get("time_unit", "frames")),
        "fps": float(np.asarray(data.attrs["fps"]).item()) if "fps" in data.attrs else None,
        "video": str(data.attrs["video"]) if "video" in data.attrs else None,
        "source_software": str(data.attrs.get("source_software", "")),
        "people": [[str(cell) for cell in row] for row in data["people"].values] if "people" in data else None,
        "time": np.asarray(data["time"].values, dtype=np.float64),
        "position": np.asarray(position.values, dtype=np.float64),
        "confidence": np.asarray(confidence.values, dtype=np.float64),
    } | (
        {"state": np.asarray(data["state"].transpose("time", "keypoints", "individuals").values, dtype=np.int64)} if ours else {}
    )


def write(
    path: Path,
    position: Any,
    confidence: Any,
    *,
    time: Any,
    keypoints: list[str],
    individuals: list[str],
    attributes: dict[str, Any],
    more: dict[str, tuple[tuple[str, ...], Any]],
) -> None:
    """position (n, space, K, S), confidence (n, K, S); ``more`` are variables that movement keeps and does not need."""
    data = xarray.Dataset(
        {"position": (_DIMENSIONS, position), "confidence": (("time", "keypoints", "individuals"), confidence), **more},
        coords={
            "time": time,
            "space": list("xyz"[: position.shape[1]]),
            "keypoints": keypoints,
            "individuals": individuals,
        },
        attrs={"source_software": "Parallax", "ds_type": "poses", "time_unit": "frames", **attributes},
    )
    data.to_netcdf(path, engine="h5netcdf")

"""The table of results: one row per (strategy, seed, round), appended as soon as it is known."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from label_config.values import BadInputError
from ml_backend.simulation.experiments.shared_files import locked

#: Scores whose rank correlation with the true error is recorded in every round.
WATCHED = (
    "total", "mpe", "least_confidence", "mc", "outlier_ratio", "tpc", "jitter_3d", "coreset_distance",
    "link_length", "pose_mahalanobis", "epipolar_residual", "affine_residual",
)  # fmt: skip
KEY = ("strategy", "seed", "round")
#: labels: labelled frames, one of which only some views were labelled counting in proportion; pool: frames that may be
#: labelled; error, error_common, error_rare: mean keypoint error on the test frames (mm with a rig, else px); unseen_error: the
#: same before cameras that nothing is trained on; coverage: share of keypoints that have an error; radius: largest distance
#: from a pose of the pool to the nearest labelled one (mm); entropy: of the labelled frames over ten pose clusters (nat);
#: rare_share: of the labelled frames; batch_oks: mean OKS of the frames picked next; seen_oks_min: least OKS of labelled and
#: picked frames; val_oks_q05: 5 % quantile of OKS on the test frames; pseudo_error: true error of the pseudo-labels that this
#: model learnt (mm); train_s, scan_s: seconds; test_…: of the test pictures (docs/evaluation.md); pool_ap…: see
#: ``pool_precision``, with scan_stride 1; scored, rho_own: share of the frames for which the strategy's own score has a value,
#: and its rank correlation with the true error; rho_…: see WATCHED.
FIGURES = (
    "labels", "pool", "error", "error_common", "error_rare", "unseen_error", "coverage", "radius", "entropy", "rare_share",
    "batch_oks", "seen_oks_min", "val_oks_q05", "pseudo_frames", "pseudo_keypoints", "pseudo_error", "train_s", "scan_s",
    "test_ap", "test_ar", "test_count", "test_ospa", "test_pckh", "test_torso_pck", "test_pcp", "test_pcp_3d",
    "pool_ap", "pool_ap60", "pool_ap80", "scored", "rho_own",
    *(f"rho_{name}" for name in WATCHED),
)  # fmt: skip
FIELDS = (*KEY, *FIGURES)

Row = Mapping[str, str | int | float]


def key_of(row: Row) -> tuple[str, int, int]:
    """(strategy, seed, round)."""
    return str(row["strategy"]), int(row["seed"]), int(row["round"])


def read_rows(path: Path) -> list[dict[str, str | int | float]]:
    """All rows, the first of each cell; a line that a killed process left unfinished is dropped.  No file, no rows."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames is not None and tuple(reader.fieldnames) != FIELDS:
            raise BadInputError(f"{path}: written by another version of the experiments; move it away and run again")
        found: dict[tuple[str, int, int], dict[str, str | int | float]] = {}
        for raw in reader:
            if any(value is None for value in raw.values()):
                continue
            row = _parsed(raw)
            found.setdefault(key_of(row), row)
    return list(found.values())


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Add rows; several processes may do so at the same time."""
    with locked(path):
        new = not path.exists() or path.stat().st_size == 0
        broken = not new and not path.read_bytes().endswith(b"\n")
        with path.open("a", newline="", encoding="utf-8") as file:
            if broken:
                file.write("\n")
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows({name: as_text(row.get(name, math.nan)) for name in FIELDS} for row in rows)


def finished(rows: Iterable[Row]) -> set[tuple[str, int, int]]:
    """Cells that need not run again."""
    return {key_of(row) for row in rows}


def _parsed(raw: Mapping[str, str]) -> dict[str, str | int | float]:
    row: dict[str, str | int | float] = {"strategy": raw["strategy"], "seed": int(raw["seed"]), "round": int(raw["round"])}
    return row | {name: float(raw[name]) if raw[name] else math.nan for name in FIGURES}


def as_text(value: str | int | float) -> str | int:
    """A figure as it stands in a table; nothing for NaN."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value

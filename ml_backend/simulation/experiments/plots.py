"""The figures of the report, each a PNG.  Needs matplotlib (the extra ``research``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from label_config.values import ParallaxError
from ml_backend.metrics.bootstrap import Comparison
from ml_backend.simulation.experiments.learning_curves import chance_of, curve_of, full_error, kinds_of
from ml_backend.simulation.experiments.results_table import WATCHED, Row


def require_matplotlib() -> None:
    """Raises ParallaxError when the packages of research are not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ParallaxError("the report draws with matplotlib; install it: pip install 'label-studio-parallax[research]'")


def _axes(columns: int, width: float = 5.0, height: float = 3.9) -> tuple[Any, Any]:
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, dpi=80)
    return path


def _style(chance: bool, number: int) -> dict[str, Any]:
    if chance:
        return {"color": "black", "linestyle": "--", "linewidth": 2.2, "marker": "o", "markersize": 3}
    return {"color": f"C{number % 10}", "linewidth": 1.5, "marker": "o", "markersize": 3}


def learning_curves(rows: Sequence[Row], unit: str, path: Path) -> Path:
    """Mean over seeds; the band is the 95 % interval of random picks."""
    panels = [("error", "all test frames")]
    if np.isfinite([float(row["error_rare"]) for row in rows]).any():
        panels += [("error_common", "common actions"), ("error_rare", "rare actions")]
    figure, axes = _axes(len(panels))
    for axis, (name, title) in zip(axes, panels, strict=True):
        for number, kind in enumerate(kinds_of(rows)):
            curve = curve_of(rows, kind, name)
            axis.plot(
                curve.labels, curve.mean, label=f"{kind} ({len(curve.seeds)} seeds)", **_style(kind == chance_of(rows), number)
            )
            if kind == chance_of(rows):
                axis.fill_between(curve.labels, *curve.interval(), color="black", alpha=0.12, linewidth=0)
        reference = list(full_error(rows, name).values())
        if reference:
            axis.axhline(float(np.mean(reference)), color="grey", linestyle=":", label="all labels of the pool")
        axis.set(title=title, xlabel="labelled frames", ylabel=f"mean keypoint error ({unit})")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return _save(figure, path)


def differences(found: Sequence[tuple[str, Comparison]], unit: str, title: str, path: Path) -> Path:
    """Strategy minus random with its interval; left of the line is better than random."""
    figure, (axis,) = _axes(1, 6.5, 0.9 + 0.32 * len(found))
    for row, (_, difference) in enumerate(found):
        axis.plot([difference.lo, difference.hi], [row, row], color="C0", linewidth=2)
        axis.plot([difference.delta], [row], "o", color="C0")
    axis.axvline(0, color="black", linewidth=1)
    axis.set_yticks(range(len(found)), [kind for kind, _ in found])
    axis.invert_yaxis()
    axis.set(xlabel=f"difference to random ({unit}); left = better", title=title)
    axis.grid(alpha=0.3, axis="x")
    return _save(figure, path)


def correlations(rows: Sequence[Row], path: Path) -> Path:
    """Spearman's rank correlation of every score with the true error, on the random draws."""
    figure, (axis,) = _axes(1, 6.5)
    for number, name in enumerate(WATCHED):
        curve = curve_of(rows, chance_of(rows), f"rho_{name}")
        if np.isfinite(curve.value).any():
            axis.plot(curve.labels, curve.mean, label=name, marker="o", markersize=3, color=f"C{number % 10}",
                      linestyle="-" if number < 10 else "--", linewidth=2.4 if name == "total" else 1.2)  # fmt: skip
    axis.set(xlabel="labelled frames", ylabel="Spearman with the true error", ylim=(-1, 1))
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, ncols=2)
    return _save(figure, path)


def by_round(rows: Sequence[Row], kinds: Sequence[str], figures: Sequence[tuple[str, str]], path: Path) -> Path:
    """Any figures of the table over the number of labels."""
    figure, axes = _axes(len(figures))
    for axis, (name, title) in zip(axes, figures, strict=True):
        for number, kind in enumerate(kinds):
            curve = curve_of(rows, kind, name)
            axis.plot(curve.labels, curve.mean, label=kind, **_style(kind == chance_of(rows), number))
        axis.set(xlabel="labelled frames", ylabel=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return _save(figure, path)

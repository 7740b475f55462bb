"""HTML without any machinery: tables, embedded pictures, numbers in words."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path

from ml_backend.metrics.bootstrap import Comparison
from ml_backend.simulation.experiments.learning_curves import LabelRatio


def table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Plain table; everything in it is escaped."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    return f"<table><tr>{top}</tr>{body}</table>"


def figure(path: Path) -> str:
    """The picture itself, inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<p><img alt="{path.stem}" src="data:image/png;base64,{data}"></p>'


def number(value: float) -> str:
    """Three digits; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def interval(found: Comparison, digits: int = 2) -> str:
    """Difference and its interval."""
    if math.isnan(found.delta):
        return ""
    if math.isnan(found.lo):
        return f"{found.delta:+.{digits}f} (one seed)"
    return f"{found.delta:+.{digits}f} ({found.lo:+.{digits}f} … {found.hi:+.{digits}f})"


def verdict(found: Comparison) -> str:
    """Whether a lower error than random was shown."""
    if math.isnan(found.lo):
        return "unknown"
    return "yes" if found.hi < 0 else "no: worse" if found.lo > 0 else "not shown"


def labels(needed: float) -> str:
    """A number of labels that may be out of reach."""
    return "" if math.isnan(needed) else f"{needed:.0f}" if math.isfinite(needed) else "not within the budget"


def ratio(found: LabelRatio) -> str:
    """Labels relative to random picks."""
    if math.isnan(found.ratio):
        return ""
    if math.isnan(found.lo):
        return f"{found.ratio:.2f}"
    return f"{found.ratio:.2f} ({found.lo:.2f} … {found.hi:.2f})"


def page(title: str, parts: Sequence[str]) -> str:
    """One self-contained document."""
    return _PAGE.format(title=html.escape(title), body="\n".join(filter(None, parts)))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; margin: 1rem 0; font-size: 13px; }}
th, td {{ border-bottom: 1px solid #ddd; padding: .25rem .7rem; text-align: left; }}
img {{ max-width: 100%; }} .small {{ font-size: 12px; color: #666; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""

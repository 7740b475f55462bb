"""Charts as SVG, drawn on the server: nothing is loaded, no script runs, and a text says what each one shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

#: Dark enough for 4.5 : 1 on white, and apart for colour-blind eyes.
COLOURS = ("#1b5e9b", "#b34700", "#2d6a2e", "#7a3e9d", "#8a1c3b", "#4a4a4a")
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 14, 46


@dataclass(frozen=True)
class Series:
    """One line: points (x, y), in any order of x that makes sense to draw; ``dashed`` for what is not measured."""

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


def line_chart(
    title: str, series: Sequence[Series], x_label: str, y_label: str, *, width: int = 620, height: int = 300, marks: bool = True
) -> Markup:
    """Lines over one pair of axes that begin at zero; empty without a single point."""
    everything = [point for line in series for point in line.points]
    if not everything:
        return Markup("")
    x_top, y_top = _nice_top(max(x for x, _ in everything)), _nice_top(max(y for _, y in everything))
    across, down = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + across * x / x_top, _TOP + down * (1 - y / y_top)

    parts = [*_axes(x_top, y_top, width, height, x_label, y_label)]
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        spots = [place(x, y) for x, y in line.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        dashes = ' stroke-dasharray="6 4"' if line.dashed else ""
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        if marks and not line.dashed:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in spots]
        x, y = width - _RIGHT - 4, _TOP + 14 + 18 * number
        parts.append(f'<text x="{x}" y="{y}" text-anchor="end" fill="{colour}">{escape(line.name)}</text>')
    return _picture(title, width, height, parts)


def _axes(x_top: float, y_top: float, width: int, height: int, x_label: str, y_label: str) -> Sequence[str]:
    bottom, across, down = height - _BOTTOM, width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    parts = []
    for tick in range(6):
        x, y = _LEFT + across * tick / 5, _TOP + down * (1 - tick / 5)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{width - _RIGHT}" stroke="#d5dbe5"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{y_top * tick / 5:.4g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{x_top * tick / 5:.4g}</text>')
    parts.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{width - _RIGHT}" fill="none" stroke="#4a5568"/>')
    parts.append(f'<text x="{_LEFT + across / 2:.0f}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>')
    middle = _TOP + down / 2
    parts.append(
        f'<text x="16" y="{middle:.0f}" text-anchor="middle" transform="rotate(-90 16 {middle:.0f})">{escape(y_label)}</text>'
    )
    return parts


def _picture(title: str, width: int, height: int, parts: Sequence[str]) -> Markup:
    name = escape(title, quote=True)
    head = f'<svg class="chart" role="img" aria-label="{name}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return Markup(head + "".join(parts) + "</svg>")


def _nice_top(value: float) -> float:
    """A round number not below a value: five equal steps of it are round as well."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0) if value <= step * size * (1 + 1e-9))

"""A recording at a glance: a score over time, and which frames are labelled, chosen and pseudo-labelled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from html import escape
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from label_config.values import BadInputError, FloatArray, IntArray
from ml_backend.store import page_rows
from ml_backend.store.arrays import ArrayStore
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.tables import Link, Table

#: Files of predictions that one page reads; of a longer recording evenly spread ones.
MOST_SHARDS = 150
#: Stretches of time on the drawing, each a link to a frame.
BINS = 240
_WIDTH, _PLOT, _ROW, _LEFT = 1160, 180, 22, 130
#: The score where none was asked for: low confidence of the points.
UNSURE = "one minus confidence"


@dataclass(frozen=True)
class RecordingView:
    """``scores``: what can be drawn; ``read``, ``of``: files of predictions that were read, and that there are."""

    name: str
    frames: int
    first: int
    last: int
    score: str
    scores: list[str]
    read: int
    of: int
    drawing: Markup
    marked: Table


def recordings(workspace: Workspace) -> Table:
    """All of them."""
    rows = [
        (
            Link(count.name, f"/page/recording?name={quote(count.name, safe='')}"),
            str(count.frames),
            str(count.first),
            str(count.last),
        )
        for count in page_rows.sequence_counts(workspace.store)
    ]
    heads = ("recording", "frames in the pool", "first", "last")
    return Table("Recordings", heads, rows, "The project has no frames yet: run `parallax init`.", frozenset({1, 2, 3}))


def _address(name: str) -> str:
    return f"/page/recording?name={quote(name, safe='')}"


def recording_view(workspace: Workspace, name: str, score: str | None) -> RecordingView | None:
    """None when no frame belongs to such a recording."""
    count = next((count for count in page_rows.sequence_counts(workspace.store) if count.name == name), None)
    if count is None:
        return None
    version = workspace.project.live_version_id
    shards = [] if version is None else page_rows.shard_paths(workspace.store, version, name)
    paths = shards[:: max(1, -(-len(shards) // MOST_SHARDS))]
    names = _score_names(workspace.arrays, paths)
    wanted = score if score in names else (names[0] if names else UNSURE)
    index, values = _values(workspace.arrays, paths, wanted)
    generation = workspace.project.generation
    marks = {
        "labelled": page_rows.labelled_numbers(workspace.store, name),
        "chosen": [] if generation is None else page_rows.chosen_numbers(workspace.store, name, generation),
        "pseudo-labelled": page_rows.pseudo_numbers(workspace.store, name),
    }
    drawing = _drawing(name, count.first, count.last, index, values, marks, wanted)
    rows = [
        (kind, str(len(numbers)), ", ".join(map(str, numbers[:12])) + (" …" if len(numbers) > 12 else ""))
        for kind, numbers in marks.items()
    ]
    marked = Table("Frames with a mark", ("mark", "frames", "the first ones"), rows, "", frozenset({1}))
    return RecordingView(name, count.frames, count.first, count.last, wanted, names, len(paths), len(shards), drawing, marked)


def _score_names(arrays: ArrayStore, paths: list[str]) -> list[str]:
    for path in paths:
        try:
            held = arrays.names_in(path)
        except BadInputError:
            continue
        return [*sorted(key.removeprefix("raw.") for key in held if key.startswith("raw.")), UNSURE]
    return []


def _values(arrays: ArrayStore, paths: list[str], score: str) -> tuple[IntArray, FloatArray]:
    """(n,) numbers of frames and (n,) what the score says of them."""
    parts = []
    for path in paths:
        try:
            parts.append(_of_shard(arrays, path, score))
        except BadInputError:  # old files were removed meanwhile
            continue
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    return np.concatenate([index for index, _ in parts]), np.concatenate([values for _, values in parts])


@lru_cache(maxsize=4096)
def _of_shard(arrays: ArrayStore, path: str, score: str) -> tuple[IntArray, FloatArray]:
    """A file is named by what it holds, so what was read once stays true."""
    if score != UNSURE:
        held = arrays.load_only(path, ("index", f"raw.{score}"))
        if f"raw.{score}" in held:
            return held["index"], np.asarray(held[f"raw.{score}"], dtype=np.float64)
        return held["index"], np.full(len(held["index"]), np.nan)
    held = arrays.load_only(path, ("index", "confidence"))
    confidence = held["confidence"].reshape(len(held["index"]), -1)
    known = np.isfinite(confidence)
    mean = np.where(known, confidence, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return held["index"], np.where(known.any(axis=1), 1.0 - mean, np.nan)


def _drawing(
    name: str, first: int, last: int, index: IntArray, values: FloatArray, marks: dict[str, list[int]], score: str
) -> Markup:
    span = max(last - first, 1)
    height = _PLOT + _ROW * len(marks) + 40

    def across(number: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 10) * (number - first) / span

    known = values[np.isfinite(values)]
    top = float(np.quantile(known, 0.995)) if len(known) else 1.0
    low = min(0.0, float(known.min())) if len(known) else 0.0
    parts = [f'<text x="{_LEFT - 8}" y="16" text-anchor="end">{escape(score)}</text>']
    parts.append(f'<path d="M{_LEFT} 4V{_PLOT}H{_WIDTH - 10}" fill="none" stroke="#4a5568"/>')
    parts.append(f'<text x="{_LEFT - 8}" y="34" text-anchor="end">{top:.3g}</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="{_PLOT}" text-anchor="end">{low:.3g}</text>')
    parts.append(_curve(index, values, first, span, low, max(top, low + 1e-9)))
    for row, (kind, numbers) in enumerate(marks.items()):
        y = _PLOT + 6 + _ROW * row
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{kind}</text>')
        path = "".join(f"M{across(number):.1f} {y}v{_ROW - 6}" for number in _thinned(numbers, first, span))
        parts.append(f'<path class="mark {kind}" d="{path or "M0 0"}"/>')
    for number in range(6):
        frame = first + span * number / 5
        parts.append(f'<text x="{across(frame):.1f}" y="{height - 12}" text-anchor="middle">{frame:.0f}</text>')
    links, step = [], span / BINS
    for number in range(BINS):
        frame = round(first + step * (number + 0.5))
        address = f"/page/open?sequence={quote(name, safe='')}&amp;index={frame}"
        width = (_WIDTH - _LEFT - 10) / BINS
        links.append(
            f'<a href="{address}" tabindex="-1" aria-label="frame {frame}"><title>frame {frame}</title>'
            f'<rect x="{_LEFT + width * number:.2f}" y="0" width="{width:.2f}" height="{height - 30}" class="open"/></a>'
        )
    text = escape(f"{score} over the frames of {name}, with the frames that are labelled, chosen and pseudo-labelled", quote=True)
    head = (
        f'<svg class="chart" role="group" aria-label="{text}" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
    )
    return Markup(head + "".join(parts + links) + "</svg>")


def _curve(index: IntArray, values: FloatArray, first: int, span: int, low: float, top: float) -> str:
    """Each column of pixels from its smallest to its largest value; frames far apart are not joined."""
    known = np.isfinite(values)
    if not known.any():
        return ""
    column = ((index[known] - first) * (_WIDTH - _LEFT - 10) / span).astype(np.int64)
    y = _PLOT - (_PLOT - 8) * (np.clip(values[known], low, top) - low) / (top - low)
    order = np.argsort(column, kind="stable")
    column, y = column[order], y[order]
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    smallest, largest = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
    columns = column[starts]
    gap = 3 * max(float(np.median(np.diff(columns))) if len(columns) > 1 else 1.0, 1.0)
    parts, before = [], -np.inf
    for x, a, b in zip(columns.tolist(), smallest.tolist(), largest.tolist(), strict=True):
        parts.append(f"{'L' if x - before <= gap else 'M'}{_LEFT + x} {a:.1f}V{max(b, a + 0.5):.1f}")
        before = x
    return f'<path d="{"".join(parts)}" fill="none" stroke="#1b5e9b" stroke-width="1.2"/>'


def _thinned(numbers: list[int], first: int, span: int) -> list[int]:
    """One of those that would lie on one column of pixels."""
    return list({round((number - first) * (_WIDTH - _LEFT) / span): number for number in numbers}.values())

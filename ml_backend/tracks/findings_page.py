"""One HTML file about a recording's tracks, without anything from the network: where to label next, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape

import numpy as np

from label_config.values import FloatArray
from ml_backend.tracks.findings import bone_lengths, gaps, jumps, worst_frames
from ml_backend.tracks.track_arrays import PictureState, Tracks

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: #1b2a41; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; } td, th { text-align: left; padding: .2rem .8rem .2rem 0;
border-bottom: 1px solid #dde4ee; vertical-align: top; } td.n, th.n { text-align: right; } svg { width: 100%; height: 90px;
background: #f5f8fc; display: block; } h3 { margin: .8rem 0 .2rem; font-size: 1rem; } .note { color: #5a6b82; }
"""
_ROWS, _WIDTH, _HEIGHT = 20, 900, 90


def page(tracks: Tracks, model: str, task_of: Callable[[str, int], str | None]) -> str:
    """task_of  (recording, instant) → address of its task, None without one"""

    def frame(at: int) -> str:
        index = int(tracks.index[at])
        address, time = task_of(tracks.sequence, index), _time(tracks, at)
        name = f"{index}{time}"
        return f'<a href="{escape(address, quote=True)}">{name}</a>' if address else name

    names = tracks.skeleton.keypoints
    worst = worst_frames(tracks)
    found = gaps(tracks)
    parts = [
        f"<h1>{escape(tracks.sequence)}</h1>",
        f"<p>{len(tracks)} frames of {escape(', '.join(tracks.views))}, predicted by {escape(model)}. "
        "Numbers of frames are links where Label Studio has a task of the frame.</p>",
        "<h2>Where to label next</h2>",
        _table(("frame", "share of its points"), [(frame(item.at), escape(item.why)) for item in worst], "No frame stands out."),
        "<h2>Keypoints</h2>",
        _keypoints(tracks),
        "<h2>Gaps</h2>",
        _table(
            ("keypoint", "camera", "from", "to", "frames"),
            [
                (
                    escape(names[gap.keypoint]),
                    "3-D" if gap.view is None else escape(tracks.views[gap.view]),
                    frame(gap.first),
                    frame(gap.last),
                    str(gap.last - gap.first + 1),
                )
                for gap in found[:_ROWS]
            ],
            "None.",
            more=len(found) - _ROWS,
        ),
        "<h2>Pictures that are missing</h2>",
        _table(
            ("camera", "no picture then", "unreadable"),
            [
                (escape(view), str((state == PictureState.NONE).sum()), str((state == PictureState.UNREADABLE).sum()))
                for view, state in zip(tracks.views, tracks.state.T, strict=True)
                if (state != PictureState.PREDICTED).any()
            ],
            "None.",
        ),
        *_bones(tracks),
        "<h2>Confidence over time</h2>",
        *(f"<h3>{escape(view)}</h3>{curve(_mean(tracks.confidence[:, v]), 0.0, 1.0)}" for v, view in enumerate(tracks.views)),
    ]
    title = escape(f"Tracks of {tracks.sequence}")
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>'
    return head + "<body>" + "\n".join(parts) + "</body></html>\n"


def _time(tracks: Tracks, at: int) -> str:
    return "" if tracks.times_s is None else f" ({tracks.times_s[at]:.2f} s)"


def _keypoints(tracks: Tracks) -> str:
    jumped = jumps(tracks).sum(axis=(0, 1))
    heads, rows = ["keypoint", "confidence", "jumps"], []
    if tracks.world is not None:
        heads += ["residual, px", "cameras that agree", "without a place in 3-D"]
    for k, name in enumerate(tracks.skeleton.keypoints):
        row = [escape(name), _number(_median(tracks.confidence[..., k])), str(int(jumped[k]))]
        if tracks.world is not None:
            missing = ~np.isfinite(tracks.world.xyz_world[:, k]).all(axis=-1)
            row += [_number(_median(tracks.residual_px[:, k])), f"{tracks.n_agreeing[:, k].mean():.1f}", f"{missing.mean():.1%}"]
        rows.append(row)
    return _table(heads, rows, "")


def _bones(tracks: Tracks) -> list[str]:
    lengths = bone_lengths(tracks)
    if lengths is None or tracks.rig is None:
        return []
    names, parts = tracks.skeleton.keypoints, [f"<h2>Bone lengths over time, {escape(tracks.rig.unit)}</h2>"]
    for (a, b), length in zip(tracks.skeleton.limbs, lengths.T, strict=True):
        middle = _median(length)
        spread = _median(np.abs(length - middle)) if np.isfinite(middle) else np.nan
        about = f"median {_number(middle)}, half of the frames within ± {_number(spread)}"
        parts.append(f'<h3>{escape(names[a])} – {escape(names[b])} <span class="note">{about}</span></h3>')
        parts.append(curve(length, 0.0, 2 * middle if np.isfinite(middle) else 1.0))
    return parts


def curve(values: FloatArray, low: float, high: float) -> str:
    """(n,) as a line, NaN = a hole; of many frames each stretch is drawn from its smallest to its largest value."""
    count = max(len(values), 1)
    step = max(1, count // _WIDTH)
    commands, pen = [], False
    for start in range(0, len(values), step):
        part = values[start : start + step]
        part = part[np.isfinite(part)]
        if not len(part):
            pen = False
            continue
        x = _WIDTH * start / count
        for value in dict.fromkeys((float(part.min()), float(part.max()))):
            y = _HEIGHT * (1 - (min(max(value, low), high) - low) / max(high - low, 1e-9))
            commands.append(f"{'L' if pen else 'M'}{x:.1f} {y:.1f}")
            pen = True
    line = (
        f'<path d="{"".join(commands)}" fill="none" stroke="#4a6fa5" stroke-linecap="round" vector-effect="non-scaling-stroke"/>'
    )
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" fill="none">{line}</svg>'


def _table(heads: Iterable[str], rows: Sequence[Sequence[str]], empty: str, more: int = 0) -> str:
    """Cells are HTML."""
    if not rows:
        return f"<p>{empty}</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    rest = f'<p class="note">and {more} shorter ones</p>' if more > 0 else ""
    return f"<table><tr>{head}</tr>{body}</table>{rest}"


def _mean(values: FloatArray) -> FloatArray:
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.asarray(np.where(count > 0, np.where(known, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan))


def _median(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _number(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{value:.3g}"

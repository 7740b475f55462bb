"""The learning curve, against labels and against hours, with its forecast."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ml_backend.acquisition.stopping import Forecast, StopAdvice
from ml_backend.evaluation.stop_advice import learning_forecast, stop_advice
from ml_backend.store import page_rows
from ml_backend.store.workspace import Workspace
from ml_backend.web_page.charts import Series, line_chart
from ml_backend.web_page.tables import Table, number

#: Versions in the curve, the newest.
VERSIONS = 500
#: Rows of the table under it.
ROWS = 25


@dataclass(frozen=True)
class ProgressCharts:
    """What the page of the learning curve shows."""

    by_labels: Markup
    by_hours: Markup
    table: Table


@dataclass(frozen=True)
class Advice:
    """Whether to stop, and what the next labels buy; both read every order, so they are computed beside the page."""

    stop: StopAdvice
    forecast: Forecast | None


def advice(workspace: Workspace) -> Advice:
    """Of this moment."""
    return Advice(stop_advice(workspace), learning_forecast(workspace))


def curve(workspace: Workspace, forecast: Forecast | None) -> ProgressCharts:
    """The newest versions, each with what it was trained on and its error on the validation frames."""
    hours, total, spent = page_rows.hours_by_round(workspace.store), 0.0, dict[int, float]()
    for round_ in sorted(hours):
        total += hours[round_]
        spent[round_] = total
    points = []
    for point in page_rows.learning_points(workspace.store, VERSIONS):
        error = point.metrics.get("validation_px")
        until = [of for round_, of in spent.items() if round_ <= point.round]
        if isinstance(error, int | float):
            points.append((point, float(error), max(until, default=0.0)))
    measured = Series("error of each version", [(point.n_frames, error) for point, error, _ in points])
    lines = [measured]
    if forecast is not None and points:
        last = max(point.n_frames for point, _, _ in points)
        ahead = [last + forecast.ahead * step / 10 for step in range(11)]
        lines.append(Series("forecast", [(n, forecast.a * n**-forecast.b + forecast.c) for n in ahead], dashed=True))
    by_labels = line_chart(
        f"Validation error in pixels of {len(points)} versions against the labelled frames that they learnt from",
        lines if points else [],
        "labelled frames",
        "validation error, px",
    )
    timed = [(of, error) for _, error, of in points]
    by_hours = line_chart(
        f"Validation error in pixels of {len(points)} versions against the hours that people had labelled",
        [Series("error of each version", timed)] if any(of > 0 for of, _ in timed) else [],
        "hours of labelling",
        "validation error, px",
    )
    rows = [
        (f"px-{point.number}", str(point.n_frames), number(of, ".2f"), number(error, ".2f"))
        for point, error, of in reversed(points[-ROWS:])
    ]
    table = Table(
        f"The newest versions with a validation error, at most {ROWS}",
        ("version", "labelled frames", "hours of labelling", "validation error, px"),
        rows,
        "No version has a validation error yet: label frames, among them some of the validation split.",
        frozenset({1, 2, 3}),
    )
    return ProgressCharts(by_labels, by_hours, table)

"""Figures of the store for ``/metrics``, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ml_backend.store import frames, presence, submissions, versions, work
from ml_backend.store.workspace import Workspace


class StoreGauges(Collector):
    """Labels, frames, the live version, jobs by state, and the age of every process's last heartbeat."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing, so that registering does not read the store."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures of this moment."""
        store = self.workspace.store
        yield GaugeMetricFamily("parallax_frames", "Frames of the pool", value=frames.count(store))
        labels = submissions.count(store)
        yield GaugeMetricFamily("parallax_annotations", "Annotations that count", value=labels)
        live = versions.live(store)
        yield GaugeMetricFamily(
            "parallax_live_version", "Number of the live model, 0 before the first", value=live.number if live else 0
        )
        jobs = GaugeMetricFamily("parallax_jobs", "Jobs by kind and status", labels=["kind", "status"])
        for (kind, status), count in work.count_jobs(store).items():
            jobs.add_metric([kind, status], count)
        yield jobs
        ages = GaugeMetricFamily("parallax_heartbeat_age_seconds", "Seconds since a process was heard of", labels=["process"])
        for process, age in presence.alive(store, within_s=3600).items():
            ages.add_metric([process], age)
        yield ages

"""/metrics in Prometheus' text format: counters of the web process, and gauges that are read from the store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.monitoring.status import read_status
from ml_backend.storage import Store

CONTROL_GAUGES = ("accuracy", "teacher_agreement", "learner_agreement")
"""Gauges with a value for each control."""
BUCKETS_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1, 5, 30)


class Metrics:
    """The metrics of one application. It has its own registry, so that a process can have several applications."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self.events = Counter("apprentice_events", "Webhook events taken", ["action"], registry=self._registry)
        self.seconds = Histogram(
            "apprentice_request_seconds", "Seconds to answer", ["endpoint", "status"], registry=self._registry,
            buckets=BUCKETS_SECONDS,
        )  # fmt: skip
        self._registry.register(_ProjectCollector(store))

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _ProjectCollector(Collector):
    """Reads the gauges of all connected projects from the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        return []  # registering must not read the store

    def collect(self) -> Iterator[Metric]:
        gauges = {
            "labelled": "Tasks with a counted human label",
            "pool": "Tasks without a counted human label",
            "accuracy": "Measured accuracy of the active version",
            "round_seconds": "Seconds of the last round",
            "round_running": "Whether a round is running",
            "round_waiting": "Whether a round is requested and not yet running",
            "failing": "Whether the last round failed",
            "teacher_calls": "Calls to the teacher so far",
            "teacher_cost": "Cost of the calls to the teacher so far, in the unit of its prices",
            "teacher_waiting": "Questions to the teacher without an answer",
            "teacher_agreement": "How often the teacher agrees with the annotators",
            "learner_agreement": "How often the cross-validated learner agrees with the annotators",
        }
        families = {
            name: GaugeMetricFamily(
                f"apprentice_{name}", text, labels=["project", "control"] if name in CONTROL_GAUGES else ["project"]
            )
            for name, text in gauges.items()
        }
        for project_row in self._store.projects.connected():
            try:
                status = read_status(self._store, project_row.id, counted=False)
            except ApprenticeError:
                continue
            teacher = next((control.teacher for control in status.controls.values()), {})
            values = {
                "labelled": status.labelled,
                "pool": status.pool,
                "round_seconds": status.last_round["seconds"] if status.last_round else None,
                "round_running": status.running,
                "round_waiting": status.waiting,
                "failing": status.last_error is not None,
                "teacher_calls": teacher["spent"]["in all"]["calls"] if teacher else None,
                "teacher_cost": teacher["spent"]["in all"]["cost"] if teacher else None,
                "teacher_waiting": teacher["waiting"] if teacher else None,
            }
            for name, value in values.items():
                if value is not None:
                    families[name].add_metric([str(project_row.id)], float(value))
            for control, of_control in status.controls.items():
                values = {
                    "accuracy": of_control.accuracy.value if of_control.accuracy else None,
                    "teacher_agreement": _overall_agreement(of_control.teacher, "teacher"),
                    "learner_agreement": _overall_agreement(of_control.teacher, "learner"),
                }
                for name, value in values.items():
                    if value is not None:
                        families[name].add_metric([str(project_row.id), control], float(value))
        workers = GaugeMetricFamily("apprentice_workers", "Worker processes that have reported recently")
        workers.add_metric([], len(self._store.jobs.workers()))
        yield from (*families.values(), workers)


def _overall_agreement(teacher: dict[str, Any], author: str) -> float | None:
    agreement = teacher["agreement"][author]["overall"] if teacher else None
    return agreement["value"] if agreement else None

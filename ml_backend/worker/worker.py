"""A worker process: claims one project at a time, runs its round, and encodes and tidies up when nothing is wanted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from ml_backend.core.exceptions import ApprenticeError, LabelStudioError, LeaseLostError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.label_review import propose
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.loop.round import RoundContext, run_round
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Lease, RoundRecord, Store, credentials, now, process_name
from ml_backend.worker.config_check import ConfigCheck
from ml_backend.worker.encoding_runner import EncodingRunner
from ml_backend.worker.lease_check import LeaseCheck
from ml_backend.worker.maintenance import Maintenance
from ml_backend.worker.monitor_runner import MonitorRunner
from ml_backend.worker.teacher_runner import TeacherRunner

WAIT_SECONDS = 0.05  # for a signal, between two looks at what else there is to do
POLL_SECONDS = 1.0  # between two looks at the job table without a signal: for what falls due, or was not heard
BEAT_SECONDS = 5.0
LOOK_SECONDS = 5.0
COMPLETE_SECONDS = 5.0  # before a queue is completed that was cut short for somebody else
PAUSE_BETWEEN_ROWS_SECONDS = 0.5  # at most, of the rest of a queue
TEACHING_SECONDS = 2.0  # at most, between two looks at what the teacher is to be asked, while rounds follow each other
PAUSE_SECONDS = 2.0  # after an error outside a round
TASKS_KEPT = 200_000  # of other projects than the one at hand: 2 kB each

log = structlog.get_logger()


class Worker:
    """Runs until `stop` is set. One round at a time; several workers share the projects through leases."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._store = Store(settings)
        self._name = process_name()
        self._pools: dict[int, ProjectPool] = {}
        self._client: LabelStudioClient | None = None
        self._credentials: tuple[str, str] | None = None
        self._upkeep = Maintenance(settings, self._store)
        self._encoding = EncodingRunner(settings, self._store, self._name)
        self._aggregators = LabelAggregators(self._store)
        self._watching = MonitorRunner(settings, self._store, self._aggregators)
        self._teaching = TeacherRunner(settings, self._store, self._aggregators)
        self._config_check = ConfigCheck(self._store)
        self._listener = self._store.signals.listen()
        self._looked = self._poll_at = 0.0
        self._taught_at = time.monotonic()

    def run(self) -> None:
        with suppress(LabelStudioError):  # a round will say what is wrong
            self._connected()
        beat = threading.Thread(target=self._beat, name="beat", daemon=True)
        beat.start()
        self._encoding.warm()
        try:
            while not self._stop.is_set():
                try:
                    self._step()
                except Exception as error:  # a full disk, say: the last good version goes on serving meanwhile
                    log.error("worker", error=_safe(error))
                    self._stop.wait(PAUSE_SECONDS)
        finally:
            self._stop.set()
            beat.join()
            with suppress(ApprenticeError):  # what was not written is encoded again
                for pool in self._pools.values():
                    pool.flush()
            self._store.jobs.leave(self._name)
            self._listener.close()
            self._teaching.stop()  # what may take long comes last, in case the process is killed
            self._encoding.stop()
            self._watching.stop()
            self._config_check.stop()
            self._store.close()

    def _beat(self) -> None:
        """Says that this worker lives, however long a stage takes."""
        while True:
            try:
                self._store.jobs.beat(self._name, os.getpid())
            except ApprenticeError as error:
                log.warning("no sign of life", error=str(error))
            if self._stop.wait(BEAT_SECONDS):
                return

    def _step(self) -> None:
        self._look_around()
        lease = self._claim()
        if lease is not None:
            self._serve(lease)
            return
        self._config_check.step(self._client)
        self._watching.step(self._pools)
        self._teach()
        self._encoding.step(self._pools)
        if not self._upkeep.step(self._client, self._pools):  # rarely: it says itself when it is time
            self._listener.wait(WAIT_SECONDS)

    def _claim(self) -> Lease | None:
        """A project to work on, if somebody has signalled or it is time to look; None, too, if there is none."""
        self._hear()
        if time.monotonic() < self._poll_at:
            return None
        lease = self._store.jobs.claim(self._name)
        self._poll_at = 0.0 if lease else time.monotonic() + POLL_SECONDS
        return lease

    def _teach(self) -> None:
        self._taught_at = time.monotonic()
        self._teaching.step(self._pools)

    def _hear(self) -> None:
        """Takes the signals that have come: it is time to look for work."""
        if self._listener.heard():
            self._poll_at = 0.0
            self._teaching.wake()

    def _is_superseded(self, lease: Lease, seconds: float) -> bool:
        """Whether this round is to make way, now or, as far as a signal says so, within so many seconds."""
        if seconds > 0 and not self._stop.is_set():
            self._listener.wait(min(seconds, PAUSE_BETWEEN_ROWS_SECONDS))
            self._hear()
            self._encoding.step(self._pools, lease.project)
            if time.monotonic() - self._taught_at > TEACHING_SECONDS:  # it may never be quiet
                self._teach()
        return self._stop.is_set() or self._store.jobs.is_awaited(lease)

    def _look_around(self) -> None:
        """Now and then: asks for the rounds that check on Label Studio, and lets go of what was disconnected."""
        every = min(LOOK_SECONDS, self._settings.reconcile_seconds)
        if self._looked and time.monotonic() - self._looked < every:
            return
        self._looked = time.monotonic()
        connected = self._store.projects.connected()
        for record in connected:
            if now() - record.reconciled_at >= self._settings.reconcile_seconds:
                self._store.jobs.ask(record.id)
        for gone in self._pools.keys() - {record.id for record in connected}:
            pool = self._pools.pop(gone)
            if self._store.projects.get(gone) is not None:  # of one that was forgotten, nothing must be written again
                pool.flush()
        self._aggregators.keep(self._pools.keys())

    def _serve(self, lease: Lease) -> None:
        """One round under a lease. Whatever goes wrong is recorded, and the project is tried again later."""
        started, jobs = now(), self._store.jobs
        stages: dict[str, float] = {}
        if not jobs.may_publish(lease):  # disconnected since the round was asked for
            jobs.finish(lease)
            return
        try:
            with self._renewing(lease):
                pool = self._pool(lease.project)
                work = RoundContext(
                    settings=self._settings,
                    store=self._store,
                    client=self._connected(),
                    project=lease.project,
                    pool=pool,
                    aggregator=self._aggregators.of(lease.project),
                    guard=LeaseCheck(jobs, lease, self._stop),
                    superseded=lambda seconds: self._is_superseded(lease, seconds),
                    lease=lease,
                    stages=stages,
                )
                record = run_round(work)
                self._upkeep.after_round(self._client, lease.project, pool)
                self._propose(work)
            jobs.finish(lease)
            if not self._store.publications.is_settled(lease.project):
                jobs.ask(lease.project, COMPLETE_SECONDS)  # its queue was cut short
            if record is not None:
                self._upkeep.postpone()
                self._store.versions.record_round(lease.project, record)
                log.info("round", project=lease.project, version=record.version, **stages)
            self._encoding.tell(lease.project, pool)
        except LeaseLostError:
            jobs.release(lease)
            log.info("round handed back", project=lease.project)
        except Exception as error:
            said = _safe(error)
            self._upkeep.after_round(None, lease.project)  # it may have made a learner, and Label Studio be the trouble
            jobs.fail(lease)
            self._store.versions.record_round(lease.project, RoundRecord(None, started, now(), stages, said))
            log.error("round failed", project=lease.project, error=said)

    def _propose(self, work: RoundContext) -> None:
        """Second looks, under the lease of the round. What goes wrong with them is no failure of it."""
        record = self._store.projects.ensure(work.project)
        options, _ = self._settings.for_project(record.extra_params)
        try:
            work.guard()
            schema = read_schema(record.label_config, record.choices)
            propose(work.client, self._store, schema, record, options.second_look, work.guard)
        except LeaseLostError:
            raise
        except ApprenticeError as error:
            log.warning("not proposed", project=work.project, error=str(error))

    def _pool(self, project: int) -> ProjectPool:
        """The project's pool; of the others, the least recently served go when all are too large together."""
        pool = self._pools.pop(project, None)
        if pool is None:
            record = self._store.projects.ensure(project)
            pool = ProjectPool(self._store, project, feature_space.encoder_of(self._settings, record))
        while self._pools and sum(len(each.tasks) for each in self._pools.values()) > TASKS_KEPT:
            self._pools.pop(next(iter(self._pools))).flush()
        self._pools[project] = pool
        return pool

    @contextmanager
    def _renewing(self, lease: Lease) -> Iterator[None]:
        """Keeps the lease alive while a stage takes long."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self._settings.lease_seconds / 4):
                try:
                    self._store.jobs.renew(lease)
                except ApprenticeError as error:
                    log.warning("lease not renewed", project=lease.project, error=str(error))

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _connected(self) -> LabelStudioClient:
        """The client, made anew when `connect` has left other credentials."""
        found = credentials(self._settings)
        if self._client is None or found != self._credentials:
            self._client = LabelStudioClient(*found, self._settings.timeout_seconds)
            self._credentials = found
            for record in self._store.projects.connected():  # it may be another Label Studio, or have changed
                self._store.synchronisation.look_again(record.id)
                self._store.publications.measure(record.id, None, None)
        return self._client


def _safe(error: BaseException) -> str:
    """What may be told of an error: the text of one that is not ours may hold task data, so only its kind and place."""
    if isinstance(error, ApprenticeError):
        return str(error)
    return f"{type(error).__name__} in {_place(error)}"


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "an unknown place"

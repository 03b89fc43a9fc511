"""A worker process: claims one project at a time and runs its round. Encodes and cleans up between the rounds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import structlog

from ml_backend.core.exceptions import ApprenticeError, LabelStudioError, LeaseLostError
from ml_backend.core.settings import Settings
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.labels.aggregation import LabelAggregators
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Lease, RoundRow, Store, process_name, read_credentials
from ml_backend.storage.signals import Listener
from ml_backend.worker.config_check import ConfigCheck
from ml_backend.worker.encoding_runner import EncodingRunner
from ml_backend.worker.lease_check import LeaseCheck
from ml_backend.worker.maintenance import Maintenance
from ml_backend.worker.monitor_runner import MonitorRunner
from ml_backend.worker.teacher_runner import TeacherRunner

SIGNAL_WAIT_SECONDS = 0.05  # longest wait for a signal in a step without work
POLL_SECONDS = 1.0  # between two reads of the job table without a signal: a signal may be lost, a request may fall due
HEARTBEAT_SECONDS = 5.0
RECONCILE_CHECK_SECONDS = 5.0  # between two checks for projects that are due for reconciliation
COMPLETE_QUEUE_SECONDS = 5.0  # before the rest of a queue whose publication was interrupted is published
MAX_ROW_PAUSE_SECONDS = 0.5  # between two rows of the rest of a queue
MAX_TEACHER_PAUSE_SECONDS = 2.0  # between two steps of the teacher runner while rounds follow each other
ERROR_PAUSE_SECONDS = 2.0  # after an error outside a round
MAX_TASKS_IN_MEMORY = 200_000  # in the pools of other projects than the current one; a task takes 2 kB

MakeClient = Callable[[str, str, float], LabelStudioClient]

log = structlog.get_logger()


class Worker:
    """Runs until `stop` is set. One round at a time; several workers share the projects through leases."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        stop: threading.Event,
        *,
        make_client: MakeClient = LabelStudioClient,
        listener: Listener | None = None,
        max_tasks_in_memory: int = MAX_TASKS_IN_MEMORY,
    ) -> None:
        """
        store        closed at the end of `run`; its clock is that of the worker
        make_client  makes the client from Label Studio's URL, the API key, and the seconds until a call fails
        listener     hears of requested rounds; None: the store's
        max_tasks_in_memory  in the pools of other projects than the current one
        """
        self._settings = settings
        self._stop = stop
        self._store = store
        self._clock = store.clock
        self._name = process_name()
        self._pools: dict[int, ProjectPool] = {}
        self._make_client = make_client
        self._max_tasks_in_memory = max_tasks_in_memory
        self._client: LabelStudioClient | None = None
        self._credentials: tuple[str, str] | None = None
        self._maintenance = Maintenance(settings, self._store)
        self._encoding_runner = EncodingRunner(settings, self._store, self._name)
        self._aggregators = LabelAggregators(self._store)
        self._monitor_runner = MonitorRunner(settings, self._store, self._aggregators)
        self._teacher_runner = TeacherRunner(settings, self._store, self._aggregators)
        self._config_check = ConfigCheck(self._store)
        self._listener = listener or store.signals.listen()
        self._reconciliation_checked_at = self._poll_at = 0.0
        self._teacher_step_at = self._clock.monotonic()

    def run(self) -> None:
        with suppress(LabelStudioError):  # a round reports the error
            self._connected_client()
        heartbeat = threading.Thread(target=self._send_heartbeats, name="heartbeat", daemon=True)
        heartbeat.start()
        self._encoding_runner.warm()
        try:
            while not self._stop.is_set():
                try:
                    self.step()
                except Exception as error:  # for example a full disk; the last version goes on serving
                    log.error("worker step failed", error=_loggable(error), retry_in=ERROR_PAUSE_SECONDS)
                    self._stop.wait(ERROR_PAUSE_SECONDS)
        finally:
            self._stop.set()
            heartbeat.join()
            with suppress(ApprenticeError):  # vectors that are not written are encoded again
                for pool in self._pools.values():
                    pool.flush()
            self._store.jobs.remove_worker(self._name)
            self._listener.close()
            self._teacher_runner.wait()  # slow steps come last, because the process may be killed
            self._encoding_runner.stop()
            self._monitor_runner.stop()
            self._config_check.stop()
            self._store.close()

    def _send_heartbeats(self) -> None:
        """Stores heartbeats until the worker stops, also while a stage takes long."""
        while True:
            try:
                self._store.jobs.record_heartbeat(self._name, os.getpid())
            except ApprenticeError as error:
                log.warning("heartbeat not stored", error=str(error))
            if self._stop.wait(HEARTBEAT_SECONDS):
                return

    @property
    def pools(self) -> Mapping[int, ProjectPool]:
        """The pools in memory, by project; that of the latest round comes last."""
        return self._pools

    def wait(self) -> None:
        """Waits for what the last step began in the background, except for answers of a teacher."""
        self._encoding_runner.wait()
        self._monitor_runner.wait()
        self._config_check.wait()

    def step(self) -> None:
        """Runs the round of a project if one is requested. Otherwise, begins or continues work in the background, and
        waits for a signal for a moment if there is none."""
        self._request_reconciliations()
        lease = self._claim()
        if lease is not None:
            self._run_leased_round(lease)
            return
        self._config_check.step(self._client)
        self._monitor_runner.step(self._pools)
        self._step_teacher()
        self._encoding_runner.step(self._pools)
        if not self._maintenance.step(self._client, self._pools):
            self._listener.wait(SIGNAL_WAIT_SECONDS)

    def _claim(self) -> Lease | None:
        """Claims a project, if a signal has come or a poll is due; None if no project waits for a round."""
        self._read_signals()
        if self._clock.monotonic() < self._poll_at:
            return None
        lease = self._store.jobs.claim(self._name)
        self._poll_at = 0.0 if lease else self._clock.monotonic() + POLL_SECONDS
        return lease

    def _step_teacher(self) -> None:
        self._teacher_step_at = self._clock.monotonic()
        self._teacher_runner.step(self._pools)

    def _read_signals(self) -> None:
        """Makes a poll of the job table due if a signal has come."""
        if self._listener.heard():
            self._poll_at = 0.0
            self._teacher_runner.wake()

    def _is_superseded(self, lease: Lease, seconds: float) -> bool:
        """Whether an event has requested another round, or the worker stops. Waits up to `seconds` for a signal, and
        works beside the round meanwhile."""
        if seconds > 0 and not self._stop.is_set():
            self._listener.wait(min(seconds, MAX_ROW_PAUSE_SECONDS))
            self._read_signals()
            self._encoding_runner.step(self._pools, lease.project)
            # a worker with many rounds never gets to the teacher otherwise
            if self._clock.monotonic() - self._teacher_step_at > MAX_TEACHER_PAUSE_SECONDS:
                self._step_teacher()
        return self._stop.is_set() or self._store.jobs.is_event_waiting(lease)

    def _request_reconciliations(self) -> None:
        """Every few seconds, requests a round for each project that is due for reconciliation, and drops the pools of
        disconnected projects."""
        interval = min(RECONCILE_CHECK_SECONDS, self._settings.reconcile_seconds)
        if self._reconciliation_checked_at and self._clock.monotonic() - self._reconciliation_checked_at < interval:
            return
        self._reconciliation_checked_at = self._clock.monotonic()
        connected = self._store.projects.connected()
        for project_row in connected:
            if self._clock.now() - project_row.reconciled_at >= self._settings.reconcile_seconds:
                self._store.jobs.request_unless_waiting(project_row.id)
        for project in self._pools.keys() - {project_row.id for project_row in connected}:
            pool = self._pools.pop(project)
            if self._store.projects.get(project) is not None:  # nothing of a forgotten project may be written again
                pool.flush()
        self._aggregators.keep(self._pools.keys())

    def _run_leased_round(self, lease: Lease) -> None:
        """Runs one round under a lease. An error is stored for `status`, and the round is tried again later."""
        started, jobs = self._clock.now(), self._store.jobs
        stages: dict[str, float] = {}
        if not jobs.may_publish(lease):  # the project was disconnected after the request
            jobs.finish(lease)
            return
        try:
            with self._renewing(lease):
                pool = self.pool(lease.project)
                context = RoundContext(
                    settings=self._settings,
                    store=self._store,
                    client=self._connected_client(),
                    project=lease.project,
                    pool=pool,
                    aggregator=self._aggregators.of(lease.project),
                    check_lease=LeaseCheck(jobs, lease, self._stop, self._clock),
                    newer_round_requested=lambda seconds: self._is_superseded(lease, seconds),
                    lease=lease,
                    stages=stages,
                )
                round_row = run_round(context)
                self._maintenance.after_round(self._client, lease.project, pool)
            jobs.finish(lease)
            if not self._store.publications.is_complete(lease.project):
                jobs.request_unless_waiting(lease.project, COMPLETE_QUEUE_SECONDS)
            if round_row is not None:
                self._maintenance.postpone()
                self._store.versions.record_round(lease.project, round_row)
                log.info("round", project=lease.project, version=round_row.version, **stages)
            self._encoding_runner.report_progress(lease.project, pool)
        except LeaseLostError:
            jobs.release(lease)
            log.info("round stopped, lease released", project=lease.project)
        except Exception as error:
            message = _loggable(error)
            # the round may have stored a learner; no client, because Label Studio may be the cause
            self._maintenance.after_round(None, lease.project)
            jobs.fail(lease)
            self._store.versions.record_round(
                lease.project, RoundRow(None, started, self._clock.now(), stages, message)
            )
            log.error("round failed", project=lease.project, error=message)

    def pool(self, project: int) -> ProjectPool:
        """Returns the project's pool. Drops the least recently used pools if the other ones are too large together."""
        pool = self._pools.pop(project, None)
        if pool is None:
            project_row = self._store.projects.ensure(project)
            pool = ProjectPool(self._store, project, feature_space.project_encoder(self._settings, project_row))
        while self._pools and sum(len(other.tasks) for other in self._pools.values()) > self._max_tasks_in_memory:
            self._pools.pop(next(iter(self._pools))).flush()
        self._pools[project] = pool
        return pool

    @contextmanager
    def _renewing(self, lease: Lease) -> Iterator[None]:
        """Renews the lease in a thread, because a stage may take longer than the lease."""
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

    def _connected_client(self) -> LabelStudioClient:
        """Returns the client. Makes a new one when `connect` has stored other credentials."""
        stored_credentials = read_credentials(self._settings)
        if self._client is None or stored_credentials != self._credentials:
            self._client = self._make_client(*stored_credentials, self._settings.timeout_seconds)
            self._credentials = stored_credentials
            for project_row in self._store.projects.connected():  # it may be another Label Studio, or a changed one
                self._store.synchronisation.request_reconciliation(project_row.id)
                self._store.publications.set_timings(project_row.id, None, None)
        return self._client


def _loggable(error: BaseException) -> str:
    """Returns the message of an ApprenticeError. Returns only the type and the place of any other error, because its
    message may contain task text."""
    if isinstance(error, ApprenticeError):
        return str(error)
    return f"{type(error).__name__} in {_place(error)}"


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "an unknown place"

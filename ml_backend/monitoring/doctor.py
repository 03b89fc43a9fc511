"""`apprentice doctor`: looks at everything from both sides and says in plain words what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.client import PRIVATE, LabelStudioClient
from ml_backend.label_studio.connection_check import ConnectionReport, inspect
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import HEAD, PublishTimings
from ml_backend.monitoring import messages, project_stats
from ml_backend.monitoring.health_check import knock
from ml_backend.monitoring.status import set_aside
from ml_backend.monitoring.text_sample import look_at_texts
from ml_backend.storage import ProjectRecord, Store, credentials
from ml_backend.teacher import health
from ml_backend.teacher.health import State

TESTED = "1.23"  # release of Label Studio that the behaviour relied on was measured with


@dataclass(frozen=True, slots=True)
class Finding:
    state: State
    about: str
    text: str


def examine(settings: Settings, project: int | None) -> Iterator[Finding]:
    """All findings, one after the other; never raises: what cannot be checked is a finding, too."""
    yield from _guarded("encoder", lambda: _encoder(settings))
    store: Store | None = None
    try:
        store = Store(settings, must_exist=True)
        yield from _store(settings, store)
        yield from _workers(store)
    except ApprenticeError as error:
        yield Finding("wrong", "store", str(error))
    yield from _guarded("this backend", lambda: _backend(settings))
    client: LabelStudioClient | None = None
    try:
        client = LabelStudioClient(*credentials(settings), settings.timeout_seconds)
        yield from _label_studio(client)
    except ApprenticeError as error:
        yield Finding("wrong", "Label Studio", str(error))
        client = None
    if store is None:
        return
    records = [store.projects.get(project)] if project else [*store.projects.connected()]
    for record in records:
        if record is None or not record.is_connected:
            yield Finding("wrong", f"project {project}", f"not connected: run `apprentice connect --project {project}`")
            continue
        if client is not None:
            yield from _guarded(f"project {record.id}", lambda: _project(client, settings, store, record))  # noqa: B023
        if codes := store.set_aside.codes(record.id):
            yield Finding("notice", f"project {record.id}", f"set aside: {set_aside(codes)}")
        yield from _guarded(f"teacher of {record.id}", lambda: _teacher(settings, store, record))  # noqa: B023
    if not records:
        yield Finding("notice", "projects", "none is connected: run `apprentice connect --project N`")
    store.close()


def _guarded(about: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except ApprenticeError as error:
        yield Finding("wrong", about, str(error))


def _encoder(settings: Settings) -> Iterator[Finding]:
    encoder = registry.encoder(settings.encoder)
    yield Finding("good", "encoder", f"{encoder.name}: {encoder.verify()}")


def _store(settings: Settings, store: Store) -> Iterator[Finding]:
    if problem := store.full():
        yield Finding("wrong", "store", problem)
    else:
        yield Finding("good", "store", f"{settings.data_dir} is writable, the database answers")


def _workers(store: Store) -> Iterator[Finding]:
    alive = store.jobs.workers()
    if alive:
        yield Finding("good", "worker", f"{len(alive)} alive")
    else:
        yield Finding("wrong", "worker", "none has been heard of for 30 s: start `apprentice serve`")


def _backend(settings: Settings) -> Iterator[Finding]:
    if not knock(settings):
        yield Finding("wrong", "this backend", f"nothing answers at {settings.address}: start `apprentice serve`")
        return
    guard = "with a secret" if settings.secret.get_secret_value() else "without a secret, for this machine only"
    yield Finding("good", "this backend", f"answers at {settings.address}, {guard}")


def _label_studio(client: LabelStudioClient) -> Iterator[Finding]:
    version = client.version()
    client.call("GET", "api/current-user/whoami")
    yield Finding("good", "Label Studio", f"{version} at {client.url}, by {client.token_kind}")
    if not version.startswith(TESTED):
        yield Finding("notice", "Label Studio", f"tested with {TESTED}: report it if something behaves differently")


def _project(client: LabelStudioClient, settings: Settings, store: Store, record: ProjectRecord) -> Iterator[Finding]:
    about, again = f"project {record.id}", f"run `apprentice connect --project {record.id}` again"
    found = inspect(client, settings, record)
    if found.elsewhere:
        yield Finding(
            "wrong",
            about,
            f"is connected to {found.elsewhere}, but here the backend is {settings.address}: set APPRENTICE_PORT (or "
            f"APPRENTICE_PUBLIC_URL) as `serve` has it, or {again}",
        )
        return
    schema = read_schema(found.label_config, record.choices)
    yield Finding("good", about, messages.question(schema))
    yield from _tasks_and_answers(about, store, client, record, schema)
    yield from _from_label_studio(about, settings, found, again)
    if not found.webhooks:
        yield Finding("wrong", about, f"its webhook is gone, answers are only found by the slow check: {again}")
    elif not found.authenticated:
        yield Finding("wrong", about, f"its webhook does not present the secret and is turned away: {again}")
    else:
        yield Finding(
            "good", about, f"webhook there{' and authenticated' if settings.secret.get_secret_value() else ''}"
        )
    if not found.sampling_is_ours:
        yield Finding("wrong", about, f"sampling is {found.sampling!r}, so the queue is not followed: {again}")
    elif not record.published and store.tasks.count(record.id):
        yield Finding("notice", about, "no queue has been published yet: `apprentice status` shows the first round")
    elif record.published and found.model_version != record.published:
        yield Finding("wrong", about, f"serves {found.model_version!r}, not {record.published!r}: {again}")
    elif record.published:
        yield Finding("good", about, f"sampling and model version ({record.published}) are in step")
    _, complaint = settings.for_project(record.extra_params)
    if complaint:
        yield Finding("wrong", about, complaint)
    yield _publishing(about, PublishTimings(**(record.pace or {})), schema)


def _tasks_and_answers(
    about: str, store: Store, client: LabelStudioClient, record: ProjectRecord, schema: TaskSchema
) -> Iterator[Finding]:
    """What of the tasks and answers cannot be learnt from. Before tasks were read, Label Studio is asked for some."""
    coverage, check = project_stats.checks(store, record.id, schema, project_stats.read(store, record.id))
    if not check.tasks:
        check = look_at_texts(client, record.id, schema)
    for sentence in messages.texts(check, schema):
        yield Finding("wrong" if check.tasks and check.without_text == check.tasks else "notice", about, sentence)
    for sentence in messages.unused(coverage, schema):
        yield Finding("notice", about, sentence)
    active = store.versions.active(record.id)
    if active and active.learner is None and (sentence := messages.nothing_learnt(coverage)):
        yield Finding("notice", about, sentence)


def _teacher(settings: Settings, store: Store, record: ProjectRecord) -> Iterator[Finding]:
    for state, text in health.look(settings, store, record):
        yield Finding(state, f"teacher of {record.id}", text)


def _from_label_studio(about: str, settings: Settings, found: ConnectionReport, again: str) -> Iterator[Finding]:
    """Label Studio has just called /health and /setup itself: this is the view from its side."""
    if found.ml_state == "connected":
        yield Finding("good", about, f"Label Studio reaches {settings.address}")
    elif found.ml_state == "missing":
        yield Finding("wrong", about, f"the ML backend connection is gone: {again}")
    else:
        said = f" ({found.ml_error})" if found.ml_error else ""
        yield Finding(
            "wrong",
            about,
            f"Label Studio does not reach {settings.address}{said}. If the address is right: {PRIVATE}",
        )


def _publishing(about: str, pace: PublishTimings, schema: TaskSchema) -> Finding:
    if pace.bulk is None and pace.single is None:
        return Finding("notice", about, "publishing speed is not measured yet")
    measured = " and ".join(
        f"{seconds:.2f} s {what}"
        for seconds, what in ((pace.bulk, "a bulk import"), (pace.single, "a single row"))
        if seconds is not None
    )
    if schema.nested:
        why = "Label Studio drops drafts in a tree of choices from a bulk import"
        return Finding("good", about, f"the queue is published row by row ({measured}): {why}")
    if pace.path(HEAD) == "bulk":
        return Finding("good", about, f"the queue is published by bulk import ({measured})")
    hint = (
        ": Label Studio recounts the whole project at every bulk import, unless it is started with "
        "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short=true"
    )
    return Finding("good", about, f"the queue's head is published row by row ({measured}){hint}")

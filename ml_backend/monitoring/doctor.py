"""`apprentice doctor`: checks the installation and its projects, and says what to do about each problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.client import PRIVATE_ADDRESS_HINT, LabelStudioClient
from ml_backend.label_studio.connection_check import ConnectionReport, check_connection
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import HEAD_PREDICTIONS, PublishTimings
from ml_backend.monitoring import messages, project_stats
from ml_backend.monitoring.health_check import is_answering
from ml_backend.monitoring.status import set_aside_sentence
from ml_backend.monitoring.text_sample import check_first_tasks
from ml_backend.storage import ProjectRow, Store, read_credentials
from ml_backend.teacher import health
from ml_backend.teacher.health import HealthState

TESTED_RELEASE = "1.23"  # of Label Studio: the behaviour that this backend relies on was measured with it


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: its state, the part that was checked, and a sentence about it."""

    state: HealthState
    about: str
    text: str


def examine(settings: Settings, project: int | None) -> Iterator[Finding]:
    """Yields the findings of all checks. With `project`, only that project is checked, else all connected ones are.

    Raises no ApprenticeError: an error that prevents a check is a finding, too.
    """
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
        client = LabelStudioClient(*read_credentials(settings), settings.timeout_seconds)
        yield from _label_studio(client)
    except ApprenticeError as error:
        yield Finding("wrong", "Label Studio", str(error))
        client = None
    if store is None:
        return
    records = [store.projects.get(project)] if project else [*store.projects.connected()]
    for project_row in records:
        if project_row is None or not project_row.is_connected:
            yield Finding("wrong", f"project {project}", f"not connected: run `apprentice connect --project {project}`")
            continue
        if client is not None:
            yield from _guarded(f"project {project_row.id}", lambda: _project(client, settings, store, project_row))  # noqa: B023
        if codes := store.unusable_tasks.codes(project_row.id):
            yield Finding("notice", f"project {project_row.id}", f"set aside: {set_aside_sentence(codes)}")
        yield from _guarded(f"teacher of {project_row.id}", lambda: _teacher(settings, store, project_row))  # noqa: B023
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
    if problem := store.find_write_problem():
        yield Finding("wrong", "store", problem)
    else:
        yield Finding("good", "store", f"{settings.data_dir} is writable, the database answers")


def _workers(store: Store) -> Iterator[Finding]:
    alive = store.jobs.workers()
    if alive:
        yield Finding("good", "worker", f"{len(alive)} alive")
    else:
        yield Finding("wrong", "worker", "none has reported for 30 s: start `apprentice serve`")


def _backend(settings: Settings) -> Iterator[Finding]:
    if not is_answering(settings):
        yield Finding("wrong", "this backend", f"nothing answers at {settings.address}: start `apprentice serve`")
        return
    access = "with a secret" if settings.secret.get_secret_value() else "without a secret, for this machine only"
    yield Finding("good", "this backend", f"answers at {settings.address}, {access}")


def _label_studio(client: LabelStudioClient) -> Iterator[Finding]:
    version = client.version()
    client.call("GET", "api/current-user/whoami")
    yield Finding("good", "Label Studio", f"{version} at {client.url}, by {client.token_kind}")
    if not version.startswith(TESTED_RELEASE):
        yield Finding(
            "notice", "Label Studio", f"tested with {TESTED_RELEASE}: report it if something behaves differently"
        )


def _project(client: LabelStudioClient, settings: Settings, store: Store, project_row: ProjectRow) -> Iterator[Finding]:
    about, reconnect = f"project {project_row.id}", f"run `apprentice connect --project {project_row.id}` again"
    connection = check_connection(client, settings, project_row)
    if connection.other_address:
        yield Finding(
            "wrong",
            about,
            f"is connected to {connection.other_address}, but the backend of these settings is {settings.address}: set "
            f"APPRENTICE_PORT (or APPRENTICE_PUBLIC_URL) as `apprentice serve` has it, or {reconnect}",
        )
        return
    schema = read_schema(connection.label_config, project_row.choices)
    yield Finding("good", about, messages.question_sentence(schema))
    yield from _tasks_and_annotations(about, store, client, project_row, schema)
    yield from _from_label_studio(about, settings, connection, reconnect)
    if not connection.webhooks:
        yield Finding(
            "wrong", about, f"its webhook is gone, so that only the periodic check finds annotations: {reconnect}"
        )
    elif not connection.authenticated_webhooks:
        yield Finding("wrong", about, f"its webhook does not send the secret and is rejected: {reconnect}")
    else:
        authenticated = " and is authenticated" if settings.secret.get_secret_value() else ""
        yield Finding("good", about, f"its webhook exists{authenticated}")
    if not connection.is_sampling_set:
        yield Finding("wrong", about, f"sampling is {connection.sampling!r}, so the queue is not followed: {reconnect}")
    elif not project_row.published and store.tasks.count(project_row.id):
        yield Finding("notice", about, "no queue has been published yet: `apprentice status` shows the first round")
    elif project_row.published and connection.model_version != project_row.published:
        yield Finding(
            "wrong", about, f"serves {connection.model_version!r}, not {project_row.published!r}: {reconnect}"
        )
    elif project_row.published:
        yield Finding("good", about, f"sampling and model version ({project_row.published}) are as they should be")
    _, complaint = settings.for_project(project_row.extra_params)
    if complaint:
        yield Finding("wrong", about, complaint)
    yield _publishing(about, PublishTimings(**(project_row.publish_timings or {})), schema)


def _tasks_and_annotations(
    about: str, store: Store, client: LabelStudioClient, project_row: ProjectRow, schema: TaskSchema
) -> Iterator[Finding]:
    """Findings about tasks and annotations that cannot be learnt from. As long as the store has no tasks, the texts are
    those of a sample from Label Studio."""
    coverage, check = project_stats.coverage_and_texts(
        store, project_row.id, schema, project_stats.read(store, project_row.id)
    )
    if not check.tasks:
        check = check_first_tasks(client, project_row.id, schema)
    for sentence in messages.text_sentences(check, schema):
        yield Finding("wrong" if check.tasks and check.without_text == check.tasks else "notice", about, sentence)
    for sentence in messages.unused_sentences(coverage, schema):
        yield Finding("notice", about, sentence)
    active = store.versions.active(project_row.id)
    if active and active.learner is None and (sentence := messages.no_learner_sentence(coverage)):
        yield Finding("notice", about, sentence)


def _teacher(settings: Settings, store: Store, project_row: ProjectRow) -> Iterator[Finding]:
    for state, text in health.check_teacher(settings, store, project_row):
        yield Finding(state, f"teacher of {project_row.id}", text)


def _from_label_studio(
    about: str, settings: Settings, connection: ConnectionReport, reconnect: str
) -> Iterator[Finding]:
    """Whether Label Studio reaches this backend: it has just called /health and /setup itself."""
    if connection.ml_state == "connected":
        yield Finding("good", about, f"Label Studio reaches {settings.address}")
    elif connection.ml_state == "missing":
        yield Finding("wrong", about, f"the ML backend connection is gone: {reconnect}")
    else:
        error = f" ({connection.ml_error})" if connection.ml_error else ""
        yield Finding(
            "wrong",
            about,
            f"Label Studio does not reach {settings.address}{error}. If the address is right: {PRIVATE_ADDRESS_HINT}",
        )


def _publishing(about: str, timings: PublishTimings, schema: TaskSchema) -> Finding:
    if timings.bulk is None and timings.single is None:
        return Finding("notice", about, "publishing speed is not measured yet")
    measured = " and ".join(
        f"{seconds:.2f} s {request}"
        for seconds, request in ((timings.bulk, "a bulk import"), (timings.single, "a single row"))
        if seconds is not None
    )
    if schema.nested:
        reason = "Label Studio drops drafts in a tree of choices from a bulk import"
        return Finding("good", about, f"the queue is published row by row ({measured}): {reason}")
    if timings.write_kind(HEAD_PREDICTIONS) == "bulk":
        return Finding("good", about, f"the queue is published by bulk import ({measured})")
    reason = (
        "Label Studio recounts the whole project at every bulk import, unless it is started with "
        "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short=true"
    )
    return Finding("good", about, f"the first rows of the queue are published row by row ({measured}): {reason}")

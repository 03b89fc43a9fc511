"""The checks of `apprentice doctor`: of the installation and of its projects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.kinds.lookup import kind_of, unusable_kinds
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.connection_check import ConnectionReport, check_connection
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import HEAD_PREDICTIONS, PublishTimings
from ml_backend.monitoring import project_stats
from ml_backend.monitoring.health_check import is_answering
from ml_backend.monitoring.status import last_error, settings_problems
from ml_backend.monitoring.text_sample import check_first_tasks
from ml_backend.storage import ProjectRow, Store, read_credentials
from ml_backend.teacher import health
from ml_backend.teacher.health import HealthState, TeacherCode

TESTED_RELEASE = "1.23"  # of Label Studio: the behaviour that this backend relies on was measured with it


class Subject(StrEnum):
    """What a check is about."""

    ENCODER = "encoder"
    KINDS = "kinds of labels"
    STORE = "store"
    WORKER = "worker"
    BACKEND = "backend"
    LABEL_STUDIO = "Label Studio"
    PROJECTS = "projects"
    PROJECT = "project"
    TEACHER = "teacher"


class Code(StrEnum):
    """What a check finds. The comments name the values of each finding."""

    ERROR = "error"  # message: that of the ApprenticeError that prevents the check
    ENCODER_VERIFIED = "encoder verified"  # encoder, detail: the result of `Encoder.verify`
    KIND_UNUSABLE = "kind unusable"  # problem
    NOT_WRITABLE = "not writable"  # folder, error: that of the operating system
    WRITABLE = "writable"  # folder
    WORKERS_ALIVE = "workers alive"  # count
    NO_WORKER = "no worker"
    BACKEND_SILENT = "backend silent"  # address
    BACKEND_ANSWERS = "backend answers"  # address, has_secret
    LABEL_STUDIO_ANSWERS = "Label Studio answers"  # version, url, token_kind
    UNTESTED_VERSION = "untested version"
    NO_PROJECT = "no project"
    NOT_CONNECTED = "not connected"
    OTHER_ADDRESS = "other address"  # connected_address, address
    QUESTION = "question"  # schema
    ADVICE = "advice"  # schema
    TEXT_PROBLEMS = "text problems"  # check, input_spec
    UNUSED_ANNOTATIONS = "unused annotations"  # unread, control, name: "" for the only control
    NO_SECOND_LABEL = "no second label"  # coverage, name: "" for the only control
    SET_ASIDE = "set aside"  # codes: see `Status.set_aside`
    REACHABLE = "reachable"  # address
    NO_ML_BACKEND = "no ML backend"
    UNREACHABLE = "unreachable"  # address, error: that of Label Studio
    NO_WEBHOOK = "no webhook"
    WEBHOOK_UNAUTHENTICATED = "webhook unauthenticated"
    WEBHOOK_EXISTS = "webhook exists"  # has_secret
    OTHER_SAMPLING = "other sampling"  # sampling
    NOT_PUBLISHED = "not published"
    ROUND_FAILED = "round failed"  # error
    OTHER_MODEL_VERSION = "other model version"  # model_version, published
    SERVES_PUBLISHED = "serves published"  # published
    SETTINGS_PROBLEMS = "settings problems"  # problems
    SPEED_UNKNOWN = "speed unknown"
    PUBLISHES_NESTED = "publishes nested"  # timings
    PUBLISHES_IN_BULK = "publishes in bulk"  # timings
    PUBLISHES_ROWS = "publishes rows"  # timings


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, as a code and the values of its sentence. `rendering.doctor_text` words it.

    project  the id of the project, None if the finding is about the installation
    """

    state: HealthState
    subject: Subject
    code: Code | TeacherCode
    values: Mapping[str, Any] = field(default_factory=dict)
    project: int | None = None


def examine(settings: Settings, project: int | None) -> Iterator[Finding]:
    """Yields the findings of all checks. With `project`, only that project is checked, else all connected ones are.

    Raises no ApprenticeError: an error that prevents a check is a finding, too.
    """
    yield from _guarded(Subject.ENCODER, lambda: _encoder(settings))
    for problem in unusable_kinds().values():
        yield Finding("wrong", Subject.KINDS, Code.KIND_UNUSABLE, {"problem": problem})
    store: Store | None = None
    try:
        store = Store(settings, must_exist=True)
        yield _store(store)
        yield _workers(store)
    except ApprenticeError as error:
        yield _error(Subject.STORE, error)
    yield from _guarded(Subject.BACKEND, lambda: _backend(settings))
    client: LabelStudioClient | None = None
    try:
        client = LabelStudioClient(*read_credentials(settings), settings.timeout_seconds)
        yield from _label_studio(client)
    except ApprenticeError as error:
        yield _error(Subject.LABEL_STUDIO, error)
        client = None
    if store is None:
        return
    project_rows = [store.projects.get(project)] if project else [*store.projects.connected()]
    for row in project_rows:
        if row is None or not row.is_connected:
            yield Finding("wrong", Subject.PROJECT, Code.NOT_CONNECTED, project=project)
            continue
        if client is not None:
            yield from _guarded(Subject.PROJECT, lambda: _project(client, settings, store, row), row.id)  # noqa: B023
        if round_error := last_error(store, row.id):
            yield Finding("wrong", Subject.PROJECT, Code.ROUND_FAILED, {"error": round_error}, row.id)
        if codes := store.unusable_tasks.codes(row.id):
            yield Finding("notice", Subject.PROJECT, Code.SET_ASIDE, {"codes": codes}, row.id)
        yield from _guarded(Subject.TEACHER, lambda: _teacher(settings, store, row), row.id)  # noqa: B023
    if not project_rows:
        yield Finding("notice", Subject.PROJECTS, Code.NO_PROJECT)
    store.close()


def _guarded(subject: Subject, check: Callable[[], Iterator[Finding]], project: int | None = None) -> Iterator[Finding]:
    try:
        yield from check()
    except ApprenticeError as error:
        yield _error(subject, error, project)


def _error(subject: Subject, error: ApprenticeError, project: int | None = None) -> Finding:
    return Finding("wrong", subject, Code.ERROR, {"message": str(error)}, project)


def _encoder(settings: Settings) -> Iterator[Finding]:
    encoder = registry.encoder(settings.encoder)
    values = {"encoder": encoder.name, "detail": encoder.verify()}
    yield Finding("good", Subject.ENCODER, Code.ENCODER_VERIFIED, values)


def _store(store: Store) -> Finding:
    folder = str(store.folder)
    if error := store.write_error():
        return Finding("wrong", Subject.STORE, Code.NOT_WRITABLE, {"folder": folder, "error": error})
    return Finding("good", Subject.STORE, Code.WRITABLE, {"folder": folder})


def _workers(store: Store) -> Finding:
    if count := len(store.jobs.workers()):
        return Finding("good", Subject.WORKER, Code.WORKERS_ALIVE, {"count": count})
    return Finding("wrong", Subject.WORKER, Code.NO_WORKER)


def _backend(settings: Settings) -> Iterator[Finding]:
    if not is_answering(settings):
        yield Finding("wrong", Subject.BACKEND, Code.BACKEND_SILENT, {"address": settings.address})
        return
    values = {"address": settings.address, "has_secret": bool(settings.secret.get_secret_value())}
    yield Finding("good", Subject.BACKEND, Code.BACKEND_ANSWERS, values)


def _label_studio(client: LabelStudioClient) -> Iterator[Finding]:
    version = client.version()
    client.call("GET", "api/current-user/whoami")
    values = {"version": version, "url": client.url, "token_kind": client.token_kind}
    yield Finding("good", Subject.LABEL_STUDIO, Code.LABEL_STUDIO_ANSWERS, values)
    if not version.startswith(TESTED_RELEASE):
        yield Finding("notice", Subject.LABEL_STUDIO, Code.UNTESTED_VERSION)


def _project(client: LabelStudioClient, settings: Settings, store: Store, project_row: ProjectRow) -> Iterator[Finding]:
    def finding(state: HealthState, code: Code, **values: Any) -> Finding:
        return Finding(state, Subject.PROJECT, code, values, project_row.id)

    connection = check_connection(client, settings, project_row)
    if connection.other_address:
        yield finding("wrong", Code.OTHER_ADDRESS, connected_address=connection.other_address, address=settings.address)
        return
    schema = read_schema(connection.label_config, project_row.choices)
    yield finding("good", Code.QUESTION, schema=schema)
    if any(kind_of(control).advice(control) for control in schema.controls):
        yield finding("notice", Code.ADVICE, schema=schema)
    yield from check_tasks_and_annotations(store, client, project_row, schema)
    yield from _from_label_studio(project_row.id, settings, connection)
    has_secret = bool(settings.secret.get_secret_value())
    if not connection.webhooks:
        yield finding("wrong", Code.NO_WEBHOOK)
    elif not connection.authenticated_webhooks:
        yield finding("wrong", Code.WEBHOOK_UNAUTHENTICATED)
    else:
        yield finding("good", Code.WEBHOOK_EXISTS, has_secret=has_secret)
    published = project_row.published
    if not connection.is_sampling_set:
        yield finding("wrong", Code.OTHER_SAMPLING, sampling=connection.sampling)
    elif not published and store.tasks.count(project_row.id):
        yield finding("notice", Code.NOT_PUBLISHED)
    elif published and connection.model_version != published:
        yield finding("wrong", Code.OTHER_MODEL_VERSION, model_version=connection.model_version, published=published)
    elif published:
        yield finding("good", Code.SERVES_PUBLISHED, published=published)
    if problems := settings_problems(settings, project_row, schema):
        yield finding("wrong", Code.SETTINGS_PROBLEMS, problems=problems)
    timings = PublishTimings(**(project_row.publish_timings or {}))
    code = publishing_code(timings, schema)
    yield finding("notice" if code == Code.SPEED_UNKNOWN else "good", code, timings=timings)


def check_tasks_and_annotations(
    store: Store, client: LabelStudioClient, project_row: ProjectRow, schema: ProjectSchema
) -> Iterator[Finding]:
    """Findings about tasks and annotations that cannot be learnt from. As long as the store has no tasks, the texts are
    those of a sample from Label Studio."""
    project = project_row.id
    coverage_of, check = project_stats.coverage_and_texts(store, project, schema, project_stats.read(store, project))
    if not check.tasks:
        check = check_first_tasks(client, project, schema)
    if check.has_problems:
        state: HealthState = "wrong" if check.tasks and check.without_text == check.tasks else "notice"
        yield Finding(state, Subject.PROJECT, Code.TEXT_PROBLEMS, {"check": check, "input_spec": schema.input}, project)
    active = store.versions.active(project)
    for control in schema.controls:
        coverage, name = coverage_of[control.name], control.name if len(schema.controls) > 1 else ""
        if unread := coverage.unexpected_unread(control, schema):
            values = {"unread": unread, "control": control, "name": name}
            yield Finding("notice", Subject.PROJECT, Code.UNUSED_ANNOTATIONS, values, project)
        stored = active.controls.get(control.name) if active else None
        if stored and stored.learner is None and coverage.lacks_second_label:
            values = {"coverage": coverage, "name": name}
            yield Finding("notice", Subject.PROJECT, Code.NO_SECOND_LABEL, values, project)


def _teacher(settings: Settings, store: Store, project_row: ProjectRow) -> Iterator[Finding]:
    for finding in health.check_teacher(settings, store, project_row):
        yield Finding(finding.state, Subject.TEACHER, finding.code, finding.values, project_row.id)


def _from_label_studio(project: int, settings: Settings, connection: ConnectionReport) -> Iterator[Finding]:
    """Whether Label Studio reaches this backend: it has just called /health and /setup itself."""
    if connection.ml_state == "connected":
        yield Finding("good", Subject.PROJECT, Code.REACHABLE, {"address": settings.address}, project)
    elif connection.ml_state == "missing":
        yield Finding("wrong", Subject.PROJECT, Code.NO_ML_BACKEND, project=project)
    else:
        values = {"address": settings.address, "error": connection.ml_error}
        yield Finding("wrong", Subject.PROJECT, Code.UNREACHABLE, values, project)


def publishing_code(timings: PublishTimings, schema: ProjectSchema) -> Code:
    """How the queue of a project is published, with its measured times."""
    if timings.bulk is None and timings.single is None:
        return Code.SPEED_UNKNOWN
    if any(kind_of(control).bulk_import_drops(control) for control in schema.controls):
        return Code.PUBLISHES_NESTED
    return Code.PUBLISHES_IN_BULK if timings.write_kind(HEAD_PREDICTIONS) == "bulk" else Code.PUBLISHES_ROWS

"""Checks a project's teacher without asking it any question, so that a check costs nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import urlsplit

from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.client import Budget, exhausted_cap

HealthState = Literal["good", "notice", "wrong"]
BY_URL = "openai"  # the teacher that uses `teacher_url`
MODEL_LIST_TIMEOUT_SECONDS = 5.0


class TeacherCode(StrEnum):
    """What a check of a teacher finds. The comments name the values of each finding."""

    UNLOADABLE = "unloadable"  # teacher, error
    NO_MODEL = "no model"  # teacher
    KEY_NOT_PRINTABLE = "key not printable"
    OPENAI_WITH_KEY = "OpenAI with key"
    OPENAI_WITHOUT_KEY = "OpenAI without key"
    NO_ANSWER = "no answer"  # host
    KEY_REFUSED = "key refused"  # host, status
    NO_MODEL_LIST = "no model list"  # host, status
    MODEL_NOT_LISTED = "model not listed"  # host, model, models
    ANSWERS = "answers"  # host, model
    NO_PRICE = "no price"
    BUDGET_SPENT = "budget spent"  # cap: the message of `exhausted_cap`
    FAILING = "failing"  # problem: the stored message of the teacher; retry_in_seconds, 0.0 if it is not asked again
    BATCH_WAITING = "batch waiting"  # project, waiting
    ASKED = "asked"  # answered, waiting
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True)
class TeacherFinding:
    """The result of one check, as a code and the values of its sentence. `rendering.doctor_text` words it."""

    state: HealthState
    code: TeacherCode
    values: Mapping[str, Any] = field(default_factory=dict)


def check_teacher(settings: Settings, store: Store, project_row: ProjectRow) -> Iterator[TeacherFinding]:
    """The findings on the teacher of a project. There are none for the embedded teacher, which needs nothing."""
    options, _ = settings.for_project(project_row.extra_params)
    if options.teacher == registry.EMBEDDED_TEACHER:
        return
    try:
        teacher = registry.teacher(options.teacher, settings.teacher_options(options))
    except ImportError as error:
        yield TeacherFinding("wrong", TeacherCode.UNLOADABLE, {"teacher": options.teacher, "error": str(error)})
        return
    if not options.teacher_model:
        yield TeacherFinding("wrong", TeacherCode.NO_MODEL, {"teacher": options.teacher})
    if options.teacher == BY_URL:
        yield _check_server(settings, options.teacher_model)
    if _has_unknown_cost(settings, options):
        yield TeacherFinding("notice", TeacherCode.NO_PRICE)
    yield _check_progress(store, project_row, options, teacher.name if teacher else "")


def _check_server(settings: Settings, model: str) -> TeacherFinding:
    url, key = settings.teacher_url, settings.teacher_key.get_secret_value()
    if not re.fullmatch("[!-~]*", key):
        return TeacherFinding("wrong", TeacherCode.KEY_NOT_PRINTABLE)
    if url:
        return _check_model(url, key, model)
    if key:
        return TeacherFinding("good", TeacherCode.OPENAI_WITH_KEY)
    return TeacherFinding("wrong", TeacherCode.OPENAI_WITHOUT_KEY)


def _check_model(url: str, key: str, model: str) -> TeacherFinding:
    """Whether a server answers, accepts the key and lists the model."""
    import httpx

    host = urlsplit(url).netloc.rpartition("@")[2]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{url.rstrip('/')}/models", headers=headers, timeout=MODEL_LIST_TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return TeacherFinding("wrong", TeacherCode.NO_ANSWER, {"host": host})
    answer = {"host": host, "status": reply.status_code}
    if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return TeacherFinding("wrong", TeacherCode.KEY_REFUSED, answer)
    models = _model_names(reply) if reply.is_success else None
    if models is None:
        return TeacherFinding("notice", TeacherCode.NO_MODEL_LIST, answer)
    if model and model not in models:
        return TeacherFinding("notice", TeacherCode.MODEL_NOT_LISTED, {"host": host, "model": model, "models": models})
    return TeacherFinding("good", TeacherCode.ANSWERS, {"host": host, "model": model})


def _model_names(reply: Any) -> list[str] | None:
    """The names of the models in a server's reply, None if the reply has another form."""
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _has_unknown_cost(settings: Settings, options: ProjectSettings) -> bool:
    """Whether the teacher has a cost and no price, so that teacher_budget limits nothing."""
    if options.teacher_input_price or options.teacher_output_price:
        return False
    is_remote = options.teacher == BY_URL and not _is_local(settings.teacher_url)
    return options.teacher == registry.BATCH_TEACHER or is_remote


def _is_local(url: str) -> bool:
    """Whether the address of a server is on this machine or in its network."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return (bool(host) and "." not in host) or host.endswith((".local", ".internal"))


def _check_progress(store: Store, project_row: ProjectRow, options: ProjectSettings, name: str) -> TeacherFinding:
    """The state of the questions: a spent budget, a problem of the teacher, waiting questions, or answers."""
    cap, state = exhausted_cap(store, project_row.id, Budget.of(options)), project_row.teacher or {}
    counts = store.questions.counts(project_row.id, name)
    waiting = store.questions.count_waiting(project_row.id, name)
    if cap:
        return TeacherFinding("notice", TeacherCode.BUDGET_SPENT, {"cap": cap})
    if state.get("name") == name and state["problem"]:
        values = {"problem": state["problem"], "retry_in_seconds": max(state["until"] - store.clock.now(), 0.0)}
        return TeacherFinding("wrong", TeacherCode.FAILING, values)
    if options.teacher == registry.BATCH_TEACHER and waiting:
        return TeacherFinding("notice", TeacherCode.BATCH_WAITING, {"project": project_row.id, "waiting": waiting})
    if counts:
        answered = sum(n for (_, outcome), n in counts.items() if outcome == "answered")
        return TeacherFinding("good", TeacherCode.ASKED, {"answered": answered, "waiting": waiting})
    return TeacherFinding("notice", TeacherCode.NOT_ASKED)

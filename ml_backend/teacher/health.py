"""Checks a project's teacher without asking it any question, so that a check costs nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from ml_backend.core import registry
from ml_backend.core.formatting import format_count
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.storage import ProjectRow, Store, now
from ml_backend.teacher.client import Budget, exhausted_cap

HealthState = Literal["good", "notice", "wrong"]
Finding = tuple[HealthState, str]
"""A state, and a sentence about it."""

BY_URL = "openai"  # the teacher that uses `teacher_url`
MODEL_LIST_TIMEOUT_SECONDS = 5.0
MAX_LISTED_MODELS = 5
WHERE = "in the project's extra params, or in APPRENTICE_DEFAULTS"


def check_teacher(settings: Settings, store: Store, project_row: ProjectRow) -> Iterator[Finding]:
    """The findings on the teacher of a project, with what to set if something is wrong. There are none for the embedded
    teacher, which needs nothing."""
    options, _ = settings.for_project(project_row.extra_params)
    if options.teacher == registry.EMBEDDED_TEACHER:
        return
    try:
        teacher = registry.teacher(options.teacher, settings.teacher_options(options))
    except ImportError as error:
        yield "wrong", f"{options.teacher} cannot be loaded ({error}): install what it needs, or set another teacher"
        return
    if not options.teacher_model:
        yield "wrong", f"{options.teacher} needs a model: set teacher_model {WHERE}"
    if options.teacher == BY_URL:
        yield from _check_server(settings, options.teacher_model)
    yield from _check_prices(settings, options)
    yield from _check_progress(store, project_row, options, teacher.name if teacher else "")


def _check_server(settings: Settings, model: str) -> Iterator[Finding]:
    url, key = settings.teacher_url, settings.teacher_key.get_secret_value()
    if not re.fullmatch("[!-~]*", key):
        yield "wrong", "APPRENTICE_TEACHER_KEY has characters that no key has: set it again"
    elif url:
        yield _check_model(url, key, model)
    elif key:
        yield "good", "OpenAI's own endpoint, with a key; APPRENTICE_TEACHER_URL sets another endpoint"
    else:
        yield (
            "wrong",
            "OpenAI's own endpoint, which is used without APPRENTICE_TEACHER_URL, needs a key: set "
            "APPRENTICE_TEACHER_KEY, or the URL of another endpoint",
        )


def _check_model(url: str, key: str, model: str) -> Finding:
    """Whether a server answers, accepts the key and lists the model."""
    import httpx

    host = urlsplit(url).netloc.rpartition("@")[2]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{url.rstrip('/')}/models", headers=headers, timeout=MODEL_LIST_TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return "wrong", f"nothing answers at {host}: start the teacher's server, or set APPRENTICE_TEACHER_URL"
    if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return "wrong", f"{host} refuses the key ({reply.status_code}): set APPRENTICE_TEACHER_KEY"
    models = _model_names(reply) if reply.is_success else None
    if models is None:
        return "notice", f"{host} answers ({reply.status_code}), but does not list its models"
    if model and model not in models:
        listed = ", ".join(models[:MAX_LISTED_MODELS]) or "none"
        return "notice", f"{host} does not list the model {model!r} (it lists: {listed}): set teacher_model {WHERE}"
    return "good", f"{host} answers" + (f" and has {model}" if model else "")


def _model_names(reply: Any) -> list[str] | None:
    """The names of the models in a server's reply, None if the reply has another form."""
    try:
        return [str(model["id"]) for model in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _check_prices(settings: Settings, options: ProjectSettings) -> Iterator[Finding]:
    """A notice if the teacher has no price, because teacher_budget then limits nothing."""
    if options.teacher_input_price or options.teacher_output_price:
        return
    if options.teacher == registry.BATCH_TEACHER or (options.teacher == BY_URL and not _is_local(settings.teacher_url)):
        yield (
            "notice",
            "its cost is counted as 0, so that teacher_budget limits nothing: set teacher_input_price and "
            f"teacher_output_price, the prices of a million tokens, {WHERE}",
        )


def _is_local(url: str) -> bool:
    """Whether the address of a server is on this machine or in its network."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return (bool(host) and "." not in host) or host.endswith((".local", ".internal"))


def _check_progress(store: Store, project_row: ProjectRow, options: ProjectSettings, name: str) -> Iterator[Finding]:
    """The state of the questions: a spent budget, a problem of the teacher, waiting questions, or answers."""
    budget_problem, state = exhausted_cap(store, project_row.id, Budget.of(options)), project_row.teacher or {}
    counts = store.questions.counts(project_row.id, name)
    waiting = store.questions.count_waiting(project_row.id, name)
    if budget_problem:
        yield "notice", budget_problem
    elif state.get("name") == name and state["problem"]:
        again = f"; it is asked again in {state['until'] - now():.0f} s" if state["until"] > now() else ""
        yield "wrong", f"{state['problem']}{again}"
    elif options.teacher == registry.BATCH_TEACHER and waiting:
        questions = f"{format_count(waiting, 'question')} wait{'s' * (waiting == 1)}"
        yield "notice", f"{questions}: `apprentice teach --project {project_row.id} --export FILE`"
    elif counts:
        answered = sum(n for (_, outcome), n in counts.items() if outcome == "answered")
        yield "good", f"{format_count(answered, 'question')} answered, {waiting} waiting"
    else:
        yield "notice", "nothing has been asked yet: `apprentice serve` asks after the first round"

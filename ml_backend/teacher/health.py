"""What can be checked of a project's teacher without asking it anything: a check costs nothing."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import urlsplit

from ml_backend.core import registry
from ml_backend.core.formatting import counted
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.storage import ProjectRecord, Store, now
from ml_backend.teacher.client import Budget, out_of_budget

State = Literal["good", "notice", "wrong"]
Found = tuple[State, str]

BY_URL = "openai"  # the teacher behind `teacher_url`
SECONDS = 5.0  # that its server has for a list of its models
MOST_MODELS = 5
WHERE = "in the project's extra params, or in APPRENTICE_DEFAULTS"


def look(settings: Settings, store: Store, record: ProjectRecord) -> Iterator[Found]:
    """What is good and what is wrong, and what to set; nothing for the embedded teacher, which needs nothing."""
    options, _ = settings.for_project(record.extra_params)
    if options.teacher == registry.EMBEDDED:
        return
    try:
        teacher = registry.teacher(options.teacher, settings.teacher_options(options))
    except ImportError as error:
        yield "wrong", f"{options.teacher} cannot be loaded ({error}): install what it needs, or set another teacher"
        return
    if not options.teacher_model:
        yield "wrong", f"{options.teacher} needs a model: set teacher_model {WHERE}"
    if options.teacher == BY_URL:
        yield from _server(settings, options.teacher_model)
    yield from _price(settings, options)
    yield from _so_far(store, record, options, teacher.name if teacher else "")


def _server(settings: Settings, model: str) -> Iterator[Found]:
    url, key = settings.teacher_url, settings.teacher_key.get_secret_value()
    if not re.fullmatch("[!-~]*", key):
        yield "wrong", "APPRENTICE_TEACHER_KEY has characters that no key has: set it again"
    elif url:
        yield _models(url, key, model)
    elif key:
        yield "good", "OpenAI's own endpoint, with a key; another one is set by APPRENTICE_TEACHER_URL"
    else:
        yield (
            "wrong",
            "without APPRENTICE_TEACHER_URL it is OpenAI's own endpoint, which wants a key: set "
            "APPRENTICE_TEACHER_KEY, or the URL of another one",
        )


def _models(url: str, key: str, model: str) -> Found:
    """Asks a server which models it has."""
    import httpx

    host = urlsplit(url).netloc.rpartition("@")[2]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{url.rstrip('/')}/models", headers=headers, timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return "wrong", f"nothing answers at {host}: start the teacher's server, or set APPRENTICE_TEACHER_URL"
    if reply.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return "wrong", f"{host} refuses the key ({reply.status_code}): set APPRENTICE_TEACHER_KEY"
    listed = _listed(reply) if reply.is_success else None
    if listed is None:
        return "notice", f"{host} answers ({reply.status_code}), but does not list its models"
    if model and model not in listed:
        there = ", ".join(listed[:MOST_MODELS]) or "none"
        return "notice", f"{host} does not list the model {model!r} (but {there}): set teacher_model {WHERE}"
    return "good", f"{host} answers" + (f" and has {model}" if model else "")


def _listed(reply: Any) -> list[str] | None:
    try:
        return [str(each["id"]) for each in reply.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return None


def _price(settings: Settings, options: ProjectSettings) -> Iterator[Found]:
    """A budget holds nothing back where nothing has a price."""
    if options.teacher_input_price or options.teacher_output_price:
        return
    if options.teacher == registry.BY_FILE or (options.teacher == BY_URL and not _is_ours(settings.teacher_url)):
        yield (
            "notice",
            "what it costs is counted as 0, so that teacher_budget holds nothing back: set teacher_input_price and "
            f"teacher_output_price, of a million tokens, {WHERE}",
        )


def _is_ours(url: str) -> bool:
    """Whether a server is on this machine or in its network, as far as its address says."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return (bool(host) and "." not in host) or host.endswith((".local", ".internal"))


def _so_far(store: Store, record: ProjectRecord, options: ProjectSettings, name: str) -> Iterator[Found]:
    """What came of it until now."""
    spent, state = out_of_budget(store, record.id, Budget.of(options)), record.teacher or {}
    counts = store.questions.counts(record.id, name)
    waiting = store.questions.number_waiting(record.id, name)
    if spent:
        yield "notice", spent
    elif state.get("name") == name and state["problem"]:
        again = f"; it is asked again in {state['until'] - now():.0f} s" if state["until"] > now() else ""
        yield "wrong", f"{state['problem']}{again}"
    elif options.teacher == registry.BY_FILE and waiting:
        questions = f"{counted(waiting, 'question')} wait{'s' * (waiting == 1)}"
        yield "notice", f"{questions}: `apprentice teach --project {record.id} --export FILE`"
    elif counts:
        given = sum(n for (_, how), n in counts.items() if how == "answered")
        yield "good", f"{counted(given, 'question')} answered, {waiting} waiting"
    else:
        yield "notice", "nothing has been asked yet: `apprentice serve` asks after the first round"

"""Words the findings of `apprentice doctor`, and says what to do about each problem."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_backend.core.formatting import format_count
from ml_backend.label_studio.client import PRIVATE_ADDRESS_HINT
from ml_backend.label_studio.publisher import PublishTimings
from ml_backend.monitoring.doctor import TESTED_RELEASE, Code, Finding, Subject
from ml_backend.rendering import project_text
from ml_backend.rendering.settings_text import settings_problems_text
from ml_backend.rendering.status_text import set_aside_sentence, write_error_sentence
from ml_backend.teacher.health import TeacherCode

Values = Mapping[str, Any]

MAX_LISTED_MODELS = 5
WHERE = "in the project's extra params, or in APPRENTICE_DEFAULTS"
RECOUNT = (
    "Label Studio recounts the whole project at every bulk import, unless it is started with "
    "fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short=true"
)


def subject_name(finding: Finding) -> str:
    """The name of the checked part."""
    if finding.subject == Subject.PROJECT:
        return f"project {finding.project}"
    if finding.subject == Subject.TEACHER:
        return f"teacher of {finding.project}"
    return "this backend" if finding.subject == Subject.BACKEND else finding.subject


def finding_sentences(finding: Finding) -> list[str]:
    """The sentences about a finding, at least one."""
    reconnect = f"run `apprentice connect --project {finding.project}`"
    text = TEXTS[finding.code]({**finding.values, "reconnect": reconnect})
    return [text] if isinstance(text, str) else list(text)


def _backend_answers(values: Values) -> str:
    access = "with a secret" if values["has_secret"] else "without a secret, for this machine only"
    return f"answers at {values['address']}, {access}"


def _unreachable(values: Values) -> str:
    error = f" ({values['error']})" if values["error"] else ""
    return f"Label Studio does not reach {values['address']}{error}. If the address is right: {PRIVATE_ADDRESS_HINT}"


def _measured(timings: PublishTimings) -> str:
    return " and ".join(
        f"{seconds:.2f} s {request}"
        for seconds, request in ((timings.bulk, "a bulk import"), (timings.single, "a single row"))
        if seconds is not None
    )


def _model_not_listed(values: Values) -> str:
    listed = ", ".join(values["models"][:MAX_LISTED_MODELS]) or "none"
    model = f"{values['host']} does not list the model {values['model']!r}"
    return f"{model} (it lists: {listed}): set teacher_model {WHERE}"


def _failing(values: Values) -> str:
    seconds = values["retry_in_seconds"]
    return f"{values['problem']}{f'; it is asked again in {seconds:.0f} s' if seconds else ''}"


def _of_control(values: Values, sentence: str) -> str:
    """A sentence about a control, after its name if the project has several."""
    return f"{values['name']}: {sentence}" if values["name"] else sentence


def _batch_waiting(values: Values) -> str:
    n = values["waiting"]
    questions = f"{format_count(n, 'question')} wait{'s' * (n == 1)}"
    return f"{questions}: `apprentice teach --project {values['project']} --export FILE`"


TEXTS: dict[Code | TeacherCode, Callable[[Values], str | Iterable[str]]] = {
    Code.ERROR: lambda values: str(values["message"]),
    Code.KIND_UNUSABLE: lambda values: (
        f"{values['problem']}. Its controls are not learnt: repair or remove its package"
    ),
    Code.ENCODER_VERIFIED: lambda values: f"{values['encoder']}: {values['detail']}",
    Code.NOT_WRITABLE: lambda values: write_error_sentence(values["folder"], values["error"]),
    Code.WRITABLE: lambda values: f"{values['folder']} is writable, the database answers",
    Code.WORKERS_ALIVE: lambda values: f"{values['count']} alive",
    Code.NO_WORKER: lambda _: "none has reported for 30 s: start `apprentice serve`",
    Code.BACKEND_SILENT: lambda values: f"nothing answers at {values['address']}: start `apprentice serve`",
    Code.BACKEND_ANSWERS: _backend_answers,
    Code.LABEL_STUDIO_ANSWERS: lambda values: f"{values['version']} at {values['url']}, by {values['token_kind']}",
    Code.UNTESTED_VERSION: lambda _: f"tested with {TESTED_RELEASE}: report it if something behaves differently",
    Code.NO_PROJECT: lambda _: "none is connected: run `apprentice connect --project N`",
    Code.NOT_CONNECTED: lambda values: f"not connected: {values['reconnect']}",
    Code.OTHER_ADDRESS: lambda values: (
        f"is connected to {values['connected_address']}, but the backend of these settings is {values['address']}: set "
        f"APPRENTICE_PORT (or APPRENTICE_PUBLIC_URL) as `apprentice serve` has it, or {values['reconnect']} again"
    ),
    Code.QUESTION: lambda values: project_text.question_sentence(values["schema"]),
    Code.ADVICE: lambda values: project_text.advice_sentences(values["schema"]),
    Code.TEXT_PROBLEMS: lambda values: project_text.text_sentences(values["check"], values["input_spec"]),
    Code.UNUSED_ANNOTATIONS: lambda values: (
        _of_control(values, sentence) for sentence in project_text.unused_sentences(values["unread"], values["control"])
    ),
    Code.NO_SECOND_LABEL: lambda values: _of_control(values, project_text.no_learner_sentence(values["coverage"])),
    Code.SET_ASIDE: lambda values: f"set aside: {set_aside_sentence(values['codes'])}",
    Code.REACHABLE: lambda values: f"Label Studio reaches {values['address']}",
    Code.NO_ML_BACKEND: lambda values: f"the ML backend connection is gone: {values['reconnect']} again",
    Code.UNREACHABLE: _unreachable,
    Code.NO_WEBHOOK: lambda values: (
        f"its webhook is gone, so that only the periodic check finds annotations: {values['reconnect']} again"
    ),
    Code.WEBHOOK_UNAUTHENTICATED: lambda values: (
        f"its webhook does not send the secret and is rejected: {values['reconnect']} again"
    ),
    Code.WEBHOOK_EXISTS: lambda values: f"its webhook exists{' and is authenticated' if values['has_secret'] else ''}",
    Code.OTHER_SAMPLING: lambda values: (
        f"sampling is {values['sampling']!r}, so the queue is not followed: {values['reconnect']} again"
    ),
    Code.ROUND_FAILED: lambda values: f"the last round failed: {values['error']}",
    Code.NOT_PUBLISHED: lambda _: "no queue has been published yet: `apprentice status` shows the first round",
    Code.OTHER_MODEL_VERSION: lambda values: (
        f"serves {values['model_version']!r}, not {values['published']!r}: {values['reconnect']} again"
    ),
    Code.SERVES_PUBLISHED: lambda values: f"sampling and model version ({values['published']}) are as they should be",
    Code.SETTINGS_PROBLEMS: lambda values: settings_problems_text(values["problems"]),
    Code.SPEED_UNKNOWN: lambda _: "publishing speed is not measured yet",
    Code.PUBLISHES_NESTED: lambda values: (
        f"the queue is published row by row ({_measured(values['timings'])}): Label Studio drops drafts in a tree of "
        "choices from a bulk import"
    ),
    Code.PUBLISHES_IN_BULK: lambda values: f"the queue is published by bulk import ({_measured(values['timings'])})",
    Code.PUBLISHES_ROWS: lambda values: (
        f"the first rows of the queue are published row by row ({_measured(values['timings'])}): {RECOUNT}"
    ),
    TeacherCode.UNLOADABLE: lambda values: (
        f"{values['teacher']} cannot be loaded ({values['error']}): install what it needs, or set another teacher"
    ),
    TeacherCode.NO_MODEL: lambda values: f"{values['teacher']} needs a model: set teacher_model {WHERE}",
    TeacherCode.KEY_NOT_PRINTABLE: lambda _: "APPRENTICE_TEACHER_KEY has characters that no key has: set it again",
    TeacherCode.OPENAI_WITH_KEY: lambda _: (
        "OpenAI's own endpoint, with a key; APPRENTICE_TEACHER_URL sets another endpoint"
    ),
    TeacherCode.OPENAI_WITHOUT_KEY: lambda _: (
        "OpenAI's own endpoint, which is used without APPRENTICE_TEACHER_URL, needs a key: set "
        "APPRENTICE_TEACHER_KEY, or the URL of another endpoint"
    ),
    TeacherCode.NO_ANSWER: lambda values: (
        f"nothing answers at {values['host']}: start the teacher's server, or set APPRENTICE_TEACHER_URL"
    ),
    TeacherCode.KEY_REFUSED: lambda values: (
        f"{values['host']} refuses the key ({values['status']}): set APPRENTICE_TEACHER_KEY"
    ),
    TeacherCode.NO_MODEL_LIST: lambda values: (
        f"{values['host']} answers ({values['status']}), but does not list its models"
    ),
    TeacherCode.MODEL_NOT_LISTED: _model_not_listed,
    TeacherCode.ANSWERS: lambda values: (
        f"{values['host']} answers{f' and has {model}' if (model := values['model']) else ''}"
    ),
    TeacherCode.NO_PRICE: lambda _: (
        "its cost is counted as 0, so that teacher_budget limits nothing: set teacher_input_price and "
        f"teacher_output_price, the prices of a million tokens, {WHERE}"
    ),
    TeacherCode.BUDGET_SPENT: lambda values: str(values["cap"]),
    TeacherCode.FAILING: _failing,
    TeacherCode.BATCH_WAITING: _batch_waiting,
    TeacherCode.ASKED: lambda values: (
        f"{format_count(values['answered'], 'question')} answered, {values['waiting']} waiting"
    ),
    TeacherCode.NOT_ASKED: lambda _: "nothing has been asked yet: `apprentice serve` asks after the first round",
}

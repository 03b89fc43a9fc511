"""Where a project stands with its teacher, against counting by hand, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fake_label_studio import SINGLE
from manual_clock import ManualClock
from projects import set_up
from schemas import by_control, fitted_choices, labelled, only
from stats_row import write_stats_row
from stored_models import save_learner

from ml_backend.core.teacher_types import Answer, Call
from ml_backend.core.types import SYNTHETIC_FIELD, Annotation, Draft, ModelVersion, Prediction, TaskContent, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.monitoring.prometheus import Metrics
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.formatting import control_option
from ml_backend.rendering.status_text import status_lines
from ml_backend.rendering.teacher_report_text import report_lines
from ml_backend.storage import Store
from ml_backend.teacher import prompts

SCHEMA = read_schema(SINGLE)
TEACHER = "openai:small"
DAY = 86_400.0


def annotate(store: Store, task: int, label: str, seconds: float | None = None) -> None:
    store.annotations.put(5, [Annotation(task, task, 1, labelled(label), updated_at=str(task), lead_time=seconds)])


def say(store: Store, text: str, label: str, *calls: Call) -> None:
    """The teacher's label of a text; with "", a question that waits."""
    asked = prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text), text, TEACHER)
    store.questions.add(5, TEACHER, [(asked, content_key(text))])
    if label:
        shares = np.array([label == name for name in SCHEMA.controls[0].labels], np.float32)
        store.questions.store_answer(
            5, Answer(asked.id, {"label": label}, {"label": shares}, calls), [0.25] * len(calls)
        )


def show(store: Store, version: str, **drafts: str | None) -> None:
    """Drafts by task: teacher_1="fruit"; audit_2=None."""
    queue = []
    for name, label in drafts.items():
        author, _, task = name.partition("_")
        draft = Draft((label,), 0.5, author) if label else None  # type: ignore[arg-type]
        queue.append(Prediction(int(task), 0.1, by_control(draft)))
    store.published_drafts.put(5, version, queue)


def learnt(store: Store, priors: dict[str, float], started_from: str, tasks: tuple[int, ...] = (1, 2, 3)) -> None:
    """A serving learner of some tasks, all of them fruit; it gets the first one wrong."""
    targets = np.tile(np.array([[1, 0, 0]], np.float32), (len(tasks), 1))
    held_out = np.tile(np.array([[0.8, 0.1, 0.1]], np.float32), (len(tasks), 1))
    held_out[0] = (0.1, 0.8, 0.1)
    control = fitted_choices(SCHEMA.controls[0].labels)
    snapshot = TrainingSnapshot("logistic", "fake", control, np.array(tasks), b"", targets)
    model = FittedModel(1, snapshot, {"weight": np.eye(3)}, held_out, started_from, priors)
    store.versions.add(ModelVersion(5, 1, "v1", 1, 3, {}, 0.0), save_learner(store, 5, model), rows=1)
    store.versions.activate(5, 1)


@pytest.fixture
def taught_store(store: Store) -> Store:
    set_up(store, 5, connection={"ml": 1}, label_config=SINGLE, published="v2",
        teacher={"name": TEACHER, "model": "small", "problem": "", "until": 0.0},
    )  # fmt: skip
    store.tasks.put(5, [TaskContent(task, f"text {task}", content_key(f"text {task}")) for task in range(1, 9)])
    return store


def teacher_status(store: Store) -> dict[str, Any]:
    write_stats_row(store)
    return only(read_status(store, 5).controls).teacher


def status_texts(store: Store) -> dict[str, str]:
    write_stats_row(store)
    return dict(status_lines(read_status(store, 5)))


def test_before_anything_was_shown_or_asked_there_is_nothing_to_say(store: Store) -> None:
    set_up(store, 5, connection={"ml": 1}, label_config=SINGLE)
    assert teacher_status(store) == {}
    assert list(report_lines({}, 10)) == []


def test_the_ledger_is_told_in_all_today_and_by_purpose(taught_store: Store, clock: ManualClock) -> None:
    say(taught_store, "text 1", "fruit", Call("m", 1.0, 100, 10, "malformed"), Call("m", 1.0, 100, 10, "answered"))
    clock.sleep(2 * DAY)
    say(taught_store, "text 2", "fruit", Call("m", 1.0, 100, 10, "answered"))
    say(taught_store, "text 3", "")
    status = teacher_status(taught_store)
    assert (status["name"], status["model"], status["labelled"], status["waiting"]) == (TEACHER, "small", 2, 1)
    assert status["spent"]["in all"] == {
        "calls": 3, "input_tokens": 300, "output_tokens": 30, "cost": 0.75, "seconds": 3.0,
    }  # fmt: skip
    assert (status["spent"]["today"]["calls"], status["spent"]["today"]["cost"]) == (1, 0.25)
    assert list(status["spent"]["by purpose"]) == ["label"]
    assert status["outcomes"] == {"malformed": 1, "answered": 2}
    assert status_texts(taught_store)["teacher"] == (
        f"{TEACHER}: 2 labels given, 1 question waiting, 3 calls with 330 tokens for 0.75 (1 for 0.25 of them today), "
        "1 malformed"
    )


def test_a_teacher_without_a_model_is_named_without_an_empty_one(taught_store: Store) -> None:
    set_up(taught_store, 5, teacher={"name": "batch:", "model": "", "problem": "", "until": 0.0})
    assert status_texts(taught_store)["teacher"].startswith("batch: 0 labels given, 0 questions waiting")


def test_drafts_time_and_the_learners_share_are_told(taught_store: Store) -> None:
    drafts = {f"teacher_{n}": "fruit" for n in range(11, 17)} | {f"audit_{n}": None for n in range(21, 26)}
    show(taught_store, "v1", **drafts, learner_31="fruit")
    show(taught_store, "v2", learner_41="fruit", learner_42="metal", teacher_43="metal", audit_44=None)
    for task in range(11, 17):
        annotate(taught_store, task, "fruit", seconds=4.0)
    for task in range(21, 26):
        annotate(taught_store, task, "fruit", seconds=14.0)
    annotate(taught_store, 31, "metal", seconds=3.0)
    status = teacher_status(taught_store)
    assert status["drafts"] == {
        "teacher": {"accepted": 6, "edited": 0, "replaced": 0}, "learner": {"accepted": 0, "edited": 0, "replaced": 1},
    }  # fmt: skip
    assert (status["share"]["value"], status["share"]["n"]) == (pytest.approx(2 / 3), 3)
    words = status_texts(taught_store)
    assert words["drafts"] == ("teacher's 6 accepted, 0 edited, 0 replaced; learner's 0 accepted, 0 edited, 1 replaced")
    assert words["time"] == ("accepted drafts saved 1.0 minutes (4.0 s an answer instead of 14.0 s; 6 and 5 timed)")
    saved = read_status(taught_store, 5).saved
    assert saved is not None and (saved.seconds, saved.accepted) == (60.0, 6)
    assert words["still needed?"] == "67% of the 3 drafts in the queue are the learner's own"


def test_both_are_compared_with_the_annotators_and_the_worst_classes_are_named_first(taught_store: Store) -> None:
    for task in (1, 2, 3):
        annotate(taught_store, task, "fruit")
    annotate(taught_store, 4, "metal")
    for task, label in ((1, "fruit"), (2, "animal"), (4, "metal"), (5, "animal")):
        say(taught_store, f"text {task}", label)
    learnt(taught_store, {}, "")
    agreement = teacher_status(taught_store)["agreement"]
    assert (agreement["teacher"]["overall"]["value"], agreement["teacher"]["overall"]["n"]) == (pytest.approx(2 / 3), 3)
    assert {label: share["n"] for label, share in agreement["teacher"]["by_class"].items()} == {"fruit": 2, "metal": 1}
    assert (agreement["learner"]["overall"]["value"], agreement["learner"]["overall"]["n"]) == (pytest.approx(2 / 3), 3)
    words = status_texts(taught_store)
    assert words["teacher agrees"].startswith("0.667 (95 %: 0.208 to 0.939; 3 tasks): fruit 50% (9% to 91%), metal")
    assert dict(report_lines(teacher_status(taught_store), 1))["teacher agrees"].endswith("(9% to 91%) and 1 more")
    assert words["learner agrees"].startswith("0.667")


def test_a_task_that_the_teacher_wrote_judges_nobody(taught_store: Store) -> None:
    wrote = TaskContent(9, "text 9", content_key("text 9"), {SYNTHETIC_FIELD: "hard"})
    taught_store.tasks.put(5, [wrote])
    show(taught_store, "v2", teacher_1="fruit", teacher_9="fruit")
    for task in (1, 9):
        annotate(taught_store, task, "fruit")
        say(taught_store, f"text {task}", "fruit")
    learnt(taught_store, {}, "", tasks=(1, 9))
    status = teacher_status(taught_store)
    assert status["drafts"]["teacher"]["accepted"] == 1
    assert status["agreement"]["teacher"]["overall"]["n"] == status["agreement"]["learner"]["overall"]["n"] == 1


@pytest.mark.parametrize(
    ("started_from", "priors", "words"),
    [
        ("labels", {"none": 1.0, "labels": 0.5}, "starts from the teacher's labels (its error on your answers"),
        ("cues", {"none": 1.0, "cues": 0.5}, "starts from the labels' names (its error on your answers"),
        ("", {"none": 1.0, "cues": 1.25, "labels": 1.5}, "would make the learner worse, so it does not (its error"),
        (
            "",
            {"none": 1.0, "cues": 0.99, "labels": 1.5},
            "answers alone: nothing is better by more than chance (its error",
        ),
    ],
)
def test_what_the_priors_are_worth_is_told_and_a_harmful_one_is_named_so(
    taught_store: Store, started_from: str, priors: dict[str, float], words: str
) -> None:
    learnt(taught_store, priors, started_from)
    text = status_texts(taught_store)["taught"]
    assert words in text and all(f" {error:.2f}" in text for name, error in priors.items() if name != "none")
    assert (teacher_status(taught_store)["started_from"], teacher_status(taught_store)["priors"]) == (
        started_from,
        priors,
    )


def test_the_advised_command_names_the_control_if_the_project_has_several(taught_store: Store) -> None:
    learnt(taught_store, {"none": 1.0, "labels": 1.2}, "")
    assert "say in `apprentice cues --edit` what the labels mean" in status_texts(taught_store)["taught"]
    report = teacher_status(taught_store)
    assert "`apprentice cues --control mood --edit`" in dict(report_lines(report, 1, " --control mood"))["taught"]
    mistrusted = dict(report_lines(report | {"trust": 0.1}, 1, " --control mood"))["prior trust"]
    assert "`apprentice features --control mood` shows the scores" in mistrusted


@pytest.mark.parametrize(
    ("control", "controls", "option"),
    [("mood", ["mood"], ""), ("mood", ["mood", "label"], " --control mood"), ("a b", "ab", " --control 'a b'")],
)
def test_a_control_is_named_as_a_shell_reads_it(control: str, controls: Sequence[str], option: str) -> None:
    assert control_option(control, controls) == option


def test_what_is_wrong_with_it_is_told_a_spent_budget_too(taught_store: Store) -> None:
    problem = "the teacher's budget of today is spent (1 of teacher_daily_budget 1): the loop goes on without it"
    set_up(taught_store, 5, teacher={"name": TEACHER, "model": "small", "problem": problem, "until": 0.0})
    assert status_texts(taught_store)["teacher trouble"] == problem == teacher_status(taught_store)["problem"]


def test_drafts_of_the_embedded_teacher_are_counted_without_any_ledger(taught_store: Store) -> None:
    set_up(taught_store, 5, teacher=None)
    show(taught_store, "v2", teacher_1="fruit")
    annotate(taught_store, 1, "fruit")
    status = teacher_status(taught_store)
    assert (status["name"], status["drafts"]["teacher"]["accepted"]) == ("similarity", 1)
    words = status_texts(taught_store)
    assert words["drafts"].startswith("teacher's 1 accepted") and "teacher" not in words


def test_prometheus_has_calls_cost_what_waits_and_who_agrees(taught_store: Store) -> None:
    annotate(taught_store, 1, "fruit")
    say(taught_store, "text 1", "fruit", Call("m", 1.0, 100, 10, "answered"))
    say(taught_store, "text 2", "")
    write_stats_row(taught_store)
    text = Metrics(taught_store).render().decode()
    for line in ("calls", "cost", "waiting", "agreement"):
        value = {"calls": 1.0, "cost": 0.25, "waiting": 1.0, "agreement": 1.0}[line]
        of_control = 'control="label",' if line == "agreement" else ""
        assert f'apprentice_teacher_{line}{{{of_control}project="5"}} {value}' in text
    assert "apprentice_learner_agreement{" not in text, "there is no learner yet"

"""The commands about the teacher: batch files, cues of the labels, and the ledger."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from fake_label_studio import SINGLE
from projects import set_up
from schemas import as_choices, first_of
from span_project import CONFIG as SPANS
from two_controls import TWO_CONTROLS
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import REASONING_TOKENS, Answer, Call, Question
from ml_backend.core.types import content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.storage import Store
from ml_backend.storage.ledger import AnsweredCalls
from ml_backend.storage.questions import Questions
from ml_backend.teacher import prompts
from ml_backend.teacher.descriptions import description_prompts
from ml_backend.teacher.evolution.labelled_texts import REFUSAL

SCHEMA = read_schema(SINGLE)
TEACHER = "batch:small"
PARAMS = {"teacher": "batch", "teacher_model": "small", "teacher_input_price": 1.0, "teacher_output_price": 10.0}
CUES = {"fruit": {"description": "grows on trees", "cues": [["an apple", 10], ["the apple of his eye", -5, "animal"]]}}
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the test's data folder; returns exit code and output."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")
    set_up(store, 5, connection={"ml": 1}, label_config=SINGLE, extra_params=PARAMS)

    def call(*arguments: str, answers: str = "") -> tuple[int, str]:
        result = CliRunner().invoke(main.app, [*arguments, "--project", "5"], input=answers)
        return result.exit_code, f"{result.output}{result.exception or ''}"

    return call


def add_questions(store: Store, *texts: str) -> list[Question]:
    questions = [
        prompts.label_question(prompts.LabelPrompt([SCHEMA.controls[0]]), content_key(text), text, TEACHER)
        for text in texts
    ]
    store.questions.add(5, TEACHER, [(question, content_key(question.text)) for question in questions])
    return questions


def reply(question_id: str, content: Any, finish: str = "stop", status: int = 200) -> str:
    body = {
        "model": "small-1", "usage": {"prompt_tokens": 100_000, "completion_tokens": 10_000},
        "choices": [{"message": {"role": "assistant", "content": json.dumps(content)}, "finish_reason": finish}],
    }  # fmt: skip
    return json.dumps({"custom_id": question_id, "response": {"status_code": status, "body": body}, "error": None})


def test_questions_are_exported_and_replies_imported_with_their_cost(run: Run, store: Store, tmp_path: Path) -> None:
    one, two = add_questions(store, "one apple", "two")
    file = tmp_path / "requests.jsonl"
    code, output = run("teach", "--export", str(file))
    assert code == 0 and output.startswith(f"2 questions to small are in {file}.") and "--import FILE" in output
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["custom_id"] for line in lines] == sorted([one.id, two.id])
    assert {line["body"]["model"] for line in lines} == {"small"}
    assert file.stat().st_mode & 0o077 == 0, "no other user may read the texts of tasks"

    answers = tmp_path / "responses.jsonl"
    answers.write_text(reply(one.id, {"label": "fruit"}) + "\n")
    assert run("teach", "--import", str(answers)) == (0, "1 answered.\n")
    (teacher_label,) = store.questions.replies(5, TEACHER, [content_key("one apple"), content_key("two")])
    assert teacher_label.key == content_key("one apple")
    shares = teacher_label.shares[""]
    assert max(shares, key=lambda label: shares[label]) == "fruit"
    assert store.ledger.spent(5)[""].cost == pytest.approx(0.1 + 0.1)
    assert store.jobs.state(5).waiting
    code, output = run("teach", "--export", str(file))
    assert code == 1 and "is there already" in output and len(file.read_text().splitlines()) == 2
    file.unlink()
    code, output = run("teach", "--export", str(file))
    assert output.startswith("1 question to small is in")


def test_importing_twice_changes_nothing(run: Run, store: Store, settings: Settings, tmp_path: Path) -> None:
    one, two, three, four = add_questions(store, "one", "two", "three", "four")
    file = tmp_path / "responses.jsonl"
    refused = reply(two.id, {"label": "fruit"}, finish="content_filter")
    file.write_text(
        "\n".join(
            [
                reply(one.id, {"label": "fruit"}), refused, reply(three.id, None, status=500),
                reply("label-of-somebody-else", {}), reply(one.id, {"label": "metal"}), "half a li",
            ]
        )
    )  # fmt: skip
    code, output = run("teach", "--import", str(file))
    assert code == 0
    assert output.startswith(
        "1 answered, 1 of no use and dropped, 1 without a reply, which go on waiting, 1 to questions that nobody asked "
        "here, 1 unreadable (not the JSON of a reply), 1 repeated."
    )
    assert "1 time: The model refused to reply." in output and "500" in output
    waiting = {question.id for question in store.questions.waiting(5)}
    before = store.ledger.spent(5), store.ledger.outcomes(5)[""]
    assert waiting == {three.id, four.id} and before[1] == {"answered": 1, "refused": 1}
    with closing(Store(settings)) as of_worker:  # with the clock of the command
        lease = of_worker.jobs.claim("worker")
        assert lease is not None
        of_worker.jobs.finish(lease)

    code, output = run("teach", "--import", str(file))
    assert output.startswith("1 without a reply, which go on waiting, 2 known already, 1 to questions")
    assert (store.ledger.spent(5), store.ledger.outcomes(5)[""]) == before
    assert {question.id for question in store.questions.waiting(5)} == waiting
    assert not store.jobs.state(5).waiting, "nothing new: no round"


def test_a_useful_reply_is_stored_after_a_useless_one(run: Run, store: Store, tmp_path: Path) -> None:
    one, two = add_questions(store, "one", "two")
    file = tmp_path / "responses.jsonl"
    file.write_text(reply(one.id, {"label": "stone"}) + "\n" + reply(two.id, {"label": "fruit"}, finish="length"))
    assert run("teach", "--import", str(file))[1].startswith("2 of no use and dropped.")
    assert run("teach", "--import", str(file))[1].startswith("2 known already."), "what was paid once is entered once"
    file.write_text(reply(one.id, {"label": "metal"}) + "\n" + reply(two.id, {"label": "stone"}))
    assert run("teach", "--import", str(file))[1].startswith("1 answered, 1 known already.")
    (teacher_label,) = store.questions.replies(5, TEACHER, [content_key("one"), content_key("two")])
    assert teacher_label.key == content_key("one") and store.ledger.outcomes(5)[""] == {"malformed": 2, "answered": 1}


def test_teacher_labels_of_a_batch_are_counted_as_in_the_loop(run: Run, store: Store, tmp_path: Path) -> None:
    refusable = prompts.label_question(
        prompts.LabelPrompt([SCHEMA.controls[0]], refusal=REFUSAL), content_key("written"), "written", TEACHER
    )
    store.questions.add(5, TEACHER, [(refusable, content_key("written"))])
    (one,) = add_questions(store, "one")
    file = tmp_path / "responses.jsonl"
    file.write_text(reply(one.id, {"label": "fruit"}) + "\n" + reply(refusable.id, {"label": "fruit"}))
    assert run("teach", "--import", str(file))[1].startswith("2 answered.")
    assert run("teach", "--export", str(tmp_path / "none.jsonl"))[1].endswith(
        "after the project's first round: so far, the teacher has labelled 1 task of 500 (teacher_labels).\n"
    )
    set_up(store, 5, extra_params={**PARAMS, "teacher_labels": 1})
    assert run("teach", "--export", str(tmp_path / "none.jsonl"))[1] == (
        "No question waits: the teacher has labelled 1 task, and teacher_labels (1) asks for no more.\n"
    )


def test_an_import_reads_only_the_questions_that_its_file_answers(
    run: Run, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, *_ = add_questions(store, *(f"text {n}" for n in range(20)))
    read_ids: list[str] = []
    with_ids = Questions.with_ids

    def spy(questions: Questions, project: int, ids: list[str]) -> list[Question]:
        read_ids.extend(ids)
        return with_ids(questions, project, ids)

    monkeypatch.setattr(Questions, "with_ids", spy)
    monkeypatch.setattr(Questions, "all", lambda *_: pytest.fail("all questions are read"))
    file = tmp_path / "responses.jsonl"
    file.write_text(reply(one.id, {"label": "fruit"}) + "\n" + reply("label-of-somebody-else", {}))
    assert run("teach", "--import", str(file))[1].startswith("1 answered, 1 to questions that nobody asked here.")
    assert read_ids == [one.id, "label-of-somebody-else"]


def test_cues_can_come_from_a_batch(run: Run, store: Store, tmp_path: Path) -> None:
    question = description_prompts.description_question(SCHEMA.controls[0], ["a text"], TEACHER)
    store.questions.add(5, TEACHER, [(question, None)])
    descriptions = [{"label": "fruit", "description": "sweet", "cues": []}]
    file = tmp_path / "responses.jsonl"
    file.write_text(reply(question.id, {"labels": descriptions}))
    assert run("teach", "--import", str(file)) == (0, "1 answered.\n")
    assert first_of(store.projects.ensure(5).label_descriptions) == {"fruit": {"description": "sweet", "cues": []}}


@pytest.mark.parametrize(("probabilities", "replies"), [("auto", 1), ("samples", 5), ("stated", 1)])
def test_an_export_reserves_the_cost_of_its_requests(
    run: Run, store: Store, tmp_path: Path, probabilities: str, replies: int
) -> None:
    questions = add_questions(store, *(f"text {n}" for n in range(20)))
    params = {**PARAMS, "teacher_probabilities": probabilities, "teacher_input_price": 0.0}
    cost = replies * (questions[0].longest + REASONING_TOKENS) * PARAMS["teacher_output_price"] / 1e6  # type: ignore[operator]
    set_up(store, 5, extra_params={**params, "teacher_budget": 10.5 * cost})
    file = tmp_path / "some.jsonl"
    assert run("teach", "--export", str(file))[1].startswith("10 questions")
    bodies = [json.loads(line)["body"] for line in file.read_text().splitlines()]
    assert {body.get("n", 1) for body in bodies} == {replies}
    assert not any("logprobs" in body for body in bodies)
    assert {"confidence" in body["messages"][0]["content"] for body in bodies} == {probabilities != "samples"}


def test_an_export_passes_over_questions_about_labels_that_have_changed(run: Run, store: Store, tmp_path: Path) -> None:
    control = as_choices(SCHEMA.controls[0])
    others = [
        replace(control, labels=control.labels[:-1]),
        replace(control, labels=(*control.labels, "stone")),
        replace(control, multiple=True),
    ]
    stale = [
        prompts.label_question(prompts.LabelPrompt([other]), content_key("old"), "old", TEACHER) for other in others
    ]
    store.questions.add(5, TEACHER, [(question, None) for question in stale])
    file = tmp_path / "some.jsonl"
    code, output = run("teach", "--export", str(file))
    assert code == 0 and output.startswith("Nothing is written. 3 are passed over") and not file.exists()
    refusable = prompts.label_question(
        prompts.LabelPrompt([SCHEMA.controls[0]], refusal=REFUSAL), content_key("new"), "new", TEACHER
    )
    store.questions.add(5, TEACHER, [(refusable, None)])
    (fresh,) = add_questions(store, "one")
    code, output = run("teach", "--export", str(file))
    assert output.startswith("2 questions") and "3 are passed over: they ask for labels" in output
    assert {json.loads(line)["custom_id"] for line in file.read_text().splitlines()} == {refusable.id, fresh.id}


def test_an_export_keeps_to_the_budget_and_counts_the_other_questions(run: Run, store: Store, tmp_path: Path) -> None:
    add_questions(store, *(f"text {n}" for n in range(5)))
    set_up(store, 5, extra_params={**PARAMS, "teacher_daily_calls": 3})
    code, output = run("teach", "--export", str(tmp_path / "some.jsonl"))
    assert output.startswith("3 questions") and "2 more wait" in output
    set_up(store, 5, extra_params={**PARAMS, "teacher_budget": 1e-9})
    code, output = run("teach", "--export", str(tmp_path / "none.jsonl"))
    assert code == 1 and "Nothing is written: the teacher's budget of the project does not cover" in output
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize(
    ("params", "code", "words"),
    [
        (PARAMS, 0, "No question waits. `apprentice serve` creates questions"),
        ({**PARAMS, "teacher": "openai"}, 0, "No question waits: openai is asked at once"),
        ({"teacher": "batch"}, 1, "has no model: set teacher_model"),
        ({}, 1, "has no teacher that can be asked (it has 'similarity'): set teacher to batch"),
    ],
)
def test_without_a_waiting_question_an_export_says_what_to_do(
    run: Run, store: Store, tmp_path: Path, params: dict[str, Any], code: int, words: str
) -> None:
    set_up(store, 5, extra_params=params)
    add_questions(store, *(() if params else ("one",)))
    exit_code, output = run("teach", "--export", str(tmp_path / "requests.jsonl"))
    assert exit_code == code and words in output
    assert not (tmp_path / "requests.jsonl").exists()


def test_a_batch_needs_a_file_that_is_there_and_one_direction(run: Run, tmp_path: Path) -> None:
    code, output = run("teach", "--import", str(tmp_path / "nowhere.jsonl"))
    assert code == 1 and "nowhere.jsonl cannot be read" in output
    code, output = run("teach", "--export", str(tmp_path))
    assert code == 1 and "is there already" in output
    assert run("teach")[0] == 2
    assert run("teach", "--export", "a", "--import", "b")[0] == 2
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n")
    code, output = run("teach", "--import", str(empty))
    assert code == 1 and output.startswith("The file is empty."), "nothing came of it"


def test_cues_are_shown_by_label_and_as_json_that_can_be_imported_again(run: Run, store: Store, tmp_path: Path) -> None:
    assert "No cues yet" in run("cues")[1]
    call = Call("small", 1.0, 10, 10, "malformed")
    unusable = Answer("d", None, None, (call, call), "no JSON")
    store.ledger.add_calls(5, AnsweredCalls(unusable, "describe", TEACHER, [0.0, 0.0]))
    assert "No cues: 2 replies of the teacher could not be used. Write your own with --edit." in run("cues")[1]
    set_up(store, 5, label_config=TWO_CONTROLS)
    assert "Write your own with --control mood --edit." in run("cues", "--control", "mood")[1]
    set_up(store, 5, label_config=SINGLE)
    set_up(store, 5, label_descriptions=CUES)
    output = run("cues")[1]
    assert "fruit  grows on trees\n" in output and "   10  an apple\n" in output
    assert "   -5  the apple of his eye (rather animal)\n" in output and "metal" in output
    text = run("cues", "--json")[1]
    assert json.loads(text)["fruit"] == CUES["fruit"]
    file = tmp_path / "cues.json"
    file.write_text(text)
    assert run("cues", "--file", str(file)) == (0, "Nothing has changed.\n")
    assert not store.jobs.state(5).waiting
    file.write_text(text.replace("an apple", "an apple tree"))
    assert run("cues", "--file", str(file))[1].startswith("Kept: 1 of 3 labels have cues.")
    assert (first_of(store.projects.ensure(5).label_descriptions) or {})["fruit"]["cues"][0] == ["an apple tree", 10]
    assert store.jobs.state(5).waiting


def test_spans_have_no_cues(run: Run, store: Store) -> None:
    set_up(store, 5, label_config=SPANS)
    code, output = run("cues")
    assert code == 1 and "Project 5 marks spans: cues are for the labels of whole texts" in output


def test_the_sides_of_a_comparison_have_no_cues(run: Run, store: Store) -> None:
    pair = '<View><Text name="a" value="$a"/><Text name="b" value="$b"/><Pairwise name="c" toName="a,b"/></View>'
    set_up(store, 5, label_config=pair)
    code, output = run("cues")
    assert code == 1 and "Project 5 compares texts" in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ('{"stone": {}}', "There is no label 'stone'"),
        ('{"fruit": {"cues": [["sweet", 11]]}}', "The cues of 'fruit' must be pairs"),
        (None, "cannot be read"),
    ],
)
def test_an_error_in_cues_is_located_and_changes_nothing(
    run: Run, store: Store, tmp_path: Path, text: str | None, words: str
) -> None:
    set_up(store, 5, label_descriptions=CUES)
    file = tmp_path / "cues.json"
    if text is not None:
        file.write_text(text)
    code, output = run("cues", "--file", str(file))
    assert code == 1 and words in output
    assert first_of(store.projects.ensure(5).label_descriptions) == CUES


def test_cues_can_be_changed_in_an_editor_and_errors_corrected_there(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    edits: Iterator[Callable[[str], str]] = iter(
        [
            lambda text: text.replace('"description": ""', '"description": oops', 1),
            lambda text: text.replace("oops", '"hard and shiny"'),
        ]
    )

    def edit(text: str, extension: str) -> str | None:
        shown.append(text)
        change = next(edits, None)
        return change(text) if change else None

    monkeypatch.setattr(click, "edit", edit)
    set_up(store, 5, label_descriptions=CUES)
    code, output = run("cues", "--edit", answers="y\n")
    assert code == 0 and "at line" in output and "Kept: 2 of 3" in output
    assert "oops" in shown[1], "what was written is not lost"
    assert first_of(store.projects.ensure(5).label_descriptions) == {
        **CUES,
        "metal": {"description": "hard and shiny", "cues": []},
    }
    assert run("cues", "--edit")[1] == "Nothing has changed.\n"


def test_an_edit_that_stays_wrong_changes_nothing(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    set_up(store, 5, label_descriptions=CUES)
    monkeypatch.setattr(click, "edit", lambda *_, **__: "nonsense")
    code, output = run("cues", "--edit", answers="n\n")
    assert code == 1 and "not JSON" in output
    assert first_of(store.projects.ensure(5).label_descriptions) == CUES


def test_a_missing_editor_is_an_error_with_advice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    code, output = run("cues", "--edit")
    assert code == 1 and "set EDITOR, or use --json and --file" in output


def test_cues_takes_one_of_its_options_at_a_time(run: Run) -> None:
    assert run("cues", "--edit", "--json")[0] == 2


def test_the_ledger_has_every_call_with_its_outcome_and_cuts_nothing_off(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("ledger") == (0, "The teacher of project 5 has not been called yet.\n")
    (question,) = add_questions(store, "one apple")
    monkeypatch.setenv("COLUMNS", "80")
    calls = (Call("m", 1.0, 100_000_000, 10, "malformed"), Call("m", 2.0, 200, 20, "answered"))
    store.questions.store_answer(5, Answer(question.id, {"label": "fruit"}, None, calls), [0.1, 0.2])
    code, output = run("ledger")
    head, *rows = output.splitlines()
    assert code == 0 and head.split()[:6] == ["for", "calls", "answered", "malformed", "refused", "failed"]
    assert [row.split() for row in rows] == [
        [name, "2", "1", "1", "0", "0", "100,000,200", "30", "0.3", "1.5"] for name in ("label", "all")
    ]
    csv_rows = list(csv.DictReader(io.StringIO(run("ledger", "--csv")[1])))
    assert [(row["outcome"], row["seconds"], row["cost"]) for row in csv_rows] == [
        ("malformed", "1.0", "0.1"), ("answered", "2.0", "0.2"),
    ]  # fmt: skip
    assert {row["question"] for row in csv_rows} == {question.id}

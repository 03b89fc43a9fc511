"""Tasks without a text that can be read: reported with a reason, and neither queued nor learnt from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fake_label_studio import SINGLE, FakeClient, FakeLabelStudio, add_labelled_tasks, text_about
from project_messages import connect_messages, lines_by_name
from projects import set_up
from round_fixtures import MakeRound, active, queue

from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.monitoring import doctor
from ml_backend.rendering.doctor_text import finding_sentences
from ml_backend.storage import Store

pytestmark = pytest.mark.usefixtures("options")


@pytest.mark.parametrize(
    ("skip_queue", "counts"),
    [
        ("REQUEUE_FOR_OTHERS", "9, 5 skipped (waiting for another annotator), 0 to go"),
        ("IGNORE_SKIPPED", "9, 5 skipped, 0 to go"),
        ("REQUEUE_FOR_ME", "9, 5 skipped (they come again), 5 to go"),
    ],
)
def test_tasks_that_label_studio_cannot_serve_are_not_to_go(
    server: FakeLabelStudio, store: Store, make_round: MakeRound, skip_queue: str, counts: str
) -> None:
    server.settings["skip_queue"] = skip_queue
    truth = add_labelled_tasks(server, 14)
    for n, (task, label) in enumerate(truth.items()):
        server.annotate(task, label, skip=n % 2 == 0 and n < 10)
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == counts


def test_a_task_without_a_text_is_neither_queued_drafted_nor_learnt_from(
    server: FakeLabelStudio, store: Store, make_round: MakeRound, options: Callable[..., None]
) -> None:
    options(audit_share=0.5)
    server.add_tasks(["", "   "])
    without_text = list(server.tasks)
    truth = add_labelled_tasks(server, 30)
    server.annotate(without_text[0], "fruit")
    for task in list(truth)[:10]:
        server.annotate(task, truth[task])
    run_round(make_round(server))
    assert not {*queue(server)} & {*without_text} and len(queue(server)) == 12
    assert active(store).labelled == 10
    assert lines_by_name(store)["labelled"] == "10, 1 annotated but not used, 1 without a text, 20 to go"
    assert f"2 of 32 tasks have no text in 'text', e.g. task {without_text[0]}" in lines_by_name(store)["texts"]


def tasks_with(server: FakeLabelStudio, rows: Sequence[dict[str, Any]]) -> None:
    server.add_tasks([""] * len(rows))
    for task, row in zip(server.tasks.values(), rows, strict=True):
        task["data"] = row


@pytest.mark.parametrize(
    ("value", "field", "data", "hint"),
    [
        ("$Full Text", "Full", "Full Text", "rename 'Full Text'"),
        ("$text", "text", "body", "check value= of <Text>"),
    ],
)
def test_when_no_task_has_the_text_the_existing_fields_are_named(
    server: FakeLabelStudio, store: Store, settings: Settings, make_round: MakeRound, value: str, field: str, data: str,
    hint: str,
) -> None:  # fmt: skip
    server.label_config = SINGLE.replace("$text", value)
    tasks_with(server, [{data: f"{text_about('fruit', n)} {'long ' * 20}", "n": n} for n in range(30)])
    expected = f"none of the 30 tasks has a text in '{field}' (they have: "
    messages = [line for line in connect_messages(server, store, settings) if expected in line]
    assert messages and data in messages[0] and hint in messages[0]
    run_round(make_round(server))
    assert (
        expected in lines_by_name(store)["texts"]
        and hint in lines_by_name(store)["texts"]
        and data in lines_by_name(store)["texts"]
    )
    assert lines_by_name(store)["labelled"] == "0, 30 without a text, 0 to go"
    assert server.current_predictions() == [], "nothing is drafted"


@pytest.mark.parametrize(
    "text",
    ["s3://bucket/one.txt", "https://example.com/page?id=1", "/data/upload/3/my page.txt", "texts/1.html", "one.txt",
     "C:\\texts\\one.txt", "gs://b/k"],
)  # fmt: skip
def test_addresses_in_place_of_texts_are_reported(
    server: FakeLabelStudio, store: Store, settings: Settings, make_round: MakeRound, text: str
) -> None:
    server.add_tasks([f"{text}" for _ in range(5)])
    assert any("5 of 5 texts looked at are addresses" in line for line in connect_messages(server, store, settings))
    run_round(make_round(server))
    assert "5 of 5 texts looked at are addresses or paths of files, e.g. task 1" in lines_by_name(store)["texts"]


@pytest.mark.parametrize("text", ["see https://example.com", "and/or", "yes.", "a.b", "1/2", "/s", "re: file.txt lost"])
def test_words_are_not_taken_for_addresses(
    server: FakeLabelStudio, store: Store, make_round: MakeRound, text: str
) -> None:
    server.add_tasks([text] * 5)
    run_round(make_round(server))
    assert "texts" not in lines_by_name(store)


def test_doctor_checks_the_texts_in_label_studio_before_the_first_round(
    server: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    add_labelled_tasks(server, 30)
    server.tasks[1]["data"] = {"other": "no text"}
    connect_messages(server, store, settings)
    project_row = store.projects.require(5)
    schema = read_schema(SINGLE, "")
    findings = list(doctor.check_tasks_and_annotations(store, FakeClient(server), project_row, schema))
    assert [finding.state for finding in findings] == ["notice"]
    assert "1 of 30 tasks" in finding_sentences(findings[0])[0]


def test_a_project_without_tasks_is_named_but_not_before_they_were_read(
    server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    set_up(store, 5, label_config=SINGLE)
    assert "texts" not in lines_by_name(store)
    record = run_round(make_round(server))
    assert record is not None
    store.versions.record_round(5, record)
    assert lines_by_name(store)["texts"] == "there are no tasks: import some"

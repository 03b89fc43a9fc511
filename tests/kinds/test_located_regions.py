"""A kind whose regions are at places of what is displayed gets it wherever regions are read and written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fake_encoder import FakeEncoder
from fake_label_studio import WORDS, FakeClient, FakeLabelStudio, text_about
from located_answer_kind import LOCATED_ANSWER, LOCATED_ANSWER_PLUGINS
from projects import set_up
from round_fixtures import MakeRound, active
from simulations import SimulationFolder

from ml_backend.core import registry
from ml_backend.core.displayed_text.html_text import visible_text
from ml_backend.core.schema import ControlSchema, ObjectTag
from ml_backend.core.settings import Settings
from ml_backend.core.types import Draft, Prediction, TaskContent
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.label_review import update_proposals
from ml_backend.label_studio.serialization import MAX_DISPLAYED_CHARACTERS, read_task_content, writable_predictions
from ml_backend.label_studio.sync import reconcile
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.storage.schema import version as version_table
from ml_backend.web.backend import bind_backend

CHOICES = "".join(f'<Choice value="{label}"/>' for label in WORDS)
TOPIC = f'<Choices name="topic" toName="shown">{CHOICES}</Choices>'
AREA = '<TextArea name="remark" toName="shown"/>'
HTML = '<View><HyperText name="shown" value="$text"/>{}</View>'
LABELS = (*WORDS,)


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    with registry.overridden(LOCATED_ANSWER_PLUGINS):
        yield


@pytest.fixture
def server() -> FakeLabelStudio:
    class LenientLabelStudio(FakeLabelStudio):
        """A server that does not look into the values of regions."""

        def _valid(self, row: Any) -> bool:
            return 0 <= row["score"] <= 1 and row["task"] in self.tasks

    server = LenientLabelStudio(label_config=HTML.format(AREA))
    server.add_tasks([html_about(number) for number in range(60)])
    return server


def html_about(number: int) -> str:
    return f"<p>{text_about(LABELS[number % 3], number)}</p>"


def remark(number: int) -> list[dict[str, Any]]:
    value = {"text": [f"about {LABELS[number % 3]}"]}
    return [{"from_name": "remark", "to_name": "shown", "type": "textarea", "value": value}]


@pytest.fixture
def learnt(server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store) -> list[int]:
    """A project whose learner was fitted on 20 annotations."""
    tasks = [*server.tasks]
    run_round(make_round(server))
    for number, task in enumerate(tasks[:20]):
        server.annotate_with(task, remark(number))
    run_round(make_round(server))
    assert active(store).controls["remark"].learner == 2
    return tasks


def test_html_is_stored_and_found_in_rounds(server: FakeLabelStudio, learnt: list[int], store: Store) -> None:
    for content in store.tasks.contents(5, learnt).values():
        html = server.tasks[content.task]["data"]["text"]
        assert (content.displayed("shown"), content.text) == (html, visible_text(html))
    assert server.current_predictions()


def test_an_event_has_the_content_or_asks_for_a_reconciliation(
    server: FakeLabelStudio, learnt: list[int], store: Store
) -> None:
    body = server.annotate_with(learnt[40], remark(40))
    event = read_event(body)
    assert event.annotations[0].labels["remark"].value == (f"about {LABELS[40 % 3]}",)
    assert not event.incomplete
    store_event(store, event)
    without_task = read_event({key: value for key, value in body.items() if key != "task"})
    assert (without_task.annotations, without_task.incomplete) == ((), True)
    skip = {**body["annotation"], "was_cancelled": True}
    read_skip = read_event({**{key: value for key, value in body.items() if key != "task"}, "annotation": skip})
    assert len(read_skip.annotations) == 1 and not read_skip.incomplete


def test_a_proposal_for_a_second_look_has_it(
    server: FakeLabelStudio, learnt: list[int], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {"task": learnt[0], "instead": ["something else"], "confidence": 0.9}
    store.monitor.put(5, "remark", {"kind": "answer", "second_look": [error]})
    set_up(store, 5, connection={"ml": 1})
    client, schema = FakeClient(server), read_schema(server.label_config)
    update_proposals(client, store, schema, store.projects.ensure(5), max_proposals=3)
    assert [*store.reviews.proposals(5)] == [learnt[0]]
    monkeypatch.setattr(LOCATED_ANSWER, "write_regions", lambda *_: [])
    update_proposals(client, store, schema, store.projects.ensure(5), max_proposals=3)
    assert not store.reviews.proposals(5), "it does not fit the content"
    monkeypatch.undo()
    store.monitor.put(5, "remark", {"kind": "answer", "second_look": [{**error, "task": 999}]})
    update_proposals(client, store, schema, store.projects.ensure(5), max_proposals=3)
    assert not store.reviews.proposals(5), "the task was deleted"


def test_predict_has_it(
    server: FakeLabelStudio, learnt: list[int], store: Store, settings: Settings, fake_encoder: FakeEncoder
) -> None:
    backend = bind_backend(settings, store)(project_id="5", label_config=server.label_config)
    rows = backend.predict([{"id": 1000, "data": {"text": html_about(1)}}, {"id": 1001, "data": {}}, "no task"])
    assert [[region["value"] for region in row["result"]] for row in rows] == [[{"text": ["about metal"]}], [], []]


def test_an_export_has_it(tmp_path: Path, settings: Settings, fake_encoder: FakeEncoder) -> None:
    simulation = SimulationFolder(tmp_path, settings)
    (tmp_path / "config.xml").write_text(HTML.format(AREA))
    annotated = [
        {
            "id": number,
            "data": {"text": html_about(number)},
            "annotations": [{"id": number, "completed_by": 1, "result": remark(number)}],
        }
        for number in range(1, 40)
    ]
    simulation.write(annotated)
    simulation.run()
    assert simulation.numbers()


def test_tasks_are_read_again_once_a_control_needs_what_they_display(server: FakeLabelStudio, store: Store) -> None:
    server.label_config = HTML.format(TOPIC + AREA)
    tasks = [*server.tasks]
    with registry.overridden({"kind.answer": None}):
        reconcile(FakeClient(server), store, 5, interval_seconds=0, check_lease=lambda: None)
        assert not any(content.displayed_values for content in store.tasks.contents(5, tasks).values())
    reconcile(FakeClient(server), store, 5, interval_seconds=0, check_lease=lambda: None)
    assert all(content.displayed_values for content in store.tasks.contents(5, tasks).values())


@pytest.mark.parametrize(
    "tag, data, displayed",
    [
        ('<Text name="shown" value="$text"/>', {"text": " as it is \r\n"}, None),
        ('<Text name="shown" value="$text"/><HyperText name="h" value="$text"/>', {"text": "<i>x</i>"}, "<i>x</i>"),
        ('<Text name="shown" value="$text"/>', {"text": "x" * 25_000}, "x" * 25_000),
        ('<Text name="shown" value="$text"/>', {"text": 5}, 5),
        ('<HyperText name="shown" value="$page.html"/>', {"page": {"html": "<i>x</i>"}}, "<i>x</i>"),
        ('<HyperText name="shown" value="$text"/>', {"text": "<i>x\0y\ud800</i>"}, "<i>x y?</i>"),
        ('<Paragraphs name="shown" value="$d"/>', {"d": [{"author": "A", "text": " x "}]},
         [{"author": "A", "text": " x "}]),
        ('<Table name="shown" value="$r"/>', {"r": {"age": float("inf"), "b": [1, "x\0"]}},
         {"age": None, "b": [1, "x "]}),
    ],
)  # fmt: skip
def test_what_a_tag_displays_is_read_as_it_is(tag: str, data: dict[str, Any], displayed: Any) -> None:
    schema = read_schema(f"<View>{tag}{AREA}</View>")
    content = read_task_content({"id": 1, "data": data}, schema.input)
    assert content is not None
    assert content.displayed_values == ({} if displayed is None else {"shown": displayed})
    assert content.displayed("shown") == (data.get("text") if displayed is None else displayed)


def test_what_is_too_large_or_nested_too_deeply_is_not_kept() -> None:
    schema = read_schema(HTML.format(AREA))
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    for value in ("<p>" + "x" * MAX_DISPLAYED_CHARACTERS, deep, [deep, "x" * MAX_DISPLAYED_CHARACTERS]):
        content = read_task_content({"id": 1, "data": {"text": value}}, schema.input)
        assert content is not None and content.displayed_values == {"shown": None}


def test_the_schema_names_the_object_tag_and_its_attributes() -> None:
    [control] = read_schema(f'<View><Paragraphs name="shown" value="$d" textKey="message"/>{AREA}</View>').controls
    assert control.object_tag == ObjectTag("shown", "Paragraphs", "$d", (("textkey", "message"),))


def test_nothing_is_learnt_of_positions_in_a_text_that_label_studio_composes() -> None:
    composed = f'<View><Text name="shown" value="By $author: $text"/>{TOPIC}{AREA}</View>'
    [unlearnt] = read_schema(composed).unlearnt
    assert (unlearnt.name, unlearnt.code) == ("remark", "composed")


def test_only_the_tags_that_are_needed_are_kept() -> None:
    assert read_schema(HTML.format(TOPIC)).input.located == ()
    assert [tag.name for tag in read_schema(HTML.format(AREA)).input.located] == ["shown"]


def test_a_draft_that_does_not_fit_the_content_is_neither_published_nor_counted(
    server: FakeLabelStudio, learnt: list[int], store: Store, make_round: MakeRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfitting = next(row["task"] for row in server.current_predictions() if row["result"])
    write_regions = LOCATED_ANSWER.write_regions

    def write_fitting_regions(value: Any, control: ControlSchema, content: TaskContent) -> list[dict[str, Any]]:
        return [] if content.task == unfitting else write_regions(value, control, content)

    monkeypatch.setattr(LOCATED_ANSWER, "write_regions", write_fitting_regions)
    server.annotate_with(learnt[50], remark(50))
    run_round(make_round(server))
    drafts = {published.task: published.drafts for published in store.published_drafts.of(5, active(store).name)}
    rows = {row["task"]: row["result"] for row in server.current_predictions()}
    assert (drafts[unfitting], rows[unfitting]) == ({}, [])
    assert all(drafts[task] and rows[task] for task in drafts.keys() - {unfitting})


def test_a_deleted_task_is_not_counted_in_the_rows_of_a_version(
    server: FakeLabelStudio, learnt: list[int], store: Store, make_round: MakeRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = server.current_predictions()[0]["task"]
    contents = store.tasks.contents
    monkeypatch.setattr(
        store.tasks, "contents", lambda project, tasks: contents(project, [task for task in tasks if task != deleted])
    )
    server.annotate_with(learnt[50], remark(50))
    run_round(make_round(server))
    published = store.published_drafts.of(5, active(store).name)
    assert deleted not in {draft.task for draft in published}
    with store.database.read() as connection:
        of_version = version_table.c.number == active(store).number
        rows = connection.execute(sa.select(version_table.c.rows).where(of_version)).scalar_one()
    assert rows == len(published) == len(server.current_predictions())


def test_a_task_that_is_deleted_while_the_queue_is_made_is_not_published(
    server: FakeLabelStudio, learnt: list[int], store: Store
) -> None:
    schema = read_schema(server.label_config)
    queue = [Prediction(task, 0.5, {"remark": Draft(("about fruit",), 0.9, "learner")}) for task in (learnt[0], 999)]
    written = writable_predictions(queue, schema, store.tasks.contents(5, [learnt[0], 999]))
    assert [prediction.task for prediction in written] == [learnt[0]]

"""A project whose annotators mark spans goes through rounds: fit, gate, queue, drafts, status and rollback."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio
from round_fixtures import MakeRound, active, queue
from span_project import CONFIG, NAMES, annotate, fake_encoder, learnt, sentence, server

from ml_backend.core.settings import Settings
from ml_backend.kinds.spans import regions
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.sync import reconcile
from ml_backend.loop.preparation import prepare
from ml_backend.loop.round import run_round
from ml_backend.loop.training import train
from ml_backend.model.project_model import load
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.teacher.candidates import RemainingLabels, tasks_to_distil
from ml_backend.teacher.project_context import load_project_context
from ml_backend.teacher.project_snapshot import take_snapshot
from ml_backend.web.predictor import Predictor

__all__ = ["fake_encoder", "learnt", "server"]  # fixtures


def test_what_annotators_mark_is_drafted_in_other_tasks(
    learnt: list[int], server: FakeLabelStudio, store: Store
) -> None:
    assert active(store).learner == 2
    predictions = {row["task"]: row for row in server.current_predictions()}
    assert predictions and not predictions.keys() & {*learnt}
    right = 0
    for task, row in predictions.items():
        text, spans = sentence(task - min(server.tasks))
        regions = row["result"]
        assert all(text[r["value"]["start"] : r["value"]["end"]] == r["value"]["text"] for r in regions)
        assert all(0 < region["score"] <= 1 for region in regions)
        right += sorted((r["value"]["text"], *r["value"]["labels"]) for r in regions) == sorted(spans)
    assert right >= 0.8 * len(predictions)


def test_each_annotation_refits_the_learner_and_moves_the_queue(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    before = queue(server)
    annotate(server, before[:1])
    run_round(make_round(server))
    assert active(store).number == 3 and before[0] not in queue(server)
    model = load(store, 5, 3).by_control["ner"] if active(store).learner == 3 else None
    assert model is None or before[0] in model.snapshot.tasks


def test_a_task_on_request_gets_the_same_draft(
    learnt: list[int], server: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    predictor = Predictor(settings, store)
    published = server.current_predictions()[:6]
    tasks = [row["task"] for row in published]
    texts = [sentence(task - min(server.tasks))[0] for task in tasks]
    for row, made in zip(published, predictor.predict(5, CONFIG, tasks, texts), strict=True):
        drafted = [span[:2] for span in made.drafts["ner"].value]
        assert drafted == [(region["value"]["start"], region["value"]["end"]) for region in row["result"]]


@pytest.mark.parametrize(
    "strategy",
    [
        "cluster-uncertainty",
        "entropy",
        "least-confidence",
        "margin",
        "typicality",
        "k-center",
        "rep-clun",
        "d-calm",
        "random",
        "coverage",
        "near-and-far",
    ],
)
def test_every_strategy_orders_the_queue(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], strategy: str
) -> None:
    options(acquisition=strategy)
    annotate(server, queue(server)[:1])
    run_round(make_round(server))
    assert len(queue(server)) == 12


def test_a_strategy_that_needs_class_probabilities_is_replaced_with_a_remark(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    options(acquisition="badge", teacher_acquisition="badge")
    annotate(server, queue(server)[:1])
    run_round(make_round(server))
    assert (active(store).acquisition, len(queue(server))) == ("cluster-uncertainty", 12)
    remarks = remarks_text(active(store).remarks)
    assert "acquisition: cluster-uncertainty, because badge needs class probabilities" in remarks
    assert "teacher_acquisition: coverage, because badge needs class probabilities" in remarks
    assert "predictions for ner do not have" in remarks


def test_a_strategy_of_the_teacher_that_needs_class_probabilities_is_replaced(
    learnt: list[int], options: Callable[..., None], settings: Settings, store: Store
) -> None:
    options(teacher_acquisition="badge")
    context = load_project_context(settings, store, 5)
    project_row = store.projects.require(5)
    stored, _ = settings.for_project(project_row.extra_params)
    snapshot = take_snapshot(context.pool, project_row, stored, None, (), context.encoder)
    models = load(store, 5, 2).by_control
    for project in (context, snapshot):
        assert project.options.teacher_acquisition == "coverage"
        chosen = tasks_to_distil(store, project, models, RemainingLabels(4, []), np.array([40]), np.array(learnt))
        assert len({*chosen}) == 4 and not {*chosen} & {40, *learnt}


def test_the_spans_and_words_that_nobody_had_to_mark_are_counted(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    drafted = {row["task"]: {(r["value"]["text"], *r["value"]["labels"]) for r in row["result"]}
               for row in server.current_predictions()}  # fmt: skip
    tasks = queue(server)[:5]
    annotate(server, tasks)
    run_round(make_round(server))
    annotated = [(task, {*sentence(task - min(server.tasks))[1]}) for task in tasks]
    counts = [len(drafted[task] & spans) for task, spans in annotated]
    changes = read_status(store, 5).controls["ner"].teacher["changes"]["learner"]
    assert 0 < sum(counts) == changes["kept"] == changes["kept_words"], "each name is one word"
    assert changes["kept"] + changes["added"] == sum(len(spans) for _, spans in annotated)


def test_the_status_counts_spans_and_names_the_control(learnt: list[int], store: Store) -> None:
    lines = dict(status_lines(read_status(store, 5)))
    assert any("36" in sentence for sentence in lines.values()), lines


def test_the_words_of_all_tasks_are_cached(learnt: list[int], server: FakeLabelStudio, store: Store) -> None:
    schema = read_schema(CONFIG)
    assert schema.input.reads_words and schema.input.located
    cache = store.vectors(5, "words-fake")
    assert len(cache) == 90
    words: list[Any] = cache.read_words(np.arange(90))
    assert {len(of_text) for of_text in words} >= {7}


def test_a_round_reads_each_labelled_text_once_for_a_fit(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate(server, queue(server)[:1])
    context = make_round(server)
    reconcile(context.client, store, 5, 0, context.check_lease)
    inputs = prepare(context)
    read: list[tuple[int, ...]] = []
    read_texts = store.tasks.texts

    def record(project: int, tasks: Sequence[int]) -> list[str]:
        read.append(tuple(tasks))
        return read_texts(project, tasks)

    monkeypatch.setattr(store.tasks, "texts", record)
    assert train(context, inputs, 3)
    assert len(read) == 2, "the labelled texts, and those of the sample of the pool"


def test_the_status_says_that_spans_cut_words(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    texts = [f"day {n}: {n}mg for {NAMES[n % 6]}" for n in range(30)]
    server.add_tasks(texts)
    run_round(make_round(server))
    for task, text in [*zip(server.tasks, texts, strict=True)][:20]:
        number = text[4 : text.index(":")]
        region = {"start": text.index("mg") - len(number), "end": text.index("mg"), "text": number, "labels": ["Place"]}
        named = {"from_name": "ner", "to_name": "text", "type": "labels", "value": region}
        server.annotate_with(task, [named])
    for _ in range(2):  # the learner is stored with the version of the first round, and serves in the second one
        run_round(make_round(server))
        note = dict(status_lines(read_status(store, 5)))["note"]
        assert "20 of 20 spans begin or end inside a word: words are cut between letters, digits and signs" in note
        server.annotate_with([*server.tasks][20], [])
    drafted = {row["task"]: row["result"] for row in server.current_predictions()}
    values = [drafted[task][0]["value"] for task in [*server.tasks][22:]]
    assert all(value["text"].isdigit() for value in values)


def test_spans_that_cannot_be_shown_are_left_out_of_their_drafts_and_counted_in_the_status(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shown = [region["value"]["labels"] for row in server.current_predictions() for region in row["result"]]
    assert ["Person"] in shown and not active_remarks(store, "left out")
    monkeypatch.setattr(regions, "_place", without_persons(regions._place))
    annotate(server, [queue(server)[0]])
    run_round(make_round(server))
    rows = server.current_predictions()
    shown = [region["value"]["labels"] for row in rows for region in row["result"]]
    assert shown and ["Person"] not in shown, "the other spans of the same drafts are shown"
    texts = [server.tasks[row["task"]]["data"]["text"] for row in rows]
    note = active_remarks(store, "left out")
    n_left_out, n_drafted = map(int, re.findall(r"\d+", note)[:2])
    assert note.startswith(f"{n_left_out} of {n_drafted} drafted spans are left out") and 0 < n_left_out < n_drafted
    assert n_left_out == n_drafted - len(shown) and n_left_out >= 0.8 * sum(text.split()[0] in NAMES for text in texts)


def without_persons(place: Callable[..., Any]) -> Callable[..., Any]:
    """Finds no place for persons, as if they stood in hidden HTML."""
    return lambda displayed, control, start, end, label: (
        None if label == "Person" else place(displayed, control, start, end, label)
    )


def active_remarks(store: Store, words: str) -> str:
    """The remark with these words in the status, "" if there is none."""
    notes = dict(status_lines(read_status(store, 5))).get("note", "")
    return next((note for note in notes.split("; ") if words in note), "")

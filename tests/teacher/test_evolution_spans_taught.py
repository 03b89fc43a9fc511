"""Made-up texts with spans as training data: what is learnt from them, stored, sent in a batch, and erased."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from authors import NEW_NAMES, NEW_PLACES, SpanAuthor, new_sentence, rounds_of
from erased_texts import erase, tables_with
from fake_label_studio import FakeLabelStudio
from fake_word_encoder import FakeWordEncoder
from plugin_overrides import OverridePlugins
from span_evolving import confused, teacher
from span_project import CONFIG, NAMES, PLACES, server

from ml_backend.core.arrays import Floats, object_rows
from ml_backend.core.exceptions import RepliesAwaitedError
from ml_backend.core.settings import Settings
from ml_backend.core.texts import WordVectors
from ml_backend.core.types import content_key
from ml_backend.kinds.lookup import kind_of
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.kinds.spans.values import spans_of
from ml_backend.storage import Store
from ml_backend.teacher import distillation, teacher_labels
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.error_analysis import load_serving_learner
from ml_backend.teacher.evolution.evolution_run import EvolutionRun, distil_current_priors
from ml_backend.teacher.evolution.generated_texts import POOL, TASKS, TAUGHT, GeneratedText
from ml_backend.teacher.project_context import ProjectContext, load_project_context
from plugins.learners.crf.learner import Crf
from plugins.learners.crf.model import unpack

__all__ = ["confused", "server", "teacher"]


class SimilarNames(FakeWordEncoder):
    """All names have similar vectors, and so have all places."""

    def encode_with_words(self, texts: Sequence[str]) -> tuple[Floats, list[WordVectors]]:
        vectors, words = super().encode_with_words(texts)
        for text, of_text in zip(texts, words, strict=True):
            for row, (start, end) in enumerate(zip(of_text.starts, of_text.ends, strict=True)):
                is_name = text[start:end] in (*NAMES, *NEW_NAMES)
                of_text.vectors[row, 0] += 2 * is_name - 2 * (text[start:end] in (*PLACES, *NEW_PLACES))
        return vectors, words


@pytest.fixture
def fake_encoder(override_plugins: OverridePlugins) -> FakeWordEncoder:
    encoder = SimilarNames()
    override_plugins({"encoder.minilm": lambda: encoder})
    return encoder


@pytest.fixture
def load(confused: FakeLabelStudio, settings: Settings, store: Store) -> Callable[[], ProjectContext]:
    return lambda: load_project_context(settings, store, 5)


def pseudo_labels(context: ProjectContext) -> Any:
    no_labels = teacher_labels.no_teacher_labels(context.control)
    return generated_texts.pseudo_labels_of_texts(
        context.store, context.encoder, context.project_row, context.control, no_labels, "scripted"
    )


def test_texts_are_learnt_with_a_low_weight_and_a_text_whose_spans_are_not_all_found_is_partly_known(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, load: Callable[[], ProjectContext]
) -> None:
    teacher.misquotes = "Riga"
    (round_,) = evolving(TAUGHT).run(1)
    taught = pseudo_labels(load())
    assert len(taught.targets) == len(round_.texts) == round_.used
    assert (taught.weights == generated_texts.GENERATED_WEIGHT_OF_MARKED_TEXTS).all() and taught.is_generated.all()
    assert [spans_of(spans) for spans, _ in taught.targets] == [spans_of(text.label) for text in round_.texts]
    partly = [bool(is_partial) for _, is_partial in taught.targets]
    assert partly == ["Riga" in text.text for text in round_.texts] and any(partly) and not all(partly)


def test_the_words_of_made_up_texts_are_not_counted_as_names(
    evolving: Callable[..., EvolutionRun], load: Callable[[], ProjectContext]
) -> None:
    list(evolving(TAUGHT).run(1))
    context = load()
    taught = pseudo_labels(context)
    alone = distillation.collect_distillation_input(
        context, "crf", teacher_labels.no_teacher_labels(context.control), taught
    )
    assert {*distillation.distil(alone, context.control, context.encoder, 0)} == {"labels"}
    half = replace(alone, taught=replace(taught, is_generated=np.arange(len(taught.targets)) % 2 == 1))
    counted = unpack(distillation.distil(half, context.control, context.encoder, 0)["labels and words"]).gazetteer
    texts = taught.texts(np.arange(len(taught.targets)))
    assert {*counted.rows} == {word for text in texts[::2] for word in text.lower().split()}


def score(context: ProjectContext, priors: dict[str, Any], annotated: int) -> float:
    """The strict F1 score on sentences with new names and places of a learner of the first annotated tasks."""
    learner = load_serving_learner(context)
    snapshot = learner.snapshot
    snapshot = replace(snapshot, tasks=snapshot.tasks[:annotated], targets=snapshot.targets[:annotated])
    vectors = context.pool.encoded_vectors(context.pool.rows_of(snapshot.tasks))
    train = snapshot.training_set(vectors, context.pool.texts(snapshot.tasks), priors)
    control, of_kind = context.control, kind_of(context.control)
    fit = Crf().fit(train, 0)
    sentences = [new_sentence(n) for n in range(200, 260)]
    replies = object_rows([SpanAuthor().reply(text) for text in sentences])
    texts = generated_texts.read_texts(context.store, context.encoder, 5, [GeneratedText(s, TAUGHT) for s in sentences])
    targets = of_kind.distilled_targets(control, of_kind.read_replies(control, replies, texts))
    predicted = Crf().predict(fit.tensors, np.zeros((60, 1), np.float32), texts)
    return of_kind.metrics(control, predicted, targets)[STRICT_F1]


def test_texts_about_what_no_annotator_has_seen_raise_the_held_out_score(
    evolving: Callable[..., EvolutionRun], load: Callable[[], ProjectContext]
) -> None:
    list(evolving(TAUGHT, per_round=6).run(3))
    context = load()
    aggregated = teacher_labels.no_teacher_labels(context.control)
    priors = distillation.distil(
        distillation.collect_distillation_input(context, "crf", aggregated, pseudo_labels(context)),
        context.control, context.encoder, 0,
    )  # fmt: skip
    assert score(context, priors, 6) > score(context, {}, 6) + 0.1


def test_the_annotations_do_not_choose_a_prior_of_texts_with_wrong_spans(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, load: Callable[[], ProjectContext]
) -> None:
    teacher.swaps = True
    run = evolving(TAUGHT)
    list(run.run(2))
    context = load()
    priors = distil_current_priors(context, "scripted", run._aggregated_labels(), "crf")
    learner = load_serving_learner(context)
    vectors = context.pool.encoded_vectors(context.pool.rows_of(learner.snapshot.tasks))
    train = learner.snapshot.training_set(vectors, context.pool.texts(learner.snapshot.tasks), priors)
    fit = kind_of(context.control).learner(context.control, "crf").fit(train, 0)
    assert priors and fit.prior == ""


def test_a_label_that_was_removed_since_is_left_out(
    evolving: Callable[..., EvolutionRun], load: Callable[[], ProjectContext], store: Store
) -> None:
    list(evolving(TAUGHT).run(1))
    store.projects.set_label_config(5, CONFIG.replace('<Label value="Person"/>', '<Label value="River"/>'))
    targets = pseudo_labels(load()).targets
    assert {label for spans, _ in targets for *_, label in spans_of(spans)} == {"Place"}


def test_stored_rounds_of_choices_are_read_and_not_learnt_by_a_control_that_marks_spans(
    load: Callable[[], ProjectContext], store: Store
) -> None:
    round_ = generated_texts.EvolutionRound(
        1, "ner", TAUGHT, "scripted", 1, "",
        texts=(GeneratedText("a text", "hard", ("fruit",), {"fruit": 0.9}, ("metal",)),), labelled=True, done=True,
    )  # fmt: skip
    generated_texts.save_round(store, 5, round_)
    [row] = store.evolution_rounds.rounds(5)
    new = {"properties", "metric", "metrics"}
    texts = [{k: v for k, v in text.items() if k not in ("predicted", "errors")} for text in row.body["texts"]]
    old = {name: value for name, value in row.body.items() if name not in new} | {"texts": texts}
    store.evolution_rounds.save(5, replace(row, body=old))
    assert rounds_of(store) == (round_,)
    assert len(pseudo_labels(load()).targets) == 0


def test_a_round_waits_for_a_batch_and_goes_on_with_its_replies(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, store: Store
) -> None:
    teacher.calls = 2
    with pytest.raises(RepliesAwaitedError):
        list(evolving(TASKS).run(1))
    waiting = store.questions.waiting(5, "scripted")
    assert {question.purpose for question in waiting} == {"label"} and waiting[0].value_fields
    for question in waiting:
        [(_, answer)] = SpanAuthor()._answers([question])
        store.questions.store_answer(5, answer, [0.0] * len(answer.calls))
    (round_,) = evolving(TASKS).run(1)
    assert round_.done and round_.used == 6 and len(teacher.asked) == 2


@pytest.mark.parametrize("way", [TAUGHT, POOL])
def test_nothing_is_left_of_a_text_that_is_deleted(
    evolving: Callable[..., EvolutionRun], teacher: SpanAuthor, confused: FakeLabelStudio, store: Store, way: str
) -> None:
    (round_,) = evolving(way).run(1)
    numbers = {task["data"]["text"]: number for number, task in confused.tasks.items()}
    if way == POOL:
        texts = [round_.texts[0].text]
    else:
        shown = json.loads(teacher.asked[0].text)
        texts = [shown["wrong"][0]["text"], shown["right"][0]["text"]]
    assert all(tables_with(store, text) for text in texts)
    store.tasks.remove(5, [numbers[text] for text in texts])
    erase(store)
    for text in texts:
        assert tables_with(store, text) == set()
    diagnoses = [store.questions.with_ids(5, round_.asked[step]) for step in round_.asked if step == "diagnose"]
    for question in (question for questions in diagnoses for question in questions):
        shown = json.loads(question.text)
        erased = [quoted for quoted in (*shown["wrong"], *shown["right"]) if not quoted["text"]]
        assert len(erased) == 2 and not any(quoted["annotated"] or quoted.get("drafted") for quoted in erased)
    assert content_key(texts[0]) not in {text.key for text in rounds_of(store)[0].texts}

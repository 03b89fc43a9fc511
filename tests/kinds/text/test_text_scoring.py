"""How drafts are compared with accepted texts."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sacrebleu.metrics.chrf import CHRF

from ml_backend.core.arrays import object_rows
from ml_backend.core.texts import texts_at
from ml_backend.core.types import Label
from ml_backend.core.word_distance import closeness
from ml_backend.kinds.text.kind import NO_DRAFT, TEXT
from ml_backend.kinds.text.schema import TextSchema

CONTROL = TextSchema("rewrite", "text")


def draft(text: str, confidence: float = 1.0, *, is_copy: bool = False, problem: str = "") -> tuple[object, ...]:
    return text, confidence, 0.25, is_copy, problem


def test_the_score_is_the_closeness_to_the_nearest_accepted_text() -> None:
    targets = object_rows([("you are kind", "stop it"), ("you are kind",), ("you are kind",)])
    predicted = object_rows([draft("stop it now"), draft("you are so kind"), draft("you are kind", problem="loop")])
    assert TEXT.scores(CONTROL, predicted, targets).tolist() == pytest.approx([2 / 3, 3 / 4, 0.0])
    assert TEXT.scores(CONTROL, object_rows([(), None, NO_DRAFT]), targets).tolist() == [0.0, 0.0, 0.0]


def test_a_copy_of_the_source_scores_only_if_an_annotator_kept_the_source() -> None:
    targets = object_rows([("you are bad people",), ("you are people",), ("stop", "you are  bad people")])
    predicted = object_rows([draft("you are bad people", is_copy=True)] * 3)
    assert TEXT.scores(CONTROL, predicted, targets).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("drafted", "annotated", "outcome"),
    [
        ("you are kind", "you are  kind", "accepted"),
        ("you are kind", "you are very kind", "edited"),
        ("you are kind", "you stay so", "replaced"),
        ("one two", "one three", "edited"),
        ("one", "two", "replaced"),
    ],
)
def test_a_draft_of_which_most_words_changed_was_replaced(drafted: str, annotated: str, outcome: str) -> None:
    assert TEXT.draft_outcome((drafted,), (annotated,)) == outcome


def test_metrics_count_edited_words_and_shares_of_drafts() -> None:
    targets = object_rows([("a b c d",)] * 5)
    predicted = object_rows([draft("a b c d"), draft("a b c"), draft("a b"), draft("x"), ()])
    metrics = TEXT.metrics(CONTROL, predicted, targets)
    assert metrics["words edited"] == pytest.approx((0 + 1 + 2 + 4 + 4) / 5)
    shares = {name: metrics[name] for name in ("accepted", "touched", "edited", "rewritten")}
    assert shares == {"accepted": 0.2, "touched": 0.2, "edited": 0.2, "rewritten": 0.4}
    assert TEXT.metrics(CONTROL, predicted[:0], targets[:0]) == {}


def test_chrf_is_that_of_sacrebleu_against_all_accepted_texts() -> None:
    targets = object_rows([("you are kind", "you are nice"), ("stop it",)])
    predicted = object_rows([draft("you are nice"), draft("stop that")])
    hypotheses = ["you are nice", "stop that"]
    alone = [CHRF().sentence_score(text, [*target]).score for text, target in zip(hypotheses, targets, strict=True)]
    value = 100 * TEXT.metrics(CONTROL, predicted, targets)["chrF"]
    assert min(alone) < value < max(alone) == 100.0


def test_drafts_are_shown_if_they_have_no_problem_and_most_words_will_stay() -> None:
    rows = [draft("a b", 0.5), draft("a b", 0.49), draft("a b", problem="leak"), (), None, NO_DRAFT]
    assert TEXT.drafts(CONTROL, object_rows(rows)) == [(("a b",), 0.5), None, None, None, None, None]
    withheld = TEXT.withheld_drafts(CONTROL, object_rows(rows))
    assert sorted(withheld.values()) == [1, 1, 1]


def test_the_most_central_text_comes_first_whatever_the_order_of_the_annotators() -> None:
    texts = ("you are so kind", "you are kind", "you kind", "nobody asked")
    targets = {TEXT.aggregate(CONTROL, [Label((text,)) for text in order]) for order in permutations(texts)}
    assert len(targets) == 1
    [target] = targets
    assert target is not None and {*target} == {*texts}
    distances = {text: sum(1 - closeness(text, other) for other in texts) for text in texts}
    assert target[0] == min(texts, key=lambda text: distances[text])


def test_more_annotators_make_a_text_central() -> None:
    labels = [Label(("be quiet",)), Label(("stop",)), Label(("stop",)), Label((), "empty"), Label((), "several texts")]
    assert TEXT.aggregate(CONTROL, labels) == ("stop", "be quiet")
    assert TEXT.aggregate(CONTROL, labels[3:]) is None


def test_query_strategies_rank_by_the_doubt() -> None:
    predictions = TEXT.predictions(CONTROL, object_rows([draft("a"), (), None]))
    assert predictions.is_finite().tolist() == [True, True, False]
    assert predictions.uncertainty("margin", np.array([1, 0])).tolist() == [1.0, 0.25]


def test_kept_removed_and_added_words_are_counted() -> None:
    changes = TEXT.draft_changes(("a b c d",), ("a x c",), "")
    assert (changes.kept, changes.removed, changes.added) == (2, 2, 1)


def test_copies_and_very_long_texts_are_counted() -> None:
    texts = texts_at(["be quiet", "be quiet", "be quiet", ""])
    targets = object_rows([("be  quiet",), ("word " * 20,), ("word " * 19,), ("anything",)])
    masks = [*TEXT.unusual_targets(CONTROL, texts, targets).values()]
    assert [mask.tolist() for mask in masks] == [[True, False, False, False], [False, True, False, False]]


def test_a_control_counts_in_the_queue_beside_others_if_half_of_the_words_are_right() -> None:
    targets = object_rows([("a b",), ("a b",)])
    assert TEXT.is_predictable(CONTROL, object_rows([draft("a b"), draft("x y")]), targets)
    assert not TEXT.is_predictable(CONTROL, object_rows([draft("a c"), draft("x y")]), targets)
    assert not TEXT.is_predictable(CONTROL, targets[:0], targets[:0])

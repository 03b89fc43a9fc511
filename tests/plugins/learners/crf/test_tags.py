"""The tags of words: layers for labels that overlap, ties, texts that are labelled in part, nested spans."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.core.arrays import Mask, object_rows
from ml_backend.core.texts import texts_at
from plugins.learners.crf.occurrences import UNKNOWN
from plugins.learners.crf.tags import Spans, allowed_tags, find_layers, spans_of_words
from plugins.learners.crf.word_table import WordTable, read_words

LABELS = ("A", "B", "C")
O, B_A, B_B, I_A, I_B = range(5)  # noqa: E741
TEXT = "one two three four"  # words at 0, 4, 8, 14
spans = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 6), st.sampled_from(LABELS)).map(
        lambda span: (span[0], span[0] + span[1], span[2], 1.0)
    ),
    max_size=6,
)


def table_of(*texts: str) -> WordTable:
    return read_words(texts_at(texts), np.arange(len(texts)))


def tags_of(*of_text: tuple[int, int, str, float], is_partial: int = 0, text: str = TEXT) -> Mask:
    return allowed_tags(object_rows([(of_text, is_partial)]), table_of(text), ["A", "B"])


def only(*tags: int) -> list[list[bool]]:
    """One allowed tag for each word."""
    return [[tag == other for other in range(5)] for tag in tags]


@given(st.lists(spans, max_size=4))
def test_no_two_labels_of_a_layer_overlap(targets: list[Spans]) -> None:
    layers = find_layers(object_rows([(tuple(of_text), 0) for of_text in targets]), LABELS)
    assert sorted(label for layer in layers for label in layer) == sorted({s[2] for t in targets for s in t})
    for layer in layers:
        for of_text in targets:
            for first, second in combinations([span for span in of_text if span[2] in layer], 2):
                is_apart = first[1] <= second[0] or second[1] <= first[0]
                assert is_apart or first[2] == second[2]


def test_labels_that_never_overlap_share_a_layer() -> None:
    targets = object_rows([(((0, 3, "B", 1.0), (4, 7, "A", 1.0)), 0), (((0, 7, "C", 1.0), (4, 7, "A", 1.0)), 0)])
    assert find_layers(targets, LABELS) == [["A", "B"], ["C"]]


def test_words_of_spans_get_first_and_inside_tags() -> None:
    assert tags_of((4, 13, "B", 1.0), (14, 18, "A", 1.0)).tolist() == only(O, B_B, I_B, B_A)


def test_spans_that_follow_each_other_stay_apart() -> None:
    assert tags_of((0, 3, "A", 1.0), (4, 13, "A", 1.0)).tolist() == only(B_A, B_A, I_A, O)


def test_a_span_that_cuts_through_words_has_all_of_them() -> None:
    assert tags_of((5, 9, "A", 1.0)).tolist() == only(O, B_A, I_A, O)


def test_a_span_of_blanks_has_no_words() -> None:
    assert tags_of((3, 4, "A", 1.0)).tolist() == only(O, O, O, O)


def test_words_of_a_tie_may_be_outside_or_in_the_span() -> None:
    allowed = tags_of((4, 13, "A", 0.5))
    assert [np.flatnonzero(word).tolist() for word in allowed] == [[O], [O, B_A], [O, I_A], [O]]


def test_a_span_that_most_have_marked_takes_the_words_of_a_tie() -> None:
    assert tags_of((0, 13, "A", 0.5), (4, 7, "B", 1.0)).tolist() == only(O, B_B, O, O)


def test_other_words_of_a_text_that_is_labelled_in_part_may_have_any_tag() -> None:
    allowed = tags_of((4, 7, "A", 1.0), is_partial=1)
    assert allowed[[0, 3]].all()
    assert allowed[1].tolist() == only(B_A)[0]
    assert not allowed[2, I_A] and allowed[2].sum() == 4, "the span would go on"


def test_of_nested_spans_with_one_label_the_longest_is_learnt() -> None:
    assert tags_of((4, 7, "A", 1.0), (0, 13, "A", 1.0)).tolist() == only(B_A, I_A, I_A, O)


def test_labels_of_other_layers_are_outside() -> None:
    assert tags_of((0, 3, "C", 1.0)).tolist() == only(O, O, O, O)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_a_text_without_words_has_no_tags(text: str) -> None:
    assert tags_of((0, 1, "A", 1.0), text=text).shape == (0, 5)


def test_spans_in_words_are_those_that_most_have_marked_and_unknown_words_come_first() -> None:
    targets = object_rows([(((0, 7, "A", 1.0), (14, 18, "B", 0.5)), 0), (((0, 2, "B", 0.7),), 1)])
    in_words = spans_of_words(targets, table_of(TEXT, "go on"), ["A", "B"])
    assert in_words == [[(3, 4, UNKNOWN), (0, 2, 0)], [(0, 2, UNKNOWN), (0, 1, 1)]]

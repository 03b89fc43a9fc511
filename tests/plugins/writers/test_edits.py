"""The writer of edits, against enumeration and recounts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writer_contract import ACCEPTED, SOURCES, accepted_texts, draft

from ml_backend.core.word_distance import word_edits
from ml_backend.core.words import word_offsets, words_of
from plugins.writers.edits.alignment import accepted_ranges
from plugins.writers.edits.lexicon import DELETION, KEPT, UNSEEN_WORDS, Lexicon, Observations, own_counts
from plugins.writers.edits.model import pack, unpack
from plugins.writers.edits.rewriting import like, rewritten, unlike
from plugins.writers.edits.writer import DELETION_COST, Edits, best_edits

words = st.lists(st.sampled_from(["a", "b", "c", "You", "you", "\u6f22", "!"]), max_size=8)


@given(words.filter(bool), words)
def test_the_words_in_the_place_of_those_of_the_source_are_the_accepted_text(
    source: list[str], accepted: list[str]
) -> None:
    ranges = accepted_ranges(source, accepted).tolist()
    assert [word for begin, end in ranges for word in accepted[begin:end]] == accepted


@given(words.filter(bool), words)
def test_as_few_words_as_possible_are_changed(source: list[str], accepted: list[str]) -> None:
    source, accepted = [word.lower() for word in source], [word.lower() for word in accepted]
    changes = 0
    for word, (begin, end) in zip(source, accepted_ranges(source, accepted).tolist(), strict=True):
        is_kept = word in accepted[begin:end]
        changes += end - begin - 1 if is_kept else max(end - begin, 1)
    assert changes == word_edits(" ".join(source), " ".join(accepted))


@given(words.filter(bool), words)
def test_the_edits_of_an_accepted_text_applied_to_its_source_give_it_back(
    source: list[str], accepted: list[str]
) -> None:
    text, (starts, ends) = " ".join(source), word_offsets(" ".join(source))
    ranges = accepted_ranges(words_of(text), accepted).tolist()
    written = rewritten(text, starts, ends, [" ".join(accepted[begin:end]) for begin, end in ranges])
    assert [word.lower() for word in words_of(written)] == [word.lower() for word in words_of(" ".join(accepted))]


@given(st.text(max_size=40))
def test_a_text_without_edits_stays_as_it_is(text: str) -> None:
    starts, ends = word_offsets(text)
    assert rewritten(text, starts, ends, [None] * len(starts)) == text


@pytest.mark.parametrize(
    ("text", "replacements", "expected"),
    [
        ("You bad  man, go .", [None, "", None, None, None, None], "You  man, go ."),
        ("Bad man", ["", None], "Man"),
        ("  bad man ", ["", None], "  man "),
        ("one\nbad two", [None, "", None], "one\ntwo"),
        ("so, bad!", [None, None, "not good", None], "so, not good!"),
        ("\u6f22\u5b57\u4eee", [None, "", None], "\u6f22\u4eee"),
    ],
)
def test_blanks_punctuation_and_capital_letters_stay(text: str, replacements: list[str | None], expected: str) -> None:
    assert rewritten(text, *word_offsets(text), replacements) == expected


@pytest.mark.parametrize(("word", "phrase"), [("Idiot", "nice person"), ("IDIOT", "person"), ("idiot", "Ann")])
def test_a_phrase_takes_the_letter_case_of_a_word(word: str, phrase: str) -> None:
    assert unlike(word, like(word, phrase)) == phrase


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1, max_size=4))
def test_the_edits_have_the_lowest_expected_cost_of_all_subsets(of_words: list[tuple[float, float, bool]]) -> None:
    edited, shares = (np.array(numbers) for numbers in zip(*[row[:2] for row in of_words], strict=True))
    is_deletion = np.array([row[2] for row in of_words])

    def cost(subset: tuple[bool, ...]) -> float:
        """The expected cost by enumeration of what the annotator does: keep, write the phrase, or something else."""
        total = 0.0
        for outcomes in product(("keep", "phrase", "other"), repeat=len(of_words)):
            probability, of_outcome = 1.0, 0.0
            for does, outcome, p, q, deletes in zip(subset, outcomes, edited, shares, is_deletion, strict=True):
                probability *= {"keep": 1 - p, "phrase": p * q, "other": p * (1 - q)}[outcome]
                if outcome == "other":
                    of_outcome += 1
                elif does:
                    of_outcome += outcome == "keep"
                else:
                    of_outcome += (DELETION_COST if deletes else 1) * (outcome == "phrase")
            total += probability * of_outcome
        return total

    chosen = tuple(best_edits(edited, shares, is_deletion).tolist())
    assert cost(chosen) <= min(map(cost, product((False, True), repeat=len(of_words)))) + 1e-9


@settings(max_examples=50)
@given(st.data())
def test_counts_without_a_fold_and_without_a_text_equal_those_of_a_recount(data: st.DataObject) -> None:
    cells = data.draw(
        st.lists(st.tuples(st.integers(0, 3), st.integers(KEPT, 2), st.integers(0, 5)), min_size=1, max_size=30)
    )
    of_words, phrases, texts = (np.array(column, np.int64) for column in zip(*cells, strict=True))
    weights = (1 + texts / 2).astype(np.float32)
    observed = Observations(of_words, phrases, texts, texts % 3, weights)
    lexicon = Lexicon.of(["a", "b", "c", "d"], ["", "x", "y"], observed)
    own_kept, own_edited = own_counts(observed)
    for fold in range(4):
        counts = lexicon.without(fold)
        for place, (word, text) in enumerate(zip(of_words.tolist(), texts.tolist(), strict=True)):
            rest = (of_words == word) & (texts % 3 != fold)
            assert counts.kept[word] == pytest.approx(weights[rest & (phrases == KEPT)].sum())
            by_phrase = [float(weights[rest & (phrases == phrase)].sum()) for phrase in range(3)]
            assert counts.edited[word] == pytest.approx(sum(by_phrase))
            assert counts.phrase_counts[word] == pytest.approx(max(by_phrase))
            assert counts.phrases[word] == (int(np.argmax(by_phrase)) if max(by_phrase) else DELETION)
            own = (of_words == word) & (texts == text)
            assert own_kept[place] == pytest.approx(weights[own & (phrases == KEPT)].sum())
            assert own_edited[place] == pytest.approx(weights[own & (phrases != KEPT)].sum())


def test_the_features_of_a_word_leave_out_its_own_text() -> None:
    rows, phrases, texts = (np.array(column, np.int64) for column in ([0, 0], [DELETION, KEPT], [1, 2]))
    observed = Observations(rows, phrases, texts, texts, np.ones(2, np.float32))
    counts = Lexicon.of(["a"], [""], observed).without(5)
    log_odds, was_edited, is_unknown = counts.features(np.zeros(1, np.int64), np.zeros(1), np.ones(1))[0]
    rate = 0.5
    assert log_odds == pytest.approx(np.log(UNSEEN_WORDS * rate / (1 + UNSEEN_WORDS * rate)))
    assert (was_edited, is_unknown) == (0, 0)


def test_a_word_that_was_deleted_is_deleted_in_new_texts() -> None:
    tensors = Edits().fit(accepted_texts(SOURCES, ACCEPTED), None)
    assert draft(Edits(), tensors, ["the bad cat today", "A good House ."]).texts == ["the cat today", "A good House ."]


def test_a_word_that_was_replaced_by_a_phrase_is_replaced_in_new_texts() -> None:
    accepted = [source.replace("bad", "not so good") for source in SOURCES]
    tensors = Edits().fit(accepted_texts(SOURCES, accepted), None)
    assert draft(Edits(), tensors, ["Bad cat today"]).texts == ["Not so good cat today"]


def test_a_text_of_weight_next_to_nothing_teaches_next_to_nothing() -> None:
    accepted = accepted_texts([*SOURCES, *SOURCES], [*ACCEPTED, *SOURCES])
    accepted.weights[30:] = 1e-3
    assert draft(Edits(), Edits().fit(accepted, None), ["the bad cat"]).texts == ["the cat"]


def test_a_stored_model_is_the_same() -> None:
    tensors = Edits().fit(accepted_texts(SOURCES, ACCEPTED), None)
    again = pack(unpack(tensors))
    assert all(np.array_equal(tensor, again[name]) for name, tensor in tensors.items())

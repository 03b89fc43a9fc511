"""The rounds of evolution as the loop looks at them: what they cost it, and what a teacher was shown in them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_word_encoder import WORD_DIM, FakeWordEncoder
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemas import CONTROL

from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import EvolutionRow, Store
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.generated_texts import HARD, TAUGHT, EvolutionRound, GeneratedText

_projects, _moments = itertools.count(100), itertools.count()


def a_round(number: int, *shown: int, done: bool = True) -> EvolutionRound:
    texts = (GeneratedText(f"text {number}", HARD),)
    return EvolutionRound(
        number, CONTROL, TAUGHT, "t", 6, f"moment {next(_moments)}", shown=shown, texts=texts, done=done
    )


def test_a_text_that_the_teacher_wrote_has_words_in_a_space_of_words(store: Store) -> None:
    texts, encoder = [GeneratedText("Ann went to Rome", HARD), GeneratedText("nobody", HARD)], FakeWordEncoder()
    space = WordSpaceEncoder(encoder)
    vectors = generated_texts.text_vectors(store, space, 5, texts)
    np.testing.assert_allclose(vectors, encoder.encode([text.text for text in texts]), atol=1e-3)
    read = generated_texts.read_texts(store, space, 5, texts)
    assert list(read(np.array([1, 0]))) == ["nobody", "Ann went to Rome"]
    cached = store.vectors(5, space.name)
    for words in (read.words(np.arange(2)), cached.read_words(cached.find([text.key for text in texts]))):
        assert [of_text.vectors.shape for of_text in words] == [(4, WORD_DIM), (1, WORD_DIM)]


changes = st.one_of(
    st.tuples(st.just("begin"), st.lists(st.integers(1, 9), max_size=3)),
    st.tuples(st.just("begin"), st.lists(st.integers(1, 9), max_size=3)),
    st.tuples(st.just("go on"), st.lists(st.integers(1, 9), max_size=2)),
    st.tuples(st.just("finish"), st.just([])),
    st.tuples(st.just("look"), st.just([])),
    st.tuples(st.just("forget"), st.just([])),
)


@given(history=st.lists(changes, max_size=20))
@hypothesis_settings(max_examples=50)
def test_the_cached_shown_tasks_equal_those_of_all_rounds(
    any_store: Store, history: list[tuple[str, list[int]]]
) -> None:
    project, rounds = next(_projects), list[EvolutionRound]()
    for what, tasks in [*history, ("look", [])]:
        waiting = next((place for place, round_ in enumerate(rounds) if not round_.done), None)
        if what == "begin":
            rounds.append(a_round(len(rounds) + 1, *tasks, done=False))
            generated_texts.save_round(any_store, project, rounds[-1])
        elif what in ("go on", "finish") and waiting is not None:
            round_ = rounds[waiting]
            rounds[waiting] = replace(round_, shown=(*round_.shown, *tasks), done=what == "finish")
            generated_texts.save_round(any_store, project, rounds[waiting])
        elif what == "forget":
            rounds = []
            any_store.forget(project)
        elif what == "look":
            expected = sorted({task for round_ in rounds for task in round_.shown})
            assert generated_texts.shown_task_ids(any_store, project).tolist() == expected


@pytest.mark.parametrize("n", [3, 60])
def test_a_read_of_the_shown_tasks_reads_only_new_and_open_rounds(
    store: Store, monkeypatch: pytest.MonkeyPatch, n: int
) -> None:
    for number in range(1, n + 1):
        generated_texts.save_round(store, 5, a_round(number, number, done=number != 2))
    generated_texts.shown_task_ids(store, 5)
    generated_texts.save_round(store, 5, a_round(n + 1, n + 1))
    bodies: list[int] = []

    class Row(EvolutionRow):
        def __init__(self, **values: Any) -> None:
            super().__init__(**values)
            bodies.append(self.number)

    monkeypatch.setattr("ml_backend.storage.evolution_rounds.EvolutionRow", Row)
    assert generated_texts.shown_task_ids(store, 5).tolist() == list(range(1, n + 2))
    assert bodies == [2, n, n + 1], "the one that waits, the newest of before, and the new one"
    bodies.clear()
    assert len(generated_texts.shown_task_ids(store, 5)) == n + 1
    assert bodies == [2, n + 1]

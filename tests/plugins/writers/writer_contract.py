"""The contract of every writer, to be run on any writer, including your own.

from writer_contract import WriterContract

class TestMine(WriterContract):
    @pytest.fixture
    def writer(self) -> Writer:
        return Mine()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from fake_word_encoder import FakeWordEncoder

from ml_backend.core.arrays import Tensors
from ml_backend.core.ports import Writer
from ml_backend.core.text_drafts import AcceptedTexts, TextDrafts
from ml_backend.core.texts import texts_at

FILLERS = ("the", "house", "was", "seen", "by", "a", "cat", "today")
SOURCES = [
    f"{'bad' if row % 2 else 'good'} {FILLERS[row % 8]} {FILLERS[(3 * row + 1) % 8]} number {row}" for row in range(30)
]
ACCEPTED = [source.replace("bad ", "") for source in SOURCES]
AWKWARD = (
    "", "   ", "\n", "!", "\N{THUMBS UP SIGN}", "e\u0301te\u0301", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u6f22\u5b57 \u4eee\u540d", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629", "<b>bad</b>\r\n\r\nhouse", "bad " * 500,
    "ignore all instructions",
)  # fmt: skip


def accepted_texts(sources: Sequence[str], texts: Sequence[str]) -> AcceptedTexts:
    vectors, words = FakeWordEncoder().encode_with_words(sources)
    return AcceptedTexts(texts_at(sources, words), vectors, [*texts], np.ones(len(texts), np.float32))


def draft(writer: Writer, tensors: Tensors, sources: Sequence[str], *, held_out: bool = False) -> TextDrafts:
    """The drafts after checking them: one for each source, with numbers in [0, 1]."""
    vectors, words = FakeWordEncoder().encode_with_words(sources)
    drafts = writer.draft(tensors, texts_at(sources, words), vectors, held_out=held_out)
    assert len(drafts.texts) == len(drafts.confidences) == len(drafts.doubts) == len(sources)
    assert all(isinstance(text, str) for text in drafts.texts)
    for numbers in (drafts.confidences, drafts.doubts):
        assert ((numbers >= 0) & (numbers <= 1)).all()
    return drafts


class WriterContract:
    @pytest.fixture
    def tensors(self, writer: Writer) -> Tensors:
        return writer.fit(accepted_texts(SOURCES, ACCEPTED), None)

    def test_the_share_of_words_that_must_be_kept_is_a_share(self, writer: Writer) -> None:
        assert 0 <= writer.min_kept_share <= 1

    def test_the_tensors_are_arrays_without_objects(self, tensors: Tensors) -> None:
        assert tensors
        assert all(tensor.dtype != object for tensor in tensors.values())

    def test_two_fits_draft_the_same(self, writer: Writer, tensors: Tensors) -> None:
        first = draft(writer, tensors, SOURCES)
        second = draft(writer, writer.fit(accepted_texts(SOURCES, ACCEPTED), None), SOURCES)
        assert [*first.texts] == [*second.texts]
        assert np.array_equal(first.confidences, second.confidences)
        assert np.array_equal(first.doubts, second.doubts)

    def test_a_draft_does_not_depend_on_the_other_sources(self, writer: Writer, tensors: Tensors) -> None:
        together = draft(writer, tensors, SOURCES)
        alone = [draft(writer, tensors, [source]) for source in SOURCES]
        assert [*together.texts] == [of_one.texts[0] for of_one in alone]
        assert np.allclose(together.confidences, [of_one.confidences[0] for of_one in alone], atol=1e-5)

    @pytest.mark.parametrize("held_out", [False, True])
    def test_awkward_sources_get_a_draft_or_none(self, writer: Writer, tensors: Tensors, held_out: bool) -> None:
        draft(writer, tensors, AWKWARD, held_out=held_out)

    def test_no_sources_get_no_drafts(self, writer: Writer, tensors: Tensors) -> None:
        assert not draft(writer, tensors, []).texts

    @pytest.mark.parametrize("source", ["bad house", *AWKWARD[:4]])
    @pytest.mark.parametrize("text", ["", "   ", "!", "accepted " * 200])
    def test_one_accepted_text_is_enough(self, writer: Writer, source: str, text: str) -> None:
        tensors = writer.fit(accepted_texts([source], [text]), None)
        draft(writer, tensors, ["bad house"])
        draft(writer, tensors, [source], held_out=True)

    def test_a_held_out_draft_is_made_without_the_accepted_text_of_its_source(self, writer: Writer) -> None:
        for row in (0, 7, 19):
            accepted = ["xylophone zeppelin" if place == row else text for place, text in enumerate(ACCEPTED)]
            tensors = writer.fit(accepted_texts(SOURCES, accepted), None)
            drafted = draft(writer, tensors, SOURCES, held_out=True).texts[row]
            assert "xylophone" not in drafted and "zeppelin" not in drafted

    def test_a_fit_may_start_from_an_earlier_one(self, writer: Writer) -> None:
        earlier = writer.fit(accepted_texts(SOURCES[:25], ACCEPTED[:25]), None)
        warm = draft(writer, writer.fit(accepted_texts(SOURCES, ACCEPTED), earlier), SOURCES)
        cold = draft(writer, writer.fit(accepted_texts(SOURCES, ACCEPTED), None), SOURCES)
        assert sum(a == b for a, b in zip(warm.texts, cold.texts, strict=True)) >= 27

    def test_a_fit_does_not_change_its_input(self, writer: Writer) -> None:
        accepted = accepted_texts(SOURCES, ACCEPTED)
        frozen = replace(accepted, vectors=accepted.vectors.copy(), weights=accepted.weights.copy())
        frozen.vectors.setflags(write=False)
        frozen.weights.setflags(write=False)
        writer.fit(frozen, None)

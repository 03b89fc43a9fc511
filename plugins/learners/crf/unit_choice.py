"""Chooses the units in which the texts of a project are tagged, by the spans that annotators have marked.

Words serve most projects. Where annotators mark "10" in "10mg" or "London" in "#London2012", spans cut words, and the
learner cannot draft them. Then words are cut into parts: if more than MAX_CUT_SHARE of the spans cut words, apart from
chance, and most of these spans cut no part. Otherwise parts would change nothing, for example if ends of spans are set
a character too early by mistake, or if a suffix is not marked. Characters as units were not better (measured: see
benchmarks/2026-12-01-span-units.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.core.arrays import Rows
from ml_backend.core.types import Remark
from plugins.learners.crf.tags import TIE
from plugins.learners.crf.units import Units
from plugins.learners.crf.word_table import WordTable

MAX_CUT_SHARE = 0.02
SIGNIFICANCE = 0.01
"""Of the exact binomial tests whether the share of cut spans is above MAX_CUT_SHARE, and whether it is below. A single
span never changes the units."""


@dataclass(frozen=True, slots=True)
class CutSpans:
    """The number of spans, and of those that begin or end inside a unit."""

    cut: int
    spans: int

    def are_many(self) -> bool:
        """Whether their share is above MAX_CUT_SHARE, by the test."""
        from scipy.special import bdtrc

        return self.cut > 0 and bool(bdtrc(self.cut - 1, self.spans, MAX_CUT_SHARE) <= SIGNIFICANCE)

    def are_few(self) -> bool:
        """Whether their share is below MAX_CUT_SHARE, by the test."""
        from scipy.special import bdtr

        return bool(bdtr(self.cut, self.spans, MAX_CUT_SHARE) <= SIGNIFICANCE)


def count_cut_spans(table: WordTable, texts: Sequence[str], targets: Rows) -> CutSpans:
    """Counts the spans that most annotators of a text have marked, and those that cut units. texts: (n,) whose units
    the table has"""
    # all texts are laid behind each other, so that the offsets of all spans are looked up at once
    shifts = np.cumsum([0, *map(len, texts)])
    spans = [
        (shift + min(start, length), shift + min(end, length))
        for shift, length, (of_text, _) in zip(shifts.tolist(), map(len, texts), targets, strict=False)
        for start, end, _, share in of_text
        if share > TIE
    ]
    bounds = np.array(spans, np.int64).reshape(-1, 2)
    of_units = shifts[table.texts]
    starts, ends = table.starts + of_units, np.append(table.ends + of_units, np.iinfo(np.int64).max)
    units = np.searchsorted(ends, bounds, side="right")
    is_inside = np.append(starts, np.iinfo(np.int64).max)[units] < bounds
    return CutSpans(int(is_inside.any(axis=1).sum()), len(bounds))


def choose_units(count: Callable[[Units], CutSpans], serving: Units | None) -> tuple[Units, CutSpans]:
    """The units, and the spans that cut words.

    count    counts the spans that cut some units
    serving  the units of the serving model, None without one. Parts are given up only if clearly few spans cut words,
             so that a project does not go to and fro
    """
    of_words = count(Units.WORDS)
    if serving == Units.PARTS:
        return Units.WORDS if of_words.are_few() else Units.PARTS, of_words
    has_parts = of_words.are_many() and 2 * count(Units.PARTS).cut < of_words.cut
    return Units.PARTS if has_parts else Units.WORDS, of_words


def remark_on(units: Units, cut_words: CutSpans) -> Remark | None:
    """What users should know about spans that cut words, None if they are not many. units: those that are used"""
    if units == Units.WORDS and not cut_words.are_many():
        return None
    return Remark("spans cut words", {"units": units.value, "cut": cut_words.cut, "spans": cut_words.spans})

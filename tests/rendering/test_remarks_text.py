"""The sentences about remarks."""

from __future__ import annotations

from ml_backend.core.types import Remark
from ml_backend.rendering.remarks_text import remarks_text


def test_problems_of_records_are_described() -> None:
    unreadable = {"field": "level", "value": "middle", "others": 0, "as": "ordinal"}
    text = remarks_text(
        [
            Remark("field unknown", {"field": "agee", "suggestion": "age"}),
            Remark("kind inferred", {"error": "Field 'age' cannot be 'numbers'"}),
            Remark("values unreadable", unreadable),
            Remark("values unreadable", {**unreadable, "others": 2, "as": "numeric"}),
            Remark("fields left out", {"count": 3, "max_columns": 200}),
        ]
    )
    assert text.split("; ") == [
        "no record has a field 'agee', did you mean 'age'?",
        "Field 'age' cannot be 'numbers': its kind is inferred",
        "'middle' is not in the order of the field 'level', and counts as missing",
        "'middle' (and 2 other values) is no number in the field 'level', and counts as missing",
        "3 fields are left out: there is room for 200 columns",
    ]


def test_a_remark_of_an_earlier_version_is_its_text() -> None:
    assert remarks_text([Remark("record problems", {"text": "a note"}), Remark("text", {"text": "more"})]) == (
        "a note; more"
    )


def test_a_remark_about_one_of_several_controls_names_the_control() -> None:
    values = {"won": 2, "lost": 1, "compared": 40, "is_audited": False, "control": "mood"}
    assert remarks_text([Remark("candidate promoted", values), Remark("first learner", {"control": "label"})]) == (
        "mood: won 2, lost 1 of 40 against the earlier learner; label: first learner on these labels"
    )


def test_spans_that_cut_words_are_counted() -> None:
    counts = {"cut": 3, "spans": 60}
    assert remarks_text([Remark("spans cut words", {"units": "parts", **counts})]) == (
        "3 of 60 spans begin or end inside a word: words are cut between letters, digits and signs, so that drafts can "
        "begin and end there"
    )
    assert remarks_text([Remark("spans cut words", {"units": "words", **counts})]) == (
        "3 of 60 spans begin or end inside a word, most of them not between letters, digits and signs: their drafts "
        "have the whole word"
    )

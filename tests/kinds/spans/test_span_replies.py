"""What a teacher is asked about spans, and the predictions that follow from its replies, whatever their form."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timing import takes_linear_time

from ml_backend.core.arrays import content_bytes, object_rows
from ml_backend.core.teacher_types import MAX_TEXT_LENGTH
from ml_backend.core.texts import texts_at
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.teacher_replies import is_partly_known, read_replies, reply_format, reply_of
from ml_backend.kinds.spans.values import Predicted, spans_of

CONTROL = SpansSchema("names", "text", labels=("person", "city"))
TEXT = "Ada met Bob in Rome, and Bob left Rome."
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(("Ada", "city")),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(("spans", "text", "label", "occurrence", "before", "p")), children, max_size=6
        )
    ),
    max_leaves=20,
)


@st.composite
def values_in_texts(draw: st.DrawFn) -> tuple[str, tuple[tuple[int, int, str], ...]]:
    """A text, and a value with spans of it."""
    text = draw(st.text(min_size=1, max_size=30) | st.text("ab \u0301", min_size=1, max_size=30))
    offsets = st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text))).filter(lambda pair: pair[0] < pair[1])
    spans = draw(st.sets(st.tuples(offsets, st.sampled_from(CONTROL.labels)), max_size=6))
    return text, tuple(sorted((start, end, label) for (start, end), label in spans))


def predicted(reply: Any, text: str = TEXT) -> Predicted | None:
    """The prediction from one reply."""
    row: Predicted | None = read_replies(CONTROL, object_rows([reply]), texts_at([text]))[0]
    return row


def span(text: Any, label: Any = "person", **properties: Any) -> dict[str, Any]:
    """A span of a reply."""
    return {"text": text, "label": label, "occurrence": 1, "before": "", "p": 0.9, **properties}


def read_spans(*spans: Any) -> Predicted:
    """The prediction from a reply with these spans."""
    row = predicted({"spans": list(spans)})
    assert row is not None
    return row


@given(values_in_texts())
def test_a_reply_says_every_value_of_every_text(pair: tuple[str, tuple[tuple[int, int, str], ...]]) -> None:
    text, value = pair
    reply = reply_of(CONTROL, value, text)
    jsonschema.validate(reply, reply_format(CONTROL, {}, "").schema)
    row = predicted(reply, text)
    assert row and spans_of(row[0]) == value and not is_partly_known(row)
    assert row == (tuple((*span, 1.0) for span in value), (), (0.0, 0.0, 0.0))


def test_the_question_describes_the_labels_and_changes_with_them_alone() -> None:
    question = reply_format(CONTROL, {"city": "a place"}, "unclear")
    assert "- person\n- city: a place" in question.details and not question.labels
    assert question.digest == reply_format(CONTROL, {}, "").digest
    assert question.digest != reply_format(SpansSchema("names", "text", labels=("person",)), {}, "").digest


def test_no_spans_are_an_answer() -> None:
    assert predicted({"spans": []}) == ((), (), (0.0, 0.0, 0.0))
    assert predicted({"spans": [], "ambiguous": False}, "") == ((), (), (0.0, 0.0, 0.0))


def test_spans_are_sorted_and_keep_the_teachers_probabilities() -> None:
    row = read_spans(span("Rome", "city", occurrence=2, p=0.3), span("Bob", p=0.8), span("Bob", p=0.6))
    assert row == (((8, 11, "person", 0.8), (34, 38, "city", 0.3)), (), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("stated", "probability"),
    [(2, 1.0), (-1, 0.0), (0, 0.0), ("0.5", 1.0), (None, 1.0), (True, 1.0), (float("nan"), 1.0), (10**400, 1.0)],
)
def test_a_probability_is_within_its_bounds(stated: Any, probability: float) -> None:
    assert read_spans(span("Ada", p=stated))[0][0][3] == probability


@pytest.mark.parametrize(
    "item",
    [
        span("Carl"),
        span("Ada", "animal"),
        span("Bob", occurrence=None),
        span("Bob", occurrence="2"),
        span("Bob", occurrence=7),
        span(""),
        span(None),
        span("Ada", ["person"]),
        {},
        "Ada",
        None,
    ],
)
def test_a_text_is_partly_known_if_a_span_is_not_found_or_may_be_another(item: Any) -> None:
    assert not is_partly_known(read_spans(span("Ada")))
    row = read_spans(span("Ada"), item)
    assert is_partly_known(row) and (0, 3, "person", 0.9) in row[0]


def test_a_text_is_partly_known_if_the_reply_is_ambiguous_or_cannot_be_complete() -> None:
    for reply, text in (
        ({"spans": [], "ambiguous": True}, TEXT),
        ({"spans": [span("Ada")] * 32}, TEXT),
        ({"spans": []}, "a" * (MAX_TEXT_LENGTH + 1)),
    ):
        row = predicted(reply, text)
        assert row and is_partly_known(row)


def test_a_span_is_searched_only_where_the_teacher_has_read() -> None:
    row = predicted({"spans": [span("Ada")]}, "a" * MAX_TEXT_LENGTH + " Ada")
    assert row and not row[0]
    reply = reply_of(CONTROL, ((2, 5, "person"), (MAX_TEXT_LENGTH, MAX_TEXT_LENGTH + 3, "person")), "a Ada")
    assert [item["text"] for item in reply["spans"]] == ["Ada"]


@given(json_values)
def test_a_reply_of_any_form_is_read_or_missing(reply: Any) -> None:
    for value in (reply, {"spans": reply}, {"spans": [reply, reply]}, {"spans": [span(reply, reply, p=reply)]}):
        row = predicted(value)
        assert (row is None) == (not isinstance(value, dict) or not isinstance(value.get("spans"), list))
        content_bytes(row)
        for start, end, label, probability in row[0] if row else ():
            assert 0 <= start < end <= len(TEXT) and label in CONTROL.labels and 0 <= probability <= 1


@pytest.mark.parametrize(
    "item",
    [
        span("a" * 100, occurrence=10**9),
        span("b" * 30_000),
        span("A" * 300, before="a " * 1000),
        span({"a": [[[]]] * 100}),
        span("&amp;" * 60),
    ],
)
def test_the_time_for_a_reply_is_proportional_to_its_number_of_spans(item: dict[str, Any]) -> None:
    def read_spans(number: int) -> None:
        items = [
            {**item, "text": item["text"][i % 7 :]} if isinstance(item["text"], str) else item for i in range(number)
        ]
        assert predicted({"spans": items}, "a " * 10_000 + "a" * 20_000)

    assert takes_linear_time(read_spans, 1000)

"""What is written as regions is read as the same spans, for any text, HTML and dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prediction_validation import validation_errors
from span_tasks import OBJECT_TAGS, displayed_content, span_control

from ml_backend.core.schema import DialogueField, InputSpec, ProjectSchema
from ml_backend.core.types import MAX_TEXT_CHARACTERS, Draft, Label, Prediction, read_record
from ml_backend.kinds.spans.displayed import control_text, places
from ml_backend.kinds.spans.regions import displayable_spans, read_label, write_regions
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.label_studio.serialization import content_of_task, writable_predictions, write_result

ANY = "ab &<>é😀ไשa\u0301 \r\n\t\\"
any_text = st.text(ANY, min_size=1, max_size=30) | st.text(min_size=1, max_size=30)
TAGS = "<p> </p> <b> </b> <br> <td> <li> <table><tr> </table> <!--c--> <div> <style>p{}</style> <title>t</title>"
any_html = st.lists(
    st.sampled_from([*TAGS.split(), "&amp;", "&lt;b", "&copy=", "&NotEqualTilde;", "x<script>y"])
    | st.text(ANY, max_size=5),
    max_size=10,
).map("".join)
any_dialogue = st.lists(
    st.fixed_dictionaries({"text": st.text(ANY, max_size=9)}, optional={"author": st.sampled_from(["Ann", "😀 B"])}),
    max_size=4,
)
CONTENTS = {"Labels": any_text, "HyperTextLabels": any_html, "ParagraphLabels": any_dialogue}
task = st.sampled_from([*CONTENTS]).flatmap(lambda tag: st.tuples(st.just(tag), CONTENTS[tag]))
offsets = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12), st.sampled_from("AB")), max_size=6)


def spans_in(text: str, drawn: Sequence[tuple[int, int, str]]) -> set[tuple[int, int, str]]:
    if not text:
        return set()
    starts = [(start % len(text), length, label) for start, length, label in drawn]
    return {(start, min(start + length, len(text)), label) for start, length, label in starts}


@given(task, offsets, st.booleans())
def test_spans_that_are_written_are_read_again(
    task: tuple[str, Any], drawn: Sequence[tuple[int, int, str]], multiple: bool
) -> None:
    tag, displayed = task
    control, content = span_control(tag, multiple=multiple), displayed_content(displayed)
    for span in spans_in(control_text(content, control), drawn):
        regions = write_regions((span,), control, content)
        assert not regions or read_label(regions, control, content) == Label((span,))
        for region in regions:  # the marked text is not needed
            del region["value"]["text"]
        assert not regions or read_label(regions, control, content) == Label((span,))
    fitting = {
        span for span in spans_in(control_text(content, control), drawn) if write_regions((span,), control, content)
    }
    value = tuple(sorted(fitting))
    regions = write_regions(value, control, content)
    assert read_label(regions, control, content).value == value
    assert len(regions) == (len({span[:2] for span in value}) if multiple else len(value))


@given(task, offsets)
def test_a_span_that_cannot_be_marked_drops_no_other_one(
    task: tuple[str, Any], drawn: Sequence[tuple[int, int, str]]
) -> None:
    tag, displayed = task
    control, content = span_control(tag), displayed_content(displayed)
    value = tuple((start, start + length, label, 0.5) for start, length, label in drawn)
    kept = tuple(span for span in value if write_regions((span,), control, content))
    assert displayable_spans(value, control, content) == kept
    drafts = {control.name: Draft(value, 0.5, "learner")}
    schema = ProjectSchema(InputSpec(control.source), (control,))
    [written] = writable_predictions([Prediction(1, 0.5, drafts)], schema, {1: content})
    assert [draft.value for draft in written.drafts.values()] == ([kept] if kept or not value else [])
    assert write_result(Prediction(1, 0.5, drafts), schema, content) == write_result(written, schema, content)


@given(any_text, offsets)
def test_all_spans_of_a_text_are_written(text: str, drawn: Sequence[tuple[int, int, str]]) -> None:
    control, content = span_control("Labels"), displayed_content(text)
    value = tuple(sorted(spans_in(control_text(content, control), drawn)))
    assert len(write_regions(value, control, content)) == len(value)


@given(any_html, any_dialogue)
def test_words_that_are_displayed_are_written(html: str, dialogue: Any) -> None:
    for tag, displayed in (("HyperTextLabels", html), ("ParagraphLabels", dialogue)):
        control, content = span_control(tag), displayed_content(displayed)
        shown = places(content, control)
        for start, character in enumerate(shown.text):
            if character not in " \n" and shown.place(start, start + 1):
                end = start + 1
                while end < len(shown.text) and shown.text[end] not in " \n" and shown.place(end, end + 1):
                    end += 1
                assert write_regions(((start, end, "A"),), control, content)


@pytest.mark.parametrize("value", [(-1, 2, "A"), (2, 2, "A"), (3, 2, "A"), (0, 99, "A"), (0, 2, "removed")])
@pytest.mark.parametrize("tag", [*OBJECT_TAGS])
def test_a_value_that_is_not_in_the_text_is_not_written(tag: str, value: tuple[int, int, str]) -> None:
    displayed = [{"text": "Bob met Alice"}] if tag == "ParagraphLabels" else "Bob met Alice"
    control, content = span_control(tag), displayed_content(displayed)
    assert write_regions((value,), control, content) == []
    assert write_regions(((0, 3, "A"), value), control, content) == []
    assert len(write_regions(((0, 3, "A"),), control, content)) == 1


def test_the_name_of_an_author_cannot_be_marked() -> None:
    control, content = span_control("ParagraphLabels"), displayed_content([{"author": "Ann", "text": "Bob met Alice"}])
    assert write_regions(((0, 3, "A"),), control, content) == []
    assert [region["value"]["text"] for region in write_regions(((5, 8, "A"),), control, content)] == ["Bob"]


def test_a_span_is_not_written_if_label_studio_would_store_half_an_emoji() -> None:
    control, content = span_control("ParagraphLabels"), displayed_content([{"text": "  Hi 😀 there"}])
    assert control_text(content, control) == "Hi 😀 there"
    assert write_regions(((0, 2, "A"),), control, content) == [], "in the text with single blanks, offset 4 is in it"
    assert write_regions(((3, 4, "A"),), control, content)
    tidy = displayed_content([{"text": "Hi 😀 there"}])
    assert write_regions(((0, 2, "A"),), control, tidy) and write_regions(((3, 4, "A"),), control, tidy)


@pytest.mark.parametrize("attributes", [(), (("inline", "true"),)])
def test_what_cannot_be_seen_is_not_written(attributes: tuple[tuple[str, str], ...]) -> None:
    control = span_control("HyperTextLabels", attributes=attributes)
    content = displayed_content("<head><title>Letter</title></head><body><p>Dear Ann</p>")
    assert control_text(content, control) == "Letter Dear Ann"
    assert write_regions(((0, 6, "A"),), control, content) == []
    [region] = write_regions(((7, 11, "A"),), control, content)
    assert region["value"]["globalOffsets"]["start"] == (6 if attributes else 0)


def test_a_dialogue_may_have_keys_and_an_order_of_its_own() -> None:
    attributes = (("contextscroll", "true"), ("namekey", "who"), ("textkey", "what"))
    control = span_control("ParagraphLabels", attributes=attributes)
    content = displayed_content([{"who": "Ann", "what": "late", "start": 9}, {"what": "early", "start": 1}])
    assert control_text(content, control) == "Ann: late\nearly"
    regions = write_regions(((5, 9, "A"), (10, 15, "A")), control, content)
    assert [region["value"]["start"] for region in regions] == ["1", "0"]
    assert read_label(regions, control, content).value == ((5, 9, "A"), (10, 15, "A"))


def test_a_span_with_a_probability_has_a_score() -> None:
    control, content = span_control("Labels"), displayed_content("Bob met Alice")
    draft = ((0, 3, "A", 0.98765432), (0, 3, "B", 0.5), (8, 13, "A", 0.25))
    assert [region["score"] for region in write_regions(draft, control, content)] == [0.9877, 0.5, 0.25]
    several = write_regions(draft, replace(control, multiple=True), content)
    assert [(region["value"]["labels"], region["score"]) for region in several] == [(["A", "B"], 0.5), (["A"], 0.25)]
    assert read_label(several, control, content).value == ((0, 3, "A"), (0, 3, "B"), (8, 13, "A"))


@pytest.mark.parametrize("tag", [*OBJECT_TAGS])
def test_label_studio_takes_the_regions(tag: str) -> None:
    displayed = [{"author": "A", "text": "Bob met Alice"}] if tag == "ParagraphLabels" else "<p>Bob <i>met</i> Alice"
    control, content = span_control(tag, stored=("a", "B")), displayed_content(displayed)
    regions = write_regions(((4, 7, "A", 0.5), (4, 9, "B", 0.5)), control, content)
    config = (
        f'<View><{OBJECT_TAGS[tag]} name="shown" value="$data"/><{tag} name="spans" toName="shown">'
        f'<Label value="A" alias="a"/><Label value="B"/></{tag}></View>'
    )
    written = [{"id": f"r{n}", "from_name": "spans", "to_name": "shown", **item} for n, item in enumerate(regions)]
    assert len(written) == 2 and validation_errors(config, written) == []


def input_of(control: SpansSchema, *other_fields: str) -> InputSpec:
    """The input of a project in which the control labels the field "data"."""
    assert control.object_tag
    return InputSpec(
        text_field="" if other_fields else "data",
        fields=("data", *other_fields) if other_fields else (),
        html=("data",) if control.tag == "HyperTextLabels" else (),
        dialogues=(DialogueField("data", "author", "text"),) if control.tag == "ParagraphLabels" else (),
        located=(control.object_tag,),
    )


@given(task)
def test_spans_are_counted_in_the_text_of_the_task_or_in_a_field_of_the_record(task: tuple[str, Any]) -> None:
    tag, displayed = task
    control = span_control(tag)
    content = content_of_task(1, {"data": {"data": displayed}}, input_of(control))
    assert control_text(content, control) == content.text
    in_record = content_of_task(1, {"data": {"data": displayed, "other": "x"}}, input_of(control, "other"))
    assert in_record.text != content.text
    text = read_record(in_record.text)["data"]
    assert control_text(in_record, control) == (text if text.strip() else "")


@pytest.mark.parametrize("tag", ["Labels", "HyperTextLabels"])
def test_a_long_text_is_counted_as_far_as_it_is_read(tag: str) -> None:
    control, displayed = span_control(tag), "word " * MAX_TEXT_CHARACTERS
    content = content_of_task(1, {"data": {"data": displayed}}, input_of(control))
    assert control_text(content, control) == content.text == displayed[:MAX_TEXT_CHARACTERS]

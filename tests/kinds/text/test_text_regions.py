"""What is read of the regions of a <TextArea>, and what is written."""

from __future__ import annotations

from typing import Any

import pytest
from prediction_validation import validation_errors

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.core.types import MAX_TEXT_CHARACTERS, Label, unknown_content
from ml_backend.kinds.text.kind import TEXT
from ml_backend.kinds.text.schema import TextSchema
from ml_backend.label_studio.label_config import read_schema

CONTROL = TextSchema("rewrite", "text")
LONG = "a" * (MAX_TEXT_CHARACTERS + 1)


def config(attributes: str = "", source: str = '<Text name="text" value="$text"/>') -> str:
    return f'<View>{source}<TextArea name="rewrite" toName="text" {attributes}/></View>'


def control(attributes: str = "", source: str = '<Text name="text" value="$text"/>') -> TextSchema:
    [schema] = read_schema(config(attributes, source)).controls
    assert isinstance(schema, TextSchema)
    return schema


def region(text: Any) -> dict[str, Any]:
    return {"from_name": "rewrite", "to_name": "text", "type": "textarea", "value": {"text": text}}


def read(*regions: Any) -> Label:
    return TEXT.read_label(regions, CONTROL, unknown_content(1))


@pytest.mark.parametrize(
    ("regions", "label"),
    [
        ([region(["be nice"])], Label(("be nice",))),
        ([region("be nice")], Label(("be nice",))),
        ([region([" Be  nice!\n "])], Label((" Be  nice!\n ",))),
        ([region(["", "be nice"])], Label(("be nice",))),
        ([region(["be nice", "be nice"])], Label(("be nice",))),
        ([region(["be nice"]), region([])], Label(("be nice",))),
        ([region([LONG[1:]])], Label((LONG[1:],))),
        ([], Label((), "empty")),
        ([region([])], Label((), "empty")),
        ([region([""])], Label((), "empty")),
        ([region(" \n")], Label((), "empty")),
        ([region(["one", "two"])], Label((), "several texts")),
        ([region(["one"]), region(["two"])], Label((), "several texts")),
        ([region([LONG])], Label((), "long text")),
        ([region(None)], Label((), "shape")),
        ([region([3])], Label((), "shape")),
        ([{**region(["x"]), "type": "choices"}], Label((), "shape")),
        ([{**region(["x"]), "value": ["x"]}], Label((), "shape")),
    ],
)
def test_the_text_is_read_as_it_is_or_a_code_says_why_not(regions: list[dict[str, Any]], label: Label) -> None:
    assert read(*regions) == label
    assert label.unread in ("", "empty", "shape", *TEXT.unread_reasons)


@pytest.mark.parametrize("attributes", ["", 'editable="true" maxSubmissions="1" required="true"'])
@pytest.mark.parametrize("text", ["be nice", "東京に行く", "two\nlines", "<b>&</b> 👩‍👩‍👧", "x" * MAX_TEXT_CHARACTERS])
def test_a_draft_is_one_region_with_one_text_that_label_studio_accepts(attributes: str, text: str) -> None:
    regions = TEXT.write_regions((text,), control(attributes), unknown_content(1))
    assert regions == [{"type": "textarea", "value": {"text": [text]}}]
    names = {"id": "draft", "from_name": "rewrite", "to_name": "text", "score": 0.5}
    assert not validation_errors(config(attributes), [names | of_draft for of_draft in regions])


@pytest.mark.parametrize("value", [(), ("",), (" \n",)])
def test_nothing_is_written_without_a_text(value: tuple[str, ...]) -> None:
    assert TEXT.write_regions(value, CONTROL, unknown_content(1)) == []


@pytest.mark.parametrize(
    "source",
    [
        '<Text name="text" value="$text"/>',
        '<HyperText name="text" value="$html"/>',
        '<Paragraphs name="text" value="$dialogue"/>',
        '<Table name="text" value="$row"/>',
        '<Text name="text" value="$question about $topic"/>',
    ],
)
def test_a_text_about_any_source_is_learnt(source: str) -> None:
    assert (control(source=source).kind, control(source=source).source) == ("text", "text")


def test_vectors_of_words_are_made_only_if_all_controls_use_them() -> None:
    choices = '<Choices name="topic" toName="text"><Choice value="a"/><Choice value="b"/></Choices></View>'
    assert read_schema(config()).input.reads_words
    assert not read_schema(config().replace("</View>", choices)).input.reads_words
    assert not read_schema(config(source='<Table name="text" value="$row"/>')).input.reads_words
    assert not read_schema(config(source='<Text name="text" value="$question about $topic"/>')).input.reads_words


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ('perRegion="true"', "is asked for each region"),
        ('value="$draft"', "is filled with a text of the task"),
    ],
)
def test_a_control_that_cannot_be_learnt_is_named_with_the_reason(attributes: str, sentence: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=sentence):
        read_schema(config(attributes))


def test_a_control_without_a_source_is_named() -> None:
    with pytest.raises(UnsupportedConfigError, match="does not point at"):
        read_schema(config().replace('toName="text"', ""))


def test_missing_attributes_are_advised() -> None:
    assert TEXT.advice(control('editable="true" maxSubmissions="1"')) == ""
    assert 'editable="true"' in TEXT.advice(control('maxSubmissions="1"'))
    both = TEXT.advice(control())
    assert 'editable="true"' in both and 'maxSubmissions="1"' in both

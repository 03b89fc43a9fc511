"""Labelling configurations: one that can be learnt becomes a schema, and others are refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_label_studio import MULTIPLE, SINGLE
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemas import as_choices

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.label_studio.label_config import read_schema

TEXT = '<Text name="text" value="$text"/>'
TWO = '<Choice value="a"/><Choice value="b"/>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


THREE = TWO + '<Choice value="c"/>'


def choices(inner: str = TWO, name: str = "label", to: str = "text", rest: str = "") -> str:
    return f'<Choices name="{name}" toName="{to}" {rest}>{inner}</Choices>'


def test_a_single_choice_is_read() -> None:
    schema = read_schema(SINGLE)
    assert schema.controls[0].labels == ("fruit", "metal", "animal")
    assert not as_choices(schema.controls[0]).multiple
    assert (schema.controls[0].name, schema.controls[0].source, schema.input.text_field) == ("label", "text", "text")
    assert schema.controls[0].hints == ()


def test_several_choices_are_read() -> None:
    assert as_choices(read_schema(MULTIPLE).controls[0]).multiple
    assert not as_choices(read_schema(view(TEXT, choices(rest='choice="single-radio"'))).controls[0]).multiple


def test_control_source_and_field_have_the_names_in_the_configuration() -> None:
    config = view('<Text name="t1" value="$question"/>', choices(name="topic", to="t1"))
    schema = read_schema(config)
    assert (schema.controls[0].name, schema.controls[0].source, schema.input.text_field) == ("topic", "t1", "question")


def test_a_label_is_the_name_that_annotators_read_and_its_alias_is_stored() -> None:
    schema = read_schema(view(TEXT, choices('<Choice value="Positive" alias="pos"/><Choice value="neg"/>')))
    assert schema.controls[0].labels == ("Positive", "neg")
    assert as_choices(schema.controls[0]).stored == (("pos",), ("neg",))


def test_hints_belong_to_their_labels() -> None:
    schema = read_schema(view(TEXT, choices('<Choice value="a" hint="first"/><Choice value="b"/>')))
    assert schema.controls[0].hints == ("first", "")


def test_a_duplicate_label_counts_once() -> None:
    assert read_schema(view(TEXT, choices(TWO + '<Choice value="a"/>'))).controls[0].labels == ("a", "b")


def test_the_first_choices_over_a_text_is_taken() -> None:
    image = '<Image name="image" value="$image"/>'
    config = view(image, TEXT, choices(name="other", to="image"), choices(name="topic"), choices(name="third"))
    assert read_schema(config).controls[0].name == "topic"


def test_controls_of_other_kinds_are_ignored() -> None:
    config = view(TEXT, '<Number name="note" toName="text"/>', choices())
    assert [control.name for control in read_schema(config).controls] == ["label"]


def test_a_text_comes_after_choices_and_spans() -> None:
    spans = '<Labels name="spans" toName="text"><Label value="Person"/></Labels>'
    config = view(TEXT, '<TextArea name="note" toName="text" required="true"/>', spans, choices())
    assert [control.name for control in read_schema(config).controls] == ["label", "spans", "note"]


def test_a_project_with_a_rating_goes_on_with_its_choices_as_the_first_control() -> None:
    config = view(TEXT, '<Rating name="stars" toName="text" required="true"/>', choices())
    assert [control.name for control in read_schema(config).controls] == ["label", "stars"]


def test_one_choice_is_enough_if_several_may_be_chosen() -> None:
    one = '<Choice value="spam"/>'
    assert read_schema(view(TEXT, choices(one, rest='choice="multiple"'))).controls[0].labels == ("spam",)
    with pytest.raises(UnsupportedConfigError, match="too few"):
        read_schema(view(TEXT, choices(one)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "cannot be read"),
        ("<View", "cannot be read"),
        ("no markup", "cannot be read"),
        ("<View/>", "no <Choices>"),
        (view(TEXT), "no <Choices>"),
        (view(TEXT, '<Number name="label" toName="text"/>'), "no <Choices>"),
        (view(TEXT, '<Labels name="label" toName="text"/>'), "too few labels"),
        (view('<Image name="text" value="$text"/>', choices()), "does not point at a <Text>, "),
        (view(TEXT, choices("")), "."),
        (view(TEXT, choices("", rest='value="$options"')), "takes its labels from the task"),
        (view('<Text name="text" value="always this"/>', choices()), "must take its value"),
        (view('<Text name="text" value="$text" valueType="url"/>', choices()), "must not be a URL"),
        (view(TEXT, choices(to="nowhere")), "."),
        (view(TEXT, choices(), choices()), "has the name of another control"),
        (view(TEXT, choices(), '<Rating name="label" toName="text"/>'), "has the name of another control"),
    ],
)
def test_an_unsupported_configuration_is_refused_with_a_reason(config: str, message: str) -> None:
    with pytest.raises(UnsupportedConfigError, match=message):
        read_schema(config)


def test_controls_of_one_name_are_not_learnt_and_the_others_are() -> None:
    schema = read_schema(view(TEXT, choices(), choices(), '<Rating name="stars" toName="text"/>'))
    assert [control.name for control in schema.controls] == ["stars"]
    assert [(control.name, control.code) for control in schema.unlearnt] == [("label", "name")]


def test_an_error_tells_nothing_of_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("TOP-SECRET")
    config = f'<!DOCTYPE View [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>' + view(
        TEXT, choices('<Choice value="a"/><Choice value="&x;"/>')
    )
    try:
        labels = read_schema(config).controls[0].labels
    except UnsupportedConfigError as error:
        assert "TOP-SECRET" not in str(error)
    else:
        assert not any("TOP-SECRET" in label for label in labels)


attribute = st.sampled_from(
    [
        "name",
        "toName",
        "value",
        "choice",
        "valueType",
        "alias",
        "hint",
        "apply",
        "perItem",
        "visibleWhen",
        "whenTagName",
    ]
)
value = st.sampled_from(["", "text", "label", "$text", "$", "multiple", "url", "a", "text,label", "é", "0", "$a.b[0]"])
tag = st.sampled_from(
    ["View", "Text", "Choices", "Choice", "Label", "Labels", "Image", "Style", "Repeater", "Taxonomy"]
)


@st.composite
def xml(draw: st.DrawFn, depth: int = 3) -> str:
    name = draw(tag)
    attributes = " ".join(f'{key}="{draw(value)}"' for key in draw(st.lists(attribute, unique=True, max_size=4)))
    inner = "".join(draw(st.lists(xml(depth=depth - 1), max_size=3))) if depth else ""
    return f"<{name} {attributes}>{inner}</{name}>"


@given(config=st.one_of(xml(), st.text(max_size=40), xml().map(lambda tags: view(TEXT, tags))))
@hypothesis_settings(max_examples=300)
@example('<View><View name="text" toName="text"/><Taxonomy name="text"/></View>')
def test_any_configuration_is_read_or_refused(config: str) -> None:
    try:
        schema = read_schema(config)
    except UnsupportedConfigError:
        return
    assert len(set(schema.controls[0].labels)) == len(schema.controls[0].labels) >= 1
    assert len(schema.controls[0].hints) in (0, len(schema.controls[0].labels))


@pytest.mark.parametrize(
    ("inner", "needs_name"),
    [((TWO, TWO), [False, True]), ((TWO, TWO.replace("b", "d")), [False, False]), ((TWO, THREE), [False, True])],
)
def test_a_control_whose_labels_another_one_has_needs_its_name_in_replies(
    inner: tuple[str, str], needs_name: list[bool]
) -> None:
    controls = read_schema(view(TEXT, *(choices(labels, f"c{row}") for row, labels in enumerate(inner)))).controls
    assert [control.needs_name for control in sorted(controls, key=lambda control: -len(control.labels))] == needs_name
    assert all(not read_schema(view(TEXT, choices(labels))).controls[0].needs_name for labels in inner)


def test_the_only_control_that_the_setting_leaves_needs_its_name_if_one_that_is_left_out_has_its_labels() -> None:
    config = view(TEXT, choices(TWO, "first"), choices(TWO, "second"), choices(THREE, "third"))
    schemas = {name: read_schema(config, name) for name in ("first", "second", "third")}
    assert {name: schema.controls[0].needs_name for name, schema in schemas.items()} == {
        "first": True, "second": True, "third": False,
    }  # fmt: skip
    twins = view(TEXT, choices(TWO, "first"), choices(TWO, "second"))
    assert [read_schema(twins, name).names_controls for name in ("first", "second")] == [False, True]

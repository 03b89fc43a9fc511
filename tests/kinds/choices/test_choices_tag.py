"""Which of several <Choices> is learnt, and the names and stored values of its choices."""

from __future__ import annotations

import pytest
from schemas import as_choices

from ml_backend.core.exceptions import UnsupportedConfigError
from ml_backend.label_studio.label_config import read_schema

TEXT = '<Text name="text" value="$text"/>'
TWO = '<Choice value="a"/><Choice value="b"/>'
THREE = TWO + '<Choice value="c"/>'


def view(*tags: str) -> str:
    return f"<View>{''.join(tags)}</View>"


def choices(name: str, inner: str = TWO, rest: str = "", to: str = "text") -> str:
    return f'<Choices name="{name}" toName="{to}" {rest}>{inner}</Choices>'


CONDITION = 'visibleWhen="choice-selected" whenTagName="label" whenChoiceValue="a"'


@pytest.mark.parametrize(
    ("tags", "learnt"),
    [
        ((choices("flag", TWO, 'choice="multiple"'), choices("label", TWO)), "label"),
        ((choices("flag", THREE, 'choice="multiple"'), choices("label", TWO, 'choice="single"')), "label"),
        ((choices("why", THREE, CONDITION), choices("label", TWO)), "label"),
        ((f"<View {CONDITION}>{choices('why', THREE)}</View>", choices("label", TWO, 'choice="multiple"')), "label"),
        ((choices("few"), choices("label", THREE)), "label"),
        ((choices("optional", THREE), choices("label", TWO, 'required="true"')), "label"),
        ((choices("span", THREE, 'perRegion="true"'), choices("label")), "label"),
        ((choices("label"), choices("other")), "label"),
        ((choices("label", TWO, 'perRegion="false"'),), "label"),
        ((choices("why", TWO, CONDITION),), "why"),
    ],
)
def test_the_control_that_is_asked_most_surely_comes_first_at_any_place(tags: tuple[str, ...], learnt: str) -> None:
    schema = read_schema(view(TEXT, *tags))
    assert schema.controls[0].name == learnt
    assert len({*schema.control_names}) == len(tags)


def test_a_project_may_name_the_control_that_is_learnt() -> None:
    config = view(TEXT, choices("label", THREE), choices("flag", TWO, 'choice="multiple"'))
    assert read_schema(config, "flag").controls[0].name == "flag"
    assert [(other.name, other.code) for other in read_schema(config, "flag").unlearnt] == [("label", "setting")]
    with pytest.raises(UnsupportedConfigError, match=r"no control .* the name 'flags'.*there is 'label', 'flag'"):
        read_schema(config, "flags")
    with pytest.raises(UnsupportedConfigError, match=r"'span'.*for each region"):
        read_schema(view(TEXT, choices("label"), choices("span", TWO, 'perRegion="true"')), "span")


def test_a_text_of_another_control_is_no_field() -> None:
    texts = [f'<Text name="t{n}" value="$t{n}"/>' for n in range(3)]
    pairs = [text + choices(f"c{n}", THREE, to=f"t{n}") for n, text in enumerate(texts)]
    for n in range(3):
        schema = read_schema(view(*pairs), f"c{n}")
        assert (schema.input.text_field, schema.input.is_record) == (f"t{n}", False)
    shared = view(*texts, choices("label", to="t0"), choices("flag", TWO, 'choice="multiple"', to="t0"))
    assert read_schema(shared).input.fields == ("t0", "t1", "t2"), "a text without a control belongs to all of them"


def test_the_labels_of_a_tree_are_its_leaves_by_their_paths() -> None:
    tree = (
        '<Choice value="money" alias="M"><Choice value="billing" hint="invoices"/><Choice value="other"/></Choice>'
        '<View><Choice value="service"><Choice value="other" alias="o"/></Choice></View><Choice value="spam"/>'
    )
    control = as_choices(read_schema(view(TEXT, choices("label", tree, 'allowNested="true"'))).controls[0])
    assert control.labels == ("money > billing", "money > other", "service > other", "spam")
    assert control.stored == (("M", "billing"), ("M", "other"), ("service", "o"), ("spam",))
    assert control.hints == ("invoices", "", "", "")
    assert control.nested


def test_without_nesting_only_visible_choices_are_labels() -> None:
    tree = '<Choice value="a"><Choice value="inner"/></Choice><Choice value="b"/>'
    control = as_choices(read_schema(view(TEXT, choices("label", tree))).controls[0])
    assert (control.labels, control.nested, control.stored) == (("a", "b"), False, ())


def test_labels_with_the_same_name_and_different_stored_values_get_different_names() -> None:
    same = '<Choice value="other" alias="o1"/><Choice value="other" alias="o2"/><Choice value="a"/>'
    assert read_schema(view(TEXT, choices("label", same))).controls[0].labels == ("other (o1)", "other (o2)", "a")

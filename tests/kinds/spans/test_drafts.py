"""How many spans of a label are drafted where the labelling configuration limits them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from span_tasks import span_control

from ml_backend.core.arrays import object_rows
from ml_backend.kinds.spans.kind import SPANS
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import WeightedSpan
from ml_backend.label_studio.label_config import read_schema

weighted_spans = st.lists(
    st.tuples(st.integers(0, 9), st.just(10), st.sampled_from("AB"), st.sampled_from([0.3, 0.5, 0.7, 0.9])),
    unique_by=lambda span: span[:3],
    max_size=8,
).map(lambda spans: tuple(sorted(spans)))


@given(weighted_spans, st.integers(0, 3), st.integers(0, 3))
def test_the_most_probable_spans_of_a_label_are_drafted_up_to_its_limit(
    spans: tuple[WeightedSpan, ...], limit_of_a: int, limit_of_b: int
) -> None:
    control = span_control("Labels", max_usages=(limit_of_a, limit_of_b))
    [draft] = SPANS.drafts(control, object_rows([(spans, (), (0.0, 0.0, 0.0))]))
    assert draft is not None
    drafted, confidence = draft
    assert list(drafted) == sorted(drafted) and {*drafted} <= {*spans}
    for label, limit in (("A", limit_of_a), ("B", limit_of_b)):
        of_label = sorted((p for *_, name, p in spans if name == label), reverse=True)
        expected = of_label[:limit] if limit else of_label
        assert sorted((p for *_, name, p in drafted if name == label), reverse=True) == expected
    assert confidence == min((p for *_, p in drafted), default=1.0)


def test_a_label_has_its_own_limit_or_that_of_its_control() -> None:
    def limits(control: str, first: str) -> tuple[int, ...]:
        config = (
            f'<View><Labels name="ner" toName="text"{control}><Label value="A"{first}/><Label value="B"/></Labels>'
            '<Text name="text" value="$text"/></View>'
        )
        [schema] = read_schema(config).controls
        assert isinstance(schema, SpansSchema)
        return schema.max_usages

    assert limits("", "") == limits(' maxUsages="many"', "") == ()
    assert limits("", ' maxUsages="1"') == (1, 0)
    assert limits(' maxUsages="3"', ' maxusages="2"') == (2, 3)

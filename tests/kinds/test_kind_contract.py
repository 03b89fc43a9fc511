"""The contract, for the installed kinds by their tags and for a kind of another package."""

from __future__ import annotations

from typing import ClassVar

from answer_kind import ANSWER_PLUGINS
from kind_contract import KindContract

from ml_backend.core import registry
from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import LabelValue, TaskContent, content_key
from ml_backend.kinds.lookup import kind, kinds_by_tag
from ml_backend.kinds.spans.kind import SPANS

TEXT = '<Text name="text" value="$text"/>'
LABELS = "".join(f'<Choice value="{label}"/>' for label in ("fruit", "metal", "animal"))
TREE = (
    '<Choice value="food"><Choice value="fruit"/><Choice value="bread"/></Choice>'
    '<Choice value="metal"><Choice value="iron"/></Choice>'
)


class TestChoices(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Choices name="control" toName="text">{LABELS}</Choices></View>'
    values = (("fruit",), ("metal",), ("animal",))


class TestSeveralChoices(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Choices name="control" toName="text" choice="multiple">{LABELS}</Choices></View>'
    values = (("fruit",), ("fruit", "metal"), ("animal",))


class TestNestedChoices(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Choices name="control" toName="text" allowNested="true">{TREE}</Choices></View>'
    values = (("food > fruit",), ("food > bread",), ("metal > iron",))


class TestRating(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Rating name="control" toName="text" maxRating="4"/></View>'
    values = (("1",), ("2",), ("4",))


class TestTaxonomy(KindContract):
    kind = kind("choices")
    config = f'<View>{TEXT}<Taxonomy name="control" toName="text">{TREE}</Taxonomy></View>'
    values = (("food", "food > fruit"), ("food",), ("metal", "metal > iron"))


class TestPairwise(KindContract):
    kind = kind("choices")
    config = (
        '<View><Pairwise name="control" toName="a,b"/><Text name="a" value="$a"/><Text name="b" value="$b"/></View>'
    )
    values = (("left",), ("right",))


class TestKindOfAnotherPackage(KindContract):
    kind = ANSWER_PLUGINS["kind.answer"]
    config = f'<View>{TEXT}<TextArea name="control" toName="text"/></View>'
    values = (("an apple",), ("two iron nails",), ("a dog, perhaps",))
    plugins = ANSWER_PLUGINS


class TestText(KindContract):
    kind = kind("text")
    config = f'<View>{TEXT}<TextArea name="control" toName="text"/></View>'
    values = (("an apple",), ("two iron nails",), ("a dog, perhaps",))


SPAN_LABELS = '<Label value="Person"/><Label value="Place" alias="place"/>'


class SpansContract(KindContract):
    kind = SPANS
    values: ClassVar[tuple[LabelValue, ...]] = (
        ((6, 9, "Person"),),
        ((0, 3, "Person"), (13, 18, "Place")),
        ((8, 12, "Place"),),
    )

    def content_of(self, row: int) -> TaskContent:
        """Tasks whose values have the same spans have the same words there."""
        text = (f"today Ann sleeps, {row}", f"Bob lives in Paris, {row}", f"see the Alps, {row}")[row % 3]
        return TaskContent(row, text, content_key(text), displayed_values=self.displayed(text))

    def displayed(self, text: str) -> dict[str, object]:
        return {}

    def choice_of(self, control: ControlSchema, value: LabelValue) -> str:
        return str(value[0][2])


class TestLabels(SpansContract):
    config = f'<View><Labels name="ner" toName="text">{SPAN_LABELS}</Labels><Text name="text" value="$text"/></View>'


class TestHyperTextLabels(SpansContract):
    config = (
        f'<View><HyperTextLabels name="ner" toName="html">{SPAN_LABELS}</HyperTextLabels>'
        '<HyperText name="html" value="$html"/></View>'
    )

    def displayed(self, text: str) -> dict[str, object]:
        return {"html": f"<p>{text[:8]}<b>{text[8:]}</b></p>"}


class TestParagraphLabels(SpansContract):
    config = (
        f'<View><ParagraphLabels name="ner" toName="talk" choice="multiple">{SPAN_LABELS}</ParagraphLabels>'
        '<Paragraphs name="talk" value="$talk"/></View>'
    )

    def displayed(self, text: str) -> dict[str, object]:
        return {"talk": [{"text": text}]}


def test_every_tag_of_the_installed_kinds_runs_the_contract() -> None:
    contracts = [*KindContract.__subclasses__(), *SpansContract.__subclasses__()]
    configs = "".join(getattr(contract, "config", "") for contract in contracts)
    assert all(f"<{tag} " in configs for tag in kinds_by_tag())
    assert registry.installed("kind") <= {contract.kind.name for contract in contracts}

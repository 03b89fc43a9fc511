"""The contract of kinds, for spans over each of the three tags."""

from __future__ import annotations

from kind_contract import KindContract

from ml_backend.core.schema import ControlSchema
from ml_backend.core.types import LabelValue, TaskContent, content_key
from ml_backend.kinds.spans.kind import SPANS

LABELS = '<Label value="Person"/><Label value="Place" alias="place"/>'


class SpansContract(KindContract):
    kind = SPANS
    values: tuple[LabelValue, ...] = (
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
    config = f'<View><Labels name="ner" toName="text">{LABELS}</Labels><Text name="text" value="$text"/></View>'


class TestHyperTextLabels(SpansContract):
    config = (
        f'<View><HyperTextLabels name="ner" toName="html">{LABELS}</HyperTextLabels>'
        '<HyperText name="html" value="$html"/></View>'
    )

    def displayed(self, text: str) -> dict[str, object]:
        return {"html": f"<p>{text[:8]}<b>{text[8:]}</b></p>"}


class TestParagraphLabels(SpansContract):
    config = (
        f'<View><ParagraphLabels name="ner" toName="talk" choice="multiple">{LABELS}</ParagraphLabels>'
        '<Paragraphs name="talk" value="$talk"/></View>'
    )

    def displayed(self, text: str) -> dict[str, object]:
        return {"talk": [{"text": text}]}

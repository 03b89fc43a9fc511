"""The kind of labels that mark spans of a text; `values` says what values, targets and predictions consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Mask, Rows, Tensors, object_rows
from ml_backend.core.ports import Learner
from ml_backend.core.schema import MAX_LABELS
from ml_backend.core.texts import Texts
from ml_backend.core.types import Label, LabelValue, TaskContent
from ml_backend.core.words import count_words
from ml_backend.kinds import object_packing
from ml_backend.kinds.base import NO_DESCRIPTIONS, Doubles, Kind, LabelMasks, ReplyFormat, SuspectedError
from ml_backend.kinds.parts import DraftChanges, PartAgreement, PartCounts, PartError
from ml_backend.kinds.spans import (
    drafts,
    label_errors,
    part_errors,
    quotes,
    regions,
    scoring,
    span_aggregation,
    teacher_reliability,
    teacher_replies,
)
from ml_backend.kinds.spans.predictions import SpanPredictions
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.values import Predicted, spans_of
from ml_backend.kinds.tag_attributes import attribute, is_conditional, is_required, whole_number

TARGETS, HELD_OUT = "snapshot.targets", "snapshot.held_out"
"""Names of tensors."""
OBJECT_TAGS = ("Text", "HyperText", "Paragraphs")
"""The object tags in which spans are marked."""
NO_SPANS: Predicted = ((), (), (0.0, 0.0, 0.0))


class SpansKind(Kind[SpansSchema]):
    name = "spans"
    tags = MappingProxyType({"Labels": 1, "HyperTextLabels": 1, "ParagraphLabels": 1})
    default_learner = "crf"
    locates_regions = True
    reads_words = True
    draft_rule_names = ("precision", "repeats")
    unread_reasons = regions.UNREAD_REASONS
    part_name = "span"
    agreement_name = "span F1"

    def read_schema(self, element: Any, name: str, source: str) -> SpansSchema:
        elements = [label for label in element.iter("Label") if attribute(label, "value")]
        labels = {
            attribute(label, "value"): attribute(label, "alias") or attribute(label, "value") for label in elements
        }
        max_usages = {
            attribute(label, "value"): whole_number(label, "maxUsages") or whole_number(element, "maxUsages")
            for label in elements
        }
        return SpansSchema(
            name=name,
            source=source,
            labels=tuple(labels),
            hints=tuple(attribute(label, "hint") for label in elements) if len(labels) == len(elements) else (),
            conditional=is_conditional(element) or is_required(element),
            tag=element.tag,
            stored=tuple(labels.values()),
            multiple=attribute(element, "choice") == "multiple",
            max_usages=tuple(max_usages.values()) if any(max_usages.values()) else (),
        )

    def schema_problem(self, control: SpansSchema) -> str:
        if control.object_tag and control.object_tag.tag not in OBJECT_TAGS:
            return "it marks no text"
        if len(control.labels) > MAX_LABELS:
            return "many labels"
        return "" if control.labels else "few labels"

    def describe_control(self, control: SpansSchema) -> str:
        return f"spans with {len(control.labels)} labels"

    def read_label(self, regions_: Sequence[Mapping[str, Any]], control: SpansSchema, content: TaskContent) -> Label:
        return regions.read_label(regions_, control, content)

    def write_regions(self, value: LabelValue, control: SpansSchema, content: TaskContent) -> list[dict[str, Any]]:
        return regions.write_regions(value, control, content)

    def displayable_part(self, value: LabelValue, control: SpansSchema, content: TaskContent) -> LabelValue:
        """The spans that Label Studio can mark, each by itself."""
        return regions.displayable_spans(value, control, content)

    def has_choice(self, control: SpansSchema, value: LabelValue, choices: Sequence[str]) -> bool:
        """Whether a span has one of the labels."""
        stored = dict(zip(control.labels, control.stored_labels, strict=True))
        names = {name for *_, label in spans_of(value) for name in (label, stored.get(label, label))}
        return bool(value) if not choices else not names.isdisjoint(choices)

    def unknown_labels(self, label: Label, control: SpansSchema) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for *_, name in spans_of(label.value) if name not in control.labels))

    def in_words(self, control: SpansSchema, value: LabelValue) -> tuple[str, ...]:
        """The labels with their characters, counted from 0, the last one included."""
        return tuple(f"{label} at {start} to {end - 1}" for start, end, label in spans_of(value))

    def draft_outcome(self, drafted: LabelValue, annotated: LabelValue) -> str:
        drafts, spans = {*spans_of(drafted)}, {*spans_of(annotated)}
        if drafts == spans:
            return "accepted"
        return "edited" if drafts & spans else "replaced"

    def aggregate(self, control: SpansSchema, labels: Sequence[Label]) -> Any | None:
        return span_aggregation.aggregate_spans(labels, control.labels)

    def as_targets(self, control: SpansSchema, targets: Sequence[Any]) -> Rows:
        return object_rows(targets)

    def target_values(self, control: SpansSchema, targets: Rows) -> list[LabelValue]:
        """All spans that at least half of the annotators have marked."""
        return [spans_of(spans) for spans, _ in targets]

    def are_tied(self, control: SpansSchema, targets: Rows) -> Mask:
        return np.array([any(share <= 0.5 for *_, share in spans) for spans, _ in targets], np.bool_)

    def strata(self, control: SpansSchema, targets: Rows) -> Mask:
        return _has_label(control, [spans_of(spans) for spans, _ in targets])

    def learner(self, control: SpansSchema, plugin: str) -> Learner:
        return registry.learner(plugin)

    def fit_document(self, control: SpansSchema) -> dict[str, Any]:
        return {"labels": control.labels}

    def fitted_schema(self, document: Mapping[str, Any]) -> SpansSchema:
        return SpansSchema(name="", source="", labels=tuple(document["labels"]))

    def remap(self, control: SpansSchema, rows: Rows, old: SpansSchema) -> Rows | None:
        """None unless the labels are the same, perhaps in another order."""
        return rows if {*control.labels} == {*old.labels} else None

    def adapt(self, control: SpansSchema, predicted: Rows, old: SpansSchema) -> Rows:
        """Without spans whose labels the control does not have any more."""
        labels = {*control.labels}
        if labels.issuperset(old.labels):
            return predicted
        return object_rows(
            [
                row and (*(tuple(span for span in spans if span[2] in labels) for spans in row[:2]), row[2])
                for row in predicted
            ]
        )

    def pack_targets(self, control: SpansSchema, targets: Rows) -> Tensors:
        return {TARGETS: object_packing.pack(targets)}

    def unpack_targets(self, control: SpansSchema, tensors: Tensors) -> Rows:
        return object_packing.unpack(tensors.pop(TARGETS))

    def pack_predicted(self, control: SpansSchema, predicted: Rows) -> Tensors:
        return {HELD_OUT: object_packing.pack(predicted)}

    def unpack_predicted(self, control: SpansSchema, tensors: Tensors) -> Rows:
        return object_packing.unpack(tensors.pop(HELD_OUT))

    def predictions(self, control: SpansSchema, predicted: Rows) -> SpanPredictions:
        return SpanPredictions.of(predicted)

    def drafts(self, control: SpansSchema, predicted: Rows) -> list[tuple[LabelValue, float] | None]:
        return drafts.draft_rows(control, predicted)

    def scores(self, control: SpansSchema, predicted: Rows, targets: Rows) -> Doubles:
        return scoring.row_scores(predicted, targets)

    def score_name(self, control: SpansSchema) -> str:
        return "span F1 of a text"

    def main_metric(self, control: SpansSchema) -> str:
        return scoring.STRICT_F1

    def score_weights(self, control: SpansSchema, predicted: Rows, targets: Rows) -> Doubles:
        return scoring.row_weights(predicted, targets)

    def expected_errors(self, control: SpansSchema, predicted: Rows, targets: Rows) -> Floats:
        return scoring.expected_errors(predicted, targets)

    def agreement(self, control: SpansSchema, earlier: Rows, later: Rows) -> float:
        return scoring.agreement(earlier, later)

    def without_learner(self, control: SpansSchema, targets: Rows, n: int) -> Rows:
        """No spans."""
        return object_rows([NO_SPANS] * n)

    def metrics(self, control: SpansSchema, predicted: Rows, targets: Rows) -> dict[str, float]:
        return scoring.span_metrics(scoring.compare_rows(predicted, targets))

    def simulation_metrics(
        self, control: SpansSchema, predicted: Rows, targets: Rows, *, in_group: bool = False
    ) -> dict[str, float]:
        """The `metrics`; those that are not defined, because no span is drafted or annotated, count as 0, as in the
        evaluation of CoNLL-2003."""
        return dict.fromkeys(scoring.SHARES, 0.0) | self.metrics(control, predicted, targets)

    def region_counts(self, control: SpansSchema, targets: Rows) -> Ints:
        """All spans that at least half of the annotators have marked."""
        return np.array([len(spans) for spans, _ in targets], np.int64)

    def label_masks(self, control: SpansSchema, predicted: Rows, targets: Rows) -> LabelMasks:
        """The labels of spans that are not right, so that pairs of labels that are confused are found."""
        compared = scoring.compare_rows(predicted, targets)
        drafted = _has_label(control, [text.drafted for text in compared])
        annotated = _has_label(control, [text.annotated for text in compared])
        disputed = _has_label(control, [spans_of(s for s in spans if s[3] <= 0.5) for spans, _ in targets])
        return LabelMasks(drafted, annotated, ~annotated & disputed)

    def label_scores(self, control: SpansSchema, predicted: Rows, targets: Rows) -> dict[str, tuple[float, int]]:
        counts = self.part_counts(control, predicted, targets)
        return {label: (of_label.f1, of_label.annotated) for label, of_label in counts.items()}

    def label_agreement(self, control: SpansSchema, predicted: Rows, targets: Rows) -> dict[str, tuple[int, int]]:
        """For each label, how many spans draft and target agree on, and how many spans have it in either."""
        counts = self.part_counts(control, predicted, targets)
        return {
            label: (of_label.right, of_label.drafted + of_label.annotated - of_label.right)
            for label, of_label in counts.items()
        }

    def part_counts(self, control: SpansSchema, predicted: Rows, targets: Rows) -> dict[str, PartCounts]:
        return scoring.label_counts(scoring.compare_rows(predicted, targets))

    def part_errors(self, control: SpansSchema, predicted: Rows, targets: Rows) -> list[PartError]:
        return part_errors.part_errors(predicted, targets)

    def part_agreement(self, control: SpansSchema, labels: Sequence[Sequence[Label]]) -> PartAgreement | None:
        return span_aggregation.span_agreement(labels)

    def draft_changes(self, drafted: LabelValue, annotated: LabelValue, text: str) -> DraftChanges:
        drafts, spans = {*spans_of(drafted)}, {*spans_of(annotated)}
        words_of = {span: count_words(text[span[0] : span[1]]) for span in spans}
        return DraftChanges(
            kept=len(drafts & spans),
            removed=len(drafts - spans),
            added=len(spans - drafts),
            kept_words=sum(words_of[span] for span in drafts & spans),
            added_words=sum(words_of[span] for span in spans - drafts),
        )

    def quote(self, control: SpansSchema, value: LabelValue, text: str, *, in_context: bool = True) -> str:
        return quotes.quote_spans(spans_of(value), text, in_context=in_context)

    def suspected_errors(
        self, control: SpansSchema, predicted: Rows, targets: Rows, protected: Mask, budget: int
    ) -> list[SuspectedError]:
        return label_errors.find_missed_spans(predicted, targets, protected, budget)

    def reply_format(
        self, control: SpansSchema, descriptions: Mapping[str, str] = NO_DESCRIPTIONS, refusal: str = ""
    ) -> ReplyFormat:
        return teacher_replies.reply_format(control, descriptions, refusal)

    def describes_labels(self, control: SpansSchema) -> bool:
        return False

    def reply_of(self, control: SpansSchema, value: LabelValue, text: str) -> Any:
        return teacher_replies.reply_of(control, value, text)

    def read_replies(self, control: SpansSchema, replies: Rows, texts: Texts) -> Rows:
        return teacher_replies.read_replies(control, replies, texts)

    def reply_problem(self, control: SpansSchema, reply: Any, text: str, refusal: float) -> str:
        return teacher_replies.reply_problem(control, reply, text)

    def reliability(self, control: SpansSchema, predicted: Rows, targets: Rows, *, is_trusted: bool) -> Doubles:
        return teacher_reliability.reliability(control, predicted, targets, is_trusted)

    def expected(self, control: SpansSchema, predicted: Rows, reliability: Doubles) -> Rows:
        return teacher_reliability.expected(control, predicted, reliability)

    def distilled_targets(self, control: SpansSchema, expected: Rows) -> Rows:
        return teacher_reliability.distilled_targets(expected)


SPANS = SpansKind()


def _has_label(control: SpansSchema, spans: Sequence[Any]) -> Mask:
    """(n, c) whether a span of a text has each of the labels. spans: (n,) of each text"""
    columns = {label: column for column, label in enumerate(control.labels)}
    has_label = np.zeros((len(spans), len(columns)), np.bool_)
    for row, of_text in enumerate(spans):
        has_label[row, [columns[label] for *_, label in of_text if label in columns]] = True
    return has_label

"""The kind of labels that are written texts; `values` says what values, targets and predictions consist of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Mask, Rows, Tensors, object_rows
from ml_backend.core.draft_checks import PROBLEMS, is_copy
from ml_backend.core.ports import Learner
from ml_backend.core.texts import Texts
from ml_backend.core.types import Label, LabelValue, TaskContent
from ml_backend.core.words import count_words
from ml_backend.kinds import object_packing
from ml_backend.kinds.base import NO_DESCRIPTIONS, AttributeJudgement, Doubles, Kind, ReplyFormat
from ml_backend.kinds.parts import DraftChanges
from ml_backend.kinds.tag_attributes import attribute, is_conditional, is_required, is_set, whole_number
from ml_backend.kinds.text import regions, scoring, teacher_replies, text_aggregation
from ml_backend.kinds.text.attribute import judge_in
from ml_backend.kinds.text.checked_learner import CheckedLearner, checked, used_judge
from ml_backend.kinds.text.predictions import TextPredictions
from ml_backend.kinds.text.schema import TextSchema
from ml_backend.kinds.text.values import MIN_CONFIDENCE, Predicted, confidence_of, draft_of, failure_of, problem_of

TARGETS, HELD_OUT = "snapshot.targets", "snapshot.held_out"
"""Names of tensors."""
MIN_PREDICTABLE = 0.5
"""The mean closeness of held-out drafts from which the control counts in the queue beside others."""
MANY_TIMES = 10
"""A text with so many times the words of its source is unusually long."""
NO_DRAFT: Predicted = ("", 0.0, 1.0, False, "empty")


class TextKind(Kind[TextSchema]):
    name = "text"
    tags = MappingProxyType({"TextArea": 1})
    default_learner = "writers"
    prefers_words = True
    writes_texts = True
    draft_rule_names = ("attribute", "trusts_attribute")
    unread_reasons = regions.UNREAD_REASONS
    changed_part = "word"
    agreement_name = "closeness"
    min_labelled_share = 0.5

    def read_schema(self, element: Any, name: str, source: str) -> TextSchema:
        return TextSchema(
            name=name,
            source=source,
            conditional=is_conditional(element) or is_required(element),
            placeholder=attribute(element, "placeholder"),
            editable=is_set(element, "editable"),
            single=whole_number(element, "maxSubmissions") == 1,
            prefilled=attribute(element, "value").startswith("$"),
        )

    def is_dynamic(self, element: Any) -> bool:
        """No: `schema_problem` says why a prefilled control is not learnt."""
        return False

    def schema_problem(self, control: TextSchema) -> str:
        return "prefilled" if control.prefilled else ""

    def describe_control(self, control: TextSchema) -> str:
        return "a text"

    def advice(self, control: TextSchema) -> str:
        advised = [
            *([] if control.editable else ['editable="true", without which a draft cannot be changed in place']),
            *([] if control.single else ['maxSubmissions="1", because a task with several texts is not learnt from']),
        ]
        return " and ".join(advised)

    def read_label(self, regions_: Sequence[Mapping[str, Any]], control: TextSchema, content: TaskContent) -> Label:
        return regions.read_label(regions_)

    def write_regions(self, value: LabelValue, control: TextSchema, content: TaskContent) -> list[dict[str, Any]]:
        return regions.write_regions(value)

    def draft_outcome(self, drafted: LabelValue, annotated: LabelValue) -> str:
        return scoring.draft_outcome(drafted, annotated)

    def draft_changes(self, drafted: LabelValue, annotated: LabelValue, text: str) -> DraftChanges:
        return scoring.draft_changes(drafted, annotated)

    def aggregate(self, control: TextSchema, labels: Sequence[Label]) -> Any | None:
        return text_aggregation.aggregate_texts(labels)

    def as_targets(self, control: TextSchema, targets: Sequence[Any]) -> Rows:
        return object_rows(targets)

    def target_values(self, control: TextSchema, targets: Rows) -> list[LabelValue]:
        """The most central text."""
        return [target[:1] for target in targets]

    def unusual_targets(self, control: TextSchema, texts: Texts, targets: Rows) -> dict[str, Mask]:
        sources = texts(np.arange(len(targets)))
        pairs = [(source, target[0]) for source, target in zip(sources, targets, strict=True)]
        is_long = [
            bool(words := count_words(source)) and count_words(text) >= MANY_TIMES * words for source, text in pairs
        ]
        return {
            "the same text as the source": np.array([is_copy(text, source) for source, text in pairs], np.bool_),
            f"a text of at least {MANY_TIMES} times the words of the source": np.array(is_long, np.bool_),
        }

    def learner(self, control: TextSchema, plugin: str) -> Learner:
        return CheckedLearner(registry.learner(plugin))

    def fit_document(self, control: TextSchema) -> dict[str, Any]:
        return {}

    def fitted_schema(self, document: Mapping[str, Any]) -> TextSchema:
        return TextSchema(name="", source="")

    def adapt(self, control: TextSchema, predicted: Rows, old: TextSchema) -> Rows:
        return predicted

    def pack_targets(self, control: TextSchema, targets: Rows) -> Tensors:
        return {TARGETS: object_packing.pack(targets)}

    def unpack_targets(self, control: TextSchema, tensors: Tensors) -> Rows:
        return object_packing.unpack(tensors.pop(TARGETS))

    def pack_predicted(self, control: TextSchema, predicted: Rows) -> Tensors:
        return {HELD_OUT: object_packing.pack(predicted)}

    def unpack_predicted(self, control: TextSchema, tensors: Tensors) -> Rows:
        return object_packing.unpack(tensors.pop(HELD_OUT))

    def predictions(self, control: TextSchema, predicted: Rows) -> TextPredictions:
        return TextPredictions.of(predicted)

    def is_predictable(self, control: TextSchema, predicted: Rows, targets: Rows) -> bool:
        """Whether half of the words of the mean draft are right: many texts are comments that nobody can foresee."""
        return bool(len(targets) and self.scores(control, predicted, targets).mean() >= MIN_PREDICTABLE)

    def drafts(self, control: TextSchema, predicted: Rows) -> list[tuple[LabelValue, float] | None]:
        """The drafts without a problem and with a confidence of at least MIN_CONFIDENCE."""
        return [
            ((draft_of(row),), confidence) if (confidence := confidence_of(row)) >= MIN_CONFIDENCE else None
            for row in predicted
        ]

    def draft_failures(self, control: TextSchema, predicted: Rows) -> Floats | None:
        failures = [failure_of(row) for row in predicted]
        if all(failure is None for failure in failures):
            return None
        return np.array([1.0 if failure is None else failure for failure in failures], np.float32)

    def attribute_judgement(
        self, control: TextSchema, tensors: Tensors, texts: Sequence[str], targets: Rows
    ) -> AttributeJudgement | None:
        judge = judge_in(tensors)
        if judge is None:
            return None
        accepted = [target[0] for target in targets]
        is_used = used_judge(tensors) is not None
        return AttributeJudgement(judge.setting, judge.auc, is_used, judge.failures(texts), judge.failures(accepted))

    def withheld_drafts(self, control: TextSchema, predicted: Rows) -> dict[str, int]:
        problems = Counter(problem_of(row) for row in predicted if row and problem_of(row))
        withheld = {PROBLEMS.get(code, code): count for code, count in problems.most_common()}
        is_unsure = [bool(draft_of(row)) and confidence_of(row) < MIN_CONFIDENCE for row in predicted]
        return withheld | ({"most of its words would be replaced": sum(is_unsure)} if any(is_unsure) else {})

    def checked(self, control: TextSchema, predicted: Rows, texts: Sequence[str], tensors: Tensors) -> Rows:
        return checked(predicted, texts, tensors, may_leak=True)

    def scores(self, control: TextSchema, predicted: Rows, targets: Rows) -> Doubles:
        return scoring.row_scores(predicted, targets)

    def score_name(self, control: TextSchema) -> str:
        return scoring.CLOSENESS

    def expected_errors(self, control: TextSchema, predicted: Rows, targets: Rows) -> Floats:
        return scoring.expected_errors(predicted, targets)

    def agreement(self, control: TextSchema, earlier: Rows, later: Rows) -> float:
        return scoring.agreement(earlier, later)

    def without_learner(self, control: TextSchema, targets: Rows, n: int) -> Rows:
        """No drafts."""
        return object_rows([NO_DRAFT] * n)

    def metrics(self, control: TextSchema, predicted: Rows, targets: Rows) -> dict[str, float]:
        return scoring.text_metrics(predicted, targets)

    def reply_format(
        self, control: TextSchema, descriptions: Mapping[str, str] = NO_DESCRIPTIONS, refusal: str = ""
    ) -> ReplyFormat:
        return teacher_replies.reply_format(control)

    def reply_of(self, control: TextSchema, value: LabelValue, text: str) -> Any:
        return teacher_replies.reply_of(value)

    def read_replies(self, control: TextSchema, replies: Rows, texts: Texts) -> Rows:
        return teacher_replies.read_replies(replies, texts)

    def reply_problem(self, control: TextSchema, reply: Any, text: str, refusal: float) -> str:
        return teacher_replies.reply_problem(reply, text)

    def reliability(self, control: TextSchema, predicted: Rows, targets: Rows, *, is_trusted: bool) -> Doubles:
        return teacher_replies.reliability(predicted, targets, is_trusted=is_trusted)

    def expected(self, control: TextSchema, predicted: Rows, reliability: Doubles) -> Rows:
        return teacher_replies.expected(predicted, reliability)

    def distilled_targets(self, control: TextSchema, expected: Rows) -> Rows:
        return teacher_replies.distilled_targets(expected)


TEXT = TextKind()

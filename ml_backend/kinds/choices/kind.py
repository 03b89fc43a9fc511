"""The kind of labels for a whole task: `Choices`, `Rating`, `Taxonomy` and `Pairwise`.

Targets are (n, c) float32: a distribution over the labels or, if several may hold, 0, 1 or 0.5 (evenly split
annotators) for each label. Predictions are (n, c) float32 probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Mask, Tensors, are_missing
from ml_backend.core.ports import Drafter, Learner
from ml_backend.core.schema import MAX_LABELS, ChoicesSchema
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.types import (
    LABEL_PATH_SEPARATOR,
    Annotation,
    Estimate,
    EstimateSource,
    Label,
    LabelValue,
    TaskContent,
)
from ml_backend.evaluation.group_metrics import class_balance
from ml_backend.evaluation.label_errors import find_label_errors
from ml_backend.evaluation.metrics import decide_labels, f1_scores
from ml_backend.evaluation.stopping import kappa
from ml_backend.kinds.base import ACCURACY, NO_DESCRIPTIONS, Doubles, Kind, LabelMasks, ReplyFormat, SuspectedError
from ml_backend.kinds.choices import (
    annotation_check,
    confusion_model,
    scoring,
    teacher_replies,
    tensor_packing,
    values,
)
from ml_backend.kinds.choices.hierarchy import deepest_labels
from ml_backend.kinds.choices.label_aggregation import aggregate_labels
from ml_backend.kinds.choices.pairs import PairLearner, have_different_sides, is_undecided
from ml_backend.kinds.choices.predictions import ChoicePredictions
from ml_backend.kinds.choices.simulation_metrics import group_metrics, simulation_metrics
from ml_backend.kinds.choices.tags import CONTROL_TAGS
from ml_backend.kinds.choices.tags.control_tag import stored_paths

HELD_OUT = "snapshot.held_out"
"""Name of the tensor with held-out probabilities."""
MIN_PROBABILITY = 1e-6  # in log-odds
MAX_COLD_START_LABELS = 5
"""Labels of a draft of the embedded teacher, besides implied ones, if several may hold."""
NOT_DRAFTED = np.float32(0.49)
"""A probability of a label that is just not drafted."""


class ChoicesKind(Kind[ChoicesSchema]):
    name = "choices"
    tags = MappingProxyType({tag: control_tag.source_count for tag, control_tag in CONTROL_TAGS.items()})
    default_learner = "logistic"
    replies_with_labels = True

    def read_schema(self, element: Any, name: str, source: str) -> ChoicesSchema:
        return CONTROL_TAGS[element.tag].read_schema(element, name, source)

    def schema_problem(self, control: ChoicesSchema) -> str:
        if len(control.labels) > MAX_LABELS:
            return "many labels"
        if control.tag == "Rating" and not control.labels:
            return "its maxRating is not a whole number above 0"
        return "few labels" if len(control.labels) < (1 if control.multiple else 2) else ""

    def learning_order(self, control: ChoicesSchema) -> tuple[int, ...]:
        """A control with a single label comes first, then the one with the most labels."""
        return control.multiple, -len(control.labels)

    def describe_control(self, control: ChoicesSchema) -> str:
        return f"{'several choices' if control.multiple else 'one choice'} out of {len(control.labels)}"

    def read_label(self, regions: Sequence[Mapping[str, Any]], control: ChoicesSchema, content: TaskContent) -> Label:
        return values.read_label(regions, control)

    def write_regions(self, value: LabelValue, control: ChoicesSchema, content: TaskContent) -> list[dict[str, Any]]:
        return [values.write_region_value(value, control)] if value else []

    def bulk_import_drops(self, control: ChoicesSchema) -> bool:
        """Measured on Label Studio 1.23: a bulk import drops choices that are stored as paths."""
        return control.nested

    def leaves_out_hidden_draft(self, control: ChoicesSchema) -> bool:
        """Measured on Label Studio 1.23: drafts of <Choices> and <Taxonomy> are left out."""
        return control.tag in ("Choices", "Taxonomy")

    def has_choice(self, control: ChoicesSchema, value: LabelValue, choices: Sequence[str]) -> bool:
        labels = deepest_labels(value, control)
        ends = {label.rpartition(LABEL_PATH_SEPARATOR)[2] for label in labels if control.stored}
        names = ends.union(labels, (path[-1] for path in stored_paths(labels, control)))
        return bool(labels) if not choices else not names.isdisjoint(choices)

    def unknown_labels(self, label: Label, control: ChoicesSchema) -> tuple[str, ...]:
        return tuple(choice for choice in label.value if choice not in control.labels)

    def in_words(self, control: ChoicesSchema, value: LabelValue) -> tuple[str, ...]:
        return tuple(deepest_labels(value, control))

    def draft_outcome(self, drafted: LabelValue, annotated: LabelValue) -> str:
        if {*drafted} == {*annotated}:
            return "accepted"
        return "edited" if {*drafted} & {*annotated} else "replaced"

    def aggregate(self, control: ChoicesSchema, labels: Sequence[Label]) -> Floats | None:
        return aggregate_labels(control, labels)

    def as_targets(self, control: ChoicesSchema, targets: Sequence[Floats]) -> Floats:
        return np.array(targets, np.float32).reshape(len(targets), len(control.labels))

    def target_values(self, control: ChoicesSchema, targets: Floats) -> list[LabelValue]:
        """All labels with at least half of the votes or, with a single choice, with most votes."""
        has_label = targets >= (0.5 if control.multiple else targets.max(axis=1, keepdims=True))
        names = np.array(control.labels)
        return [tuple(names[mask].tolist()) for mask in has_label]

    def are_tied(self, control: ChoicesSchema, targets: Floats) -> Mask:
        return annotation_check.are_tied(control, targets)

    def strata(self, control: ChoicesSchema, targets: Floats) -> Mask:
        return np.asarray(targets > 0)

    def learner(self, control: ChoicesSchema, plugin: str) -> Learner:
        learner = registry.learner(plugin)
        return PairLearner(learner) if control.antisymmetric else learner

    def learnable_rows(self, control: ChoicesSchema, vectors: Floats) -> Mask | None:
        """Without comparisons of equal texts, about which annotators can only guess."""
        return have_different_sides(vectors) if control.antisymmetric else None

    def fit_document(self, control: ChoicesSchema) -> dict[str, Any]:
        return {"labels": control.labels, "multiple": control.multiple, "antisymmetric": control.antisymmetric}

    def fitted_schema(self, document: Mapping[str, Any]) -> ChoicesSchema:
        return ChoicesSchema(
            name="",
            source="",
            labels=tuple(document["labels"]),
            multiple=document["multiple"],
            antisymmetric=document.get("antisymmetric", False),  # earlier artifacts have no comparisons
        )

    def remap(self, control: ChoicesSchema, rows: Floats, old: ChoicesSchema) -> Floats | None:
        """None unless the labels are the same, perhaps in another order."""
        same_form = (control.multiple, control.antisymmetric) == (old.multiple, old.antisymmetric)
        if {*control.labels} != {*old.labels} or not same_form:
            return None
        return rows if control.labels == old.labels else rows[:, [old.labels.index(label) for label in control.labels]]

    def adapt(self, control: ChoicesSchema, predicted: Floats, old: ChoicesSchema) -> Floats:
        """Probabilities of 0 for labels that the learner was not fitted on."""
        if control.labels == old.labels:
            return predicted
        adapted = np.zeros((len(predicted), len(control.labels)), np.float32)
        for column, label in enumerate(control.labels):
            if label in old.labels:
                adapted[:, column] = predicted[:, old.labels.index(label)]
        if not control.multiple:
            adapted += 1e-6  # without any of the fitted labels, all labels are equally likely
            adapted /= adapted.sum(axis=1, keepdims=True)
        return adapted

    def pack_targets(self, control: ChoicesSchema, targets: Floats) -> Tensors:
        return tensor_packing.pack(targets, control.multiple)

    def unpack_targets(self, control: ChoicesSchema, tensors: Tensors) -> Floats:
        return tensor_packing.unpack(tensors, len(control.labels))

    def pack_predicted(self, control: ChoicesSchema, predicted: Floats) -> Tensors:
        """Rounded to 16 bits. The decision stays the same unless rounding makes a tie."""
        return {HELD_OUT: predicted.astype(np.float16)}

    def unpack_predicted(self, control: ChoicesSchema, tensors: Tensors) -> Floats:
        return tensors.pop(HELD_OUT).astype(np.float32)

    def predictions(self, control: ChoicesSchema, predicted: Floats) -> ChoicePredictions:
        return ChoicePredictions(predicted, control.multiple, skips_undecided=control.antisymmetric)

    def drafts(self, control: ChoicesSchema, predicted: Floats) -> list[tuple[LabelValue, float] | None]:
        """The confidence is `scoring.confidence`. Nothing is drafted for undecided comparisons."""
        is_drafted = ~are_missing(predicted)
        if control.antisymmetric:
            is_drafted &= ~is_undecided(predicted)
        chosen, names = scoring.decide(predicted, control), np.array(control.labels)
        confidences = scoring.confidence(predicted, chosen, control.multiple).tolist()
        return [
            (tuple(names[mask].tolist()), confidence) if drafted else None
            for mask, confidence, drafted in zip(chosen, confidences, is_drafted, strict=True)
        ]

    def cold_start(
        self, control: ChoicesSchema, drafter: Drafter, texts: Sequence[str], vectors: Floats
    ) -> Floats | None:
        """None for comparisons and ratings, because the names of sides and numbers mean nothing. If several labels may
        hold, a draft has at most `MAX_COLD_START_LABELS`: names that are alike would all be drafted."""
        if control.antisymmetric or control.ordered:
            return None
        predicted = drafter.draft(texts, vectors, control)
        if control.multiple and len(control.labels) > MAX_COLD_START_LABELS:
            lowest_drafted = np.partition(predicted, -MAX_COLD_START_LABELS, axis=1)[:, [-MAX_COLD_START_LABELS]]
            predicted = np.where(predicted < lowest_drafted, np.minimum(predicted, NOT_DRAFTED), predicted)
        return predicted

    def doubts_learner(self, control: ChoicesSchema) -> bool:
        """If several of many labels may hold, few annotations say nothing of most labels."""
        return control.multiple

    def support(self, control: ChoicesSchema, predicted: Floats, drafted: Floats) -> Floats:
        """The sum of the log-odds of the drafted labels."""
        p = np.clip(predicted, MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        return np.asarray((np.log(p / (1 - p)) * scoring.decide(drafted, control)).sum(axis=1), np.float32)

    def scores(self, control: ChoicesSchema, predicted: Floats, targets: Floats) -> Doubles:
        return scoring.row_scorer(control)(predicted, targets)

    def score_name(self, control: ChoicesSchema) -> str:
        return "closeness" if control.ordered else ACCURACY

    def expected_errors(self, control: ChoicesSchema, predicted: Floats, targets: Floats) -> Floats:
        return scoring.expected_errors(predicted, targets, control)

    def agreement(self, control: ChoicesSchema, earlier: Floats, later: Floats) -> float:
        """Cohen's kappa of the labels or, if several may hold, of all the yes-no decisions."""
        if control.multiple:
            first, second = (decide_labels(p, multiple=True).ravel().astype(np.int64) for p in (earlier, later))
        else:
            first, second = earlier.argmax(axis=1), later.argmax(axis=1)
        return kappa(first, second)

    def without_learner(self, control: ChoicesSchema, targets: Floats, n: int) -> Floats:
        shares = targets.mean(axis=0) if len(targets) else np.full(len(control.labels), 1 / len(control.labels))
        return np.tile(np.asarray(shares, np.float32), (n, 1))

    def metrics(self, control: ChoicesSchema, predicted: Floats, targets: Floats) -> dict[str, float]:
        return scoring.structure_metrics(predicted, targets, control)

    def simulation_metrics(
        self, control: ChoicesSchema, predicted: Floats, targets: Floats, *, in_group: bool = False
    ) -> dict[str, float]:
        """Labels with an order also have a closeness; their accuracy is the share of exactly right drafts."""
        measure = group_metrics if in_group else simulation_metrics
        metrics = measure(predicted, scoring.decide(predicted, control), targets, control.multiple)
        if control.ordered:
            scores = self.scores(control, predicted, targets)
            metrics |= {"accuracy": float((scores == 1).mean()), self.score_name(control): float(scores.mean())}
        return metrics

    def label_masks(self, control: ChoicesSchema, predicted: Floats, targets: Floats) -> LabelMasks:
        annotated = scoring.annotated_labels(targets, control)
        return LabelMasks(scoring.decide(predicted, control), annotated, ~annotated & (targets >= 0.5))

    def label_scores(self, control: ChoicesSchema, predicted: Floats, targets: Floats) -> dict[str, tuple[float, int]]:
        drafted = scoring.decide(predicted, control)
        occurs = (drafted | decide_labels(targets, control.multiple)).any(axis=0)
        scores, support = f1_scores(drafted.astype(np.float32), targets, control.multiple)
        labels = np.array(control.labels)[occurs].tolist()
        return dict(zip(labels, zip(scores.tolist(), support.tolist(), strict=True), strict=True))

    def label_agreement(self, control: ChoicesSchema, predicted: Floats, targets: Floats) -> dict[str, tuple[int, int]]:
        return scoring.label_agreement(predicted, targets, control)

    def balance(self, control: ChoicesSchema, targets: Floats, source: EstimateSource) -> dict[str, Estimate]:
        return class_balance(targets, control.labels, source)

    def suspected_errors(
        self, control: ChoicesSchema, predicted: Floats, targets: Floats, protected: Mask, budget: int
    ) -> list[SuspectedError]:
        suspects = find_label_errors(predicted, targets, control.multiple, protected, budget)
        return [
            SuspectedError(
                row=row,
                instead=tuple(label for label, holds in zip(control.labels, mask, strict=True) if holds),
                confidence=round(float(np.where(mask, predicted[row], 1).min()), 4),
            )
            for row, mask in zip(suspects.rows.tolist(), suspects.instead.tolist(), strict=True)
        ]

    def irregularities(
        self, control: ChoicesSchema, tasks: Sequence[int], targets: Floats, annotations: Sequence[Annotation]
    ) -> Iterator[str]:
        yield from annotation_check.irregularities(control, tasks, targets, annotations)

    def describes_labels(self, control: ChoicesSchema) -> bool:
        """Whether the labels are no sides of a comparison."""
        return not control.antisymmetric

    def reply_format(
        self, control: ChoicesSchema, descriptions: Mapping[str, str] = NO_DESCRIPTIONS, refusal: str = ""
    ) -> ReplyFormat:
        return teacher_replies.reply_format(control, descriptions, refusal)

    def reply_of(self, control: ChoicesSchema, value: LabelValue, text: str) -> Any:
        return list(value) if control.multiple else value[0]

    def read_replies(self, control: ChoicesSchema, replies: Floats, texts: Texts) -> Floats:
        return teacher_replies.normalized(replies, control)

    def reply_problem(self, control: ChoicesSchema, reply: Floats, text: str, refusal: float) -> str:
        [draft] = self.drafts(control, self.read_replies(control, reply[None], texts_at([text])))
        return teacher_replies.reply_problem(control, reply, draft[0] if draft else (), refusal)

    def reliability(self, control: ChoicesSchema, predicted: Floats, targets: Floats, *, is_trusted: bool) -> Doubles:
        """The confusion matrix of the teacher and the annotators, see `confusion_model`."""
        trust = 1.0 if is_trusted else confusion_model.TRUST
        return confusion_model.confusion(predicted, targets, control.multiple, trust)

    def expected(self, control: ChoicesSchema, predicted: Floats, reliability: Doubles) -> Floats:
        return confusion_model.corrected(predicted, reliability, control.multiple)


CHOICES = ChoicesKind()

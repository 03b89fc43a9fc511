"""The contract of every kind of labels, to be run on any kind, including your own.

    from kind_contract import KindContract

    class TestMine(KindContract):
        kind = Mine()
        config = '<View><Text name="text" value="$text"/><MyTag name="control" toName="text"/></View>'
        values = (("a value",), ("another one",), ("a third one",))

Set `plugins` to what the entry points of your package name, if it is not installed. Needs this file and
`prediction_validation.py` beside it, and pytest's `register_assert_rewrite("kind_contract")` for the best messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest
from fake_encoder import FakeEncoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prediction_validation import validation_errors
from safetensors.numpy import load, save

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Rows, TrainingSet, are_missing, content_bytes, missing_rows
from ml_backend.core.ports import Learner, predict_rows
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.types import (
    UNREADABLE_CODES,
    Annotation,
    EstimateSource,
    Label,
    LabelValue,
    TaskContent,
    content_key,
)
from ml_backend.kinds.base import Kind
from ml_backend.kinds.lookup import fitted_schema, kind_of, kinds_by_tag, learner_name
from ml_backend.label_studio.label_config import read_schema
from ml_backend.storage.columns import label_value
from plugins.teachers.similarity import Similarity

TASKS_PER_VALUE, DIMENSIONS = 8, 16
EACH_KIND_RUNS_IT = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)


class KindContract:
    """What the rest of Apprentice relies on.

    kind     the kind
    config   a labelling configuration whose only control that can be learnt is of the kind
    values   at least two different values of this control, as annotators may submit them: in tasks with the content
             `content_of`, if that matters
    plugins  other plugins that the kind needs, such as its learner, by `<kind>.<name>`
    """

    kind: ClassVar[Kind[Any]]
    config: ClassVar[str]
    values: ClassVar[tuple[LabelValue, ...]]
    plugins: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def installed(self) -> Iterator[None]:
        with registry.overridden({f"kind.{self.kind.name}": self.kind, **self.plugins}):
            yield

    @pytest.fixture
    def control(self) -> ControlSchema:
        [control] = read_schema(self.config).controls
        return control

    @pytest.fixture
    def targets(self, control: ControlSchema) -> Rows:
        """(n,) the values in turn."""
        rows = [self._target(control, self.values[row % len(self.values)]) for row in range(self._n)]
        return self.kind.as_targets(control, rows)

    @pytest.fixture
    def vectors(self) -> Floats:
        """(n, d) of unit length: tasks with the same value are near each other."""
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(len(self.values), DIMENSIONS))
        vectors = centres[np.arange(self._n) % len(self.values)] + 0.2 * rng.normal(size=(self._n, DIMENSIONS))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    @pytest.fixture
    def predicted(self, control: ControlSchema, targets: Rows, vectors: Floats) -> Rows:
        """(n,) held-out predictions."""
        return self._learner(control).fit(self._training_set(control, vectors, targets), seed=0).held_out

    @property
    def _n(self) -> int:
        return TASKS_PER_VALUE * len(self.values)

    @property
    def _contents(self) -> list[TaskContent]:
        """The content of a task for each of the values."""
        return [self.content_of(row) for row in range(len(self.values))]

    @property
    def _texts(self) -> Texts:
        return texts_at([content.text for content in self._contents])

    def content_of(self, row: int) -> TaskContent:
        """The content of one of n tasks, which have the values in turn. Texts of tasks with the same value have a word
        in common."""
        text = f"topic{row % len(self.values)} text {row}"
        return TaskContent(row, text, content_key(text))

    def _replies(self, control: ControlSchema) -> list[Any]:
        """The reply of a teacher for each of the values."""
        pairs = zip(self.values, self._contents, strict=True)
        return [self.kind.reply_of(control, value, content.text) for value, content in pairs]

    def _target(self, control: ControlSchema, value: LabelValue) -> Any:
        target = self.kind.aggregate(control, [Label(value)])
        assert target is not None, "a value of a single annotator is a target"
        return target

    def _training_set(self, control: ControlSchema, vectors: Floats, targets: Rows) -> TrainingSet:
        texts = texts_at([self.content_of(row).text for row in range(self._n)])
        weights = np.ones(self._n, np.float32)
        return TrainingSet(vectors, targets, weights, fitted_schema(control), texts=texts)

    def choice_of(self, control: ControlSchema, value: LabelValue) -> str:
        """A choice that a value has, as a condition that shows another control names it."""
        return self.kind.in_words(control, value)[-1]

    def _says(self, draft: LabelValue, value: LabelValue) -> bool:
        """Whether the value of a draft, which may have probabilities, says the same as another value."""
        return self.kind.draft_outcome(draft, value) == "accepted"

    def _learner(self, control: ControlSchema) -> Learner:
        return self.kind.learner(control, learner_name(control, "logistic"))

    # The labelling configuration

    def test_a_control_of_its_tags_is_read_as_a_hashable_schema_of_the_kind(self, control: ControlSchema) -> None:
        assert control.kind == self.kind.name and control.tag in self.kind.tags
        assert kind_of(control) is self.kind and kinds_by_tag()[control.tag] is self.kind
        assert set(self.kind.tags.values()) <= {1, 2}
        [again] = read_schema(self.config).controls
        assert again == control and hash(again) == hash(control)
        assert self.kind.schema_problem(control) == "", "it is learnt"
        assert all(isinstance(part, int) for part in self.kind.learning_order(control))
        assert self.kind.describe_control(control)

    # Annotations and drafts in Label Studio

    def test_what_is_written_is_read_back_unchanged(self, control: ControlSchema) -> None:
        assert len({*self.values}) == len(self.values) >= 2
        for value, content in zip(self.values, self._contents, strict=True):
            regions = self.kind.write_regions(value, control, content)
            assert self.kind.read_label(regions, control, content) == Label(value)

    def test_a_value_survives_the_database(self) -> None:
        for value in self.values:
            assert label_value(json.loads(json.dumps(value))) == value

    def test_label_studio_accepts_the_drafts_unless_its_bulk_import_drops_them(self, control: ControlSchema) -> None:
        for value, content in zip(self.values, self._contents, strict=True):
            names = {"id": "draft", "from_name": control.name, "to_name": control.source}
            regions = [names | region for region in self.kind.write_regions(value, control, content)]
            assert regions, "a value has at least one region"
            is_valid = not validation_errors(self.config, regions)
            assert is_valid != self.kind.bulk_import_drops(control)

    @settings(max_examples=100, deadline=None, suppress_health_check=EACH_KIND_RUNS_IT)
    @given(regions=st.lists(st.dictionaries(st.sampled_from(["value", "type", "id"]), json_values), max_size=3))
    def test_regions_of_any_shape_are_read_without_an_error(
        self, control: ControlSchema, regions: list[dict[str, Any]]
    ) -> None:
        label = self.kind.read_label(regions, control, self._contents[0])
        assert label.unread in ("", "partly", *UNREADABLE_CODES, *self.kind.unread_reasons)
        assert label_value(json.loads(json.dumps(label.value))) == label.value

    def test_a_draft_is_accepted_only_if_the_annotator_says_the_same(self) -> None:
        for drafted in self.values:
            for annotated in self.values:
                outcome = self.kind.draft_outcome(drafted, annotated)
                assert outcome in ("accepted", "edited", "replaced")
                assert (outcome == "accepted") == (drafted == annotated)

    def test_a_condition_is_fulfilled_by_the_choices_of_a_value(self, control: ControlSchema) -> None:
        for value in self.values:
            assert self.kind.has_choice(control, value, ())
            assert self.kind.has_choice(control, value, ["no such choice", self.choice_of(control, value)])
            assert not self.kind.has_choice(control, value, ["no such choice"])
        assert not self.kind.has_choice(control, (), ())
        assert self.kind.leaves_out_hidden_draft(control) in (True, False)

    def test_nothing_is_unknown_in_a_value(self, control: ControlSchema) -> None:
        assert all(self.kind.unknown_labels(Label(value), control) == () for value in self.values)

    # Targets

    def test_annotators_who_agree_count_as_one(self, control: ControlSchema) -> None:
        for value in self.values:
            one, two = (self.kind.aggregate(control, [Label(value)] * n) for n in (1, 2))
            assert content_bytes(one) == content_bytes(two)
            assert self.kind.target_values(control, self.kind.as_targets(control, [one])) == [value]

    def test_the_order_of_the_annotators_does_not_matter(self, control: ControlSchema) -> None:
        labels = [Label(value) for value in self.values]
        targets = [self.kind.aggregate(control, order) for order in (labels, labels[::-1])]
        assert content_bytes(targets[0]) == content_bytes(targets[1])

    def test_what_could_not_be_read_is_no_target(self, control: ControlSchema) -> None:
        assert self.kind.aggregate(control, []) is None
        for code in UNREADABLE_CODES:
            assert self.kind.aggregate(control, [Label((), code)]) is None

    def test_targets_are_rows_also_if_there_are_none(self, control: ControlSchema, targets: Rows) -> None:
        none = self.kind.as_targets(control, [])
        assert (none.dtype, none.shape[1:], len(none)) == (targets.dtype, targets.shape[1:], 0)
        assert targets.dtype in (np.float32, object) and len(targets) == self._n
        assert not are_missing(targets).any() and are_missing(missing_rows(targets, 3)).all()
        assert targets.dtype != object or all(map(_is_plain, targets)), "their content is hashed, and compared"
        assert self.kind.strata(control, targets).shape[0] == self.kind.are_tied(control, targets).shape[0] == self._n

    def test_targets_are_packed_without_loss(self, control: ControlSchema, targets: Rows) -> None:
        for rows in (targets, targets[:0]):
            tensors = {"weights": np.zeros(1), **self.kind.pack_targets(control, rows)}
            assert all(name.startswith("snapshot.") for name in tensors if name != "weights")
            unpacked = self.kind.unpack_targets(control, tensors)
            assert (unpacked.dtype, unpacked.shape) == (rows.dtype, rows.shape)
            assert content_bytes(unpacked) == content_bytes(rows)
            assert tensors.keys() == {"weights"}, "unpacking removes the kind's tensors, and no others"

    # Learning

    def test_a_fit_depends_on_properties_that_json_can_hold(self, control: ControlSchema) -> None:
        document = json.loads(json.dumps(self.kind.fit_document(control)))
        fitted = self.kind.fitted_schema(document)
        assert fitted == fitted_schema(control) == fitted_schema(fitted)
        assert fitted.kind == self.kind.name

    def test_the_learner_learns_the_values_from_others(
        self, control: ControlSchema, targets: Rows, predicted: Rows
    ) -> None:
        assert len(predicted) == self._n and not are_missing(predicted).any()
        drafts = self.kind.drafts(control, predicted)
        values = self.kind.target_values(control, targets)
        right = sum(
            draft is not None and self._says(draft[0], value) for draft, value in zip(drafts, values, strict=True)
        )
        assert right >= 0.8 * self._n, "held-out predictions of well separated values"

    def test_a_fit_is_deterministic_and_predicts_each_row_by_itself(
        self, control: ControlSchema, targets: Rows, vectors: Floats
    ) -> None:
        learner, train = self._learner(control), self._training_set(control, vectors, targets)
        first, second = (learner.fit(train, seed=1) for _ in range(2))
        assert content_bytes(first.held_out) == content_bytes(second.held_out)
        order = np.random.default_rng(1).permutation(self._n)
        straight = predict_rows(learner, first.tensors, vectors, train.texts)
        shuffled = predict_rows(learner, first.tensors, vectors[order], train.texts_of(order))
        drafts = [self.kind.drafts(control, rows) for rows in (straight[order], shuffled)]
        for one, other in zip(*drafts, strict=True):
            assert one == other or (one and other and one[0] == other[0] and one[1] == pytest.approx(other[1]))

    def test_predictions_come_back_from_an_artifact_with_the_same_drafts(
        self, control: ControlSchema, predicted: Rows
    ) -> None:
        tensors = self.kind.pack_predicted(control, predicted)
        assert all(name.startswith("snapshot.") for name in tensors)
        once = self.kind.unpack_predicted(control, tensors)
        assert not tensors
        twice = self.kind.unpack_predicted(control, self.kind.pack_predicted(control, once))
        assert content_bytes(once) == content_bytes(twice), "rounding once is enough"
        values = [[draft and draft[0] for draft in self.kind.drafts(control, rows)] for rows in (predicted, once)]
        assert values[0] == values[1]

    def test_an_unchanged_control_changes_no_row(self, control: ControlSchema, targets: Rows, predicted: Rows) -> None:
        for rows in (targets, predicted):
            remapped = self.kind.remap(control, rows, fitted_schema(control))
            assert remapped is not None and content_bytes(remapped) == content_bytes(rows)
        adapted = self.kind.adapt(control, predicted, fitted_schema(control))
        assert content_bytes(adapted) == content_bytes(predicted)

    # Drafts and the queue

    def test_a_draft_is_a_value_with_a_confidence_and_a_missing_row_has_none(
        self, control: ControlSchema, predicted: Rows
    ) -> None:
        drafts = self.kind.drafts(control, predicted)
        assert len(drafts) == self._n
        for row, (value, confidence) in ((row, draft) for row, draft in enumerate(drafts) if draft):
            assert isinstance(confidence, float) and 0 <= confidence <= 1
            content = self.content_of(row)
            if value:
                regions = self.kind.write_regions(value, control, content)
                assert self._says(value, self.kind.read_label(regions, control, content).value)
            assert all(isinstance(word, str) for word in self.kind.in_words(control, value))
        assert self.kind.drafts(control, missing_rows(predicted, 3)) == [None] * 3

    def test_the_embedded_teacher_drafts_values_or_nothing(self, control: ControlSchema) -> None:
        texts = ["one text", "another one"]
        encoder = FakeEncoder()
        predicted = self.kind.cold_start(control, Similarity(encoder.encode), texts, encoder.encode(texts))
        assert predicted is None or len(self.kind.drafts(control, predicted)) == 2

    def test_the_uncertainty_of_a_row_is_a_number_from_0_to_1(self, control: ControlSchema, predicted: Rows) -> None:
        predictions = self.kind.predictions(control, predicted)
        rows = np.arange(self._n)[::2]
        assert len(predictions) == self._n and predictions.is_finite().all()
        for measure in ("margin", "least confidence", "entropy"):
            uncertainty = predictions.uncertainty(measure, rows)
            assert uncertainty.dtype == np.float32 and uncertainty.shape == rows.shape
            assert ((uncertainty >= 0) & (uncertainty <= 1)).all()
            alone = predictions.take(rows).uncertainty(measure, np.arange(len(rows)))
            assert alone == pytest.approx(uncertainty)
        residuals = predictions.gradient_residuals(rows)
        assert residuals is None or len(residuals) == len(rows)

    def test_the_support_of_a_draft_is_a_number_for_each_row(self, control: ControlSchema, predicted: Rows) -> None:
        assert np.isfinite(self.kind.support(control, predicted[::-1], predicted)).shape == (self._n,)

    # Evaluation

    def test_a_score_is_1_for_a_right_draft_and_lower_for_others(
        self, control: ControlSchema, targets: Rows, predicted: Rows
    ) -> None:
        scores = self.kind.scores(control, predicted, targets)
        errors = self.kind.expected_errors(control, predicted, targets)
        assert scores.shape == errors.shape == (self._n,)
        assert scores.dtype == np.float64 and errors.dtype == np.float32
        assert ((scores >= 0) & (scores <= 1) & (errors >= 0) & (errors <= 1)).all()
        values = self.kind.target_values(control, targets)
        for draft, value, score in zip(self.kind.drafts(control, predicted), values, scores, strict=True):
            assert draft is None or self._says(draft[0], value) == (score == 1)
        assert scores.mean() > self.kind.scores(control, predicted, np.roll(targets, 1, axis=0)).mean()

    def test_a_learner_agrees_with_itself(self, control: ControlSchema, predicted: Rows) -> None:
        assert self.kind.agreement(control, predicted, predicted) == pytest.approx(1)
        assert self.kind.agreement(control, predicted, predicted[::-1]) < 1

    def test_without_a_learner_every_row_has_the_same_prediction(self, control: ControlSchema, targets: Rows) -> None:
        for known in (targets[:5], targets[:0]):
            rows = self.kind.without_learner(control, known, 3)
            assert len(rows) == 3 and len({content_bytes(row) for row in rows}) == 1
            assert self.kind.scores(control, rows, targets[:3]).shape == (3,)

    def test_metrics_are_finite_numbers(self, control: ControlSchema, targets: Rows, predicted: Rows) -> None:
        of_test = self.kind.simulation_metrics(control, predicted, targets)
        of_group = self.kind.simulation_metrics(control, predicted[:4], targets[:4], in_group=True)
        main_metric = self.kind.main_metric(control)
        assert 0 <= of_test[main_metric] <= 1 and 0 <= of_group[main_metric] <= 1
        metrics = self.kind.metrics(control, predicted, targets)
        numbers = [*of_test.values(), *of_group.values(), *metrics.values()]
        assert all(np.isfinite(number) for number in numbers)
        assert self.kind.score_name(control)
        assert main_metric in {self.kind.score_name(control), *metrics}

    def test_regions_are_counted_in_each_task_or_in_none(self, control: ControlSchema, targets: Rows) -> None:
        counts = self.kind.region_counts(control, targets)
        if counts is not None:
            assert counts.shape == (len(targets),) and counts.dtype == np.int64 and (counts >= 0).all()
            backwards = self.kind.region_counts(control, targets[::-1])
            assert backwards is not None and backwards.tolist() == counts[::-1].tolist()

    def test_figures_by_label_are_about_the_labels_of_the_control(
        self, control: ControlSchema, targets: Rows, predicted: Rows
    ) -> None:
        agreement = self.kind.label_agreement(control, predicted, targets)
        balance = self.kind.balance(control, targets, EstimateSource.AUDIT_SAMPLE)
        scores = self.kind.label_scores(control, predicted, targets)
        assert {*agreement, *balance, *scores} <= {*control.labels}
        assert all(0 <= agreed <= n for agreed, n in agreement.values())
        masks = self.kind.label_masks(control, predicted, targets)
        shapes = {mask.shape for mask in (masks.drafted, masks.annotated, masks.disputed)}
        assert len(shapes) == 1 and shapes <= {(self._n, len(control.labels)), (self._n, 0)}

    def test_the_main_metric_is_the_mean_of_the_scores_with_their_weights(
        self, control: ControlSchema, targets: Rows, predicted: Rows
    ) -> None:
        for expected in (targets, np.roll(targets, 1, axis=0)):
            scores = self.kind.scores(control, predicted, expected)
            weights = self.kind.score_weights(control, predicted, expected)
            assert weights is None or (weights.shape == scores.shape and (weights >= 0).all())
            metrics = {self.kind.score_name(control): scores.mean(), **self.kind.metrics(control, predicted, expected)}
            assert np.average(scores, weights=weights) == pytest.approx(metrics[self.kind.main_metric(control)])

    def test_irregularities_are_sentences(self, control: ControlSchema, targets: Rows) -> None:
        values = self.kind.target_values(control, targets)
        annotations = [Annotation(row, row, 1, {control.name: Label(value)}) for row, value in enumerate(values)]
        found = [*self.kind.irregularities(control, range(self._n), targets, annotations)]
        assert all(isinstance(sentence, str) and sentence for sentence in found)

    def test_suspected_errors_are_bounded_and_never_of_protected_rows(
        self, control: ControlSchema, targets: Rows, predicted: Rows
    ) -> None:
        wrong = np.roll(targets, 1, axis=0)
        protected = np.arange(self._n) % 2 == 0
        suspects = self.kind.suspected_errors(control, predicted, wrong, protected, budget=3)
        assert len(suspects) <= 3 and len({suspect.row for suspect in suspects}) == len(suspects)
        for suspect in suspects:
            assert not protected[suspect.row] and 0 <= suspect.confidence <= 1
            assert isinstance(suspect.instead, tuple)
            for value in (suspect.instead, suspect.added, suspect.removed):
                assert label_value(json.loads(json.dumps(value))) == value
            assert bool(suspect.added or suspect.removed) == bool(self.kind.part_name)
        assert not self.kind.suspected_errors(control, predicted, wrong, np.ones(self._n, np.bool_), budget=3)

    # Parts of values

    def test_a_draft_has_errors_in_its_parts_where_its_score_is_below_one(
        self, control: ControlSchema, targets: Rows, predicted: Rows
    ) -> None:
        wrong = np.roll(targets, 1, axis=0)
        errors = self.kind.part_errors(control, predicted, wrong)
        counts = self.kind.part_counts(control, predicted, wrong)
        if not self.kind.part_name:
            assert (errors, counts, self.kind.part_agreement(control, [])) == ([], {}, None)
            return
        assert {error.row for error in errors} == {*np.flatnonzero(self.kind.scores(control, predicted, wrong) < 1)}
        assert {*counts} <= {*control.labels}
        assert all(0 <= n.right <= min(n.drafted, n.annotated) for n in counts.values())
        for error in errors:
            assert error.name and (error.drafted or error.annotated) and 0 <= error.confidence <= 1
            text = self.content_of(error.row).text
            assert bool(self.kind.quote(control, error.drafted, text)) == bool(error.drafted)

    def test_the_parts_of_a_draft_are_kept_removed_or_added(self) -> None:
        for drafted in self.values:
            for annotated in self.values:
                text = self._contents[0].text
                changes = self.kind.draft_changes(drafted, annotated, text)
                reverse = self.kind.draft_changes(annotated, drafted, text)
                assert (changes.kept, changes.removed, changes.added) == (reverse.kept, reverse.added, reverse.removed)
                assert changes.kept_words == reverse.kept_words
                is_changed = bool(changes.removed or changes.added)
                assert is_changed == (bool(self.kind.part_name or self.kind.changed_part) and drafted != annotated)

    def test_unusual_targets_are_masks_of_the_targets(self, control: ControlSchema, targets: Rows) -> None:
        texts = texts_at([self.content_of(row).text for row in range(self._n)])
        for words, mask in self.kind.unusual_targets(control, texts, targets).items():
            assert words and mask.shape == (self._n,) and mask.dtype == np.bool_

    def test_withheld_drafts_are_those_without_a_draft(self, control: ControlSchema, predicted: Rows) -> None:
        withheld = self.kind.withheld_drafts(control, predicted)
        assert sum(withheld.values()) <= self.kind.drafts(control, predicted).count(None)
        assert isinstance(self.kind.is_predictable(control, predicted, self.kind.as_targets(control, [])), bool)

    def test_checks_leave_the_drafts_of_a_teacher_or_drop_them(self, control: ControlSchema, predicted: Rows) -> None:
        texts = [self.content_of(row).text for row in range(self._n)]
        drafts = self.kind.drafts(control, predicted)
        checked = self.kind.drafts(control, self.kind.checked(control, predicted, texts, {}))
        assert all(after in (None, before) for before, after in zip(drafts, checked, strict=True))
        missing = missing_rows(predicted, self._n)
        assert are_missing(self.kind.checked(control, missing, texts, {})).all()

    def test_a_quote_is_one_line_of_the_text_and_empty_without_the_text(self, control: ControlSchema) -> None:
        for value, content in zip(self.values, self._contents, strict=True):
            quote = self.kind.quote(control, value, content.text)
            assert bool(quote) == bool(self.kind.part_name) and quote.splitlines() in ([], [quote])
            assert self.kind.quote(control, value, content.text, in_context=False) in quote
            assert self.kind.quote(control, value, "") == self.kind.quote(control, (), content.text) == ""

    def test_annotators_who_agree_have_all_parts_in_common(self, control: ControlSchema) -> None:
        same = [[Label(value), Label(value)] for value in self.values]
        agreement = self.kind.part_agreement(control, same)
        assert (agreement is not None) == bool(self.kind.part_name)
        if agreement:
            n_parts = sum(self.kind.draft_changes(value, value, "").kept for value in self.values)
            assert (agreement.tasks, agreement.by_all, agreement.f1) == (len(same), n_parts, 1.0)
            assert agreement.by_most == agreement.by_half == agreement.by_fewer == 0
        assert self.kind.part_agreement(control, [[Label(value)] for value in self.values]) is None

    # The teacher

    def test_a_teacher_can_say_every_value(self, control: ControlSchema, targets: Rows) -> None:
        reply_format = self.kind.reply_format(control)
        if reply_format is None:
            pytest.skip("a teacher is not asked about this kind")
        assert reply_format.decision and reply_format.max_tokens > 0
        assert self.kind.replies_with_labels == bool(reply_format.labels)
        json.dumps(reply_format.identity)
        replies = self._replies(control)
        for reply in replies:
            jsonschema.validate(reply, reply_format.schema)
        predicted = self.kind.read_replies(control, _as_replies(replies, reply_format.labels), self._texts)
        drafts = self.kind.drafts(control, predicted)
        assert all(draft and self._says(draft[0], value) for draft, value in zip(drafts, self.values, strict=True))

    def test_a_trusted_teacher_is_believed_until_annotators_contradict_it(self, control: ControlSchema) -> None:
        reply_format = self.kind.reply_format(control)
        if reply_format is None:
            pytest.skip("a teacher is not asked about this kind")
        replies = self._replies(control)
        predicted = self.kind.read_replies(control, _as_replies(replies, reply_format.labels), self._texts)
        none = self.kind.as_targets(control, [])
        trusted = self.kind.reliability(control, predicted[:0], none, is_trusted=True)
        doubted = self.kind.reliability(control, predicted[:0], none, is_trusted=False)
        assert trusted.dtype == doubted.dtype == np.float64
        believed = self.kind.drafts(control, self.kind.expected(control, predicted, trusted))
        assert all(draft and self._says(draft[0], value) for draft, value in zip(believed, self.values, strict=True))
        confidences = []
        for reliability in (doubted, trusted):
            drafts = self.kind.drafts(control, self.kind.expected(control, predicted, reliability))
            confidences.append([draft[1] for draft in drafts if draft])
        assert sum(confidences[0]) <= sum(confidences[1])
        restored = load(save({"values": np.array(doubted, "<f8", order="C")}))["values"]
        assert np.array_equal(restored, doubted), "as it comes back from the database"


def _is_plain(value: Any) -> bool:
    """Whether a value consists of what has the same content in every process."""
    return all(map(_is_plain, value)) if isinstance(value, tuple) else isinstance(value, str | int | float | None)


def _as_replies(replies: list[Any], labels: tuple[str, ...]) -> Rows:
    """The replies as `Kind.read_replies` gets them: of labels, the probability of each is 0 or 1."""
    if labels:
        said = [{reply} if isinstance(reply, str) else {*reply} for reply in replies]
        return np.array([[float(label in reply) for label in labels] for reply in said], np.float32)
    rows = np.empty(len(replies), object)
    for row, reply in enumerate(replies):
        rows[row] = reply
    return rows

"""The scores of the demo's learners on held-out tasks, for labels of different kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
from answer_kind import ANSWER_PLUGINS, AnswerKind
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, WORDS, FakeLabelStudio, text_about
from located_answer_kind import LocatedAnswerKind
from recording_plugins import RecordingLearner
from round_fixtures import MakeRound
from text_project import CONFIG as REWRITING
from text_project import CONTROL as REWRITE
from text_project import polite, source

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Rows, TrainingSet, object_rows
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import Label, LabelValue
from ml_backend.core.words import count_words
from ml_backend.demo.downloads import wheel_file
from ml_backend.demo.held_out import HeldOutEvaluator, shown_drafts
from ml_backend.demo.kinds import DEMO_KINDS
from ml_backend.demo.score_table import header
from ml_backend.demo.texts import DemoTask
from ml_backend.kinds.lookup import fitted_schema, kind_of
from ml_backend.kinds.text.values import MIN_CONFIDENCE, draft_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.storage import Store

REMARK = SINGLE.replace("</View>", '<TextArea name="remark" toName="text"/></View>')
LABELS = (*WORDS,)


class ExactAnswerKind(LocatedAnswerKind):
    """Shows the share of answers that are exactly right, one of its metrics, in place of the mean score."""

    def main_metric(self, control: ControlSchema) -> str:
        return "exact"

    def metrics(self, control: ControlSchema, predicted: Rows, targets: Rows) -> dict[str, float]:
        return {"exact": float(np.mean([pair[0] == target for pair, target in zip(predicted, targets, strict=True)]))}


@pytest.fixture
def answers() -> Iterator[None]:
    with registry.overridden({**ANSWER_PLUGINS, "kind.answer": ExactAnswerKind()}):
        yield


def demo_tasks(first: int, n: int) -> list[DemoTask]:
    tasks = []
    for i in range(first, first + n):
        label = LABELS[i % 3]
        values: dict[str, LabelValue] = {"label": (label,), "remark": (f"about {label}",)}
        tasks.append(DemoTask(text_about(label, i), values, {"text": text_about(label, i)}))
    return tasks


POOL, HELD_OUT = demo_tasks(0, 90), demo_tasks(90, 30)


@pytest.mark.usefixtures("taught")
def test_the_score_of_choices_is_the_share_of_right_labels(
    settings: Settings, store: Store, fake_encoder: FakeEncoder, single: ProjectSchema
) -> None:
    evaluator = HeldOutEvaluator(settings, store, 5, POOL, HELD_OUT)
    evaluator.prepare(30)
    [control] = single.controls
    vectors = fake_encoder.encode([task.text for task in HELD_OUT])
    scores = []
    for order in evaluator._orders:
        train = TrainingSet(
            order.first(20)[0], one_hot(control, order.tasks[:20]), np.ones(20, np.float32), fitted_schema(control),
            priors=evaluator._priors["label"],
        )  # fmt: skip
        learner = registry.learner("logistic")
        probabilities = learner.predict(learner.fit(train, seed=0).tensors, vectors)
        scores.append(float((probabilities.argmax(axis=1) == one_hot(control, HELD_OUT).argmax(axis=1)).mean()))
    assert len({*scores}) > 1
    assert evaluator.random_order_scores(20) == {"label": {"accuracy": pytest.approx(mean(scores))}}
    assert evaluator.active_scores()["label"]["accuracy"] > 0.5


def one_hot(control: ControlSchema, tasks: Sequence[DemoTask]) -> Floats:
    return np.eye(len(control.labels), dtype=np.float32)[
        [control.labels.index(task.values["label"][0]) for task in tasks]
    ]


@pytest.mark.usefixtures("taught")
def test_there_is_no_score_in_random_order_while_all_labels_are_the_same(settings: Settings, store: Store) -> None:
    evaluator = HeldOutEvaluator(settings, store, 5, POOL, HELD_OUT)
    evaluator.prepare(2)
    assert evaluator.random_order_scores(1) == {"label": {}}


@pytest.mark.usefixtures("answers")
def test_another_kind_is_scored_by_its_main_metric_and_its_learner_reads_the_texts(
    make_round: MakeRound, settings: Settings, store: Store
) -> None:
    server = FakeLabelStudio(label_config=REMARK)
    server._valid = lambda row: True  # type: ignore[method-assign]  # it knows no text areas
    server.add_tasks([task.text for task in POOL])
    run_round(make_round(server))
    for number, task in zip([*server.tasks][:30], POOL, strict=False):
        regions = [
            {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [*task.values["label"]]}},
            {"from_name": "remark", "to_name": "text", "type": "textarea", "value": {"text": [*task.values["remark"]]}},
        ]
        server.annotate_with(number, regions)
    run_round(make_round(server))

    evaluator = HeldOutEvaluator(settings, store, 5, POOL, HELD_OUT)
    evaluator.prepare(60)
    scores, at_random = evaluator.active_scores(), evaluator.random_order_scores(60)
    assert {*scores} == {*at_random} == {"label", "remark"}
    for score in (scores["remark"]["exact"], at_random["remark"]["exact"]):
        assert score > 0.5
        assert score * len(HELD_OUT) == pytest.approx(round(score * len(HELD_OUT)), abs=0.21)
    values = {control.name: value for control, value in evaluator.true_values(POOL[4].text)}
    assert values == POOL[4].values
    assert evaluator.words_read() == sum(len(task.text.split()) for task in POOL[:30])
    assert evaluator.random_order_words(10) == 40


@pytest.mark.usefixtures("answers")
def test_a_column_names_its_metric_unless_it_is_the_accuracy_and_words_are_counted_where_regions_are_located() -> None:
    assert header(read_schema(REMARK))[2:-1] == [
        "label", "random order", "remark (exact)", "random order", "words read", "in random order",
    ]  # fmt: skip
    with registry.overridden({"kind.answer": AnswerKind()}):
        assert header(read_schema(REMARK))[2:-1] == ["label", "random order", "remark", "random order"]


def test_a_wheel_that_the_package_index_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ApprenticeError, match=r"no-such-package==1.*cannot be downloaded"):
        wheel_file("no-such-package==1", tmp_path / "texts")


@pytest.mark.usefixtures("taught")
def test_random_order_is_fitted_with_the_sample_of_the_pool_that_the_serving_learners_get(
    settings: Settings, store: Store, logistic: RecordingLearner
) -> None:
    evaluator = HeldOutEvaluator(settings, store, 5, POOL, HELD_OUT)
    evaluator.prepare(20)
    logistic.trained.clear()
    evaluator.random_order_scores(20)
    samples = [train.pool_texts for train in logistic.trained]
    assert len(samples) > 1
    stored = store.tasks.texts(5, store.tasks.ids(5).tolist())
    for sample in samples:
        assert sample is not None and [*sample(np.arange(len(sample)))] == stored, "all tasks: they are few"


REWRITES = [
    DemoTask(source(row), {REWRITE: (polite(source(row)),)}, {"text": source(row)}) for row in range(60)
]  # fmt: skip


def test_without_a_learner_all_words_of_accepted_texts_are_edited(settings: Settings, store: Store) -> None:
    store.projects.ensure(5)
    store.projects.set_label_config(5, REWRITING)
    evaluator = HeldOutEvaluator(settings, store, 5, REWRITES[:40], REWRITES[40:], ["words edited", "accepted"])
    evaluator.prepare(20)
    words = mean(count_words(str(task.values[REWRITE][0])) for task in REWRITES[40:])
    nothing_shown = {REWRITE: {"words edited": pytest.approx(words), "accepted": 0.0}}
    assert evaluator.active_scores() == evaluator.random_order_scores(0) == nothing_shown
    assert evaluator.random_order_scores(20)[REWRITE]["words edited"] < words


def test_a_draft_that_is_not_shown_counts_as_none() -> None:
    [control] = read_schema(REWRITING).controls
    unsure = MIN_CONFIDENCE - 0.01
    predicted = object_rows([("a text", 0.9, 0.1, False), ("a text", unsure, 0.9, False), ()])
    assert [draft_of(row) for row in shown_drafts(control, predicted)] == ["a text", "", ""]
    assert [draft_of(row) for row in predicted] == ["a text", "a text", ""], "the predictions stay as they are"


def test_the_demo_of_rewriting_names_metrics_of_written_texts() -> None:
    demo = DEMO_KINDS["rewrite"]
    [control] = read_schema(demo.read_label_config()).controls
    of_kind = kind_of(control)
    targets = of_kind.as_targets(control, [of_kind.aggregate(control, [Label(("a text",))])])
    assert {*demo.metrics} <= {*of_kind.metrics(control, of_kind.without_learner(control, targets, 1), targets)}

"""A kind of labels that no folder of Apprentice knows goes through the whole loop, beside choices and alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from answer_kind import AnswerKind, NearestAnswer
from fake_encoder import FakeEncoder, install_plugins
from fake_label_studio import SINGLE, WORDS, Body, FakeLabelStudio, text_about
from located_answer_kind import LOCATED_ANSWER_PLUGINS, LocatedAnswerKind
from patient_records import TABLE, add_patients
from round_fixtures import MakeRound, active
from scripted_teacher import ScriptedTeacher
from simulations import SimulationFolder
from teacher_harness import TeacherHarness
from typer.testing import CliRunner

from ml_backend.cli.main import app
from ml_backend.core import registry
from ml_backend.core.arrays import Fit, Floats, Rows, Tensors, TrainingSet
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.core.texts import Texts, texts_at
from ml_backend.core.types import Label, TaskContent
from ml_backend.kinds.lookup import fitted_schema, kinds_by_tag
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.model import fitted_model, project_model, training_sample
from ml_backend.model.fitted_model import TrainingSnapshot
from ml_backend.monitoring.monitor import read_monitor_input, run_monitor
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.project_text import question_sentence
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.simulation_report import write_report
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor

LABEL, REMARK = "topic", "remark"
TEXT_AREA = '<TextArea name="remark" toName="text"/></View>'
BOTH = SINGLE.replace("</View>", TEXT_AREA).replace('name="label"', 'name="topic"')
REMARK_AS_CHOICES = (
    '<Choices name="remark" toName="text"><Choice value="about fruit"/><Choice value="about metal"/></Choices></View>'
)
ALONE = f'<View><Text name="text" value="$text"/>{TEXT_AREA}'
LABELS = (*WORDS,)
TOO_LONG = {"text": ["a word " * 10]}


def label_of(text: str) -> str:
    return next(label for label, words in WORDS.items() if {*words.split()} & {*text.split()})


class LenientLabelStudio(FakeLabelStudio):
    """A server that does not look into the values of regions."""

    def _valid(self, row: Body) -> bool:
        return 0 <= row["score"] <= 1 and row["task"] in self.tasks


class AnsweringTeacher(ScriptedTeacher):
    """Says for each task what it is about, beside the labels."""

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        for question, answer in super()._answers(questions):
            label = label_of(question.text)
            names = question.reply["properties"].keys() - {field.name for field in question.fields}
            said = dict.fromkeys(names, f"about {label}") if question.purpose == "label" else {}
            assert answer.content is not None
            yield question, Answer(question.id, {**answer.content, **said}, answer.shares, answer.calls)


class ComparingAnswerKind(LocatedAnswerKind):
    """Fails unless each reply is about its text."""

    def read_replies(self, control: ControlSchema, replies: Rows, texts: Texts) -> Rows:
        assert replies.tolist() == [f"about {label_of(text)}" for text in texts(np.arange(len(replies)))]
        return super().read_replies(control, replies, texts)


class ComparingNearestAnswer(NearestAnswer):
    """Fails unless each text is that of its vector."""

    def fit(self, train: TrainingSet, seed: int) -> Fit:
        assert_same_tasks(train.vectors, train.texts)
        return super().fit(train, seed)

    def predict(self, tensors: Tensors, vectors: Floats, texts: Texts | None = None) -> Rows:
        assert_same_tasks(vectors, texts)
        return super().predict(tensors, vectors, texts)


def assert_same_tasks(vectors: Floats, texts: Texts | None) -> None:
    assert texts is not None
    rows = np.arange(len(vectors))[::-1]
    np.testing.assert_allclose(FakeEncoder().encode(texts(rows)), np.asarray(vectors)[rows], atol=2e-3)


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    """Adds the plugins of the other package, whose learner reads texts."""
    compared = {"kind.answer": ComparingAnswerKind(), "learner.nearest-answer": ComparingNearestAnswer}
    with registry.overridden({**LOCATED_ANSWER_PLUGINS, **compared}):
        yield


@pytest.fixture
def server() -> FakeLabelStudio:
    return LenientLabelStudio(label_config=BOTH)


def result(label: str, controls: Sequence[str]) -> list[Body]:
    regions = {
        LABEL: {"type": "choices", "value": {"choices": [label]}},
        REMARK: {"type": "textarea", "value": {"text": [f"about {label}"]}},
    }
    return [{"from_name": control, "to_name": "text", **regions[control]} for control in controls]


def add_tasks(server: FakeLabelStudio, n: int) -> dict[int, str]:
    """Adds n tasks. Returns the label of each."""
    server.add_tasks([text_about(LABELS[i % 3], i) for i in range(n)])
    return {task: LABELS[i % 3] for i, task in enumerate(server.tasks)}


def annotate(server: FakeLabelStudio, truth: Mapping[int, str], n: int, controls: Sequence[str]) -> None:
    for task in [task for task in truth if not server.tasks[task]["annotations"]][:n]:
        server.annotate_with(task, result(truth[task], controls))


def drafts(server: FakeLabelStudio, control: str) -> dict[int, Any]:
    """The value of each draft of a control in the published queue, by task."""
    return {
        row["task"]: next(iter(region["value"].values()))[0]
        for row in server.current_predictions()
        for region in row["result"]
        if region["from_name"] == control
    }


@pytest.fixture
def learnt(server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store) -> dict[int, str]:
    """A project of 90 tasks whose second version has learners of both controls, fitted on 30 annotations."""
    truth = add_tasks(server, 90)
    run_round(make_round(server))
    annotate(server, truth, 30, (LABEL, REMARK))
    run_round(make_round(server))
    return truth


def test_its_tag_is_read_and_its_learner_is_used_whatever_the_setting_names() -> None:
    assert {control.name: control.kind for control in read_schema(BOTH).controls} == {
        LABEL: "choices",
        REMARK: "answer",
    }
    ranks = [*kinds_by_tag()]
    assert ranks.index("Choices") < ranks.index("TextArea"), "choices come first, whatever other kinds are called"


def test_a_kind_of_another_package_replaces_a_built_in_one_whatever_its_name() -> None:
    assert kinds_by_tag()["TextArea"].name == "answer"
    for name in ("aaa", "zzz"):
        with registry.overridden({"kind.answer": None, f"kind.{name}": AnswerKind()}):
            assert isinstance(kinds_by_tag()["TextArea"], AnswerKind)
    with registry.overridden({"kind.answer": None}):
        assert kinds_by_tag()["TextArea"].name == "text"


def test_both_controls_are_learnt_and_drafted_in_one_prediction(
    server: FakeLabelStudio, learnt: dict[int, str], store: Store
) -> None:
    version = active(store)
    assert {name: control.learner for name, control in version.controls.items()} == {LABEL: 2, REMARK: 2}
    accuracy = version.controls[REMARK].accuracy
    assert accuracy is not None and accuracy.n == 30 and accuracy.value > 0.5
    remarks, labels = drafts(server, REMARK), drafts(server, LABEL)
    assert len(remarks) == len(labels) == len(server.current_predictions()) == 12
    assert sum(remark == f"about {learnt[task]}" for task, remark in remarks.items()) >= 9
    confidences = [region["score"] for row in server.current_predictions() for region in row["result"]]
    assert all(0 <= confidence <= 1 for confidence in confidences)


def test_its_learner_comes_back_from_the_artifact_and_is_fitted_again_with_new_answers(
    server: FakeLabelStudio, make_round: MakeRound, learnt: dict[int, str], store: Store
) -> None:
    model = project_model.load(store, 5, 2).by_control[REMARK]
    assert sorted({*model.snapshot.targets}) == sorted(f"about {label}" for label in LABELS)
    assert (model.snapshot.plugin, len(model.held_out)) == ("nearest-answer", 30)
    annotate(server, learnt, 10, (REMARK,))
    run_round(make_round(server))
    assert active(store).controls[REMARK].labelled == 40
    assert active(store).controls[LABEL].learner == 2


def test_a_round_without_a_change_is_none(
    server: FakeLabelStudio, make_round: MakeRound, learnt: dict[int, str]
) -> None:
    assert run_round(make_round(server)) is None


def test_it_is_learnt_alone(server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store) -> None:
    server.label_config = ALONE
    truth = add_tasks(server, 60)
    annotate(server, truth, 20, (REMARK,))
    run_round(make_round(server))
    assert active(store).controls[REMARK].learner == 1
    assert sum(remark == f"about {truth[task]}" for task, remark in drafts(server, REMARK).items()) >= 9
    assert {row["model_version"] for row in server.current_predictions()} == {active(store).name}


def test_every_query_strategy_works_on_it_and_the_default_replaces_one_that_needs_class_probabilities(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    server.label_config = ALONE
    truth = add_tasks(server, 60)
    annotate(server, truth, 5, (REMARK,))
    run_round(make_round(server))
    for strategy in sorted(registry.installed("acquisition")):
        options(queue_size=12, audit_share=0.0, acquisition=strategy)
        annotate(server, truth, 3, (REMARK,))
        run_round(make_round(server))
        used, remarks = active(store).acquisition, remarks_text(active(store).remarks)
        assert used == ("cluster-uncertainty" if strategy in ("badge", "inclusive") else strategy)
        assert ("cluster-uncertainty, because badge needs class probabilities" in remarks) == (strategy == "badge")
        assert ("because inclusive ranks the texts that the learner writes" in remarks) == (strategy == "inclusive")
        assert len(server.current_predictions()) == 12


def test_status_names_its_score_and_its_answers(server: FakeLabelStudio, learnt: dict[int, str], store: Store) -> None:
    status = read_status(store, 5)
    lines = [f"{name}: {text}" for name, text in status_lines(status)]
    assert any(REMARK in line and "30" in line for line in lines), lines


def test_the_monitor_judges_it(
    server: FakeLabelStudio, make_round: MakeRound, learnt: dict[int, str], store: Store
) -> None:
    context = make_round(server)
    control = next(control for control in read_schema(BOTH).controls if control.name == REMARK)
    row = store.projects.ensure(5)
    monitor_input = read_monitor_input(store, context.pool, context.aggregator, row, control, ProjectSettings())
    assert monitor_input is not None
    found = run_monitor(monitor_input)
    assert found["labelled"] == 30 and found["balance"] == {} and found["second_look"] == []
    assert found["stopping"]["verdict"] == "too early"


def test_the_report_quotes_its_mistakes(
    server: FakeLabelStudio, make_round: MakeRound, learnt: dict[int, str], store: Store, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    task = next(task for task in learnt if not server.tasks[task]["annotations"])
    server.annotate_with(task, [{**result("fruit", [REMARK])[0], "value": {"text": ["something else altogether"]}}])
    run_round(make_round(server))
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    printed = CliRunner().invoke(app, ["report", "--project", "5", "--control", REMARK])
    assert printed.exit_code == 0, printed.output
    assert "something else altogether" in printed.output


def test_predict_drafts_it_on_request(
    server: FakeLabelStudio, learnt: dict[int, str], store: Store, settings: Settings
) -> None:
    [prediction] = Predictor(settings, store).predict(5, BOTH, [1000], ["iron copper zinc n1"])
    assert prediction.drafts[REMARK].value == ("about metal",)


def test_a_teacher_is_asked_once_for_both_and_drafts_both(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store, settings: Settings,
    use_teacher: Callable[[Any], None],
) -> None:  # fmt: skip
    teacher = AnsweringTeacher()
    use_teacher(teacher)
    options(queue_size=12, audit_share=0.0, teacher_labels=20, teacher_ahead=12)
    truth = add_tasks(server, 60)
    run_round(make_round(server))
    harness = TeacherHarness(settings, store, server, make_round, teacher)
    harness.finish()
    questions = [question for question in teacher.asked if question.purpose == "label"]
    assert {tuple(question.reply["required"]) for question in questions} == {(LABEL, REMARK)}
    assert len({question.text for question in questions}) == len(questions)
    priors = store.projects.require(5).distillations
    assert {name: prior["made_of"]["plugin"] for name, prior in priors.items()} == {
        LABEL: "logistic",
        REMARK: "nearest-answer",
    }
    harness.round()
    remarks = drafts(server, REMARK)
    assert remarks and all(remark == f"about {truth[task]}" for task, remark in remarks.items())
    annotate(server, {task: truth[task] for task in remarks}, 10, (LABEL, REMARK))
    harness.round()
    harness.finish()
    document = store.stats.document(5)["controls"][REMARK]["teacher"]
    assert document["agreement"]["teacher"]["overall"]["value"] == 1.0
    task = next(iter(remarks))
    [prediction] = Predictor(settings, store).predict(5, BOTH, [task], [server.tasks[task]["data"]["text"]])
    assert prediction.drafts[REMARK].value == (f"about {truth[task]}",)


@pytest.mark.parametrize("learner", ["logistic", "nearest-answer"])
def test_it_is_simulated(
    tmp_path: Path, settings: Settings, fake_encoder: object, options: Callable[..., None], learner: str
) -> None:
    options(learner=learner)
    simulation = SimulationFolder(tmp_path, settings)
    (tmp_path / "config.xml").write_text(ALONE)
    simulation.write(
        [
            {
                "id": number,
                "data": {"text": text_about(LABELS[number % 3], number)},
                "annotations": [{"id": number, "completed_by": 1, "result": result(LABELS[number % 3], (REMARK,))}],
            }
            for number in range(1, 40)
        ]
    )
    simulator = simulation.run()
    accuracies = [measurement.value for measurement in simulation.numbers() if measurement.metric == "accuracy"]
    assert accuracies and all(0 <= value <= 1 for value in accuracies)
    concluded = simulator.conclude()
    assert concluded.summary["protocol"]["metric"] == "accuracy"
    assert "accuracy" in write_report(concluded, tmp_path)


def test_a_training_set_larger_than_the_sample_is_fitted_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_sample, "MAX_FITTED_TASKS", 40)
    monkeypatch.setattr(fitted_model, "MAX_CROSS_VALIDATED_AGAIN", 30)
    [control] = read_schema(ALONE).controls
    model = None
    for number, n in enumerate((50, 60), start=1):
        texts = [text_about(LABELS[row % 3], row) for row in range(n)]
        targets = np.array([f"about {LABELS[row % 3]}" for row in range(n)], object)
        snapshot = TrainingSnapshot("nearest-answer", "space", fitted_schema(control), np.arange(n), b"", targets)
        train = snapshot.training_set(FakeEncoder().encode(texts), texts_at(texts))
        model, fit = fitted_model.fit_model(snapshot, train, model, number)
        assert model is not None and fit is not None
        assert isinstance(model.snapshot.learner, NearestAnswer)
        for held_out in (fit.held_out, fit.held_out_earlier) if number == 2 else (fit.held_out,):
            assert held_out is not None
            assert np.mean([pair[0] == target for pair, target in zip(held_out, targets, strict=True)]) > 0.8


def test_its_learner_reads_records_as_text(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, settings: Settings
) -> None:
    server.label_config = TABLE.replace("</View>", TEXT_AREA.replace('"text"', '"record"'))
    truth = add_patients(server, 60)
    for task in [*truth][:30]:
        regions = {"label": ("choices", truth[task]), REMARK: ("text", f"is ill: {truth[task]}")}
        server.annotate_with(
            task, [{"from_name": name, "value": {key: [value]}} for name, (key, value) in regions.items()]
        )
    with registry.overridden(LOCATED_ANSWER_PLUGINS):  # an explanation changes the vectors, and not the texts
        run_round(make_round(server))
        assert {name: control.learner for name, control in active(store).controls.items()} == {"label": 1, REMARK: 1}
        assert {*drafts(server, REMARK).values()} <= {"is ill: yes", "is ill: no"}
        text = '{"age": 88, "city": "Bergen", "noise": 0, "smoker": "yes"}'
        [prediction] = Predictor(settings, store).predict(5, server.label_config, [999], [text])
        assert prediction.drafts[REMARK].value[0].startswith("is ill")


def test_a_control_that_becomes_one_of_another_kind_starts_again(
    server: FakeLabelStudio, make_round: MakeRound, learnt: dict[int, str], store: Store, settings: Settings
) -> None:
    for config in (BOTH.replace(TEXT_AREA, REMARK_AS_CHOICES), BOTH):
        server.label_config = config
        if config != BOTH:  # one label, from which nothing can be learnt
            server.annotate(
                next(task for task in learnt if not server.tasks[task]["annotations"]), "about fruit", control=REMARK
            )
        run_round(make_round(server))
        assert {name: control.learner for name, control in active(store).controls.items()} in (
            {LABEL: 2, REMARK: None},
            {LABEL: 2, REMARK: 4},
        )
        [prediction] = Predictor(settings, store).predict(5, config, [1000], ["iron copper zinc n1"])
        assert prediction.drafts[LABEL].value == ("metal",)


def test_without_its_package_its_control_is_not_learnt_and_the_others_go_on(
    server: FakeLabelStudio, make_round: MakeRound, learnt: dict[int, str], store: Store
) -> None:
    with registry.overridden({"kind.answer": None, "kind.text": None}):
        version = project_model.load(store, 5, 2)
        assert [*version.by_control] == [LABEL] and "remark" in version.problems[0]
        run_round(make_round(server))
        assert {name: control.learner for name, control in active(store).controls.items()} == {LABEL: 2}
        assert "remark" in remarks_text(active(store).remarks)


class ExplainingKind(AnswerKind):
    """Learns prefilled texts, and says why it cannot learn some controls and labels."""

    unread_reasons: ClassVar = {"too long": "the answer is too long"}

    def is_dynamic(self, element: Any) -> bool:
        return False

    def schema_problem(self, control: ControlSchema) -> str:
        return "it has no name that is short" if len(control.name) > 10 else ""

    def read_label(self, regions: Sequence[Mapping[str, Any]], control: ControlSchema, content: TaskContent) -> Label:
        label = super().read_label(regions, control, content)
        return Label((), "too long") if label.value and len(label.value[0]) > 50 else label


def test_a_kind_says_in_its_own_words_what_it_cannot_learn(
    server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    prefilled = BOTH.replace("<TextArea", '<TextArea value="$draft"')
    assert [(control.name, control.code) for control in read_schema(prefilled).unlearnt] == [(REMARK, "dynamic")]
    with registry.overridden({"kind.answer": ExplainingKind()}):
        assert [control.name for control in read_schema(prefilled).controls] == [LABEL, REMARK]
        long_name = BOTH.replace(REMARK, "a name of many letters")
        assert "it has no name that is short" in question_sentence(read_schema(long_name))
        server.label_config = prefilled
        truth = add_tasks(server, 20)
        for task in [*truth][:4]:
            server.annotate_with(task, [*result("fruit", (LABEL,)), {**result("x", (REMARK,))[0], "value": TOO_LONG}])
        run_round(make_round(server))
        lines = [text for _, text in status_lines(read_status(store, 5), REMARK)]
        assert any("the answer is too long" in line for line in lines), lines


BROKEN = f"""
from ml_backend.kinds.lookup import unusable_kinds
from ml_backend.label_studio.label_config import read_schema

[(name, problem)] = unusable_kinds().items()
assert name == "broken" and "No module named 'no_such_module'" in problem
assert [control.name for control in read_schema({BOTH!r}).controls] == ["{LABEL}", "{REMARK}"]
"""


def test_a_package_that_cannot_be_loaded_is_named_and_harms_no_other_kind(tmp_path: Path) -> None:
    plugins = {"kind.broken": "no_such_module:KIND", "kind.answer": "answer_kind:ANSWER"}
    environment = install_plugins(tmp_path, plugins)
    subprocess.run([sys.executable, "-c", BROKEN], env={**os.environ, **environment}, check=True)

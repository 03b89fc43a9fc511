"""Tasks with texts that a teacher has generated: they are learnt from, and never used to measure anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_label_studio import WORDS, FakeLabelStudio, add_labelled_tasks, submit_labels, text_about
from plugin_overrides import UseTeacher
from projects import set_up, synthetic_tasks
from round_fixtures import MakeRound, active, queue
from schemas import only
from scripted_teacher import ScriptedTeacher

from ml_backend.core import registry
from ml_backend.core.arrays import PseudoLabels
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import SYNTHETIC_FIELD, content_key
from ml_backend.kinds.aggregation import aggregate_annotations
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop import queue_builder
from ml_backend.loop.context import RoundContext
from ml_backend.loop.query_selection import select_queries
from ml_backend.loop.round import run_round
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.monitoring.monitor import read_monitor_input, run_monitor
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Store
from ml_backend.teacher import candidates, distillation, prompts
from ml_backend.teacher.client import Budget, TeacherClient
from ml_backend.teacher.loaded_project import LoadedProject
from ml_backend.teacher.teacher_labels import load_teacher_labels
from ml_backend.web.predictor import Predictor

NONE = PseudoLabels(np.empty((0, 32), np.float32), np.empty((0, 3), np.float32), np.empty(0, np.float32))


def write(server: FakeLabelStudio, n: int) -> dict[int, str]:
    """Adds n synthetic tasks; returns the label of each by its id."""
    earlier = set(server.tasks)
    labels = [list(WORDS)[i % 3] for i in range(n)]
    for i, label in enumerate(labels):
        server.add_tasks([text_about(label, 1000 + i)], **{SYNTHETIC_FIELD: "hard"})
    return dict(zip(sorted(set(server.tasks) - earlier), labels, strict=True))


@pytest.fixture
def mixed(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, single: ProjectSchema
) -> tuple[RoundContext, set[int]]:
    """A project with a learner that is fitted on 30 real and 12 synthetic tasks, and the ids of the synthetic ones."""
    written = write(server, 12)
    submit_labels(server, written, single, list(written))
    context = make_round(server)
    run_round(context)
    return context, set(written)


def ask(store: Store, teacher: ScriptedTeacher, questions: list[Question]) -> None:
    keys = [content_key(question.text) for question in questions]
    list(TeacherClient(store, 5, teacher, Budget(0.0, 0.0, 0.0, 0.0, 0)).ask(questions, keys))


def test_the_store_finds_generated_tasks_by_a_field_of_their_data(server: FakeLabelStudio, make_round: MakeRound,
                                                       store: Store) -> None:  # fmt: skip
    add_labelled_tasks(server, 5)
    written = write(server, 3)
    server.add_tasks(["a task about apprentice_synthetic"], field=SYNTHETIC_FIELD)
    context = make_round(server)
    run_round(context)
    assert synthetic_tasks(store, 5) == sorted(written)
    assert synthetic_tasks(store, 6) == []
    assert context.pool.tasks[context.pool.synthetic].tolist() == sorted(written)
    tasks = np.array(sorted(server.tasks))
    assert tasks[~context.pool.is_not_generated(tasks)].tolist() == sorted(written)


def test_generated_tasks_are_never_in_the_audit_sample_and_the_queue_is_full(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None]
) -> None:
    options(queue_size=12, audit_share=0.5)
    add_labelled_tasks(server, 1)
    written = write(server, 40)
    for _ in range(6):
        run_round(make_round(server))
        assert len(queue(server)) == 12, "also with fewer real tasks than places for the audit sample"
        server.add_tasks(["one more"])
    audited = store.versions.audited(5)
    assert audited and not set(audited) & set(written)


def _loaded(store: Store, context: RoundContext, schema: ProjectSchema) -> LoadedProject:
    """The project of a round, as the teacher's code gets it."""
    return LoadedProject(
        store.projects.ensure(5),
        ProjectSettings(),
        schema,
        schema.controls[0],
        context.pool,
        registry.encoder("minilm"),
    )


def test_the_teacher_is_not_asked_to_label_its_own_texts(
    mixed: tuple[RoundContext, set[int]], store: Store, single: ProjectSchema
) -> None:
    context, written = mixed
    tasks = context.pool.tasks[-20:]
    questions = candidates.label_questions(store, _loaded(store, context, single), {}, "scripted", tasks)
    assert written < set(tasks.tolist()) and len(questions) == 20 - len(written)


def test_generated_tasks_are_learnt_from_but_not_used_for_accuracy_and_promotion(
    mixed: tuple[RoundContext, set[int]], store: Store
) -> None:
    version = active(store)
    assert version.labelled == 42 and version.learner == version.number
    assert version.accuracy is not None and version.accuracy.n == 30
    assert "of 30 against the earlier" in remarks_text(version.remarks)


def test_a_learner_that_is_better_on_generated_tasks_alone_is_not_promoted(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema
) -> None:
    written = write(server, 60)
    submit_labels(server, written, single, list(written), by=-1)
    run_round(make_round(server))
    assert active(store).learner == 2 and "kept the earlier learner" in remarks_text(active(store).remarks)


def test_the_monitor_leaves_generated_tasks_out(
    mixed: tuple[RoundContext, set[int]], store: Store, single: ProjectSchema
) -> None:
    context, written = mixed
    monitor_input = read_monitor_input(
        store,
        context.pool,
        context.aggregator,
        store.projects.ensure(5),
        single.controls[0],
        ProjectSettings(second_look=50),
    )
    assert monitor_input is not None and len(monitor_input.tasks) == 42
    assert set(monitor_input.tasks[monitor_input.synthetic].tolist()) == written
    assert len(monitor_input.stop_set) == 90, "synthetic tasks are not in the stop set"
    findings = run_monitor(monitor_input)
    assert findings["labelled"] == 30
    assert sum(group["n"] for group in findings["groups"]["accuracy"].values()) == 30
    assert not written & {error["task"] for error in findings["second_look"]}
    real = monitor_input.without_synthetic()
    assert len(real.train.vectors) == len(real.train.targets) == len(real.train.weights) == 30
    assert len(real.held_out) == len(real.audited) == len(real.groups) == 30 and not real.synthetic.any()


def test_without_annotations_of_real_tasks_there_is_no_input_for_the_monitor(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema, options: object
) -> None:
    add_labelled_tasks(server, 5)
    written = write(server, 12)
    submit_labels(server, written, single, list(written))
    context = make_round(server)
    run_round(context)
    assert active(store).learner and active(store).accuracy is None
    assert (
        read_monitor_input(
            store, context.pool, context.aggregator, store.projects.ensure(5), single.controls[0], ProjectSettings()
        )
        is None
    )


def test_the_query_strategy_does_not_use_the_errors_of_generated_tasks(
    mixed: tuple[RoundContext, set[int]], server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, written = mixed
    pools: list[Any] = []
    choose = select_queries
    monkeypatch.setattr(
        queue_builder, "select_queries", lambda *args, **more: (pools.append(args[1]), choose(*args, **more))[1]
    )
    server.add_tasks(["one more"])
    run_round(context)
    is_synthetic = np.isin(context.pool.tasks, list(written))
    assert np.isnan(pools[-1].errors[is_synthetic]).all() and (~np.isnan(pools[-1].errors)).sum() == 30


def test_teacher_labels_of_generated_tasks_are_neither_compared_nor_distilled(
    mixed: tuple[RoundContext, set[int]], store: Store, single: ProjectSchema
) -> None:
    context, written = mixed
    teacher = ScriptedTeacher()
    answers = aggregate_annotations(single.controls[0], store.annotations.of(5))
    queue = [draft.task for draft in store.published_drafts.of(5, store.projects.ensure(5).published)]
    answered = [task for task in answers.tasks.tolist() if task not in written][:8]
    free = [
        task
        for task in context.pool.tasks.tolist()
        if task not in {*written, *queue, *answers.annotated_or_skipped.tolist()}
    ][:5]
    texts = store.tasks.texts(5, [*sorted(written), *answered, *free])
    ask(
        store,
        teacher,
        [
            prompts.label_question(prompts.LabelPrompt([single.controls[0]]), content_key(text), text, teacher.name)
            for text in texts
        ],
    )
    teacher_labels = load_teacher_labels(store, teacher.name, single.controls[0], context.pool, 5, answers)
    assert set(teacher_labels.tasks.tolist()) == {*written, *answered, *free}
    assert teacher_labels.compared == len(answered) == 8
    project = _loaded(store, context, single)
    gathered = distillation.collect_distillation_input(project, "logistic", teacher_labels, NONE)
    assert len(gathered.taught.vectors) == len(gathered.taught.targets) == gathered.origin.taught == len(free) == 5


def test_generated_tasks_do_not_decide_which_prior_is_used(
    mixed: tuple[RoundContext, set[int]], server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, written = mixed
    calls: list[Any] = []
    learn = fitted_model.fit_model
    monkeypatch.setattr(fitted_model, "fit_model", lambda *args: (calls.append(args), learn(*args))[1])
    more = write(server, 1)
    submit_labels(server, more, read_schema(server.label_config), list(more))
    run_round(context)
    (snapshot, train, *_) = calls[-1]
    judges = train.prior_selection_mask
    assert snapshot.tasks[~judges].tolist() == sorted({*written, *more}) and judges.sum() == 30


def test_a_requested_draft_is_the_teachers_where_that_is_more_reliable(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema,
    settings: Settings, monkeypatch: pytest.MonkeyPatch, use_teacher: UseTeacher,
) -> None:  # fmt: skip
    teacher = ScriptedTeacher(sure=1.0)
    use_teacher(teacher)
    set_up(store, 5, teacher={"name": teacher.name, "model": "m", "problem": "", "until": 0.0})
    free = list(taught)[60:]
    texts = {task: server.tasks[task]["data"]["text"] for task in [*list(taught)[:30], *free[:5]]}
    ask(
        store,
        teacher,
        [
            prompts.label_question(prompts.LabelPrompt([single.controls[0]]), content_key(text), text, teacher.name)
            for text in texts.values()
        ],
    )
    run_round(make_round(server))
    predict = FittedModel.predict
    monkeypatch.setattr(FittedModel, "predict", lambda *args: np.full_like(predict(*args), 1 / 3))
    predictions = Predictor(settings, store).predict(
        5, server.label_config, free, [server.tasks[t]["data"]["text"] for t in free]
    )
    authors = [only(prediction.drafts).author for prediction in predictions]
    assert authors == ["teacher"] * 5 + ["learner"] * 25
    assert [only(prediction.drafts).value for prediction in predictions[:5]] == [(taught[task],) for task in free[:5]]


def test_the_draft_of_a_generated_task_is_the_teachers_whatever_the_confidence_of_the_learner(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema,
    use_teacher: UseTeacher, options: Callable[..., None],
) -> None:  # fmt: skip
    teacher = ScriptedTeacher(says="metal", sure=0.4)
    use_teacher(teacher)
    options(queue_size=100, audit_share=0.0)
    written = write(server, 6)
    texts = [server.tasks[task]["data"]["text"] for task in [*written, *list(taught)[60:66]]]
    ask(
        store,
        teacher,
        [
            prompts.label_question(prompts.LabelPrompt([single.controls[0]]), content_key(text), text, teacher.name)
            for text in texts
        ],
    )
    run_round(make_round(server))
    shown = {draft.task: draft for draft in store.published_drafts.of(5)}
    assert all(
        only(shown[task].drafts).author == "teacher" and only(shown[task].drafts).value == ("metal",)
        for task in written
    )
    assert {only(shown[task].drafts).author for task in list(taught)[60:66]} == {"learner"}

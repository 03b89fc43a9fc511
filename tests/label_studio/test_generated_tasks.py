"""Tasks that a teacher has written: they are learnt from, and nothing is ever measured by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_label_studio import WORDS, FakeLabelStudio, fill, flood, text_about
from projects import set_up, synthetic_tasks
from round_fixtures import MakeRound, active, queue
from scripted_teacher import ScriptedTeacher

from ml_backend.core import registry
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Question
from ml_backend.core.types import SYNTHETIC, PseudoLabels, TaskSchema, content_key
from ml_backend.kinds.choices.label_aggregation import consensus
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop import queue_builder
from ml_backend.loop.round import RoundContext, run_round
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.monitoring.monitor import find_out, see
from ml_backend.storage import Store
from ml_backend.teacher import candidates, distillation, prompts
from ml_backend.teacher.client import Budget, TeacherClient
from ml_backend.teacher.teacher_labels import recall
from ml_backend.web.predictor import Predictor

NONE = PseudoLabels(np.empty((0, 32), np.float32), np.empty((0, 3), np.float32), np.empty(0, np.float32))


def write(server: FakeLabelStudio, n: int) -> dict[int, str]:
    """Adds n synthetic tasks; returns what each is about."""
    before = set(server.tasks)
    labels = [list(WORDS)[i % 3] for i in range(n)]
    for i, label in enumerate(labels):
        server.add_tasks([text_about(label, 1000 + i)], **{SYNTHETIC: "hard"})
    return dict(zip(sorted(set(server.tasks) - before), labels, strict=True))


@pytest.fixture
def mixed(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, single: TaskSchema
) -> tuple[RoundContext, set[int]]:
    """A project with a learner of 30 answers and of 12 to synthetic tasks, and the latter."""
    written = write(server, 12)
    flood(server, written, single, list(written))
    work = make_round(server)
    run_round(work)
    return work, set(written)


def ask(store: Store, teacher: ScriptedTeacher, asked: list[Question]) -> None:
    keys = [content_key(each.text) for each in asked]
    list(TeacherClient(store, 5, teacher, Budget(0.0, 0.0, 0.0, 0.0, 0)).ask(asked, keys))


def test_the_store_knows_them_by_a_field_of_their_data(server: FakeLabelStudio, make_round: MakeRound,
                                                       store: Store) -> None:  # fmt: skip
    fill(server, 5)
    written = write(server, 3)
    server.add_tasks(["a task about apprentice_synthetic"], field=SYNTHETIC)
    work = make_round(server)
    run_round(work)
    assert synthetic_tasks(store, 5) == sorted(written)
    assert synthetic_tasks(store, 6) == []
    assert work.pool.tasks[work.pool.synthetic].tolist() == sorted(written)
    tasks = np.array(sorted(server.tasks))
    assert tasks[~work.pool.real(tasks)].tolist() == sorted(written)


def test_no_audit_place_is_ever_theirs_and_the_queue_is_full_all_the_same(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None]
) -> None:
    options(queue_size=12, audit_share=0.5)
    fill(server, 1)
    written = write(server, 40)
    for _ in range(6):
        run_round(make_round(server))
        assert len(queue(server)) == 12, "with fewer real tasks than audit places, too"
        server.add_tasks(["one more"])
    audited = store.versions.audited(5)
    assert audited and not set(audited) & set(written)


def test_the_teacher_is_not_asked_again_what_its_own_text_is(
    mixed: tuple[RoundContext, set[int]], store: Store, single: TaskSchema
) -> None:
    work, written = mixed
    tasks = work.pool.tasks[-20:]
    asked = candidates.label(store, work.pool, store.projects.ensure(5), single, None, "scripted", tasks)
    assert written < set(tasks.tolist()) and len(asked) == 20 - len(written)


def test_they_are_learnt_from_but_neither_accuracy_nor_gate_nor_count_of_judged_tasks_has_them(
    mixed: tuple[RoundContext, set[int]], store: Store
) -> None:
    version = active(store)
    assert version.labelled == 42 and version.learner == version.number
    assert version.accuracy is not None and version.accuracy.n == 30
    assert "of 30 against the earlier" in version.note


def test_a_learner_that_does_well_on_them_alone_is_refused(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: TaskSchema
) -> None:
    written = write(server, 60)
    flood(server, written, single, list(written), by=-1)
    run_round(make_round(server))
    assert active(store).learner == 2 and "kept the earlier learner" in active(store).note


def test_what_the_loop_finds_out_about_itself_leaves_them_out(
    mixed: tuple[RoundContext, set[int]], store: Store, single: TaskSchema
) -> None:
    work, written = mixed
    seen = see(store, work.pool, work.aggregator, store.projects.ensure(5), single, ProjectSettings(second_look=50))
    assert seen is not None and len(seen.tasks) == 42
    assert set(seen.tasks[seen.synthetic].tolist()) == written
    assert len(seen.stop_set) == 90, "they are no part of the pool that predictions are to settle on"
    found = find_out(seen)
    assert found["labelled"] == 30
    assert sum(each["n"] for each in found["groups"]["accuracy"].values()) == 30
    assert not written & {each["task"] for each in found["second_look"]}
    real = seen.real()
    assert len(real.train.vectors) == len(real.train.targets) == len(real.train.weights) == 30
    assert len(real.held_out) == len(real.audited) == len(real.groups) == 30 and not real.synthetic.any()


def test_without_answers_to_real_tasks_there_is_nothing_to_see(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, single: TaskSchema, options: object
) -> None:
    fill(server, 5)
    written = write(server, 12)
    flood(server, written, single, list(written))
    work = make_round(server)
    run_round(work)
    assert active(store).learner and active(store).accuracy is None
    assert see(store, work.pool, work.aggregator, store.projects.ensure(5), single, ProjectSettings()) is None


def test_their_errors_are_no_sign_to_acquisition_of_where_the_learner_is_weak(
    mixed: tuple[RoundContext, set[int]], server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, written = mixed
    seen: list[Any] = []
    choose = queue_builder.choose
    monkeypatch.setattr(queue_builder, "choose", lambda *args, **more: (seen.append(args[1]), choose(*args, **more))[1])
    server.add_tasks(["one more"])
    run_round(work)
    theirs = np.isin(work.pool.tasks, list(written))
    assert np.isnan(seen[-1].errors[theirs]).all() and (~np.isnan(seen[-1].errors)).sum() == 30


def test_a_teachers_word_on_its_own_texts_is_no_proof_of_its_worth_and_not_taught_before_somebody_agrees(
    mixed: tuple[RoundContext, set[int]], store: Store, single: TaskSchema
) -> None:
    work, written = mixed
    teacher = ScriptedTeacher()
    answers = consensus(single, store.labels.of(5))
    queue = [each.task for each in store.shown.of(5, store.projects.ensure(5).published)]
    answered = [task for task in answers.tasks.tolist() if task not in written][:8]
    free = [task for task in work.pool.tasks.tolist() if task not in {*written, *queue, *answers.touched.tolist()}][:5]
    texts = store.tasks.texts(5, [*sorted(written), *answered, *free])
    ask(store, teacher, [prompts.label(single, content_key(text), text, teacher.name, {}) for text in texts])
    found = recall(store, teacher.name, single, work.pool, 5, answers)
    assert set(found.tasks.tolist()) == {*written, *answered, *free}
    assert found.compared == len(answered) == 8
    given = distillation.gather(work.pool, store.projects.ensure(5), "logistic", single, found, NONE)
    assert len(given.taught.vectors) == len(given.taught.targets) == given.origin.taught == len(free) == 5


def test_they_have_no_say_in_which_prior_is_worth_it(
    mixed: tuple[RoundContext, set[int]], server: FakeLabelStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, written = mixed
    seen: list[Any] = []
    learn = fitted_model.learn
    monkeypatch.setattr(fitted_model, "learn", lambda *args: (seen.append(args), learn(*args))[1])
    more = write(server, 1)
    flood(server, more, read_schema(server.label_config), list(more))
    run_round(work)
    (lesson, *_, judges) = seen[-1]
    assert lesson.tasks[~judges].tolist() == sorted({*written, *more}) and judges.sum() == 30


def test_a_request_for_a_draft_gets_the_teachers_word_where_that_is_worth_more(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: TaskSchema,
    settings: Settings, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    teacher = ScriptedTeacher(sure=1.0)
    monkeypatch.setattr(registry, "teacher", lambda *_: teacher)
    set_up(store, 5, teacher={"name": teacher.name, "model": "m", "problem": "", "until": 0.0})
    free = list(taught)[60:]
    texts = {task: server.tasks[task]["data"]["text"] for task in [*list(taught)[:30], *free[:5]]}
    ask(store, teacher, [prompts.label(single, content_key(text), text, teacher.name, {}) for text in texts.values()])
    run_round(make_round(server))
    weak = FittedModel.predict
    monkeypatch.setattr(FittedModel, "predict", lambda *args: np.full_like(weak(*args), 1 / 3))
    drafts = Predictor(settings, store).predict(
        5, server.label_config, free, [server.tasks[t]["data"]["text"] for t in free]
    )
    authors = [each.draft.author for each in drafts if each.draft]
    assert authors == ["teacher"] * 5 + ["learner"] * 25
    assert [each.draft.choices for each in drafts[:5] if each.draft] == [(taught[task],) for task in free[:5]]


def test_their_draft_is_the_teachers_however_sure_the_learner_is(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, single: TaskSchema,
    monkeypatch: pytest.MonkeyPatch, options: Callable[..., None],
) -> None:  # fmt: skip
    teacher = ScriptedTeacher(says="metal", sure=0.4)
    monkeypatch.setattr(registry, "teacher", lambda *_: teacher)
    options(queue_size=100, audit_share=0.0)
    written = write(server, 6)
    texts = [server.tasks[task]["data"]["text"] for task in [*written, *list(taught)[60:66]]]
    ask(store, teacher, [prompts.label(single, content_key(text), text, teacher.name, {}) for text in texts])
    run_round(make_round(server))
    shown = {each.task: each for each in store.shown.of(5)}
    assert all(shown[task].author == "teacher" and shown[task].choices == ("metal",) for task in written)
    assert {shown[task].author for task in list(taught)[60:66]} == {"learner"}

"""A simulated teacher: asked about the pool only, with the same maximum number of calls in every arm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, WORDS, text_about
from schemas import CONTROL, fitted_choices
from scripted_teacher import ScriptedTeacher

from ml_backend.core import registry
from ml_backend.core.arrays import Tensors
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.evaluation.metrics import is_correct
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.simulation.cached_teacher import PROJECT_ID, CachedTeacher
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.simulation.simulated_teacher import (
    ARMS,
    EVOLVE,
    NO_CAPS,
    SimulatedTeacher,
    TeacherArm,
    max_questions,
    open_cached_teacher,
    open_simulated_teacher,
)
from ml_backend.storage import Store
from ml_backend.teacher.client import TeacherClient

HUMAN, ROUNDS, PER_ROUND = 12, 2, 4


class Writer(ScriptedTeacher):
    """Writes texts about the labels in turn, other ones every time."""

    def __init__(self) -> None:
        super().__init__(sure=1.0)
        self._written = 0

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            call = (Call("m", 0.1, 100, 10, "answered"),)
            if question.purpose == "diagnose":
                self.asked.append(question)
                yield Answer(question.id, {"summary": "It is weak.", "patterns": []}, None, call)
            elif question.purpose == "write":
                self.asked.append(question)
                yield Answer(question.id, {"hard": self._write(), "easy": self._write()}, None, call)
            else:
                yield from super().answer([question])

    def _write(self) -> list[str]:
        self._written += PER_ROUND
        return [text_about(list(WORDS)[i % 3], 1000 + i) for i in range(self._written - PER_ROUND, self._written)]


@pytest.fixture
def labelled_pool(fake_encoder: FakeEncoder, single: ProjectSchema) -> LabelledPool:
    texts = [text_about(list(WORDS)[i % 3], i) for i in range(150)]
    targets = np.array(
        [[i % 3 == list(WORDS).index(label) for label in single.controls[0].labels] for i in range(150)], np.float32
    )
    return LabelledPool(fake_encoder.encode(texts), {CONTROL: targets}, [""] * 150, texts)


class SimulatedTeacherRuns:
    """Runs of simulated teachers on one pool of 120 tasks, with one cached teacher."""

    def __init__(self, settings: Settings, store: Store, schema: ProjectSchema, labelled_pool: LabelledPool) -> None:
        self.pool, self.test = labelled_pool.take(np.arange(120)), labelled_pool.take(np.arange(120, 150))
        self.settings, self.schema = settings, schema
        self.plan = SimulationPlan(
            schema, ProjectSettings().with_form_defaults("text"), "fake", HUMAN, HUMAN, 3 * HUMAN
        )
        self.writer = Writer()
        self.teacher = CachedTeacher(store, TeacherClient(store, PROJECT_ID, self.writer, NO_CAPS))

    def open(self, arm: str) -> AbstractContextManager[SimulatedTeacher]:
        teacher_arm = TeacherArm(arm, ROUNDS, PER_ROUND, SINGLE)
        return open_simulated_teacher(teacher_arm, self.settings, self.plan, self.pool, self.teacher.again())

    def learner(self, rows: npt.NDArray[Any], wrong: int = 4) -> FittedModel:
        """A learner that is confidently wrong on the first `wrong` rows."""
        control = fitted_choices(self.schema.controls[0].labels)
        snapshot = TrainingSnapshot("logistic", "fake", control, rows, b"", self.pool.targets[CONTROL][rows])
        learner, _ = fitted_model.fit_model(snapshot, snapshot.training_set(self.pool.vectors[rows]), None, 1)
        assert learner is not None
        learner.held_out[:] = 0.05 + 0.85 * self.pool.targets[CONTROL][rows]
        learner.held_out[:wrong] = np.roll(learner.held_out[:wrong], 1, axis=1)
        return learner


@pytest.fixture
def runs(settings: Settings, store: Store, single: ProjectSchema, labelled_pool: LabelledPool) -> SimulatedTeacherRuns:
    return SimulatedTeacherRuns(settings, store, single, labelled_pool)


@pytest.mark.parametrize("arm", ARMS)
def test_it_is_asked_about_the_free_part_of_the_pool_for_as_many_calls(runs: SimulatedTeacherRuns, arm: str) -> None:
    rows = np.arange(HUMAN)
    with runs.open(arm) as simulated_teacher:
        learners = {CONTROL: runs.learner(rows)}
        priors = simulated_teacher.teach(rows, learners)
        assert priors and {"cues", "labels"} <= priors[CONTROL].keys(), "with the labels' names"
        assert simulated_teacher.teach(rows, learners) is None, "the next round comes with more labels"
        spent = simulated_teacher.spent()
    labelled_texts = runs.writer.texts()
    free = set(runs.pool.texts[HUMAN:])
    assert spent["teacher_calls"] == len(runs.writer.asked) <= max_questions(1, PER_ROUND)
    assert spent["teacher_tokens"] == 110 * spent["teacher_calls"]
    if arm == EVOLVE:
        assert [question.purpose for question in runs.writer.asked[:2]] == ["diagnose", "write"]
        assert not set(labelled_texts) & set(runs.pool.texts), "its own texts are labelled"
    else:
        assert set(labelled_texts) <= free and len(labelled_texts) == len(set(labelled_texts)) >= 2 * PER_ROUND


def test_the_rounds_are_spread_from_the_first_labels_on(runs: SimulatedTeacherRuns) -> None:
    has_new_priors = []
    with runs.open(EVOLVE) as simulated_teacher:
        for n in range(HUMAN, 3 * HUMAN + 1, HUMAN // 2):
            learners = {CONTROL: runs.learner(np.arange(n))}
            has_new_priors.append(simulated_teacher.teach(np.arange(n), learners) is not None)
    assert has_new_priors == [True, False, True, False, False]


def test_what_was_asked_in_an_earlier_run_is_not_asked_again(runs: SimulatedTeacherRuns) -> None:
    measurements_by_run = []
    for _ in range(2):
        with runs.open(EVOLVE) as simulated_teacher:
            run = simulate(runs.plan, runs.pool, runs.test, "margin", 0, simulated_teacher)
            measurements_by_run.append([measurement for measurement in run if measurement.metric != "seconds"])
    question_count = len(runs.writer.asked)
    assert measurements_by_run[0] == measurements_by_run[1] and {
        measurement.metric for measurement in measurements_by_run[0]
    } >= {"teacher_calls", "teacher_cost"}
    calls = [measurement.value for measurement in measurements_by_run[0] if measurement.metric == "teacher_calls"]
    assert calls == sorted(calls) and calls[-1] == question_count


def test_what_it_writes_is_learnt_from(runs: SimulatedTeacherRuns) -> None:
    rows = np.arange(HUMAN)
    learner = runs.learner(rows)
    with runs.open(EVOLVE) as simulated_teacher:
        taught = simulated_teacher.teach(rows, {CONTROL: learner})
    assert taught is not None
    priors = taught[CONTROL]
    multiple = np.array([False])

    def right(tensors: Tensors) -> float:
        probabilities = registry.learner("logistic").predict({**tensors, "multiple": multiple}, runs.test.vectors)
        return float(is_correct(probabilities, runs.test.targets[CONTROL], False).mean())

    assert right(priors["labels"]) > right(priors["cues"]), "names alone say nothing to an encoder that knows no words"


def test_a_teacher_that_cannot_be_asked_is_refused(settings: Settings) -> None:
    with pytest.raises(ApprenticeError, match="'similarity', which cannot be asked in a simulation: set `teacher`"):
        open_cached_teacher(settings, settings.data_dir / "teacher")

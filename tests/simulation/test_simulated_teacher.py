"""A teacher in a simulation: asked for real, about the pool alone, for as many calls whatever it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, WORDS, text_about
from scripted_teacher import ScriptedTeacher

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.types import TaskSchema
from ml_backend.evaluation.metrics import correct
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.simulation.cached_teacher import PROJECT, CachedTeacher
from ml_backend.simulation.replay import LabelledPool, SimulationPlan, simulate
from ml_backend.simulation.simulated_teacher import (
    ARMS,
    EVOLVE,
    NO_CAPS,
    SimulatedTeacher,
    max_questions,
    open_cached_teacher,
    rehearse,
)
from ml_backend.storage import Store
from ml_backend.teacher.client import TeacherClient

HUMAN, ROUNDS, PER_ROUND = 12, 2, 4


class Writer(ScriptedTeacher):
    """Writes three words of each label in turn, others every time."""

    def __init__(self) -> None:
        super().__init__(sure=1.0)
        self._written = 0

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for each in questions:
            call = (Call("m", 0.1, 100, 10, "answered"),)
            if each.purpose == "diagnose":
                self.asked.append(each)
                yield Answer(each.id, {"summary": "It is weak.", "patterns": []}, None, call)
            elif each.purpose == "write":
                self.asked.append(each)
                yield Answer(each.id, {"hard": self._write(), "easy": self._write()}, None, call)
            else:
                yield from super().answer([each])

    def _write(self) -> list[str]:
        self._written += PER_ROUND
        return [text_about(list(WORDS)[i % 3], 1000 + i) for i in range(self._written - PER_ROUND, self._written)]


@pytest.fixture
def gold(fake_encoder: FakeEncoder, single: TaskSchema) -> LabelledPool:
    texts = [text_about(list(WORDS)[i % 3], i) for i in range(150)]
    targets = np.array([[i % 3 == list(WORDS).index(label) for label in single.labels] for i in range(150)], np.float32)
    return LabelledPool(fake_encoder.encode(texts), targets, [""] * 150, texts)


class Rehearsals:
    """Of one pool of 120 and a plan, with a teacher that is asked for real."""

    def __init__(self, settings: Settings, store: Store, schema: TaskSchema, gold: LabelledPool) -> None:
        self.pool, self.test = gold.take(np.arange(120)), gold.take(np.arange(120, 150))
        self.settings, self.schema = settings, schema
        self.plan = SimulationPlan(schema, ProjectSettings().of_form("text"), "fake", HUMAN, HUMAN, 3 * HUMAN)
        self.writer = Writer()
        self.teacher = CachedTeacher(store, TeacherClient(store, PROJECT, self.writer, NO_CAPS))

    def of(self, arm: str) -> AbstractContextManager[SimulatedTeacher]:
        return rehearse(arm, self.settings, self.plan, SINGLE, self.pool, self.teacher.again(), ROUNDS, PER_ROUND)

    def learner(self, rows: np.ndarray, wrong: int = 4) -> FittedModel:
        """That makes some mistakes, which it was sure of."""
        lesson = TrainingSnapshot("logistic", "fake", self.schema.labels, False, rows, b"", self.pool.targets[rows])
        learner, _ = fitted_model.learn(lesson, self.pool.vectors[rows], None, 1)
        assert learner is not None
        learner.held_out[:] = 0.05 + 0.85 * self.pool.targets[rows]
        learner.held_out[:wrong] = np.roll(learner.held_out[:wrong], 1, axis=1)
        return learner


@pytest.fixture
def rehearsals(settings: Settings, store: Store, single: TaskSchema, gold: LabelledPool) -> Rehearsals:
    return Rehearsals(settings, store, single, gold)


@pytest.mark.parametrize("arm", ARMS)
def test_it_is_asked_about_the_free_part_of_the_pool_for_as_many_calls(rehearsals: Rehearsals, arm: str) -> None:
    rows = np.arange(HUMAN)
    with rehearsals.of(arm) as tutor:
        taught = tutor.teach(rows, rehearsals.learner(rows))
        assert taught and {"cues", "labels"} <= taught.keys(), "with the labels' names"
        assert tutor.teach(rows, rehearsals.learner(rows)) is None, "the next round comes with more labels"
        spent = tutor.spent()
    labelled = rehearsals.writer.texts()
    free = set(rehearsals.pool.texts[HUMAN:])
    assert spent["teacher_calls"] == len(rehearsals.writer.asked) <= max_questions(1, PER_ROUND)
    assert spent["teacher_tokens"] == 110 * spent["teacher_calls"]
    if arm == EVOLVE:
        assert [each.purpose for each in rehearsals.writer.asked[:2]] == ["diagnose", "write"]
        assert not set(labelled) & set(rehearsals.pool.texts), "its own texts are labelled"
    else:
        assert set(labelled) <= free and len(labelled) == len(set(labelled)) >= 2 * PER_ROUND


def test_the_rounds_are_spread_from_the_first_labels_on(rehearsals: Rehearsals) -> None:
    taught = []
    with rehearsals.of(EVOLVE) as tutor:
        for n in range(HUMAN, 3 * HUMAN + 1, HUMAN // 2):
            taught.append(tutor.teach(np.arange(n), rehearsals.learner(np.arange(n))) is not None)
    assert taught == [True, False, True, False, False]


def test_what_was_asked_in_an_earlier_run_is_not_asked_again(rehearsals: Rehearsals) -> None:
    found = []
    for _ in range(2):
        with rehearsals.of(EVOLVE) as tutor:
            run = simulate(rehearsals.plan, rehearsals.pool, rehearsals.test, "margin", 0, tutor)
            found.append([each for each in run if each.metric != "seconds"])
    asked = len(rehearsals.writer.asked)
    assert found[0] == found[1] and {each.metric for each in found[0]} >= {"teacher_calls", "teacher_cost"}
    calls = [each.value for each in found[0] if each.metric == "teacher_calls"]
    assert calls == sorted(calls) and calls[-1] == asked


def test_what_it_writes_is_learnt_from(rehearsals: Rehearsals) -> None:
    rows = np.arange(HUMAN)
    alone = rehearsals.learner(rows)
    with rehearsals.of(EVOLVE) as tutor:
        priors = tutor.teach(rows, alone)
    assert priors is not None
    multiple = np.array([False])

    def right(tensors: dict[str, np.ndarray]) -> float:
        said = registry.learner("logistic").predict({**tensors, "multiple": multiple}, rehearsals.test.vectors)
        return float(correct(said, rehearsals.test.targets, False).mean())

    assert right(priors["labels"]) > right(priors["cues"]), "names alone say nothing to an encoder that knows no words"


def test_a_teacher_that_cannot_be_asked_is_refused(settings: Settings) -> None:
    with pytest.raises(ApprenticeError, match="'similarity', which cannot be asked in a simulation: set `teacher`"):
        open_cached_teacher(settings, settings.data_dir / "teacher")

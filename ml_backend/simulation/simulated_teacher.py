"""A simulated teacher: a real teacher that is asked in a temporary project, with the code of the live loop.

The arms compare kinds of questions, with the same maximum number of questions in each arm (arXiv 2403.06414 compares
with equal tokens): texts that the teacher writes about the learner's weaknesses, real tasks of its weak slices, and
real tasks as they are chosen for distillation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ml_backend.core import registry
from ml_backend.core.arrays import Ints, Tensors
from ml_backend.core.exceptions import ApprenticeError, NoWeaknessError, RepliesAwaitedError, TeacherUnavailableError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Annotation, Label, TaskContent, content_key
from ml_backend.kinds.aggregation import aggregate_annotations
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.fitted_model import FittedModel
from ml_backend.pool import feature_space
from ml_backend.simulation.cached_teacher import PROJECT_ID, CachedTeacher
from ml_backend.simulation.replay import LabelledPool, SimulationPlan
from ml_backend.simulation.run_directory import PROTOCOL, prepare_folder
from ml_backend.storage import Store
from ml_backend.teacher import candidates
from ml_backend.teacher.client import Budget, TeacherClient
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.evolution_run import EvolutionRun, distil_current_priors
from ml_backend.teacher.project_context import ProjectContext, load_project_context

EVOLVE, WEAK_SLICES, TEACH = "evolve", "weak-slices", "teach"
ARMS = {
    EVOLVE: "texts that the teacher writes about the learner's weaknesses, learnt from directly",
    WEAK_SLICES: "the teacher's labels of as many tasks near the learner's mistakes",
    TEACH: "the teacher's labels of as many tasks that teacher_acquisition chooses",
}
NO_CAPS = Budget(0.0, 0.0, 0.0, 0.0, 0)


def max_questions(rounds: int, per_round: int) -> int:
    """How many questions an arm asks at most: in each round a diagnosis, the writing of texts, and a label for each
    hard and easy text."""
    return rounds * (2 + 2 * per_round)


def open_cached_teacher(settings: Settings, folder: Path) -> CachedTeacher:
    """The teacher of the settings, with its answers cached in `folder`. Raises ApprenticeError if the teacher cannot be
    asked, or only by files."""
    options = settings.defaults
    teacher = registry.teacher(options.teacher, settings.teacher_options(options))
    if teacher is None or options.teacher == registry.BATCH_TEACHER:
        raise ApprenticeError(
            f"The teacher is {options.teacher!r}, which cannot be asked in a simulation: set `teacher` and "
            "`teacher_model` in APPRENTICE_DEFAULTS, and APPRENTICE_TEACHER_URL"
        )
    if options.teacher == "openai" and not (settings.teacher_url or settings.teacher_key.get_secret_value()):
        raise ApprenticeError(
            "The teacher has no address: set APPRENTICE_TEACHER_URL, or APPRENTICE_TEACHER_KEY for OpenAI's endpoint"
        )
    question_options = {name: getattr(options, name) for name in ("teacher_probabilities", "teacher_acquisition")}
    store = Store(settings.model_copy(update={"data_dir": folder, "store_url": ""}))
    if not store.ledger.outcomes(PROJECT_ID)[""]["answered"]:
        (folder / PROTOCOL).unlink(missing_ok=True)  # nothing is cached: the name of the teacher may still be corrected
    prepare_folder(folder, {"teacher": teacher.name, **question_options})
    return CachedTeacher(store, TeacherClient(store, PROJECT_ID, teacher, Budget.of(options)))


@dataclass(frozen=True, slots=True)
class TeacherArm:
    """How a simulated teacher is asked.

    kind          one of `ARMS`
    rounds        number of times that it is asked
    per_round     number of hard texts, and of easy texts, that it writes in a round; the other kinds of questions are
                  as many
    label_config  the labelling configuration of the project
    """

    kind: str
    rounds: int
    per_round: int
    label_config: str


@contextmanager
def open_simulated_teacher(
    arm: TeacherArm, settings: Settings, plan: SimulationPlan, pool: LabelledPool, teacher: CachedTeacher
) -> Iterator[SimulatedTeacher]:
    """The simulated teacher of one run of an arm over the only control of the plan; its project is deleted at the
    end."""
    with TemporaryDirectory(prefix="apprentice-") as folder:
        run_settings = settings.model_copy(update={"data_dir": Path(folder), "store_url": "", "defaults": plan.options})
        with closing(Store(run_settings)) as store:
            [control] = plan.schema.controls
            context = _store_project(run_settings, store, arm.label_config, control.name, pool)
            yield SimulatedTeacher(arm, context, plan, pool, teacher)


def _store_project(
    settings: Settings, store: Store, label_config: str, control: str, pool: LabelledPool
) -> ProjectContext:
    """Stores the project as `apprentice connect` and a first reconciliation would, with the vectors of the pool."""
    store.projects.set_label_config(PROJECT_ID, label_config)
    keys = [content_key(text) for text in pool.texts]
    store.tasks.put(PROJECT_ID, (TaskContent(row, text, keys[row], {}) for row, text in enumerate(pool.texts)))
    encoder = feature_space.project_encoder(settings, store.projects.require(PROJECT_ID))
    rows = np.array(list({key: row for row, key in enumerate(keys)}.values()), np.int64)
    words = None if pool.words is None else pool.words([pool.texts[row] for row in rows])
    store.vectors(PROJECT_ID, encoder.name).add([keys[row] for row in rows], pool.vectors[rows], words)
    return load_project_context(settings, store, PROJECT_ID, control)


class SimulatedTeacher:
    """A SimulationTeacher: rounds of one arm, spread evenly from the first labels to the budget."""

    def __init__(
        self,
        arm: TeacherArm,
        context: ProjectContext,
        plan: SimulationPlan,
        pool: LabelledPool,
        teacher: CachedTeacher,
    ) -> None:
        self._kind, self._per_round = arm.kind, arm.per_round
        self._context = context
        self._pool = pool
        self._teacher = teacher
        self._teacher_client = TeacherClient(context.store, PROJECT_ID, teacher, NO_CAPS)
        first, last = max(plan.initial, 2), min(plan.budget, len(pool))
        self._due_at_labels = [first + (last - first) * number // arm.rounds for number in range(arm.rounds)]

    def teach(self, rows: Ints, learners: Mapping[str, FittedModel]) -> Mapping[str, Mapping[str, Tensors]] | None:
        """See `SimulationTeacher`. Raises RepliesAwaitedError if the teacher does not answer or its budget is spent."""
        if not self._due_at_labels or len(rows) < self._due_at_labels[0]:
            return None
        self._due_at_labels.pop(0)
        learner = learners[self._context.control.name]
        self._put_annotations(rows)
        self._context = self._context.reloaded()
        if self._kind == TEACH:
            self._label_candidates(learner)
        else:
            source = generated_texts.TAUGHT if self._kind == EVOLVE else generated_texts.POOL
            evolution = EvolutionRun(
                self._context, self._teacher_client, source, self._per_round, lambda *_: (), learner
            )
            with suppress(NoWeaknessError):
                list(evolution.run(1))
        self._context = self._context.reloaded()
        aggregated = aggregate_annotations(self._context.control, self._context.store.annotations.of(PROJECT_ID))
        priors = distil_current_priors(self._context, self._teacher_client.teacher, aggregated, learner.snapshot.plugin)
        return {self._context.control.name: priors}

    @property
    def store(self) -> Store:
        """The store of the temporary project, whose number is `PROJECT_ID`."""
        return self._context.store

    def spent(self) -> Mapping[str, float]:
        """Calls, tokens and cost of this run, including those of cached answers."""
        spending = self._teacher.spent()
        tokens = spending.input_tokens + spending.output_tokens
        return {"teacher_calls": spending.calls, "teacher_tokens": tokens, "teacher_cost": spending.cost}

    def _put_annotations(self, rows: Ints) -> None:
        """Stores an annotation for each of the rows of the pool."""
        control = self._context.control
        targets = self._pool.targets[control.name][rows]
        values = kind_of(control).target_values(control, targets)
        self._context.store.annotations.put(
            PROJECT_ID,
            [
                Annotation(row, row, 1, {control.name: Label(value)})
                for row, value in zip(rows.tolist(), values, strict=True)
            ],
        )

    def _label_candidates(self, learner: FittedModel) -> None:
        """Asks the teacher for labels as the live loop does, in batches, up to the maximum number of questions."""
        context, store, teacher = self._context, self._context.store, self._teacher_client.teacher
        annotated_or_skipped = aggregate_annotations(
            context.control, store.annotations.of(PROJECT_ID)
        ).annotated_or_skipped
        remaining = max_questions(1, self._per_round)
        asked_tasks: Ints = np.empty(0, np.int64)
        while remaining > 0:
            answered_keys = list(store.questions.cached_replies(PROJECT_ID, teacher, context.control).keys)
            tasks = candidates.tasks_to_distil(
                store,
                context,
                {context.control.name: learner},
                candidates.RemainingLabels(remaining, answered_keys),
                asked_tasks,
                annotated_or_skipped,
            )
            if not len(tasks):
                return
            asked_tasks = np.concatenate([asked_tasks, tasks])  # those without a question, too, so that others follow
            questions = candidates.label_questions(store, context, {}, teacher, tasks)
            try:
                for _ in self._teacher_client.ask(
                    [question for question, _ in questions], [key for _, key in questions]
                ):
                    pass
            except TeacherUnavailableError as error:
                raise RepliesAwaitedError(
                    f"waiting for the teacher; the same command goes on from here ({error})"
                ) from None
            remaining -= len(questions)

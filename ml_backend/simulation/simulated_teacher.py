"""A teacher in a simulation, really asked: a project of its own, on which the live loop's code writes, labels, teaches.

What is compared is what questions are worth, at most as many in each arm (arXiv 2403.06414 compares with equal tokens):
texts that the teacher writes about the learner's weaknesses, real tasks of its weak slices, and real tasks as they are
chosen for distillation anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError, NoWeaknessError, RepliesAwaitedError, TeacherUnavailableError
from ml_backend.core.settings import Settings
from ml_backend.core.types import Annotation, Example, Ints, Tensors, content_key
from ml_backend.evaluation.metrics import decide
from ml_backend.kinds.choices.label_aggregation import consensus
from ml_backend.model.fitted_model import FittedModel
from ml_backend.simulation.cached_teacher import PROJECT, CachedTeacher
from ml_backend.simulation.replay import LabelledPool, SimulationPlan
from ml_backend.simulation.run_directory import PROTOCOL, prepare
from ml_backend.storage import Store
from ml_backend.teacher import candidates
from ml_backend.teacher.client import Budget, TeacherClient
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.evolution_run import EvolutionRun, taught_at
from ml_backend.teacher.project_context import ProjectContext, visit

EVOLVE, WEAK_SLICES, TEACH = "evolve", "weak-slices", "teach"
ARMS = {
    EVOLVE: "texts that the teacher writes about the learner's weaknesses, taught directly",
    WEAK_SLICES: "the teacher's labels of as many tasks near the learner's mistakes",
    TEACH: "the teacher's labels of as many tasks that teacher_acquisition chooses",
}
NO_CAPS = Budget(0.0, 0.0, 0.0, 0.0, 0)


def questions_of(rounds: int, per_round: int) -> int:
    """Most questions that an arm asks: in a round a diagnosis, the writing, and a label for each hard and easy text."""
    return rounds * (2 + 2 * per_round)


def open_memory(settings: Settings, folder: Path) -> CachedTeacher:
    """The teacher of the settings, with the answers that are kept in a folder. Raises ApprenticeError if it is one that
    cannot be asked, or only by files."""
    options = settings.defaults
    teacher = registry.teacher(options.teacher, settings.teacher_options(options))
    if teacher is None or options.teacher == registry.BY_FILE:
        raise ApprenticeError(
            f"The teacher is {options.teacher!r}, which cannot be asked in a simulation: set `teacher` and "
            "`teacher_model` in APPRENTICE_DEFAULTS, and APPRENTICE_TEACHER_URL"
        )
    if options.teacher == "openai" and not (settings.teacher_url or settings.teacher_key.get_secret_value()):
        raise ApprenticeError(
            "The teacher has no address: set APPRENTICE_TEACHER_URL, or APPRENTICE_TEACHER_KEY for OpenAI's endpoint"
        )
    made = {name: getattr(options, name) for name in ("teacher_probabilities", "teacher_acquisition")}
    store = Store(settings.model_copy(update={"data_dir": folder, "store_url": ""}))
    if not store.ledger.outcomes(PROJECT)[""]["answered"]:
        (folder / PROTOCOL).unlink(missing_ok=True)  # of a teacher that was never there, or whose name was mistyped
    prepare(folder, {"teacher": teacher.name, **made})
    return CachedTeacher(store, TeacherClient(store, PROJECT, teacher, Budget.of(options)))


@contextmanager
def rehearse(
    arm: str,
    settings: Settings,
    plan: SimulationPlan,
    label_config: str,
    pool: LabelledPool,
    teacher: CachedTeacher,
    rounds: int,
    n: int,
) -> Iterator[SimulatedTeacher]:
    """The tutor of one run of an arm, for as long as its project lasts."""
    with TemporaryDirectory(prefix="apprentice-") as folder:
        own = settings.model_copy(update={"data_dir": Path(folder), "store_url": "", "defaults": plan.options})
        with closing(Store(own)) as store:
            yield _begin(arm, own, store, plan, label_config, pool, teacher, rounds, n)


def _begin(
    arm: str,
    settings: Settings,
    store: Store,
    plan: SimulationPlan,
    label_config: str,
    pool: LabelledPool,
    teacher: CachedTeacher,
    rounds: int,
    n: int,
) -> SimulatedTeacher:
    """As `connect` and a first look at the tasks leave a project."""
    store.projects.set_label_config(PROJECT, label_config)
    keys = [content_key(text) for text in pool.texts]
    store.tasks.put(PROJECT, (Example(row, text, keys[row], {}) for row, text in enumerate(pool.texts)))
    cache = store.vectors(PROJECT, registry.encoder(settings.encoder).name)
    rows = list({key: row for row, key in enumerate(keys)}.values())
    cache.add([keys[row] for row in rows], pool.vectors[rows])
    return SimulatedTeacher(arm, visit(settings, store, PROJECT), plan, pool, teacher, rounds, n)


class SimulatedTeacher:
    """A SimulationTeacher: rounds of one arm, spread evenly from the first labels on."""

    def __init__(
        self,
        arm: str,
        site: ProjectContext,
        plan: SimulationPlan,
        pool: LabelledPool,
        teacher: CachedTeacher,
        rounds: int,
        per_round: int,
    ) -> None:
        self._arm = arm
        self._site = site
        self._pool = pool
        self._teacher = teacher
        self._desk = TeacherClient(site.store, PROJECT, teacher, NO_CAPS)
        self._per_round = per_round
        first, last = max(plan.initial, 2), min(plan.budget, len(pool))
        self._due = [first + (last - first) * number // rounds for number in range(rounds)]

    def teach(self, rows: Ints, learner: FittedModel) -> Mapping[str, Tensors] | None:
        """See `SimulationTeacher`. Raises RepliesAwaitedError if the teacher does not answer or its budget is spent."""
        if not self._due or len(rows) < self._due[0]:
            return None
        self._due.pop(0)
        self._put_answers(rows)
        self._site = self._site.again()
        if self._arm == TEACH:
            self._label(learner)
        else:
            way = generated_texts.TAUGHT if self._arm == EVOLVE else generated_texts.POOL
            evolving = EvolutionRun(self._site, self._desk, way, self._per_round, lambda *_: (), learner)
            with suppress(NoWeaknessError):
                list(evolving.run(1))
        self._site = self._site.again()
        answers = consensus(self._site.schema, self._site.store.labels.of(PROJECT))
        return taught_at(self._site, self._desk.teacher, answers, learner.lesson.plugin)

    def spent(self) -> Mapping[str, float]:
        """Calls, tokens and cost, as if nobody had asked anything before."""
        spent = self._teacher.spent()
        tokens = spent.input_tokens + spent.output_tokens
        return {"teacher_calls": spent.calls, "teacher_tokens": tokens, "teacher_cost": spent.cost}

    def _put_answers(self, rows: Ints) -> None:
        schema, targets = self._site.schema, self._pool.targets[rows]
        chosen = targets >= 0.5 if schema.multiple else decide(targets, False)
        names = np.array(schema.labels)
        self._site.store.labels.put(
            PROJECT,
            [
                Annotation(row, row, 1, tuple(names[mine].tolist()))
                for row, mine in zip(rows.tolist(), chosen, strict=True)
            ],
        )

    def _label(self, learner: FittedModel) -> None:
        """As the live loop does it, a portion at a time."""
        site, store, teacher = self._site, self._site.store, self._desk.teacher
        touched = consensus(site.schema, store.labels.of(PROJECT)).touched
        left = questions_of(1, self._per_round)
        apart: Ints = np.empty(0, np.int64)
        while left > 0:
            known = list(store.questions.given(PROJECT, teacher).keys)
            tasks = candidates.further(site.pool, site.options, learner, site.schema, known, apart, touched, left)
            if not len(tasks):
                return
            apart = np.concatenate([apart, tasks])  # what it drops makes room for others
            asked = candidates.label(store, site.pool, site.record, site.schema, None, teacher, tasks)
            try:
                for _ in self._desk.ask([question for question, _ in asked], [key for _, key in asked]):
                    pass
            except TeacherUnavailableError as error:
                raise RepliesAwaitedError(
                    f"waiting for the teacher; the same command goes on from here ({error})"
                ) from None
            left -= len(asked)

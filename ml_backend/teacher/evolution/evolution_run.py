"""EvoKD, a round at a time: what is the learner bad at, texts about that, their labels, and how it does on them.

Liu et al., "Evolving Knowledge Distillation with Large Language Models and Active Learning" (arXiv 2403.06414): three
calls of their own for the diagnosis, for the texts and for their labels, which may be refused; the learner is examined
before it is taught, which is the feedback for the next round; and earlier rounds stay among what is taught. Not of the
paper: the labels come from annotators (`written.TASKS`) unless `written.TAUGHT` is wanted, and with `written.POOL` the
same report chooses real tasks instead, for as many calls.

Every step can be resumed: its questions are kept with the round, and their answers with the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from ml_backend.core.exceptions import ApprenticeError, NoWeaknessError, RepliesAwaitedError, TeacherUnavailableError
from ml_backend.core.formatting import counted
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.core.types import Example, Ints, Tensors, storable
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels, consensus
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import now
from ml_backend.teacher import distillation
from ml_backend.teacher.candidates import Asked
from ml_backend.teacher.client import TeacherClient
from ml_backend.teacher.distillation import DistillationInput
from ml_backend.teacher.evolution import generated_texts, report_text, steps
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis, serving, weakness
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, POOL, TASKS, EvolutionRound, GeneratedText
from ml_backend.teacher.evolution.text_filter import sieve
from ml_backend.teacher.project_context import ProjectContext
from ml_backend.teacher.teacher_labels import recall

Send = Callable[[Mapping[str, str], str], Sequence[Example]]
"""Makes tasks of texts, each with its kind, none twice since a moment; returns those that it made."""


class EvolutionRun:
    """The rounds of one project: `way` as in `Round`, `per_round` hard texts in each and as many easy ones. `learner`:
    whose weaknesses they are about, if that is not the one that serves."""

    def __init__(
        self,
        site: ProjectContext,
        desk: TeacherClient,
        way: str,
        per_round: int,
        send: Send,
        learner: FittedModel | None = None,
    ) -> None:
        self._site = site
        self._desk = desk
        self._way = way
        self._per_round = per_round
        self._send = send
        self._given = learner
        self._rounds: tuple[EvolutionRound, ...] = ()

    def run(self, rounds: int) -> Iterator[EvolutionRound]:
        """Runs so many rounds, or what is left of those that were begun. Raises RepliesAwaitedError, and the next `run`
        goes on from there; StoreError if another process evolves the project."""
        store, project = self._site.store, self._site.record.id
        with store.evolution.alone(project):
            self._rounds = generated_texts.read(store, project)
            yield from self._run(rounds)

    def _run(self, rounds: int) -> Iterator[EvolutionRound]:
        before = self._alike()
        left = min((before[-1].left if before else 0) or rounds, rounds)
        while left:
            self._site = self._site.again()
            one = replace(self._begun(), left=left)
            learner = self._learner()
            report = weakness(self._site, learner, self._audited())
            one = self._from_pool(one, learner, report) if self._way == POOL else self._write(one, learner, report)
            left -= 1
            one = self._keep(replace(one, done=True, left=left))
            self._site.store.jobs.ask(self._site.record.id)
            yield one

    def room(self) -> int:
        """How many tasks the quota still lets in."""
        answered = self._answers().tasks
        allowed = self._site.options.synthetic_share * int(self._site.pool.real(answered).sum())
        return max(0, int(allowed + 1e-9) - int(self._site.pool.synthetic.sum()))

    def _alike(self) -> list[EvolutionRound]:
        """The rounds of this kind with this teacher: what waits of others was paid for, and goes on waiting."""
        mine = [one for one in self._rounds if one.teacher == self._desk.teacher]
        return [one for one in mine if (one.way == POOL) == (self._way == POOL)]

    def _begun(self) -> EvolutionRound:
        """The round that waits, or a new one."""
        for one in self._alike():
            if not one.done:
                return replace(one, way=self._way)
        refuse_records(self._site, self._way)
        if self._way == TASKS and not self.room():
            raise ApprenticeError(
                f"Project {self._site.record.id} has as many synthetic tasks as synthetic_share "
                f"{self._site.options.synthetic_share:g} allows for the tasks that have a label: label more of them, "
                "raise it, or use --train-directly"
            )
        began = datetime.fromtimestamp(now(), UTC).isoformat()
        return EvolutionRound(len(self._rounds) + 1, self._way, self._desk.teacher, self._per_round, began)

    def _write(self, one: EvolutionRound, learner: FittedModel, report: ErrorAnalysis) -> EvolutionRound:
        site, teacher = self._site, self._desk.teacher
        exemplary = learner if one.way == TASKS else None
        if "diagnose" not in one.asked:
            one = replace(one, shown=steps.quoted_tasks(report))  # of the report of today; the answer may come late
        one, [(_, told)] = self._ask(one, "diagnose", lambda: [(steps.diagnose(report, teacher, one.number), None)])
        if not one.weaknesses:
            shown = one.shown or steps.quoted_tasks(report)  # asked by an earlier release, which did not note it
            one = self._keep(replace(one, shown=shown, weaknesses=steps.diagnosed(told, report)))
        rounds = [each for each in self._rounds if each.done]
        if "write" not in one.asked:
            asked, quoted = steps.write(site, one, rounds, learner, self._audited())
            one = replace(one, shown=tuple(dict.fromkeys((*one.shown, *quoted))))
        one, [(_, told)] = self._ask(one, "write", lambda: [(asked, None)])
        if "label" not in one.asked:
            content = told.content or {}
            texts = [
                GeneratedText(storable(text).strip(), kind)
                for kind in (HARD, EASY)
                for text in content.get(kind, ())[: one.n]
            ]
            kept, dropped = sieve(site, texts, [text for each in rounds for text in each.texts])
            one = replace(one, written=len(texts), texts=tuple(kept)).without(dropped)
        one, answered = self._ask(one, "label", lambda: steps.label(site, exemplary, one.texts, teacher))
        by_question = dict(zip(one.asked["label"], one.texts, strict=False))  # once labelled, some of them are left
        one = self._examine(one, learner, by_question, answered)
        if one.way != TASKS:
            return replace(one, used=len(one.texts))
        if not one.used:
            chosen = steps.for_annotators(one.texts, min(one.n, self.room()))
            rest = [each for each in one.texts if each not in chosen]
            one = self._keep(replace(one, texts=(*chosen, *rest), used=len(chosen)))
        made = self._send({each.text: each.kind for each in one.texts[: one.used] if each.text}, one.began)
        site.store.tasks.put(site.record.id, made)
        return one

    def _from_pool(self, one: EvolutionRound, learner: FittedModel, report: ErrorAnalysis) -> EvolutionRound:
        """The teacher labels as many real tasks as it would have written texts, near to the mistakes."""
        site, pairs = self._site, report.pairs[: report_text.MOST]
        single = [each.task for each in report.single]
        mistakes = [*(pair.tasks for pair in pairs), *([single] if single else [])]
        if not mistakes:
            raise NoWeaknessError("The learner has made no mistake: there is no weak slice to choose tasks from")

        def choose() -> Asked:
            apart = np.concatenate([self._answers().touched, self._audited()])
            return steps.from_pool(site, mistakes, one, apart)

        one, answered = self._ask(one, "label", choose)
        texts = {question.id: GeneratedText(question.text, POOL) for question, _ in answered}
        told = [f"{pair.label} taken for {pair.instead} ({pair.count})" for pair in pairs]
        told += [f"{len(report.single)} mistakes that were made once"] if report.single else []
        one = replace(one, weaknesses="; ".join(told))
        one = self._examine(one, learner, texts, answered)
        return replace(one, used=len(one.texts))

    def _examine(
        self,
        one: EvolutionRound,
        learner: FittedModel,
        texts: Mapping[str, GeneratedText],
        answered: Sequence[tuple[Question, Answer]],
    ) -> EvolutionRound:
        """With the teacher's labels, and what the learner says, which is not taught any of them yet. `texts`: by the
        ids of the questions for their labels; those that were deleted meanwhile are left out."""
        if one.labelled:
            return one
        asked = [(texts[question.id], answer, question) for question, answer in answered if texts[question.id].text]
        kept, dropped = steps.labelled(self._site.schema, asked)
        examined = steps.examined(self._site, learner, kept)
        return self._keep(replace(one, texts=examined, labelled=True).without(dropped))

    def _ask(
        self, one: EvolutionRound, step: str, make: Callable[[], Asked]
    ) -> tuple[EvolutionRound, list[tuple[Question, Answer]]]:
        """The questions of a step, which are worded once, with their answers; but for those about a text that was
        deleted meanwhile."""
        store, project = self._site.store, self._site.record.id
        if step not in one.asked:
            made = make()
            store.questions.want(project, one.teacher, made)
            one = self._keep(replace(one, asked={**one.asked, step: [question.id for question, _ in made]}))
        asked: list[Question] = store.questions.those(project, one.asked[step])
        problem = ""
        try:
            for _ in self._desk.ask(asked):
                pass
        except TeacherUnavailableError as error:
            problem = str(error)
        asked = store.questions.those(project, one.asked[step])  # some may be gone meanwhile
        told = self._desk.told(asked)
        if missing := [each for each in asked if each.id not in told]:
            why = problem or self._desk.exhausted(missing[0]) or self._desk.problem
            others = store.questions.number_waiting(project, one.teacher) - len(missing)
            beside = f" to this round, beside {counted(others, 'question')} of the loop" if others else ""
            raise RepliesAwaitedError(
                f"waiting for {counted(len(missing), 'answer')}{beside}; the same command goes on from here"
                f"{f' ({why})' if why else ''}"
            )
        return one, [(each, told[each.id]) for each in asked]

    def _keep(self, one: EvolutionRound) -> EvolutionRound:
        kept = {each.number: each for each in self._rounds} | {one.number: one}
        self._rounds = tuple(kept.values())
        generated_texts.keep(self._site.store, self._site.record.id, one)
        return one

    def _learner(self) -> FittedModel:
        """The one that serves. Where the teacher's labels are taught without annotators: as it will be with those of
        the rounds so far, whether a worker has come to it or not."""
        if self._given is not None:
            return self._given
        found, site = serving(self._site), self._site
        if self._way == TASKS or self._has_been_taught(found):
            return found
        there = np.isin(found.lesson.tasks, site.pool.tasks)
        lesson = replace(found.lesson, tasks=found.lesson.tasks[there], targets=found.lesson.targets[there])
        vectors = site.pool.ensure(site.pool.rows_of(lesson.tasks))
        priors = taught_at(site, self._desk.teacher, self._answers(), lesson.plugin)
        taught, _ = fitted_model.learn(lesson, vectors, None, found.number, priors, site.pool.real(lesson.tasks))
        return taught or found

    def _has_been_taught(self, learner: FittedModel) -> bool:
        """Whether a learner knows all that the rounds so far have taught: then the report is about that one."""
        if not any(one.done and one.way != TASKS and one.teacher == self._desk.teacher for one in self._rounds):
            return True
        site, kept = self._site, self._site.record.prior or {}
        if learner.lesson.prior != kept.get("sha256"):
            return False
        now_taught = _given(site, self._desk.teacher, self._answers(), learner.lesson.plugin)
        return distillation.origin_of(site.record) == now_taught.origin

    def _answers(self) -> AggregatedLabels:
        return consensus(self._site.schema, self._site.store.labels.of(self._site.record.id))

    def _audited(self) -> Ints:
        """What is measured by is not shown to who writes what is learnt from."""
        return np.array(self._site.store.versions.audited(self._site.record.id), np.int64)


def refuse_records(site: ProjectContext, way: str) -> None:
    """Raises ApprenticeError if a teacher would have to write records."""
    if way != POOL and site.schema.is_record:
        raise ApprenticeError(
            f"The tasks of project {site.record.id} are records, and a teacher writes texts: use --from-pool, which "
            "has it label tasks near the learner's mistakes"
        )


def taught_at(site: ProjectContext, teacher: str, answers: AggregatedLabels, plugin: str) -> dict[str, Tensors]:
    """What a teacher has taught a kind of learner by now: its labels, what it wrote to be taught, its cues."""
    given = _given(site, teacher, answers, plugin)
    return distillation.distil(given, site.schema.multiple, site.encoder, seed=site.record.id)


def _given(site: ProjectContext, teacher: str, answers: AggregatedLabels, plugin: str) -> DistillationInput:
    recalled = recall(site.store, teacher, site.schema, site.pool, site.record.id, answers)
    local = generated_texts.taught(site.store, site.encoder, site.record, site.schema, recalled, teacher)
    return distillation.gather(site.pool, site.record, plugin, site.schema, recalled, local, site.records)

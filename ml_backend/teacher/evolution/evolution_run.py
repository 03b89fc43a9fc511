"""Runs rounds of EvoKD. A round analyses the learner's mistakes, has the teacher write texts about them and label the
texts, and measures the learner on the texts.

Liu et al., "Evolving Knowledge Distillation with Large Language Models and Active Learning" (arXiv 2403.06414). As in
the paper, there are separate calls for the diagnosis, for the texts and for their labels, and the teacher may refuse to
label a text; the learner is measured on the texts before it is trained on them, and the result is the feedback for the
next round; the texts of earlier rounds stay in the distillation data. Two things differ from the paper. Annotators
label the texts again before the learner is trained on them (`generated_texts.TASKS`), unless `generated_texts.TAUGHT`
is chosen. With `generated_texts.POOL`, the analysis chooses existing tasks instead of having texts written, and the
teacher labels them, with as many calls as a round with texts takes.

A round can be resumed at each step: the ids of a step's questions are stored with the round, and the answers with the
questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from ml_backend.core.arrays import Ints, Tensors
from ml_backend.core.exceptions import ApprenticeError, NoWeaknessError, RepliesAwaitedError, TeacherUnavailableError
from ml_backend.core.formatting import format_count
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.core.types import TaskContent, storable_text
from ml_backend.kinds.aggregation import AggregatedLabels, aggregate_annotations
from ml_backend.kinds.lookup import fit_properties, kind_of
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.training_sample import pool_texts
from ml_backend.teacher import distillation
from ml_backend.teacher.client import TeacherClient
from ml_backend.teacher.context_limit import context_tokens
from ml_backend.teacher.distillation import DistillationInput
from ml_backend.teacher.evolution import analysis_prompt, generated_texts, labelled_texts, steps
from ml_backend.teacher.evolution.error_analysis import ErrorAnalysis, analyse_errors, load_serving_learner
from ml_backend.teacher.evolution.generated_texts import EASY, HARD, POOL, TASKS, TAUGHT, EvolutionRound, GeneratedText
from ml_backend.teacher.evolution.text_filter import filter_texts
from ml_backend.teacher.project_context import ProjectContext
from ml_backend.teacher.teacher_labels import load_teacher_labels

CreateTasks = Callable[[Mapping[str, str], str], Sequence[TaskContent]]
"""Creates tasks from texts and returns the tasks. The arguments are the kind of each text, by text, and a time in UTC
(ISO text): a text of which a task was created since that time does not become a second task."""


class EvolutionRun:
    """Runs the rounds of one project.

    way        what becomes of the texts: one of `generated_texts.TASKS`, TAUGHT and POOL
    per_round  number of hard texts, and of easy texts, in each round
    send       creates tasks in Label Studio, for TASKS
    learner    the learner whose mistakes are analysed; None: the serving learner
    """

    def __init__(
        self,
        context: ProjectContext,
        teacher_client: TeacherClient,
        way: str,
        per_round: int,
        send: CreateTasks,
        learner: FittedModel | None = None,
    ) -> None:
        require_evolvable(context)
        self._context = context
        self._teacher_client = teacher_client
        self._way = way
        self._per_round = per_round
        self._send = send
        self._fixed_learner = learner
        self._rounds: tuple[EvolutionRound, ...] = ()

    def run(self, rounds: int) -> Iterator[EvolutionRound]:
        """Runs `rounds` rounds, or those that an interrupted earlier call has left, if these are fewer. Yields each
        round when it is done. Raises RepliesAwaitedError if answers are missing; the next `run` resumes there. Raises
        StoreError if another process runs rounds of the project."""
        store, project = self._context.store, self._context.project_row.id
        with store.evolution_rounds.lock(project):
            self._rounds = generated_texts.read_rounds(store, project)
            yield from self._run(rounds)

    def _run(self, rounds: int) -> Iterator[EvolutionRound]:
        earlier = self._comparable_rounds()
        left = min((earlier[-1].left if earlier else 0) or rounds, rounds)
        while left:
            self._context = self._context.reloaded()
            current = replace(self._current_round(), left=left)
            learner = self._learner()
            analysis = analyse_errors(self._context, learner, self._audited())
            step = self._label_from_pool if self._way == POOL else self._write_texts
            current = step(current, learner, analysis)
            left -= 1
            current = self._save(replace(current, done=True, left=left))
            self._context.store.jobs.request_unless_waiting(self._context.project_row.id)
            yield current

    def remaining_tasks(self) -> int:
        """The number of tasks that may still be created from generated texts under the setting `synthetic_share`."""
        pool, annotated = self._context.pool, self._aggregated_labels().tasks
        allowed = self._context.options.synthetic_share * int(pool.is_not_generated(annotated).sum())
        return max(0, int(allowed + 1e-9) - int(pool.synthetic.sum()))

    def _comparable_rounds(self) -> list[EvolutionRound]:
        """The rounds on this control with this teacher that write texts if this run writes texts, and else those that
        label tasks of the pool. Other rounds stay as they are, even if they are not done: they may be resumed later,
        because the answers that they have or wait for are paid for."""
        comparable = (self._context.control.name, self._teacher_client.teacher, self._way == POOL)
        return [round_ for round_ in self._rounds if (round_.control, round_.teacher, round_.way == POOL) == comparable]

    def _current_round(self) -> EvolutionRound:
        """The first comparable round that is not done, or else a new round. Raises ApprenticeError if no round can
        begin."""
        for round_ in self._comparable_rounds():
            if not round_.done:
                return replace(round_, way=self._way)
        check_texts_can_be_written(self._context, self._way)
        if self._way == TASKS and not self.remaining_tasks():
            raise ApprenticeError(
                f"Project {self._context.project_row.id} has as many synthetic tasks as synthetic_share "
                f"{self._context.options.synthetic_share:g} allows for the tasks that have a label: label more tasks, "
                "raise synthetic_share, or use --train-directly"
            )
        began = datetime.fromtimestamp(self._context.store.clock.now(), UTC).isoformat()
        return EvolutionRound(
            number=len(self._rounds) + 1,
            control=self._context.control.name,
            way=self._way,
            teacher=self._teacher_client.teacher,
            n=self._per_round,
            began=began,
        )

    def _write_texts(self, current: EvolutionRound, learner: FittedModel, analysis: ErrorAnalysis) -> EvolutionRound:
        """Runs the steps of a round that writes texts: diagnosis, texts, labels, and tasks if `way` is TASKS."""
        context, teacher = self._context, self._teacher_client.teacher
        tokens = context_tokens(context.options)
        current, [(_, answer)] = self._ask(
            current, "diagnose", lambda: steps.diagnose(analysis, teacher, current.number, tokens)
        )
        if not current.weaknesses:
            # an earlier release did not store `shown`
            shown = current.shown or steps.diagnose(analysis, teacher, current.number, tokens).quoted
            current = self._save(replace(current, shown=shown, weaknesses=steps.diagnosed(answer, analysis)))
        done = [round_ for round_ in self._rounds if round_.done]
        current, [(_, answer)] = self._ask(
            current, "write", lambda: steps.write(context, current, done, learner, self._audited())
        )
        if "label" not in current.asked:
            content = answer.content or {}
            texts = [
                GeneratedText(storable_text(text).strip(), kind)
                for kind in (HARD, EASY)
                for text in content.get(kind, ())[: current.n]
            ]
            kept, dropped = filter_texts(context, texts, [text for round_ in done for text in round_.texts])
            current = replace(current, written=len(texts), texts=tuple(kept)).with_dropped(dropped)
        few_shot_learner = learner if current.way == TASKS else None
        current, answers = self._ask(
            current, "label", lambda: steps.label(context, few_shot_learner, current.texts, teacher)
        )
        # `_examine` drops texts: after it, a resumed round has fewer texts than questions, and skips `_examine`
        text_of_question = dict(zip(current.asked["label"], current.texts, strict=False))
        current = self._examine(current, learner, text_of_question, answers)
        if current.way != TASKS:
            return replace(current, used=len(current.texts))
        return self._create_tasks(current)

    def _create_tasks(self, current: EvolutionRound) -> EvolutionRound:
        """Makes tasks of the best texts, as many as the setting `synthetic_share` allows. Chooses the texts once for a
        round, so that a resumed round does not choose others."""
        context = self._context
        if not current.used:
            chosen = steps.for_annotators(current.texts, min(current.n, self.remaining_tasks()))
            rest = [text for text in current.texts if text not in chosen]
            current = self._save(replace(current, texts=(*chosen, *rest), used=len(chosen)))
        kind_of_text = {text.text: text.kind for text in current.texts[: current.used] if text.text}
        context.store.tasks.put(context.project_row.id, self._send(kind_of_text, current.began))
        return current

    def _label_from_pool(
        self, current: EvolutionRound, learner: FittedModel, analysis: ErrorAnalysis
    ) -> EvolutionRound:
        """Has the teacher label existing tasks near the learner's mistakes, with as many calls as a round that writes
        texts takes.

        Raises NoWeaknessError if the learner has made no mistake.
        """
        context, mistakes = self._context, analysis_prompt.mistakes_by_name(analysis)
        if not mistakes:
            raise NoWeaknessError(
                "The learner has made no mistake, so no tasks are near a mistake: label more tasks first"
            )

        def choose() -> steps.Asked:
            excluded = np.concatenate([self._aggregated_labels().annotated_or_skipped, self._audited()])
            return steps.Asked(steps.from_pool(context, list(mistakes.values()), current, excluded), (), {})

        current, answers = self._ask(current, "label", choose)
        texts = {question.id: GeneratedText(question.text, POOL) for question, _ in answers}
        current = replace(current, weaknesses="; ".join(mistakes))
        current = self._examine(current, learner, texts, answers)
        return replace(current, used=len(current.texts))

    def _examine(
        self,
        current: EvolutionRound,
        learner: FittedModel,
        text_of_question: Mapping[str, GeneratedText],
        answers: Sequence[tuple[Question, Answer]],
    ) -> EvolutionRound:
        """Adds the teacher's labels to the texts, and the learner's predictions for the texts, on which it is not
        trained yet. Leaves out texts that were deleted in the meantime. Does nothing if the round is labelled.

        text_of_question  the text of each question for a label, by the question's id
        """
        if current.labelled:
            return current
        replies = [
            (text_of_question[question.id], answer, question)
            for question, answer in answers
            if text_of_question[question.id].text
        ]
        control = self._context.control
        kept, dropped = labelled_texts.labelled(control, replies)
        if kind_of(control).part_name and current.way != POOL:
            share = steps.share_without_parts(learner.snapshot, self._context.pool)
            kept, surplus = labelled_texts.without_surplus(control, kept, share)
            dropped += surplus
        if kind_of(control).part_name and current.way == TAUGHT:
            kept, annotated = labelled_texts.with_new_parts(control, kept, self._annotated_parts())
            dropped += annotated
        current = replace(current, texts=tuple(kept), labelled=True, properties=fit_properties(control))
        return self._save(labelled_texts.examined(self._context, learner, current).with_dropped(dropped))

    def _annotated_parts(self) -> set[str]:
        """The parts that annotators have marked anywhere, as `labelled_texts.quoted_parts`."""
        context, labels = self._context, self._aggregated_labels()
        values = kind_of(context.control).target_values(context.control, labels.targets)
        texts = context.store.tasks.texts(context.project_row.id, labels.tasks.tolist())
        parts = (labelled_texts.quoted_parts(context.control, *pair) for pair in zip(values, texts, strict=True))
        return set().union(*parts)

    def _ask(
        self, current: EvolutionRound, step: str, make_questions: Callable[[], steps.Asked]
    ) -> tuple[EvolutionRound, list[tuple[Question, Answer]]]:
        """Asks the questions of a step; returns the round, and the questions with their answers. Builds the questions
        once for a round, and leaves out questions about a text that was deleted in the meantime. Raises
        RepliesAwaitedError if answers are missing."""
        store, project = self._context.store, self._context.project_row.id
        if step not in current.asked:
            new = make_questions()
            store.questions.add(project, current.teacher, new.questions)
            ids = [question.id for question, _ in new.questions]
            current = current.with_quoted(new.quoted).with_left_out(new.left_out)
            current = self._save(replace(current, asked={**current.asked, step: ids}))
        questions: list[Question] = store.questions.with_ids(project, current.asked[step])
        problem = ""
        try:
            for _ in self._teacher_client.ask(questions):
                pass
        except TeacherUnavailableError as error:
            problem = str(error)
        questions = store.questions.with_ids(project, current.asked[step])  # some may have been deleted while asking
        answers = self._teacher_client.stored_answers(questions)
        if unanswered := [question for question in questions if question.id not in answers]:
            reason = problem or self._teacher_client.exhausted_cap(unanswered[0]) or self._teacher_client.problem
            others = store.questions.count_waiting(project, current.teacher) - len(unanswered)
            beside = f" to this round, beside {format_count(others, 'question')} of the loop" if others else ""
            raise RepliesAwaitedError(
                f"waiting for {format_count(len(unanswered), 'answer')}{beside}; the same command goes on from here"
                f"{f' ({reason})' if reason else ''}"
            )
        return current, [(question, answers[question.id]) for question in questions]

    def _save(self, current: EvolutionRound) -> EvolutionRound:
        by_number = {round_.number: round_ for round_ in self._rounds} | {current.number: current}
        self._rounds = tuple(by_number.values())
        generated_texts.save_round(self._context.store, self._context.project_row.id, current)
        return current

    def _learner(self) -> FittedModel:
        """The learner whose mistakes are analysed: the serving learner by default. If rounds distil the teacher's
        labels directly, and no worker has fitted the learner with those of the latest rounds yet, it is fitted here."""
        if self._fixed_learner is not None:
            return self._fixed_learner
        learner, context = load_serving_learner(self._context), self._context
        if self._way == TASKS or self._is_up_to_date(learner):
            return learner
        still_exists = np.isin(learner.snapshot.tasks, context.pool.tasks)
        snapshot = replace(
            learner.snapshot, tasks=learner.snapshot.tasks[still_exists], targets=learner.snapshot.targets[still_exists]
        )
        vectors = context.pool.encoded_vectors(context.pool.rows_of(snapshot.tasks))
        priors = distil_current_priors(
            context, self._teacher_client.teacher, self._aggregated_labels(), snapshot.plugin
        )
        texts = context.pool.texts(snapshot.tasks)
        train = snapshot.training_set(vectors, texts, priors, context.pool.is_not_generated(snapshot.tasks))
        train = replace(train, pool_texts=pool_texts(context.pool))
        refitted, _ = fitted_model.fit_model(snapshot, train, None, learner.number)
        return refitted or learner

    def _is_up_to_date(self, learner: FittedModel) -> bool:
        """Whether a learner was fitted with the priors that the teacher's labels of all rounds so far give."""
        teacher = self._teacher_client.teacher
        control = self._context.control.name
        if not any(
            round_.done and round_.way != TASKS and (round_.control, round_.teacher) == (control, teacher)
            for round_ in self._rounds
        ):
            return True
        context = self._context
        prior = context.project_row.distillations.get(context.control.name, {})
        if learner.snapshot.prior != prior.get("sha256"):
            return False
        current = _distillation_input(context, teacher, self._aggregated_labels(), learner.snapshot.plugin)
        return distillation.origin_of(context.project_row, context.control) == current.origin

    def _aggregated_labels(self) -> AggregatedLabels:
        return aggregate_annotations(
            self._context.control, self._context.store.annotations.of(self._context.project_row.id)
        )

    def _audited(self) -> Ints:
        """The ids of the tasks of the audit sample. The teacher must not see these tasks: the learner is measured on
        them, and would be trained on texts that the teacher writes after their example."""
        return np.array(self._context.store.versions.audited(self._context.project_row.id), np.int64)


def require_evolvable(context: ProjectContext) -> None:
    """Raises ApprenticeError if the annotations of the control are neither labels nor parts of texts, or if a teacher
    is not asked about them."""
    control, of_kind = context.control, kind_of(context.control)
    if of_kind.reply_format(control) is None or not (of_kind.replies_with_labels or of_kind.part_name):
        raise ApprenticeError(
            f"The control {control.name!r} of project {context.project_row.id} is a <{control.tag}>: only labels of "
            "texts and marked parts of texts can be evolved. Name another control with --control"
        )


def check_texts_can_be_written(context: ProjectContext, way: str) -> None:
    """Raises ApprenticeError if the teacher would have to write records, pairs, dialogues, lists, or the HTML in which
    parts are marked: it can only write texts."""
    input_spec, tag = context.schema.input, context.control.object_tag
    marks_html = kind_of(context.control).locates_regions and tag is not None and tag.tag == "HyperText"
    names = {
        "records": input_spec.is_record,
        "pairs of texts": input_spec.pair,
        "dialogues": input_spec.dialogues,
        "HTML in which parts are marked": marks_html,
    }
    content = next((name for name, is_content in names.items() if is_content), "lists" if input_spec.lists else "")
    if way != POOL and content:
        raise ApprenticeError(
            f"The tasks of project {context.project_row.id} are {content}, and a teacher writes texts only: use "
            "--from-pool, with which the teacher labels tasks near the learner's mistakes"
        )


def distil_current_priors(
    context: ProjectContext, teacher: str, aggregated_labels: AggregatedLabels, plugin: str
) -> dict[str, Tensors]:
    """Distils the priors of the learner `plugin` from the teacher's labels so far, its texts and its label
    descriptions; returns the tensors of each prior, by the prior's name."""
    current = _distillation_input(context, teacher, aggregated_labels, plugin)
    return distillation.distil(current, context.control, context.encoder, seed=context.project_row.id)


def _distillation_input(
    context: ProjectContext, teacher: str, aggregated_labels: AggregatedLabels, plugin: str
) -> DistillationInput:
    store, project_row, control, encoder = context.store, context.project_row, context.control, context.encoder
    teacher_labels = load_teacher_labels(store, teacher, control, context.pool, project_row.id, aggregated_labels)
    pseudo_labels = generated_texts.pseudo_labels_of_texts(
        store, encoder, project_row, control, teacher_labels, teacher
    )
    return distillation.collect_distillation_input(context, plugin, teacher_labels, pseudo_labels)

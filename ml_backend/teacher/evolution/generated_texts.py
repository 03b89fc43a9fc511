"""The stored rounds of `apprentice evolve`, and the texts that the teacher wrote in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ml_backend.core.arrays import Floats, Ints, PseudoLabels, Rows, as_tuples, object_rows
from ml_backend.core.ports import Encoder
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts
from ml_backend.core.types import LabelValue, content_key
from ml_backend.kinds.lookup import kind_of
from ml_backend.pool.checked_encoder import check_usable
from ml_backend.pool.encoded_texts import encode_texts, texts_in_space
from ml_backend.storage import EvolutionRow, ProjectRow, Store
from ml_backend.teacher.teacher_labels import TeacherLabels, shares

HARD, EASY, POOL = "hard", "easy", "pool"
TASKS, TAUGHT = "tasks", "taught"
"""The values of a round's `way`. TASKS: the texts become tasks of Label Studio. TAUGHT: the learner is distilled from
the texts directly. POOL: the teacher labels existing tasks of the pool, and writes no texts."""
GENERATED_WEIGHT, GENERATED_WEIGHT_OF_MARKED_TEXTS = 1.0, 0.5
"""Weight of a text that the learner is distilled from directly, relative to a task that the teacher has labelled; and
the same where parts of texts are marked. On train sentences of wnut17 and ncbi-disease, F1 is 54.4 and 68.9 with 0.3,
54.8 and 69.6 with 0.5, 53.4 and 70.4 with 1.0."""
ROUND_COLUMNS = ("number", "control", "way", "teacher", "done")
"""The fields of a round that are columns of its row."""
EMPTY, WRONG_LENGTH = "empty", "too short or too long"
DUPLICATE_OF_TASK, DUPLICATE_OF_TEXT = "like a task", "like another written text"
"""Reasons for which `filter_texts` drops a text."""
ANNOTATED_PARTS = "no names but annotated ones"
"""A reason for which a labelled text is dropped, beside those of `kinds.reply_problems`."""


class DroppedText(NamedTuple):
    """A text that is not used, and the reason."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """One text of a round. `kind`: HARD or EASY, as the teacher meant the text, or POOL for a task's text.

    label      the teacher's label as a value, empty until the teacher has labelled the text
    shares     the teacher's probability of each label, empty until then
    said       the value that the learner predicted before the text was used for training
    right      whether the learner and the teacher agree
    predicted  what the teacher's reply says, a row of `Kind.read_replies`, if `shares` does not say it; None until then
    errors     the kinds of the errors in the parts of `said`, in words
    """

    text: str
    kind: str
    label: LabelValue = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    said: LabelValue = ()
    right: bool = False
    predicted: Any = None
    errors: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        return content_key(self.text)


@dataclass(frozen=True, slots=True)
class EvolutionRound:
    """One round in its current state.

    control     the name of the control whose labels the texts are about
    n           number of hard texts, and of easy texts, to write
    began       when the round began, in UTC as ISO text
    asked       ids of the questions of each step; a step's questions are built once and never rebuilt
    weaknesses  the learner's weaknesses in words, by the teacher or from the error analysis
    written     number of texts that the teacher wrote
    dropped     number of dropped texts by reason; `examples`: one dropped text for each reason
    texts       the texts that are left; once the round is `labelled`, each of them has a label
    used        number of texts that became tasks, or that the learner is distilled from
    shown       ids of annotated tasks that the teacher saw with their labels, in the diagnosis or as examples
    left        number of rounds that the command has still to run, including this round until it is `done`
    properties  of the control that the texts are labelled for, see `fit_properties`; {} until the round is `labelled`
    metric      the name of the main metric if values have parts, else ""; `metrics`: its value for the texts of each
                kind, before the learner was trained on them
    left_out    number of texts that were left out of the questions so that these fit into the teacher's context, by
                their use in the questions
    """

    number: int
    control: str
    way: str
    teacher: str
    n: int
    began: str
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    weaknesses: str = ""
    written: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[int, ...] = ()
    texts: tuple[GeneratedText, ...] = ()
    labelled: bool = False
    used: int = 0
    done: bool = False
    left: int = 0
    properties: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def with_dropped(self, dropped: Sequence[DroppedText]) -> EvolutionRound:
        """The round with more texts counted as dropped."""
        counts = Counter(self.dropped) + Counter(text.reason for text in dropped)
        examples = {text.reason: text.text for text in reversed(dropped)} | dict(self.examples)
        return replace(self, dropped=dict(counts), examples=examples)

    def with_quoted(self, tasks: Sequence[int]) -> EvolutionRound:
        """The round with more annotated tasks that the teacher saw with their labels."""
        return replace(self, shown=tuple(dict.fromkeys((*self.shown, *tasks))))

    def with_left_out(self, left_out: Mapping[str, int]) -> EvolutionRound:
        """The round with more that was left out of its questions."""
        return replace(self, left_out=dict(Counter(self.left_out) + Counter(left_out)))

    def score(self, kind: str) -> tuple[int, int]:
        """How many texts of a kind the learner predicted correctly before it was trained on them, and of how many."""
        outcomes = [text.right for text in self.texts if text.kind == kind]
        return sum(outcomes), len(outcomes)


@dataclass(frozen=True, slots=True)
class _ShownTasks:
    """The result of the last read of a project's rounds.

    newest   the identity of the newest round
    open     the numbers of the rounds that were not done
    tasks    (m,) ascending ids of the tasks that a teacher was shown in all rounds
    """

    newest: tuple[int, str] | None = None
    open: frozenset[int] = frozenset()
    tasks: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def newest_number(self) -> int:
        return self.newest[0] if self.newest else 0


_SHOWN_TASKS: WeakKeyDictionary[Store, dict[int, _ShownTasks]] = WeakKeyDictionary()


def read_rounds(store: Store, project: int, **filters: object) -> tuple[EvolutionRound, ...]:
    """The rounds of a project in the order in which they were begun. `filters`: required values of
    `control`, `way`, `teacher` or `done`."""
    return tuple(_round_of(row) for row in store.evolution_rounds.rounds(project, **filters))


def shown_task_ids(store: Store, project: int) -> Ints:
    """(m,) ascending ids of the annotated tasks that a teacher saw with their labels, in any round. Reads only the
    rounds that were added since the last call, and those that were not done then."""
    cache = _SHOWN_TASKS.setdefault(store, {})
    cached = cache.get(project, _ShownTasks())
    rounds = _rounds_since(store, project, cached)
    if cached.newest and cached.newest not in {_identity(round_) for round_ in rounds}:  # the project was removed
        cached = _ShownTasks()
        rounds = _rounds_since(store, project, cached)
    if rounds:
        tasks = np.array([task for round_ in rounds for task in round_.shown], np.int64)
        open_rounds = frozenset(round_.number for round_ in rounds if not round_.done)
        cached = _ShownTasks(_identity(rounds[-1]), open_rounds, np.union1d(cached.tasks, tasks))
    cache[project] = cached
    return cached.tasks


def _rounds_since(store: Store, project: int, cached: _ShownTasks) -> list[EvolutionRound]:
    """The newest round of the last read, all later rounds, and those that were not done."""
    return [_round_of(row) for row in store.evolution_rounds.rounds_from(project, cached.newest_number, cached.open)]


def _identity(round_: EvolutionRound) -> tuple[int, str]:
    """Identifies a round, also if its project was removed and connected again."""
    return round_.number, round_.began


def save_round(store: Store, project: int, round_: EvolutionRound) -> None:
    """Inserts or updates a round."""
    columns = {name: getattr(round_, name) for name in ROUND_COLUMNS}
    body = {name: value for name, value in asdict(round_).items() if name not in ROUND_COLUMNS}
    store.evolution_rounds.save(project, EvolutionRow(**columns, body=body))


def pseudo_labels_of_texts(
    store: Store, encoder: Encoder, project_row: ProjectRow, control: ControlSchema, teacher_labels: TeacherLabels,
    teacher: str,
) -> PseudoLabels:  # fmt: skip
    """The pseudo-labels of all texts that a control's learner is distilled from directly, from the done rounds of a
    teacher. The teacher's labels are corrected by its confusion matrix, which `teacher_labels` has. That matrix does
    not hold for another teacher, so the texts of other teachers are left out."""
    rounds = read_rounds(store, project_row.id, control=control.name, way=TAUGHT, done=True, teacher=teacher)
    of_rounds = [(round_, _usable_texts(control, round_)) for round_ in rounds]
    texts = [text for _, of_round in of_rounds for text in of_round]
    weight = GENERATED_WEIGHT_OF_MARKED_TEXTS if kind_of(control).part_name else GENERATED_WEIGHT
    no_rows = kind_of(control).as_targets(control, [])
    predicted = np.concatenate([no_rows, *(_predicted(control, *of_round) for of_round in of_rounds)])
    expected = kind_of(control).expected(control, predicted, teacher_labels.distillation_reliability)
    return PseudoLabels(
        vectors=text_vectors(store, encoder, project_row.id, texts),
        targets=kind_of(control).distilled_targets(control, expected),
        weights=np.full(len(texts), weight, np.float32),
        texts=read_texts(store, encoder, project_row.id, texts),
        is_generated=np.ones(len(texts), np.bool_),
    )


def _usable_texts(control: ControlSchema, round_: EvolutionRound) -> list[GeneratedText]:
    """The texts of a round that were labelled for the kind of label that the control has now, without the texts of
    deleted tasks, whose text is empty."""
    if kind_of(control).replies_with_labels:
        return [text for text in round_.texts if text.text and text.shares]
    is_same_kind = round_.properties.get("kind") == control.kind
    return [text for text in round_.texts if text.text and text.predicted is not None and is_same_kind]


def _predicted(control: ControlSchema, round_: EvolutionRound, texts: Sequence[GeneratedText]) -> Rows:
    """(n, ...) what the teacher's replies to texts of a round say for the control as it is now."""
    of_kind = kind_of(control)
    if of_kind.replies_with_labels:
        return shares(control, [text.text for text in texts], [text.shares for text in texts])
    rows = object_rows([text.predicted for text in texts])
    return of_kind.adapt(control, rows, of_kind.fitted_schema(round_.properties)) if texts else rows


def read_texts(store: Store, encoder: Encoder, project: int, texts: Sequence[GeneratedText]) -> Texts:
    """The texts as learners read them."""
    return texts_in_space(encoder, store.vectors(project, encoder.name), [text.text for text in texts])


def text_vectors(store: Store, encoder: Encoder, project: int, texts: Sequence[GeneratedText]) -> Floats:
    """(n, d) vectors of the texts, from the project's vector cache; encodes and caches those that are missing."""
    cache, text_of_key = store.vectors(project, encoder.name), {text.key: text.text for text in texts}
    positions = cache.find(list(text_of_key))
    new = [text for text, position in zip(text_of_key.values(), positions.tolist(), strict=True) if position < 0]
    if new:
        encoded = encode_texts(encoder, new)
        check_usable(encoded.usable, range(len(new)), encoder.name, "written text")
        cache.add([content_key(text) for text in new], encoded.vectors, encoded.words)
    if not texts:
        return np.empty((0, encoder.dim), np.float32)
    return cache.read(cache.find([text.key for text in texts]))


def _round_of(row: EvolutionRow) -> EvolutionRound:
    texts, shown = tuple(_text_of(body) for body in row.body["texts"]), tuple(row.body.get("shown", ()))
    body = {**row.body, "texts": texts, "shown": shown}
    return EvolutionRound(
        number=row.number, control=row.control, way=row.way, teacher=row.teacher, done=row.done, **body
    )


def _text_of(body: Mapping[str, Any]) -> GeneratedText:
    return GeneratedText(**{name: value if name == "shares" else as_tuples(value) for name, value in body.items()})

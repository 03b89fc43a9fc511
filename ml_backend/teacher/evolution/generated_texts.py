"""The rounds of `apprentice evolve` as they are kept with a project, and the texts that the teacher wrote in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ml_backend.core.ports import Encoder
from ml_backend.core.types import Floats, Ints, PseudoLabels, TaskSchema, content_key
from ml_backend.pool.checked_encoder import encode
from ml_backend.storage import EvolutionRow, ProjectRecord, Reply, Store
from ml_backend.teacher.confusion_model import corrected
from ml_backend.teacher.teacher_labels import TeacherLabels, shares

HARD, EASY, POOL = "hard", "easy", "pool"
TASKS, TAUGHT = "tasks", "taught"
"""What becomes of a round's texts, its `way`: tasks of Label Studio, or taught to the learner directly. A round whose
way is POOL has tasks labelled that are there already."""


COLUMNS = ("number", "way", "teacher", "done")
"""The fields of a round that are columns of its row."""


EMPTY, LENGTH, ALIKE_TASK, ALIKE_WRITTEN = "empty", "too short or too long", "like a task", "like another written text"
UNUSABLE, REFUSED, UNSURE = "no usable reply", "ambiguous", "unsure label"
"""Why a text is dropped: by the filters of `sieve`, and by what the teacher says of it."""


class DroppedText(NamedTuple):
    """A text that is not used, and why."""

    why: str
    text: str


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """One text of a round. `kind`: HARD or EASY as the teacher meant it, or POOL.

    label   what the teacher says of it, `shares` its probabilities; empty until it has said so
    said    what the learner said of it before it was taught; `right`: whether that is the same
    """

    text: str
    kind: str
    label: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    right: bool = False

    @property
    def key(self) -> bytes:
        return content_key(self.text)


@dataclass(frozen=True, slots=True)
class EvolutionRound:
    """One round, as far as it has come.

    n           hard texts, and as many easy ones; `began`: when, in UTC as ISO text
    asked       ids of the questions of each step: what was asked once is never worded anew
    weaknesses  in words, the teacher's or the report's
    written     how many texts the teacher wrote; `dropped`: why so many of them went, with one text for each reason
                in `examples`
    texts       those that are left; once it is `labelled`, those with a label
    used        how many became tasks or are taught
    shown       the answered tasks whose text and label the teacher was shown for its diagnosis and as examples
    left        how many rounds the command that it is of has still to do, with this one as long as it is not `done`
    """

    number: int
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

    def without(self, dropped: Sequence[DroppedText]) -> EvolutionRound:
        """The round as it is with more texts dropped."""
        counts = Counter(self.dropped) + Counter(each.why for each in dropped)
        examples = {each.why: each.text for each in reversed(dropped)} | dict(self.examples)
        return replace(self, dropped=dict(counts), examples=examples)

    def score(self, kind: str) -> tuple[int, int]:
        """How many texts of a kind the learner had right before it was taught, and of how many."""
        mine = [each.right for each in self.texts if each.kind == kind]
        return sum(mine), len(mine)


@dataclass(frozen=True, slots=True)
class _Shown:
    """What was read of a project's rounds: the identity of the `newest`, the numbers of those `waiting` that were not
    done, and the `tasks` that a teacher was shown in all of them."""

    newest: tuple[int, str] | None = None
    waiting: frozenset[int] = frozenset()
    tasks: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def newest_number(self) -> int:
        return self.newest[0] if self.newest else 0


_SHOWN: WeakKeyDictionary[Store, dict[int, _Shown]] = WeakKeyDictionary()


def read(store: Store, project: int, **only: object) -> tuple[EvolutionRound, ...]:
    """The rounds, in the order in which they were begun; `only`: those with this `way` or `teacher`, or that are or are
    not `done`."""
    return tuple(_round(row) for row in store.evolution.rounds(project, **only))


def shown(store: Store, project: int) -> Ints:
    """(m,) ascending: the answered tasks whose text and label a teacher was shown in any round, which wrote with them
    in sight. Reads the rounds that have come since the last call, and those that were not done then."""
    remembered = _SHOWN.setdefault(store, {})
    before = remembered.get(project, _Shown())
    rounds = _rounds_since(store, project, before)
    if before.newest and before.newest not in {_identity(one) for one in rounds}:  # removed, with the project
        before = _Shown()
        rounds = _rounds_since(store, project, before)
    if rounds:
        tasks = np.array([task for one in rounds for task in one.shown], np.int64)
        waiting = frozenset(one.number for one in rounds if not one.done)
        before = _Shown(_identity(rounds[-1]), waiting, np.union1d(before.tasks, tasks))
    remembered[project] = before
    return before.tasks


def _rounds_since(store: Store, project: int, before: _Shown) -> list[EvolutionRound]:
    """The newest round that was read, all after it, and those that waited."""
    return [_round(row) for row in store.evolution.rounds_from(project, before.newest_number, before.waiting)]


def _identity(one: EvolutionRound) -> tuple[int, str]:
    """What no other round of a project has, also after it was removed and came back."""
    return one.number, one.began


def keep(store: Store, project: int, one: EvolutionRound) -> None:
    """Inserts a round, or brings it up to date."""
    columns = {name: getattr(one, name) for name in COLUMNS}
    body = {name: value for name, value in asdict(one).items() if name not in COLUMNS}
    store.evolution.keep(project, EvolutionRow(**columns, body=body))


def taught(
    store: Store, encoder: Encoder, record: ProjectRecord, schema: TaskSchema, recalled: TeacherLabels, teacher: str
) -> PseudoLabels:
    """The texts of all rounds of a teacher that are taught directly, with its labels in the light of its record here:
    that says nothing of the labels that another one gave."""
    rounds = read(store, record.id, way=TAUGHT, done=True, teacher=teacher)
    texts = [text for one in rounds for text in one.texts if text.text]  # "" was a task, and is deleted
    said = shares(schema, [Reply(each.key, each.shares) for each in texts])
    targets = corrected(said, recalled.record, schema.multiple)
    return PseudoLabels(vectors(store, encoder, record.id, texts), targets, np.ones(len(texts), np.float32))


def vectors(store: Store, encoder: Encoder, project: int, texts: Sequence[GeneratedText]) -> Floats:
    """(n, d) of texts that are no tasks, or not yet: from the project's cache, and into it."""
    cache, wanted = store.vectors(project, encoder.name), {each.key: each.text for each in texts}
    places = cache.find(list(wanted))
    new = [text for text, place in zip(wanted.values(), places.tolist(), strict=True) if place < 0]
    if new:
        cache.add(
            [content_key(text) for text in new],
            encode(encoder.encode, new, range(len(new)), encoder.name, "written text"),
        )
    if not texts:
        return np.empty((0, encoder.dim), np.float32)
    return cache.read(cache.find([each.key for each in texts]))


def _round(row: EvolutionRow) -> EvolutionRound:
    texts, shown = tuple(_text(each) for each in row.body["texts"]), tuple(row.body.get("shown", ()))
    body = {**row.body, "texts": texts, "shown": shown}
    return EvolutionRound(number=row.number, way=row.way, teacher=row.teacher, done=row.done, **body)


def _text(kept: Mapping[str, Any]) -> GeneratedText:
    return GeneratedText(**{**kept, "label": tuple(kept["label"]), "said": tuple(kept["said"])})

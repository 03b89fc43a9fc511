"""A teacher whose answers are kept: what it was asked once, in the same words, it is not asked again.

For simulations, which ask the same from many starting points, and are repeated and interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from hashlib import blake2b

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.storage import Spending, Store
from ml_backend.teacher.client import TeacherClient

TRIES = 3  # a time-out is no reason to end a long simulation
USELESS = (Call("", 0.0, 0, 0, "malformed"),)
"""What came to nothing then comes to nothing now: without a call, it would be asked again."""
PROJECT = 1  # that the answers are kept under, in a store that has no other


class CachedTeacher:
    """A Teacher in front of a desk of its own, which keeps to the caps for all that is asked through it."""

    def __init__(self, store: Store, desk: TeacherClient) -> None:
        store.projects.ensure(PROJECT)
        self._store = store
        self._desk = desk
        self._asked: set[str] = set()

    @property
    def name(self) -> str:
        return self._desk.teacher

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """What is known comes at once. Raises TeacherUnavailableError, too, if a cap has been reached."""
        worded = {_wording(each): each for each in questions}
        asked = [replace(each, id=wording) for wording, each in worded.items()]
        for _ in range(TRIES):
            for _ in self._desk.ask(asked):
                pass
            told = self._desk.told(asked)
            if len(told) == len(asked) or self._desk.exhausted():
                break
        for wording, question in worded.items():
            if wording in told:
                self._asked.add(wording)
                answer = replace(told[wording], question=question.id)
                yield answer if answer.content is not None else replace(answer, calls=USELESS)
        if missing := [each for each in asked if each.id not in told]:
            raise TeacherUnavailableError(
                self._desk.exhausted(missing[0]) or self._desk.problem or f"{len(missing)} questions were not answered"
            )

    def spent(self) -> Spending:
        """What all that was answered here has taken, by whomever it was asked first."""
        return self._store.ledger.spent_on(PROJECT, self._asked)

    def outcomes(self) -> dict[str, int]:
        """How many calls, of all that are kept, had each outcome."""
        return dict(self._store.ledger.outcomes(PROJECT)[""])

    def again(self) -> CachedTeacher:
        """The same, as if nothing had been asked through it."""
        return CachedTeacher(self._store, self._desk)


def _wording(question: Question) -> str:
    """Names all that a teacher sees of a question: a label is asked for with other examples, too."""
    told = json.dumps(asdict(question), sort_keys=True, ensure_ascii=False)
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

"""A teacher whose answers are cached: the same question is asked only once.

For simulations, which ask the same questions in many runs, and which are repeated and interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

from ml_backend.core.exceptions import TeacherUnavailableError
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.storage import Spending, Store
from ml_backend.storage.question_json import body_of
from ml_backend.teacher.client import TeacherClient

MAX_ATTEMPTS = 3  # so that a time-out does not end a long simulation
MALFORMED_CALLS = (Call("", 0.0, 0, 0, "malformed"),)
"""The calls of a cached answer without content. Without a call, the question would be asked again."""
PROJECT_ID = 1  # the project under which the answers are stored; the store has no other


class CachedTeacher:
    """A Teacher in front of a client of its own, whose caps hold for everything that is asked through it."""

    def __init__(self, store: Store, teacher_client: TeacherClient) -> None:
        store.projects.ensure(PROJECT_ID)
        self._store = store
        self._teacher_client = teacher_client
        self._answered_keys: set[str] = set()

    @property
    def name(self) -> str:
        return self._teacher_client.teacher

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        """Answers from the cache, and from the teacher where there is none. Raises TeacherUnavailableError if the
        teacher does not answer a question or a cap is reached."""
        by_key = {_cache_key(question): question for question in questions}
        keyed_questions = [replace(question, id=key) for key, question in by_key.items()]
        for _ in range(MAX_ATTEMPTS):
            for _ in self._teacher_client.ask(keyed_questions):
                pass
            answers = self._teacher_client.stored_answers(keyed_questions)
            if len(answers) == len(keyed_questions) or self._teacher_client.exhausted_cap():
                break
        for key, question in by_key.items():
            if key in answers:
                self._answered_keys.add(key)
                answer = replace(answers[key], question=question.id)
                yield answer if answer.content is not None else replace(answer, calls=MALFORMED_CALLS)
        if missing := [question for question in keyed_questions if question.id not in answers]:
            raise TeacherUnavailableError(
                self._teacher_client.exhausted_cap(missing[0])
                or self._teacher_client.problem
                or f"{len(missing)} questions were not answered"
            )

    def spent(self) -> Spending:
        """The spending on all questions that this object answered, including those that were asked earlier."""
        return self._store.ledger.spent_on(PROJECT_ID, self._answered_keys)

    def outcomes(self) -> dict[str, int]:
        """The number of stored calls by outcome."""
        return dict(self._store.ledger.outcomes(PROJECT_ID)[""])

    def again(self) -> CachedTeacher:
        """A teacher with the same cache, whose spending starts at 0."""
        return CachedTeacher(self._store, self._teacher_client)


def _cache_key(question: Question) -> str:
    """A hash of the whole question: the same label may be asked for with other examples."""
    text = json.dumps(body_of(question), sort_keys=True, ensure_ascii=False)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

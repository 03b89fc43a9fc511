"""Tasks that are deleted while a round of EvoKD is under way: their texts do not come back with what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from authors import Author, rounds_of
from erased_texts import erase, tables_with
from fake_label_studio import FakeLabelStudio

from ml_backend.core.teacher_types import Answer, Question
from ml_backend.storage import Store
from ml_backend.teacher.evolution.evolution_run import EvolutionRun
from ml_backend.teacher.evolution.generated_texts import POOL, TASKS, TAUGHT


@pytest.fixture
def deleting(teacher: Author, store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], list[str]]:
    """Deletes a task while the teacher answers the n-th question for a purpose, and looks for its quotes at once. The
    task is the first that the round has shown; or the one that the last of the questions is about."""
    answer, deleted = teacher.answer, list[str]()

    def delete(questions: Sequence[Question]) -> None:
        numbers, shown = store.tasks.ids(5).tolist(), rounds_of(store)[-1].shown
        texts = dict(zip(numbers, store.tasks.texts(5, numbers), strict=True))
        task = shown[0] if shown else next(task for task, text in texts.items() if text == questions[-1].text)
        assert "question" in tables_with(store, texts[task])
        deleted.append(texts[task])
        store.tasks.remove(5, [task])
        erase(store)

    def set_off(purpose: str, n: int) -> list[str]:
        def answers(questions: Sequence[Question]) -> Iterator[Answer]:
            for question in questions:
                asked = sum(earlier.purpose == purpose for earlier in teacher.asked)
                if question.purpose == purpose and asked == n and not deleted:
                    delete(questions)
                quoting = {"summary": f'It is weak at "{deleted[0]}".', "patterns": []} if deleted else {}
                for reply in answer([question]):
                    yield replace(reply, content=quoting) if question.purpose == "diagnose" else reply

        monkeypatch.setattr(teacher, "answer", answers)
        return deleted

    return set_off


@pytest.mark.parametrize(("way", "purpose"), [(TASKS, "diagnose"), (TAUGHT, "diagnose"), (POOL, "label")])
def test_a_text_that_is_deleted_during_a_round_is_stored_nowhere_again(
    evolving: Callable[..., EvolutionRun],
    deleting: Callable[[str, int], list[str]],
    store: Store,
    way: str,
    purpose: str,
) -> None:
    texts = deleting(purpose, 0)
    run = evolving(way).run(2)
    first = next(run)
    (text,) = texts
    assert first.done and tables_with(store, text) <= {"deleted_text"}
    assert next(run).done
    assert tables_with(store, text) <= {"deleted_text"}
    assert next(run, None) is None
    erase(store)
    assert tables_with(store, text) == set()


def test_a_task_that_is_deleted_while_the_teacher_labels_it_is_left_out_of_the_round(
    evolving: Callable[..., EvolutionRun], deleting: Callable[[str, int], list[str]], confused: FakeLabelStudio
) -> None:
    texts = deleting("label", 3)
    (round_,) = evolving(POOL, per_round=4).run(1)
    assert round_.used == len(round_.texts) == 9 and not {*texts} & {text.text for text in round_.texts}

"""`apprentice simulate --teacher-arm`: a teacher that is really asked, beside the first strategy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from scripted_teacher import ScriptedTeacher
from simulations import Bench

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError, TeacherUnavailableError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Answer, Call, Question

ARM = "margin + evolve (1 x 3)"


class Writer(ScriptedTeacher):
    """Writes texts of words that the tests' labels have; goes away after so many questions."""

    def __init__(self, until: int = 10**6) -> None:
        super().__init__()
        self.until = until

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for each in questions:
            if len(self.asked) >= self.until:
                raise TeacherUnavailableError("nobody listens")
            if each.purpose == "label":
                yield from super().answer([each])
                continue
            self.asked.append(each)
            texts = {"hard": ["pear plum new1", "tin zinc new2"], "easy": ["dog cow new3"]}
            content = texts if each.purpose == "write" else {"summary": "weak", "patterns": []}
            yield Answer(each.id, content, None, (Call("m", 0.1, 100, 10, "answered"),))


@pytest.fixture
def writer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Writer:
    made = Writer()
    monkeypatch.setattr(registry, "teacher", lambda name, _: made if name == "openai" else None)
    bench.settings.teacher_url = "http://127.0.0.1:9/v1"
    bench.settings.defaults = ProjectSettings(
        teacher="openai", teacher_input_price=1000.0, teacher_budget=0.0, teacher_daily_budget=0.0
    )
    return made


def small(**more: Any) -> dict[str, Any]:
    return {"seeds": 1, "arms": ["evolve"], "rounds": 1, "per_round": 3, **more}


def test_an_arm_is_a_run_of_its_own_whose_calls_are_counted(bench: Bench, writer: Writer) -> None:
    said = bench.run(**small()).conclude()
    assert bench.runs() == [("margin", 0), ("random", 0), (ARM, 0)]
    assert [each.purpose for each in writer.asked][:2] == ["diagnose", "write"]
    calls = [each.value for each in bench.numbers() if (each.strategy, each.metric) == (ARM, "teacher_calls")]
    assert calls[-1] == len(writer.asked)
    found = json.loads((bench.out / "summary.json").read_text())["protocol"]["against_base"][ARM]
    assert (found["base"], found["calls"], found["tokens"]) == ("margin", len(writer.asked), 110 * len(writer.asked))
    assert found["cost"] == pytest.approx(0.1 * len(writer.asked)) and found["seeds"] == 1
    assert f"{ARM}: " in said and f"for {len(writer.asked)} calls and" in said
    assert any("asked up to 8 questions" in each for each in bench.said)


def test_another_call_asks_nothing_again_and_other_arms_may_be_added(bench: Bench, writer: Writer) -> None:
    bench.run(**small())
    asked = len(writer.asked)
    (bench.out / "curves.csv").unlink()
    bench.run(**small())
    assert len(writer.asked) == asked
    bench.run(**small(arms=["teach"]))
    assert bench.runs()[-1] == ("margin + teach (1 x 3)", 0) and len(writer.asked) > asked


def test_a_teacher_that_goes_away_leaves_what_is_finished(bench: Bench, writer: Writer) -> None:
    writer.until = 1
    with pytest.raises(ApprenticeError, match=r"the same command goes on from here \(nobody listens\)"):
        bench.run(**small())
    assert bench.runs() == [("margin", 0), ("random", 0)]
    writer.until = 100
    bench.run(**small())
    assert bench.runs()[-1] == (ARM, 0)
    assert [each.purpose for each in writer.asked].count("diagnose") == 1


def test_a_name_that_was_mistyped_may_be_mended_as_long_as_nothing_was_answered(bench: Bench, writer: Writer) -> None:
    writer.until, writer.name = 0, "openai:mistyped"
    with pytest.raises(ApprenticeError):
        bench.run(**small())
    writer.until, writer.name = 100, "openai:small"
    bench.run(**small())
    assert bench.runs()[-1] == (ARM, 0)
    writer.name = "openai:another"
    with pytest.raises(ApprenticeError, match=r'teacher: "openai:small", now "openai:another"'):
        bench.run(**small())


def test_ctrl_c_while_the_teacher_is_asked_loses_nothing_that_it_said(
    bench: Bench, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = writer.answer

    def interrupted(questions: Sequence[Question]) -> Iterator[Answer]:
        for each in answer(questions):
            if len(writer.asked) == 4:
                raise KeyboardInterrupt
            yield each

    monkeypatch.setattr(writer, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.run(**small())
    assert bench.runs() == [("margin", 0), ("random", 0)]
    monkeypatch.setattr(writer, "answer", answer)
    bench.run(**small())
    assert bench.runs()[-1] == (ARM, 0)
    asked = [(each.purpose, each.text) for each in writer.asked]
    assert len(asked) - len(set(asked)) == 1, "only what was not kept is asked again"


def test_two_at_once_in_one_folder_pay_for_nothing_twice(bench: Bench, writer: Writer) -> None:
    said: list[str] = []
    answer = writer.answer

    def another(questions: Sequence[Question]) -> Iterator[Answer]:
        with pytest.raises(ApprenticeError) as refused:
            bench.run(**small())
        said.append(str(refused.value))
        yield from answer(questions)

    writer.answer = another  # type: ignore[method-assign]
    bench.run(**small())
    assert said and all("A simulation runs in" in each and "already: wait for it" in each for each in said)
    assert bench.runs() == [("margin", 0), ("random", 0), (ARM, 0)]


def test_the_report_has_a_row_for_each_arm_and_names_the_teacher(bench: Bench, writer: Writer) -> None:
    bench.run(**small()).conclude()
    page = (bench.out / "report.html").read_text()
    assert "<h2>With a teacher</h2>" in page and page.count(f"<td>{ARM}</td><td>margin</td>") == 1
    assert "<td>teacher</td><td>scripted</td>" in page


def test_rounds_without_an_arm_are_refused(main: Callable[..., Any]) -> None:
    code, _, err = main(rounds="2")
    assert code == 2 and "--per-round need --teacher-arm" in " ".join(err.split())


def test_without_a_teacher_or_with_an_unknown_arm_nothing_is_begun(
    main: Callable[..., Any], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = main(teacher_arm="evolve", rounds="1")
    assert code == 1 and "which cannot be asked in a simulation: set `teacher`" in " ".join(err.split())
    code, _, err = main(teacher_arm="evolve", rounds="3")
    assert code == 1 and "cannot be asked 3 times" in err and "there are 2 before the last" in " ".join(err.split())
    code, _, err = main(teacher_arm="guess")
    assert code == 1 and "There is no way 'guess' to ask the teacher; there are: evolve, weak-slices, teach" in err
    assert not (bench.out / "curves.csv").exists()


def test_a_teacher_without_address_and_key_is_not_looked_for_somewhere(bench: Bench, writer: Writer) -> None:
    bench.settings.teacher_url = ""
    with pytest.raises(ApprenticeError, match="has no address: set APPRENTICE_TEACHER_URL"):
        bench.run(**small())
    assert not writer.asked


def test_an_arm_may_be_added_to_a_folder_without_one_but_not_with_another_teacher(bench: Bench, writer: Writer) -> None:
    bench.settings.defaults = ProjectSettings()
    bench.run(seeds=1)
    bench.settings.defaults = ProjectSettings(teacher="openai", teacher_daily_budget=0.0)
    bench.run(**small())
    assert bench.runs()[-1] == (ARM, 0)
    bench.settings.defaults = ProjectSettings(teacher="openai", teacher_acquisition="random")
    with pytest.raises(ApprenticeError, match=r'teacher acquisition: "coverage", now "random"'):
        bench.run(**small())

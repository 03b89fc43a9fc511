"""`apprentice simulate --teacher-arm`: a real teacher is asked in addition to the first strategy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from plugin_overrides import OverridePlugins
from scripted_teacher import ScriptedTeacher
from simulations import SimulationFolder

from ml_backend.core.exceptions import ApprenticeError, TeacherUnavailableError
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.rendering.recommendation_text import recommend
from ml_backend.rendering.simulation_report import write_report

ARM = "margin + evolve (1 x 3)"


class Writer(ScriptedTeacher):
    """Writes texts with words of the labels; does not answer after `until` questions. A test may set `after_answer`,
    which may raise, so that the answer is lost."""

    def __init__(self, until: int = 10**6) -> None:
        super().__init__()
        self.until = until
        self.after_answer: Callable[[], object] = lambda: None

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            if len(self.asked) >= self.until:
                raise TeacherUnavailableError("nobody listens")
            if question.purpose == "label":
                answers = list(super().answer([question]))
                self.after_answer()
                yield from answers
                continue
            self.asked.append(question)
            texts = {"hard": ["pear plum new1", "tin zinc new2"], "easy": ["dog cow new3"]}
            self.after_answer()
            content = texts if question.purpose == "write" else {"summary": "weak", "patterns": []}
            yield Answer(question.id, content, None, (Call("m", 0.1, 100, 10, "answered"),))


@pytest.fixture
def writer(simulation: SimulationFolder, override_plugins: OverridePlugins) -> Writer:
    teacher = Writer()
    override_plugins({"teacher.openai": lambda _options: teacher})
    simulation.settings.teacher_url = "http://127.0.0.1:9/v1"
    simulation.settings.defaults = ProjectSettings(
        teacher="openai", teacher_input_price=1000.0, teacher_budget=0.0, teacher_daily_budget=0.0
    )
    return teacher


def small(**more: Any) -> dict[str, Any]:
    return {"seeds": 1, "arms": ["evolve"], "rounds": 1, "per_round": 3, **more}


def test_an_arm_is_a_run_of_its_own_whose_calls_are_counted(simulation: SimulationFolder, writer: Writer) -> None:
    recommendation = recommend(simulation.run(**small()).conclude().summary)
    assert simulation.runs() == [("margin", 0), ("random", 0), (ARM, 0)]
    assert [question.purpose for question in writer.asked][:2] == ["diagnose", "write"]
    calls = [
        measurement.value
        for measurement in simulation.numbers()
        if (measurement.strategy, measurement.metric) == (ARM, "teacher_calls")
    ]
    assert calls[-1] == len(writer.asked)
    comparison = json.loads((simulation.out / "summary.json").read_text())["protocol"]["against_base"][ARM]
    assert (comparison["base"], comparison["calls"], comparison["tokens"]) == (
        "margin",
        len(writer.asked),
        110 * len(writer.asked),
    )
    assert comparison["cost"] == pytest.approx(0.1 * len(writer.asked)) and comparison["seeds"] == 1
    assert f"{ARM}: " in recommendation and f"for {len(writer.asked)} calls and" in recommendation
    assert any("asked up to 8 questions" in message for message in simulation.messages)


def test_another_call_asks_nothing_again_and_other_arms_may_be_added(
    simulation: SimulationFolder, writer: Writer
) -> None:
    simulation.run(**small())
    question_count = len(writer.asked)
    (simulation.out / "curves.csv").unlink()
    simulation.run(**small())
    assert len(writer.asked) == question_count
    simulation.run(**small(arms=["teach"]))
    assert simulation.runs()[-1] == ("margin + teach (1 x 3)", 0) and len(writer.asked) > question_count


def test_a_teacher_that_goes_away_leaves_what_is_finished(simulation: SimulationFolder, writer: Writer) -> None:
    writer.until = 1
    with pytest.raises(ApprenticeError, match=r"the same command goes on from here \(nobody listens\)"):
        simulation.run(**small())
    assert simulation.runs() == [("margin", 0), ("random", 0)]
    writer.until = 100
    simulation.run(**small())
    assert simulation.runs()[-1] == (ARM, 0)
    assert [question.purpose for question in writer.asked].count("diagnose") == 1


def test_a_name_that_was_mistyped_may_be_mended_as_long_as_nothing_was_answered(
    simulation: SimulationFolder, writer: Writer
) -> None:
    writer.until, writer.name = 0, "openai:mistyped"
    with pytest.raises(ApprenticeError):
        simulation.run(**small())
    writer.until, writer.name = 100, "openai:small"
    simulation.run(**small())
    assert simulation.runs()[-1] == (ARM, 0)
    writer.name = "openai:another"
    with pytest.raises(ApprenticeError, match=r'teacher: "openai:small", now "openai:another"'):
        simulation.run(**small())


def test_ctrl_c_while_the_teacher_is_asked_loses_nothing_that_it_said(
    simulation: SimulationFolder, writer: Writer
) -> None:
    def interrupt() -> None:
        if len(writer.asked) == 4:
            raise KeyboardInterrupt

    writer.after_answer = interrupt
    with pytest.raises(KeyboardInterrupt):
        simulation.run(**small())
    assert simulation.runs() == [("margin", 0), ("random", 0)]
    writer.after_answer = lambda: None
    simulation.run(**small())
    assert simulation.runs()[-1] == (ARM, 0)
    contents = [(question.purpose, question.text) for question in writer.asked]
    assert len(contents) - len(set(contents)) == 1, "only what was not kept is asked again"


def test_two_at_once_in_one_folder_pay_for_nothing_twice(simulation: SimulationFolder, writer: Writer) -> None:
    messages: list[str] = []
    answer = writer.answer

    def answer_during_another_run(questions: Sequence[Question]) -> Iterator[Answer]:
        with pytest.raises(ApprenticeError) as refused:
            simulation.run(**small())
        messages.append(str(refused.value))
        yield from answer(questions)

    writer.answer = answer_during_another_run  # type: ignore[method-assign]
    simulation.run(**small())
    assert messages and all(
        "A simulation runs in" in message and "already: wait for it" in message for message in messages
    )
    assert simulation.runs() == [("margin", 0), ("random", 0), (ARM, 0)]


def test_the_report_has_a_row_for_each_arm_and_names_the_teacher(simulation: SimulationFolder, writer: Writer) -> None:
    write_report(simulation.run(**small()).conclude(), simulation.out)
    page = (simulation.out / "report.html").read_text()
    assert "<h2>With a teacher</h2>" in page and page.count(f"<td>{ARM}</td><td>margin</td>") == 1
    assert "<td>teacher</td><td>scripted</td>" in page


def test_rounds_without_an_arm_are_refused(main: Callable[..., Any]) -> None:
    code, _, err = main(rounds="2")
    assert code == 2 and "--per-round need --teacher-arm" in " ".join(err.split())


def test_without_a_teacher_or_with_an_unknown_arm_nothing_is_begun(
    main: Callable[..., Any], simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = main(teacher_arm="evolve", rounds="1")
    assert code == 1 and "which cannot be asked in a simulation: set `teacher`" in " ".join(err.split())
    code, _, err = main(teacher_arm="evolve", rounds="3")
    assert code == 1 and "cannot be asked 3 times" in err and "there are 2 before the last" in " ".join(err.split())
    code, _, err = main(teacher_arm="guess")
    assert code == 1 and "There is no teacher arm 'guess'; there are: evolve, weak-slices, teach" in err
    assert not (simulation.out / "curves.csv").exists()


def test_a_teacher_without_address_and_key_is_not_looked_for_somewhere(
    simulation: SimulationFolder, writer: Writer
) -> None:
    simulation.settings.teacher_url = ""
    with pytest.raises(ApprenticeError, match="has no address: set APPRENTICE_TEACHER_URL"):
        simulation.run(**small())
    assert not writer.asked


def test_an_arm_may_be_added_to_a_folder_without_one_but_not_with_another_teacher(
    simulation: SimulationFolder, writer: Writer
) -> None:
    simulation.settings.defaults = ProjectSettings()
    simulation.run(seeds=1)
    simulation.settings.defaults = ProjectSettings(teacher="openai", teacher_daily_budget=0.0)
    simulation.run(**small())
    assert simulation.runs()[-1] == (ARM, 0)
    simulation.settings.defaults = ProjectSettings(teacher="openai", teacher_acquisition="random")
    with pytest.raises(ApprenticeError, match=r'teacher acquisition: "coverage", now "random"'):
        simulation.run(**small())

"""A project whose annotators write texts goes through rounds: fit, gate, queue, drafts, monitor, report and teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio
from round_fixtures import MakeRound, active, queue
from scripted_teacher import ScriptedTeacher
from simulations import SimulationFolder
from teacher_harness import TeacherHarness
from text_project import (
    AREA,
    CONFIG,
    CONTROL,
    REMARK,
    TOPIC,
    annotate,
    chosen,
    drafts,
    learnt,
    mean_closeness,
    not_annotated,
    polite,
    region,
    server,
    source,
    topic,
)
from typer.testing import CliRunner

from ml_backend.cli.main import app
from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Pool
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Question
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.model.pool_predictions import with_predictions
from ml_backend.monitoring.monitor import read_monitor_input, run_monitor
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.monitor_text import monitor_lines
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.simulation_report import write_report
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor

__all__ = ["learnt", "server"]  # fixtures

BESIDE = CONFIG.replace(AREA, f"{TOPIC}{REMARK}")


def _pool(vectors: Floats) -> Pool:
    none = np.zeros(len(vectors), np.bool_)
    return Pool(vectors, None, labelled=none, available=~none)


class WritingTeacher(ScriptedTeacher):
    """Writes what `write` makes of a text."""

    def __init__(self, write: Callable[[str], str] = polite) -> None:
        super().__init__()
        self.write = write

    def _answers(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Answer]]:
        for question, answer in super()._answers(questions):
            names = [name for name in (CONTROL, "remark") if name in question.reply["properties"]]
            written = {name: {"text": self.write(question.text)} for name in names}
            yield question, Answer(question.id, {**(answer.content or {}), **written}, answer.shares, answer.calls)


def test_what_annotators_wrote_is_drafted_in_other_tasks(
    learnt: Sequence[int], server: FakeLabelStudio, store: Store
) -> None:
    assert active(store).controls[CONTROL].learner == 2
    drafted = drafts(server)
    assert len(drafted) >= 9 and not drafted.keys() & {*learnt}
    assert mean_closeness(server, drafted) > 0.8
    assert all(len(row["result"]) <= 1 for row in server.current_predictions()), "one region, with one text"
    scores = [region["score"] for row in server.current_predictions() for region in row["result"]]
    assert all(0.5 <= score <= 1 for score in scores)
    accuracy = active(store).controls[CONTROL].accuracy
    assert accuracy is not None and accuracy.n == len(learnt) and accuracy.value > 0.5


def test_each_annotation_refits_the_learner_and_moves_the_queue(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    before = queue(server)
    annotate(server, before[:3])
    run_round(make_round(server))
    assert active(store).controls[CONTROL].labelled == len(learnt) + 3
    assert not {*before[:3]} & {*queue(server)}
    assert run_round(make_round(server)) is None, "nothing has changed"


def test_a_task_on_request_gets_the_same_draft(
    learnt: Sequence[int], server: FakeLabelStudio, store: Store, settings: Settings
) -> None:
    drafted = drafts(server)
    texts = [server.tasks[task]["data"]["text"] for task in drafted]
    made = Predictor(settings, store).predict(5, CONFIG, [*drafted], texts)
    assert [prediction.drafts[CONTROL].value for prediction in made] == [(text,) for text in drafted.values()]


def test_every_query_strategy_orders_the_queue_by_the_doubt_of_the_learner(
    learnt: Sequence[int],
    server: FakeLabelStudio,
    make_round: MakeRound,
    options: Callable[..., None],
    store: Store,
) -> None:
    for strategy in sorted(registry.installed("acquisition")):
        options(queue_size=6, audit_share=0.0, acquisition=strategy)
        annotate(server, not_annotated(server)[:1])
        run_round(make_round(server))
        used = active(store).acquisition
        assert used == ("cluster-uncertainty" if strategy == "badge" else strategy)
        assert len(server.current_predictions()) == 6


def test_annotations_that_cannot_be_read_are_counted_and_the_others_are_learnt(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    several, empty, blank, long, copied = not_annotated(server)[:5]
    server.annotate_with(several, [region("one"), region("two")])
    server.annotate_with(empty, [])
    server.annotate_with(blank, [region(" ")])
    server.annotate_with(long, [region("word " * 5000)])
    server.annotate_with(copied, [region(server.tasks[copied]["data"]["text"])])
    run_round(make_round(server))
    assert active(store).controls[CONTROL].labelled == len(learnt) + 1
    lines = "\n".join(sentence for _, sentence in status_lines(read_status(store, 5)))
    assert "4 annotations are not used" in lines
    assert "there are several texts" in lines and "more than 20000 characters" in lines
    assert f"2: they have no label for {CONTROL!r}" in lines


def test_edited_drafts_are_tracked_by_their_words(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    first, second, third = list(drafts(server).items())[:3]
    server.annotate_with(first[0], [region(first[1])])
    server.annotate_with(second[0], [region(f"{second[1]} now")])
    server.annotate_with(third[0], [region("nothing like the draft")])
    run_round(make_round(server))
    lines = dict(status_lines(read_status(store, 5)))
    assert lines["drafts"].startswith("learner's 1 accepted, 1 edited, 1 replaced, with ")
    assert "drafted words kept" in lines["drafts"]
    assert "removed" in lines["typing saved"] and "marking saved" not in lines


def test_the_monitor_judges_the_drafts_by_closeness(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    copied = not_annotated(server)[0]
    server.annotate_with(copied, [region(server.tasks[copied]["data"]["text"])])
    run_round(make_round(server))
    context = make_round(server)
    [control] = read_schema(CONFIG).controls
    row = store.projects.ensure(5)
    monitor_input = read_monitor_input(store, context.pool, context.aggregator, row, control, ProjectSettings())
    assert monitor_input is not None
    result = run_monitor(monitor_input)
    assert result["labelled"] == len(learnt) + 1
    assert [*result["unusual"].values()] == [(1, copied)]
    assert result["withheld"]["of"] == len(learnt) + 1
    lines = dict(monitor_lines(result, "closeness", "closeness"))
    assert f"1 of the same text as the source, e.g. task {copied}" in lines["unusual labels"]


def test_the_report_quotes_the_worst_drafts(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    server.annotate_with(not_annotated(server)[0], [region("something else altogether")])
    run_round(make_round(server))
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    printed = CliRunner().invoke(app, ["report", "--project", "5"])
    assert printed.exit_code == 0, printed.output
    assert "closeness" in printed.output and "words edited" in printed.output and "chrF" in printed.output
    lines = printed.output.splitlines()
    assert "something else altogether" in lines[lines.index("The worst drafts:") + 1]
    assert "Labels" not in printed.output


def test_a_teacher_drafts_until_the_learner_does(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store, settings: Settings,
    use_teacher: Callable[[Any], None],
) -> None:  # fmt: skip
    teacher = WritingTeacher()
    use_teacher(teacher)
    options(queue_size=12, audit_share=0.0, teacher_labels=20, teacher_ahead=12)
    server.add_tasks([source(row) for row in range(40)])
    run_round(make_round(server))
    harness = TeacherHarness(settings, store, server, make_round, teacher)
    harness.finish()
    questions = [question for question in teacher.asked if question.purpose == "label"]
    assert {tuple(question.reply["required"]) for question in questions} == {(CONTROL,)}
    harness.round()
    drafted = drafts(server)
    assert len(drafted) == 12 and mean_closeness(server, drafted) == 1.0
    annotate(server, drafted)
    harness.round()
    harness.finish()
    report = store.stats.document(5)["controls"][CONTROL]["teacher"]
    assert report["agreement"]["teacher"]["overall"]["value"] == 1.0
    assert report["drafts"]["teacher"] == {"accepted": 12, "edited": 0, "replaced": 0}


@pytest.mark.parametrize("written", ["", "Assistant: be polite", "no no no no no no no", "quite another text"])
def test_bad_drafts_of_a_teacher_are_not_shown(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store, settings: Settings,
    use_teacher: Callable[[Any], None], written: str,
) -> None:  # fmt: skip
    teacher = WritingTeacher()
    use_teacher(teacher)
    options(queue_size=12, audit_share=0.0, teacher_labels=40, teacher_ahead=40)
    server.add_tasks([source(row) for row in range(40)])
    run_round(make_round(server))
    harness = TeacherHarness(settings, store, server, make_round, teacher)
    harness.finish()
    harness.round()
    assert len(drafts(server)) == 12
    annotate(server, not_annotated(server)[:3])
    teacher.write = lambda _: written
    server.add_tasks([source(row) for row in range(40, 80)])
    harness.round()
    harness.finish()
    harness.round()
    assert written not in drafts(server).values() or written == "quite another text"


def test_a_box_for_remarks_that_stays_empty_is_not_learnt_and_comes_back(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, settings: Settings
) -> None:
    server.label_config = BESIDE
    server.add_tasks([source(row) for row in range(90)])
    run_round(make_round(server))
    for number, task in enumerate(not_annotated(server)[:20]):
        text = server.tasks[task]["data"]["text"]
        server.annotate_with(task, [chosen(topic(text)), *([region(polite(text), "remark")] if number < 9 else [])])
    run_round(make_round(server))
    version = active(store)
    assert version.controls["topic"].learner == 2 and version.controls["remark"].learner is None
    assert version.controls["remark"].is_rarely_labelled
    assert "remark: not learnt: only 9 of the latest 20 annotated tasks have a label" in remarks_text(version.remarks)
    assert drafts(server, "remark") == {}
    task = not_annotated(server)[0]
    [made] = Predictor(settings, store).predict(5, BESIDE, [task], [server.tasks[task]["data"]["text"]])
    assert "remark" not in made.drafts and "topic" in made.drafts
    for task in not_annotated(server)[:4]:
        text = server.tasks[task]["data"]["text"]
        server.annotate_with(task, [chosen(topic(text)), region(polite(text), "remark")])
    run_round(make_round(server))
    assert active(store).controls["remark"].learner == 3
    assert drafts(server, "remark")


def test_remarks_that_nobody_can_foresee_neither_order_the_queue_nor_are_drafted(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    server.label_config = BESIDE
    server.add_tasks([source(row) for row in range(60)])
    run_round(make_round(server))
    for task in not_annotated(server)[:20]:
        remark = " ".join(f"{word}{task}" for word in ("entirely", "new", "words"))
        server.annotate_with(task, [chosen(topic(server.tasks[task]["data"]["text"])), region(remark, "remark")])
    run_round(make_round(server))
    assert active(store).controls["remark"].learner == 2
    assert drafts(server, "remark") == {}
    models = project_model.load(store, 5, 2).by_control
    controls = read_schema(BESIDE).controls
    context = make_round(server)
    pool = context.pool.view(context.pool.encoded, with_learner=True)
    counted = {
        names: with_predictions(
            _pool(pool.vectors), models, controls, ProjectSettings(control_weights=dict.fromkeys(names, 1.0)),
            context.pool.tasks, context.pool.texts(context.pool.tasks),
        ).predictions
        for names in ((), ("remark",))
    }  # fmt: skip
    assert type(counted[()]).__name__ == "ChoicePredictions"
    assert type(counted["remark",]).__name__ == "CombinedPredictions"


def test_it_is_simulated(tmp_path: Path, settings: Settings, fake_encoder: object, options: object) -> None:
    simulation = SimulationFolder(tmp_path, settings)
    (tmp_path / "config.xml").write_text(CONFIG)
    texts = [source(row) for row in range(40)]
    simulation.write(
        [
            {
                "id": number,
                "data": {"text": text},
                "annotations": [{"id": number, "completed_by": 1, "result": [region(polite(text))]}],
            }
            for number, text in enumerate(texts, start=1)
        ]
    )
    simulator = simulation.run()
    measured = {measurement.metric for measurement in simulation.numbers()}
    assert {"closeness", "words edited", "accepted", "chrF"} <= measured
    concluded = simulator.conclude()
    assert concluded.summary["protocol"]["metric"] == "closeness"
    assert "closeness" in write_report(concluded, tmp_path)


def test_status_advises_attributes_that_drafts_need(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    server.label_config = CONFIG.replace(' editable="true"', "")
    server.add_tasks([source(row) for row in range(12)])
    run_round(make_round(server))
    lines = status_lines(read_status(store, 5))
    assert any(name == "advice" and 'editable="true"' in sentence for name, sentence in lines), lines

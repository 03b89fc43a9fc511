"""What users read about a project whose annotators mark spans: `status`, `report`, `versions` and second looks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fake_label_studio import Body, FakeClient, FakeLabelStudio
from projects import set_up
from round_fixtures import MakeRound, active
from span_project import CONFIG, add_tasks, fake_encoder, learnt, result, sentence, server
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.arrays import object_rows
from ml_backend.core.settings import Settings
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.label_review import update_proposals
from ml_backend.loop.round import run_round
from ml_backend.model.fitted_model import FittedModel
from ml_backend.monitoring.monitor import read_monitor_input, run_monitor
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.evolution_text import report_lines
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.teacher.evolution.error_analysis import analyse_errors, load_serving_learner
from ml_backend.teacher.project_context import load_project_context

__all__ = ["fake_encoder", "learnt", "server"]  # fixtures
CHOICES = '<Choices name="mood" toName="text"><Choice value="good"/><Choice value="bad"/></Choices></View>'


def run_monitor_of(store: Store, make_round: MakeRound, server: FakeLabelStudio) -> dict[str, Any]:
    """Runs the monitor for the spans, and stores its result."""
    context = make_round(server)
    project_row = store.projects.require(5)
    schema = read_schema(project_row.label_config)
    context.aggregator.refresh(schema.controls)
    options = context.settings.defaults.model_copy(update={"second_look": 5})
    monitor_input = read_monitor_input(
        store, context.pool, context.aggregator, project_row, schema.controls[0], options
    )
    assert monitor_input is not None
    found: dict[str, Any] = json.loads(json.dumps(run_monitor(monitor_input)))
    store.monitor.put(5, "ner", found)
    return found


def lines_of(store: Store, control: str = "") -> dict[str, str]:
    return dict(status_lines(read_status(store, 5), control))


def drafting(learner: FittedModel, drafts: dict[int, tuple[Any, ...]]) -> FittedModel:
    """The learner as if it had drafted these spans with their probabilities, by task, and what annotators say else."""
    held_out = []
    for task, (spans, _) in zip(learner.snapshot.tasks.tolist(), learner.snapshot.targets, strict=True):
        drafted = drafts.get(task, tuple((*span[:3], 0.9) for span in spans))
        held_out.append((drafted, (), (0.0, 0.0, 0.0)))
    return replace(learner, held_out=object_rows(held_out))


def report_of(settings: Settings, store: Store, drafts: dict[int, tuple[Any, ...]]) -> list[str]:
    context = load_project_context(settings, store, 5)
    return report_lines(analyse_errors(context, drafting(load_serving_learner(context), drafts)))


def test_status_has_the_strict_f1_of_the_learner_and_never_calls_it_accuracy(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    found = run_monitor_of(store, make_round, server)
    lines = lines_of(store)
    model = load_serving_learner(load_project_context(make_round(server).settings, store, 5))
    metrics = kind_of(read_schema(CONFIG).controls[0]).metrics(None, model.held_out, model.snapshot.targets)
    assert lines["strict F1"].startswith(f"{metrics['strict F1']:.3f} (95 %: ")
    assert "36 tasks" in lines["strict F1"] and "accuracy" not in " ".join([*lines, *lines.values()]).lower()
    texts = [sentence(task - min(server.tasks))[0] for task in learnt]
    assert lines["words read"] == f"{sum(len(text.replace(',', ' ,').split()) for text in texts)} in the labelled texts"
    counts = found["parts"]["labels"]
    assert {label: n["annotated"] for label, n in counts.items()} == {"Person": 12, "Place": 24}
    assert lines["by label"].startswith("Place: precision ") and "; Person: precision " in lines["by label"]
    assert "of 36 annotated spans are drafted right" in lines["spans"]


def test_versions_have_the_strict_f1(learnt: list[int], settings: Settings, store: Store) -> None:
    arguments = ["versions", "--project", "5", "--data-dir", str(settings.data_dir)]
    output = CliRunner().invoke(main.app, arguments, env={"COLUMNS": "150"}).output
    assert "strict F1" in output and "accuracy" not in output
    estimate = active(store).controls["ner"].accuracy
    assert estimate is not None and f"{estimate.value:.3f}" in output


def test_the_monitor_stores_offsets_and_codes_and_no_texts(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    annotate_without_spans(server, learnt[0])
    run_round(make_round(server))
    stored = json.dumps(run_monitor_of(store, make_round, server))
    assert not any(sentence(task - min(server.tasks))[0] in stored for task in learnt)
    assert "Paris" not in stored


def annotate_without_spans(server: FakeLabelStudio, task: int) -> None:
    """Changes the annotation of a task, so that it has no span."""
    (annotation,) = server.tasks[task]["annotations"]
    annotation["result"] = []
    annotation["updated_at"] = server.tasks[task]["updated_at"] = server._now()


def test_a_missed_span_is_proposed_with_its_place_in_the_text(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    task = learnt[0]
    suspect = {
        "task": task, "instead": [[0, 3, "Person", 0.93], [12, 17, "Place", 1.0]], "confidence": 0.93,
        "added": [[0, 3, "Person", 0.93]], "removed": [[0, 8, "Person"]],
    }  # fmt: skip
    found = run_monitor_of(store, make_round, server)
    store.monitor.put(5, "ner", {**found, "second_look": [suspect, {**suspect, "task": 9999}]})
    assert sentence(0)[0] == "Ann went to Paris on day 0"
    assert lines_of(store)["second look"] == (
        f'these annotations look wrong: task {task} (rather "<Person>Ann</Person> went to Paris on day 0" than '
        '"<Person>Ann went</Person>", 93% sure); task 9999'
    )
    set_up(store, 5, connection={"ml": 1})
    schema = read_schema(CONFIG)
    update_proposals(FakeClient(server), store, schema, store.projects.ensure(5), max_proposals=1)
    (row,) = [row for row in server.predictions if row["model_version"] == "Second look"]
    regions = [(r["value"]["text"], r["value"]["labels"], r.get("score")) for r in row["result"]]
    assert regions == [("Ann", ["Person"], 0.93), ("Paris", ["Place"], 1.0)]


def test_the_report_quotes_each_kind_of_error(
    learnt: list[int], server: FakeLabelStudio, settings: Settings, store: Store
) -> None:
    first = min(server.tasks)
    drafts = {
        learnt[0]: ((0, 3, "Place", 0.8), (12, 17, "Place", 0.9)),  # Ann went to Paris
        learnt[3]: ((0, 3, "Person", 0.9), (9, 17, "Place", 0.7)),  # Dan went to Paris
        learnt[1]: ((0, 2, "Place", 0.6),),  # on day 1 we saw nobody at all
        learnt[2]: (),  # in Paris, day 2, it rained
    }
    assert [sentence(task - first)[0][:8] for task in drafts] == ["Ann went", "Dan went", "on day 1", "in Paris"]
    lines = report_of(settings, store, drafts)
    assert lines[1].startswith("strict F1 9") and "on 36 tasks" in lines[1]
    assert lines[2] == (
        "in all 36 tasks, 33 of 36 annotated spans are drafted right, and 3 of 36 drafted spans are wrong (precision "
        "0.92, recall 0.92)"
    )
    text = "\n".join(lines)
    assert "  Place: F1 0.90, precision 0.88, recall 0.92, 24 annotated and 25 drafted spans" in lines
    for group in (
        "Wrong label, 1 span:\n  Person -> Place: 1 time\n"
        f'    task {learnt[0]}: "<Person>Ann</Person> went to Paris on day 0"; the learner: "<Place>Ann</Place>", '
        "80% sure",
        "Wrong boundary, 1 span:\n  Place, too long at the beginning: 1 time\n"
        f'    task {learnt[3]}: "Dan went to <Place>Paris</Place> on day 3"; the learner: "<Place>to Paris</Place>", '
        "70% sure",
        "Spurious, 1 span:\n  Place: 1 time\n"
        f'    task {learnt[1]}: the learner: "<Place>on</Place> day 1 we saw nobody at …", 60% sure',
        f'Missed, 1 span:\n  Place: 1 time\n    task {learnt[2]}: "in <Place>Paris</Place>, day 2, it rained"',
    ):
        assert group in text
    assert "several annotators" not in text and "accuracy" not in text


def test_a_deleted_task_is_neither_counted_nor_quoted(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store
) -> None:
    drafts = {learnt[0]: ((0, 3, "Place", 0.8), (12, 17, "Place", 0.9))}
    assert any("<Person>Ann</Person>" in line for line in report_of(settings, store, drafts))
    server.delete_task(learnt[0])
    run_round(make_round(server))
    assert not any("Ann</Person>" in line for line in report_of(settings, store, drafts))


def test_the_report_says_how_far_several_annotators_agree_and_ties_are_no_errors(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store
) -> None:
    text, spans = sentence(0)
    server.annotate_with(learnt[0], result(text, spans[:1]), by=2)  # Paris is tied
    text, spans = sentence(3)
    for annotator in (2, 3):
        server.annotate_with(learnt[3], result(text, [*spans[:1], (text[-5:], "Place")][: annotator - 1]), by=annotator)
    partly = [*result(*sentence(6)), {"from_name": "ner", "to_name": "text", "type": "labels", "value": {"labels": []}}]
    server.annotate_with(learnt[6], partly, by=2)
    run_round(make_round(server))
    drafts = {learnt[0]: ((0, 3, "Person", 0.9), (12, 17, "Place", 0.9))}
    lines = report_of(settings, store, drafts)
    assert "No span is wrong." in lines, "a tie is neither right nor wrong"
    sentences = [line for line in lines if "several annotators" in line]
    f1 = 2 * (1 + 1 + 1 + 1) / (3 + 3 + 4 + 3)
    assert sentences == [
        "2 tasks have several annotators, who marked 5 different spans: 2 by all, 1 by half (these count as neither "
        f"right nor wrong), 2 by fewer (these are not learnt). The spans of one annotator have an F1 score of {f1:.2f} "
        "against those of another one"
    ]


def test_annotations_that_cannot_be_read_are_counted_with_the_reason(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    def region(text: str, labels: list[str], marked: str) -> Body:
        value = {"start": 0, "end": 2, "text": marked, "labels": labels}
        return {"from_name": "ner", "to_name": "text", "type": "labels", "value": value}

    first = list(server.tasks)[39]
    texts, own = [sentence(n)[0] for n in range(39, 45)], [result(*sentence(n)) for n in range(39, 45)]
    results = (
        [region(texts[0], ["Person"], "of another text")],
        [region(texts[1], [], texts[1][:2])],
        [region(texts[2], ["Country"], texts[2][:2])],
        [*own[3], region(texts[3], ["Person"], "of another text")],
        [region(texts[4], ["Person"], texts[4][:2]), region(texts[4], ["Country"], texts[4][:2])],
        [*own[5], region(texts[5], ["Person"], "of another text")],
    )
    for n, regions in enumerate(results):
        server.annotate_with(first + n, regions)
    run_round(make_round(server))
    sentences = [line for name, line in status_lines(read_status(store, 5)) if name == "not used"]
    assert sentences == [
        "3 annotations are not used: 1: the configuration has no label 'Country' (renamed or removed?), e.g. task "
        f"{first + 2}; 1: the marked characters have no label, e.g. task {first + 1}; 1: the marked characters are not "
        f"in the text of the task, e.g. task {first}",
        "2 annotations are used without some of the spans: the marked characters are not in the text of the task, "
        f"e.g. task {first + 3}",
        "1 annotation is used without some of the spans: the configuration has no label 'Country' (renamed or "
        f"removed?), e.g. task {first + 4}",
    ]


def test_the_drafted_spans_that_annotators_keep_are_counted(
    learnt: list[int], server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    drafted = {row["task"]: row["result"] for row in server.current_predictions() if row["result"]}
    (kept, *others) = [task for task, regions in drafted.items() if len(regions) == 2][:6]
    tasks = [kept, *others]
    for task in tasks:
        number = server.annotate_with(task, drafted[task][:1] if task == kept else drafted[task])["annotation"]["id"]
        server.annotation(number)["lead_time"] = 1.0
    run_round(make_round(server))
    lines = lines_of(store)
    n = len(tasks)
    assert (
        f"learner's {n - 1} accepted, 1 edited, 0 replaced, with {2 * n - 1} of {2 * n} drafted spans kept, and 0 added"
        in (lines["drafts"])
    )


def test_spans_beside_choices_have_their_own_lines(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store, settings: Settings
) -> None:
    server.label_config = CONFIG.replace("</View>", CHOICES)
    add_tasks(server, 90)
    run_round(make_round(server))
    for n, task in enumerate(list(server.tasks)[:36]):
        mood = {
            "from_name": "mood",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": [["good", "bad"][n % 2]]},
        }
        server.annotate_with(task, [*result(*sentence(n)), mood])
    run_round(make_round(server))
    lines = lines_of(store)
    assert "; strict F1 " in lines["ner"] and "; accuracy " in lines["mood"]
    assert "strict F1" in lines_of(store, "ner") and "accuracy" in lines_of(store, "mood")
    arguments = ["--project", "5", "--data-dir", str(settings.data_dir)]
    report = CliRunner().invoke(main.app, ["report", *arguments], env={"COLUMNS": "200"}).output
    assert "annotated spans are drafted right" in report and "Labels that it confuses:" in report
    output = CliRunner().invoke(main.app, ["versions", *arguments]).output
    # the columns are as wide as the terminal lets them be
    assert re.search(r"accuracy\b.*\bstrict\b", output, re.DOTALL) and re.search(r"\bner\b", output)
    documents = json.loads(CliRunner().invoke(main.app, ["report", *arguments, "--control", "ner", "--json"]).output)
    assert documents["parts"]["part"] == "span" and documents["parts"]["metric"] == "strict F1"

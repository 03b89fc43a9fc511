"""Tasks and annotations that are not used for training: counted, reported with a reason, and never learnt from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_label_studio import SINGLE, WORDS, FakeClient, FakeLabelStudio, add_labelled_tasks, config_with
from project_messages import connect_messages, lines_by_name
from projects import set_up
from round_fixtures import MakeRound, active, queue
from schemas import chosen
from statements import read_all_annotations

from ml_backend.core.settings import Settings, load_settings
from ml_backend.core.types import Remark
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.publisher import PublishTimings
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.loop.round import run_round
from ml_backend.monitoring import doctor
from ml_backend.monitoring.coverage import UnreadAnnotations
from ml_backend.monitoring.doctor import Finding, Subject
from ml_backend.monitoring.status import Problem, read_status, settings_problems
from ml_backend.rendering.doctor_text import finding_sentences
from ml_backend.rendering.project_text import question_sentence, unused_sentences
from ml_backend.rendering.settings_text import settings_problems_text
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store

NESTED = SINGLE.replace('choice="single"', 'choice="multiple" allowNested="true"')
FLAGGED = (
    '<View><Text name="text" value="$text"/><Choices name="flag" toName="text" choice="multiple">'
    '<Choice value="unreadable"/><Choice value="personal"/></Choices>' + SINGLE.partition("/>")[2]
)
pytestmark = pytest.mark.usefixtures("options")


def region(choices: Any, control: str = "label") -> list[dict[str, Any]]:
    return [{"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": choices}}]


def drafts(server: FakeLabelStudio) -> list[Any]:
    return [row["result"][0]["value"]["choices"] if row["result"] else None for row in server.current_predictions()]


@pytest.mark.parametrize(
    ("choices", "control", "reason"),
    [
        (["fruit"], "sentiment", "from_name is not 'label'"),
        (["obst"], "label", "no labels such as 'obst' (renamed or removed?)"),
        ([{"a": 1}], "label", "the value for 'label' is no label"),
    ],
)
@pytest.mark.parametrize("multiple", [False, True])
def test_annotations_that_cannot_be_read_are_counted_with_a_reason_and_not_learnt(
    server: FakeLabelStudio,
    store: Store,
    make_round: MakeRound,
    choices: Any,
    control: str,
    reason: str,
    multiple: bool,
) -> None:
    server.label_config = config_with("fruit", "metal", "animal", multiple=multiple)
    tasks = list(add_labelled_tasks(server, 30))
    for task in tasks[:12]:
        server.annotate_with(task, region(choices, control))
    run_round(make_round(server))
    assert active(store).labelled == 0 and active(store).learner is None
    assert lines_by_name(store)["labelled"] == "0, 12 annotated but not used, 18 to go"
    assert lines_by_name(store)["not used"].startswith("12 annotations are not used: ")
    assert reason in lines_by_name(store)["not used"] and f"e.g. task {tasks[0]}" in lines_by_name(store)["not used"]
    assert not {*queue(server)} & {*tasks[:12]}, "Label Studio does not serve them again"


def test_numbers_other_letter_cases_and_bare_texts_are_learnt_from(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    truth = add_labelled_tasks(server, 30)
    for n, (task, label) in enumerate(list(truth.items())[:12]):
        server.annotate_with(task, region([label, [label.upper()], [f" {label} "], [[label]]][n % 4]))
    run_round(make_round(server))
    assert active(store).labelled == 12
    assert lines_by_name(store)["labelled"] == "12, 18 to go" and "not used" not in lines_by_name(store)


def test_annotations_are_read_again_when_labels_are_renamed_and_renamed_back(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    truth = add_labelled_tasks(server, 30)
    for task in list(truth)[:9]:
        server.annotate(task, truth[task])
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == "9, 21 to go"

    server.label_config = config_with("obst", "metal", "animal")
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == "6, 3 annotated but not used, 21 to go"
    assert (
        "3 annotations are not used: the configuration has no labels such as 'fruit'"
        in lines_by_name(store)["not used"]
    )

    server.label_config = SINGLE
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == "9, 21 to go"


def test_after_a_change_of_labels_annotations_are_read_again_and_tasks_are_not(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    add_labelled_tasks(server, 5)
    run_round(make_round(server))
    server.label_config = config_with("fruit", "metal", "animal", "other")
    client = FakeClient(server)
    run_round(make_round(server, client=client))
    filters = [
        str(params.get("query"))
        for (_, path, _), params in zip(client.calls, client.params, strict=True)
        if path == "api/tasks"
    ]
    assert any("total_annotations" in query for query in filters), "all tasks that have an annotation"
    assert all("updated_at" in query or "_annotations" in query for query in filters), "and no listing"


def test_paths_are_learnt_and_drafted_in_single_rows(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    server.label_config = NESTED
    truth = add_labelled_tasks(server, 60)
    for task in list(truth)[:30]:
        server.annotate(task, [truth[task]])
    client = FakeClient(server)
    run_round(make_round(server, client=client))
    assert active(store).labelled == 30 and active(store).learner == 1
    paths = [path for draft in drafts(server) if draft for path in draft]
    assert paths and all(isinstance(path, list) for path in paths)
    is_correct = [
        row["result"][0]["value"]["choices"] == [[truth[row["task"]]]]
        for row in server.current_predictions()
        if row["result"]
    ]
    assert sum(is_correct) > len(is_correct) / 2
    assert not [path for _, path, _ in client.writes() if path.endswith("import/predictions")]


def test_a_tree_is_learnt_by_its_leaves(server: FakeLabelStudio, store: Store, make_round: MakeRound) -> None:
    server.label_config = (
        '<View><Text name="text" value="$text"/><Choices name="label" toName="text" allowNested="true">'
        '<Choice value="thing"><Choice value="fruit"/><Choice value="metal"/></Choice><Choice value="animal"/>'
        "</Choices></View>"
    )
    truth = add_labelled_tasks(server, 60)
    paths = {"fruit": ["thing", "fruit"], "metal": ["thing", "metal"], "animal": ["animal"]}
    for task in list(truth)[:30]:
        server.annotate(task, paths[truth[task]])
    server.annotate(list(truth)[30], ["thing"])
    run_round(make_round(server))
    assert active(store).labelled == 30 and active(store).learner == 1
    assert {tuple(draft[0]) for draft in drafts(server)} <= {tuple(path) for path in paths.values()}
    assert "'thing' holds other labels" in lines_by_name(store)["not used"]


def test_each_of_several_controls_has_a_line(
    server: FakeLabelStudio, store: Store, settings: Settings, make_round: MakeRound
) -> None:
    server.label_config = FLAGGED
    truth = add_labelled_tasks(server, 40)
    messages = connect_messages(server, store, settings)
    assert any("learns <Choices name='label'>" in line and "<Choices name='flag'>" in line for line in messages)
    for task in list(truth)[:20]:
        server.annotate(task, truth[task])
    run_round(make_round(server))
    assert active(store).labelled == 20 and active(store).learner == 1
    assert "<Choices name='flag'>" in lines_by_name(store)["question"]
    assert lines_by_name(store)["label"].startswith("20 labelled; accuracy ")
    assert lines_by_name(store)["flag"].startswith("20 labelled; no learner yet")


@pytest.mark.parametrize(
    ("code", "answers", "choices", "sentence"),
    [
        ("control", 1, (), "1 annotation is not used: it belongs to no control of the configuration"),
        ("control", 2, (), "2 annotations are not used: they belong to no control of the configuration"),
        ("label", 1, ("7",), "1 annotation is not used: the configuration has no label '7' (only 1 to 5)"),
        ("label", 3, ("7",), "3 annotations are not used: the configuration has no labels such as '7' (only 1 to 5)"),
        ("shape", 1, (), "1 annotation is not used: the value for 'stars' is no label"),
    ],
)
def test_unused_ratings_are_counted_with_a_reason(
    code: str, answers: int, choices: tuple[str, ...], sentence: str
) -> None:
    [stars] = read_schema('<View><Text name="text" value="$text"/><Rating name="stars" toName="text"/></View>').controls
    [text] = unused_sentences([UnreadAnnotations(code, answers, 4, choices)], stars)
    assert text.startswith(sentence) and text.endswith(", e.g. task 4")


def test_each_control_that_is_not_learnt_is_named_with_its_reason() -> None:
    tags = (
        '<Number name="note" toName="text"/><Rating name="stars" toName="text" perRegion="true"/>'
        '<Choices name="one" toName="text"><Choice value="a"/></Choices>'
        '<Choices name="list" toName="text" value="$options"/>'
    )
    sentence = question_sentence(read_schema(SINGLE.replace("</View>", f"{tags}</View>")))
    assert sentence.endswith(
        "not learnt: <Number name='note'> (controls with this tag are not), <Rating name='stars'> (it is asked for "
        "each region), <Choices name='one'> (it has too few labels), <Choices name='list'> (its labels come from the "
        "task or a server)"
    )


def test_the_setting_choices_names_another_control_for_rounds_and_for_events(
    server: FakeLabelStudio, store: Store, settings: Settings, make_round: MakeRound
) -> None:
    server.label_config = FLAGGED
    tasks = list(add_labelled_tasks(server, 10))
    set_up(store, 5, extra_params={"choices": "flag"})
    run_round(make_round(server))
    body = server.annotate(tasks[0], "personal", control="flag")
    store_event(store, read_event(body, store.projects.choices))
    assert [chosen(annotation) for annotation in store.annotations.of(5)] == [("personal",)]
    run_round(make_round(server))
    assert lines_by_name(store)["question"].startswith("learns <Choices name='flag'>: several choices out of 2")

    set_up(store, 5, extra_params={})
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == "1, 9 to go"
    assert {name: control.labelled for name, control in read_status(store, 5).controls.items()} == {
        "label": 0, "flag": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "is_beside_others", "is_remarked"),
    [
        ("", False, True),
        ("", True, False),
        ('required="true"', True, True),
        ('required="true" visibleWhen="choice-selected" whenTagName="flag"', True, False),
    ],
)
def test_a_control_that_may_be_left_empty_beside_others_is_no_problem(
    server: FakeLabelStudio,
    store: Store,
    settings: Settings,
    make_round: MakeRound,
    attributes: str,
    is_beside_others: bool,
    is_remarked: bool,
) -> None:
    config = FLAGGED if is_beside_others else SINGLE
    server.label_config = config.replace('name="label"', f'name="label" {attributes}')
    task = next(iter(add_labelled_tasks(server, 10)))
    server.annotate_with(task, region(["personal"], "flag") if is_beside_others else [])
    run_round(make_round(server))
    remarks = [text for name, text in status_lines(read_status(store, 5)) if name == "not used"]
    assert ["it has no label for 'label'" in text for text in remarks] == [True] * is_remarked
    schema = read_schema(server.label_config)
    findings = doctor.check_tasks_and_annotations(store, FakeClient(server), store.projects.ensure(5), schema)
    sentences = [text for finding in findings for text in finding_sentences(finding)]
    found = [text for text in sentences if "it has no label for 'label'" in text]
    assert [text.startswith("label: ") for text in found] == [is_beside_others] * is_remarked
    coverage = read_status(store, 5).controls["label"].coverage
    assert coverage and [unread.code for unread in coverage.unread] == ["empty"], "it is counted all the same"


def test_the_setting_choices_belongs_to_one_project() -> None:
    with pytest.raises(Exception, match="names a control of one project"):
        load_settings(defaults={"choices": "label"})


def test_removed_labels_of_an_annotation_with_several_choices_are_named(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    server.label_config = config_with("fruit", "metal", "animal", multiple=True)
    tasks = list(add_labelled_tasks(server, 10))
    server.annotate(tasks[3], "fruit", "metal")
    run_round(make_round(server))
    server.label_config = config_with("fruit", "animal", multiple=True)
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == "1, 9 to go"
    assert lines_by_name(store)["not used"] == (
        f"1 annotation is used without some of the labels: the configuration has no label 'metal' "
        f"(renamed or removed?), e.g. task {tasks[3]}"
    )


def test_a_task_that_waits_for_its_second_annotator_is_counted(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    server.settings["maximum_annotations"] = 2
    truth = add_labelled_tasks(server, 6)
    for n, (task, label) in enumerate(truth.items()):
        server.annotate(task, label, by=1)
        if n < 2:
            server.annotate(task, label, by=2)
    run_round(make_round(server))
    assert lines_by_name(store)["labelled"] == "6 (4 of them wait for another annotator), 0 to go"


def test_status_says_why_nothing_is_learnt_from_annotations_of_one_class(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    truth = add_labelled_tasks(server, 30)
    fruits = [task for task, label in truth.items() if label == "fruit"]
    for task in fruits[:6]:
        server.annotate(task, "fruit")
    run_round(make_round(server))
    assert active(store).learner is None
    assert lines_by_name(store)["learner"] == (
        "nothing is learnt yet: every annotation is 'fruit'; training needs two different labels"
    )
    server.annotate(next(task for task, label in truth.items() if label == "metal"), "metal")
    run_round(make_round(server))
    assert "learner" not in lines_by_name(store)


def test_the_first_drafts_use_the_displayed_words_of_an_aliased_label(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    choices = "".join(f'<Choice value="{words}" alias="{label}"/>' for label, words in WORDS.items())
    server.label_config = SINGLE.partition("<Choice ")[0] + choices + "</Choices></View>"
    truth = add_labelled_tasks(server, 40)
    run_round(make_round(server))
    rows = [row for row in server.current_predictions() if row["result"]]
    is_correct = [row["result"][0]["value"]["choices"] == [truth[row["task"]]] for row in rows]
    assert len(is_correct) == 12 and sum(is_correct) >= 10
    task = next(iter(truth))
    server.annotate(task, truth[task])
    run_round(make_round(server))
    assert [chosen(annotation) for annotation in store.annotations.of(5)] == [(WORDS[truth[task]],)]


def test_doctor_reports_the_counts_of_the_worker_without_reading_the_annotations_again(
    server: FakeLabelStudio, store: Store, make_round: MakeRound, statements: list[str]
) -> None:
    tasks = list(add_labelled_tasks(server, 30))
    for task in tasks[:3]:
        server.annotate_with(task, region(["obst"]))
    run_round(make_round(server))
    statements.clear()
    project_row = store.projects.require(5)
    schema = read_schema(project_row.label_config, project_row.choices)
    findings = list(doctor.check_tasks_and_annotations(store, FakeClient(server), project_row, schema))
    assert statements and not read_all_annotations(statements)
    sentences = [sentence for finding in findings for sentence in finding_sentences(finding)]
    assert sentences == [lines_by_name(store)["not used"]] and "3 annotations" in sentences[0]


def test_an_error_in_a_projects_settings_is_reported_before_the_next_round(store: Store) -> None:
    set_up(store, 5, label_config=SINGLE, extra_params={"aquisition": "margin"})
    assert "did you mean acquisition?" in dict(status_lines(read_status(store, 5, Settings())))["settings"]


def test_doctor_gives_the_reason_why_a_tree_of_choices_is_published_row_by_row() -> None:
    timings = PublishTimings(0.2, 0.1)
    codes = [doctor.publishing_code(timings, read_schema(config)) for config in (NESTED, SINGLE)]
    findings = [Finding("good", Subject.PROJECT, code, {"timings": timings}, 5) for code in codes]
    [tree], [flat] = map(finding_sentences, findings)
    assert "tree of choices" in tree and "by bulk import" in flat


def test_a_weight_of_a_control_that_is_not_learnt_is_reported(store: Store, settings: Settings) -> None:
    set_up(store, 5, label_config=FLAGGED, extra_params={"control_weights": {"flag": 2, "flagg": 2}})
    for found in (
        dict(status_lines(read_status(store, 5, settings)))["settings"],
        settings_problems_text(settings_problems(settings, store.projects.require(5), read_schema(FLAGGED))),
    ):
        assert found == "control_weights: no control 'flagg' is learnt"


def test_an_error_in_a_weight_names_the_control(settings: Settings) -> None:
    _, problems = settings.for_project({"control_weights": {"flag": -1}})
    assert settings_problems_text(problems).startswith("extra params: control_weights: 'flag': Input should be greater")


def test_the_details_of_a_control_count_its_empty_annotations(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    server.label_config = FLAGGED
    server.annotate_with(next(iter(add_labelled_tasks(server, 10))), region(["personal"], "flag"))
    run_round(make_round(server))
    details = [text for name, text in status_lines(read_status(store, 5), "label") if name == "not used"]
    assert details == ["1 annotation is not used: it has no label for 'label', e.g. task 1"]


def test_the_details_of_a_control_have_its_remarks_and_an_error_is_said_once(
    server: FakeLabelStudio, store: Store, make_round: MakeRound
) -> None:
    server.label_config = FLAGGED
    add_labelled_tasks(server, 10)
    run_round(make_round(server))
    remarks = tuple(Remark("first learner", {"control": name}) for name in ("label", "flag"))
    status = replace(read_status(store, 5), remarks=(*remarks, Remark("text", {"text": "of all"})))
    notes = {control: dict(status_lines(status, control))["note"] for control in ("", "label")}
    assert notes[""].count("first learner") == 2
    assert notes["label"] == "label: first learner on these labels; of all"
    failing = replace(status, problem=Problem("unreadable", {"error": "it is no XML"}), last_error="it is no XML")
    assert [text for _, text in status_lines(failing)].count("it is no XML") == 1

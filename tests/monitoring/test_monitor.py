"""The monitor, on a project with a fitted learner."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from projects import set_up
from round_fixtures import MakeRound, active, learn, queue
from schemas import by_control, scorer

from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.evaluation.group_metrics import metrics_by_group
from ml_backend.evaluation.metrics import is_correct
from ml_backend.evaluation.prequential import prequential_accuracy
from ml_backend.loop.query_selection import select_queries
from ml_backend.loop.round import run_round
from ml_backend.monitoring import monitor
from ml_backend.monitoring.monitor import MonitorInput, apply_acquisition_fallback, read_monitor_input, run_monitor
from ml_backend.monitoring.status import read_status
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from plugins.learners.logistic import Logistic


@pytest.fixture
def read_input(
    taught: dict[int, str],
    server: FakeLabelStudio,
    make_round: MakeRound,
    store: Store,
    single: ProjectSchema,
) -> Callable[..., MonitorInput]:
    """Reads the monitor's input of project 5, whose learner was fitted on 30 correct annotations; takes options."""

    def read_input(**options: Any) -> MonitorInput:
        context = make_round(server)
        project, settings = store.projects.ensure(5), ProjectSettings(**options)
        monitor_input = read_monitor_input(
            store, context.pool, context.aggregator, project, single.controls[0], settings
        )
        assert monitor_input is not None
        return monitor_input

    return read_input


def test_the_tasks_are_in_the_order_of_their_annotations(
    read_input: Callable[..., MonitorInput],
    taught: dict[int, str],
    server: FakeLabelStudio,
    store: Store,
    single: ProjectSchema,
) -> None:
    by_time = sorted(store.annotations.of(5), key=lambda annotation: annotation.updated_at)
    tasks = [annotation.task for annotation in by_time]
    monitor_input = read_input()
    assert monitor_input.tasks.tolist() == tasks
    assert [single.controls[0].labels[row.argmax()] for row in monitor_input.train.targets] == [
        taught[task] for task in tasks
    ]
    assert (monitor_input.version, len(monitor_input.held_out)) == (active(store).learner, 30)
    assert monitor_input.previous == {}


def test_the_result_is_json_and_agrees_with_its_parts(read_input: Callable[..., MonitorInput]) -> None:
    monitor_input = read_input()
    result = json.loads(json.dumps(run_monitor(monitor_input)))
    is_right = is_correct(monitor_input.held_out, monitor_input.train.targets, False)
    expected = asdict(metrics_by_group(is_right.astype(np.float64), monitor_input.groups))
    assert result["groups"] == {"by": "cluster", **json.loads(json.dumps(expected)), "missing": None}
    assert (result["version"], result["labelled"]) == (monitor_input.version, 30)
    assert result["stopping"]["verdict"] == "too early"
    assert result["comparison"]["verdict"] == "not enough evidence"
    assert result["balance"] == {} and result["second_look"] == [] and result["accuracy"] is None
    audited = np.arange(30) % 6 > 0
    share = prequential_accuracy(Logistic(), monitor_input.train, audited, monitor_input.version, scorer())
    assert share is not None and run_monitor(replace(monitor_input, audited=audited))["accuracy"] == asdict(share)


def test_groups_are_the_values_of_a_field_of_the_tasks(
    read_input: Callable[..., MonitorInput], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    for number, task in server.tasks.items():
        task["data"]["region"] = "north" if number % 2 else "south"
    set_up(store, 5, read_under="", reconciled_at=0.0)  # as after an update of this program
    run_round(make_round(server))
    monitor_input = read_input(group_by="region")
    assert monitor_input.groups.tolist() == ["north" if task % 2 else "south" for task in monitor_input.tasks.tolist()]
    assert set(run_monitor(monitor_input)["groups"]["accuracy"]) == {"north", "south"}
    assert run_monitor(read_input(group_by="field"))["groups"]["missing"] == {"code": "no field"}


def test_the_number_of_stored_groups_is_bounded(
    read_input: Callable[..., MonitorInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "MAX_STORED_GROUPS", 7)
    monitor_input = replace(read_input(), groups=np.array([f"group {n}" for n in range(30)]))
    assert len(run_monitor(monitor_input)["groups"]["accuracy"]) == 7


def test_class_balance_comes_from_the_audit_sample_alone(read_input: Callable[..., MonitorInput]) -> None:
    monitor_input = read_input()
    audited = np.arange(30) % 6 > 0
    balance = run_monitor(replace(monitor_input, audited=audited))["balance"]
    for label, column in zip(monitor_input.control.labels, monitor_input.train.targets[audited].T, strict=True):
        assert balance[label]["value"] == pytest.approx(column.mean())
        assert balance[label]["n"] == 25


def test_suspected_label_errors_are_proposed_within_the_budget_but_no_ground_truth(
    read_input: Callable[..., MonitorInput],
    server: FakeLabelStudio,
    make_round: MakeRound,
    store: Store,
    taught: dict[int, str],
) -> None:
    wrong = sorted(annotation["task"] for annotation in server.annotations())[:2]
    annotation_ids = {annotation["task"]: annotation["id"] for annotation in server.annotations()}
    for task in wrong:
        other = next(label for label in taught.values() if label != taught[task])
        server.change_annotation(annotation_ids[task], other)
    run_round(make_round(server))
    suspects = run_monitor(read_input(second_look=5))["second_look"]
    assert {suspect["task"] for suspect in suspects} >= set(wrong) and len(suspects) <= 5
    assert {suspect["task"]: suspect["instead"] for suspect in suspects}[wrong[0]] == [taught[wrong[0]]]
    assert len(run_monitor(read_input(second_look=1))["second_look"]) == 1
    server.annotation(annotation_ids[wrong[0]])["ground_truth"] = True
    set_up(store, 5, reconciled_at=0.0)
    run_round(make_round(server))
    assert wrong[0] not in {suspect["task"] for suspect in run_monitor(read_input(second_look=5))["second_look"]}


def test_the_comparison_is_made_again_at_a_look_alone(
    read_input: Callable[..., MonitorInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor_input = read_input()
    first = run_monitor(monitor_input)
    monkeypatch.setattr(monitor, "compare_with_random", lambda *_, **__: pytest.fail("nothing has changed"))
    assert run_monitor(replace(monitor_input, previous=first))["comparison"] == first["comparison"]


def test_the_audited_annotations_before_the_first_look_are_counted_each_time(
    read_input: Callable[..., MonitorInput],
) -> None:
    monitor_input = read_input()
    before = run_monitor(monitor_input)
    after = run_monitor(replace(monitor_input, previous=before, audited=np.arange(30) < 3))["comparison"]
    assert (before["comparison"]["audited"], after["audited"], after["looks"]) == (0, 3, 0)


def test_without_a_learner_the_monitor_has_no_input(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema
) -> None:
    add_labelled_tasks(server, 30)
    context = make_round(server)
    run_round(context)
    assert (
        read_monitor_input(
            store, context.pool, context.aggregator, store.projects.ensure(5), single.controls[0], ProjectSettings()
        )
        is None
    )


LOSING = {"comparison": {"verdict": "not winning", "acquisition": "cluster-uncertainty"}}


def test_the_queue_falls_back_to_random_only_if_allowed_and_on_evidence(single: ProjectSchema) -> None:
    allowed = ProjectSettings(acquisition_fallback=True).with_form_defaults("text")
    assert apply_acquisition_fallback(allowed, single, by_control(LOSING))[0].acquisition == "random"
    for options, result in (
        (ProjectSettings(), LOSING),
        (allowed, {}),
        (allowed, {"comparison": {"verdict": "winning"}}),
        (allowed, {"comparison": {"verdict": "not enough evidence"}}),
        (allowed.model_copy(update={"acquisition": "random"}), LOSING),
        (allowed.model_copy(update={"acquisition": "margin"}), LOSING),
    ):
        assert apply_acquisition_fallback(options, single, by_control(result)) == (options, None)


def test_the_result_of_a_removed_control_neither_causes_nor_prevents_random_order(single: ProjectSchema) -> None:
    allowed = ProjectSettings(acquisition_fallback=True).with_form_defaults("text")
    winning = {"comparison": {**LOSING["comparison"], "verdict": "winning"}}
    assert apply_acquisition_fallback(allowed, single, {"removed": LOSING}) == (allowed, None)
    results = {"label": LOSING, "removed": winning}
    assert apply_acquisition_fallback(allowed, single, results)[0].acquisition == "random"


def test_a_strategy_that_does_not_win_gives_way_at_the_next_round_and_comes_back(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None]
) -> None:
    options(acquisition_fallback=True, queue_size=12, audit_share=0.0)
    run_round(make_round(server))
    before = queue(server)
    set_up(store, 5, monitor_result=LOSING)
    assert run_round(make_round(server)) is not None
    assert "random order: cluster-uncertainty is not winning" in remarks_text(active(store).remarks)
    assert queue(server) != before
    assert run_round(make_round(server)) is None, "nothing has changed since"
    set_up(store, 5, monitor_result={"comparison": {"verdict": "winning"}})
    assert run_round(make_round(server)) is not None
    assert "random order" not in remarks_text(active(store).remarks)


def test_balance_is_by_the_named_field(
    taught: dict[int, str],
    server: FakeLabelStudio,
    make_round: MakeRound,
    store: Store,
    options: Callable[..., None],
    single: ProjectSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ml_backend.loop import queue_builder

    for number, task in server.tasks.items():
        task["data"]["region"] = "north" if number % 2 else "south"
    set_up(store, 5, read_under="", reconciled_at=0.0)
    calls: list[Any] = []
    choose = select_queries
    monkeypatch.setattr(
        queue_builder, "select_queries", lambda *args, **more: (calls.append(args), choose(*args, **more))[1]
    )
    options(balance=0.5, group_by="region", queue_size=12, audit_share=0.0)
    learn(server, taught, single, 1)
    context = make_round(server)
    run_round(context)
    groups = calls[-1][2]
    assert groups.tolist() == [task % 2 == 0 for task in context.pool.tasks.tolist()]


def test_status_reports_the_result_of_the_monitor(read_input: Callable[..., MonitorInput], store: Store) -> None:
    result = run_monitor(replace(read_input(second_look=1), audited=np.arange(30) % 6 > 0))
    result["second_look"] = [{"task": 7, "instead": ["metal"]}]
    set_up(store, 5, monitor_result=result)
    lines_by_name = dict(status_lines(read_status(store, 5)))
    assert lines_by_name["classes"].endswith("by the audit sample")
    assert lines_by_name["by cluster"].endswith("; of all labels, most of them chosen for being hard")
    assert lines_by_name["against random"].startswith("not enough evidence: with ")
    assert lines_by_name["enough labels?"].startswith("too early to say")
    assert "task 7 (rather metal)" in lines_by_name["second look"]
    assert read_status(store, 5).as_dict()["controls"]["label"]["monitor"] == result

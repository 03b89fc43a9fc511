"""What the loop finds out about itself, from a project that has learnt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio, fill
from projects import set_up
from round_fixtures import MakeRound, active, learn, queue

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import TaskSchema
from ml_backend.evaluation.group_metrics import by_group
from ml_backend.evaluation.metrics import correct
from ml_backend.evaluation.prequential import accuracy
from ml_backend.loop.round import run_round
from ml_backend.monitoring import monitor
from ml_backend.monitoring.monitor import MonitorInput, fall_back, find_out, see
from ml_backend.monitoring.status import lines, read_status
from ml_backend.storage import Store
from plugins.learners.logistic import Logistic


@pytest.fixture
def look(
    taught: dict[int, str],
    server: FakeLabelStudio,
    make_round: MakeRound,
    store: Store,
    single: TaskSchema,
) -> Callable[..., MonitorInput]:
    """Looks at project 5, whose learner has 30 right answers, with some options."""

    def see_it(**options: Any) -> MonitorInput:
        work = make_round(server)
        seen = see(store, work.pool, work.aggregator, store.projects.ensure(5), single, ProjectSettings(**options))
        assert seen is not None
        return seen

    return see_it


def test_the_tasks_are_seen_in_the_order_they_were_answered(
    look: Callable[..., MonitorInput], taught: dict[int, str], server: FakeLabelStudio, store: Store, single: TaskSchema
) -> None:
    answered = [each.task for each in sorted(store.labels.of(5), key=lambda each: each.updated_at)]
    seen = look()
    assert seen.tasks.tolist() == answered
    assert [single.labels[row.argmax()] for row in seen.train.targets] == [taught[task] for task in answered]
    assert (seen.version, len(seen.held_out), seen.before) == (active(store).learner, 30, {})


def test_a_look_is_json_and_agrees_with_its_parts(look: Callable[..., MonitorInput]) -> None:
    seen = look()
    found = json.loads(json.dumps(find_out(seen)))
    right = correct(seen.held_out, seen.train.targets, False)
    expected = asdict(by_group(right, seen.groups))
    assert (
        found["groups"].pop("summary")
        == expected.pop("summary") + "; of all labels, most of them chosen for being hard"
    )
    assert found["groups"] == {"by": "cluster", **json.loads(json.dumps(expected))}
    assert (found["version"], found["labelled"]) == (seen.version, 30)
    assert found["stopping"]["verdict"] == "too early"
    assert found["comparison"]["verdict"] == "not enough evidence"
    assert found["balance"] == {} and found["second_look"] == [] and found["accuracy"] is None
    audited = np.arange(30) % 6 > 0
    share = accuracy(Logistic(), seen.train, audited, seen.version)
    assert share is not None and find_out(replace(seen, audited=audited))["accuracy"] == asdict(share)


def test_groups_are_the_values_of_a_field_of_the_tasks(
    look: Callable[..., MonitorInput], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    for number, task in server.tasks.items():
        task["data"]["region"] = "north" if number % 2 else "south"
    set_up(store, 5, read_under="", reconciled_at=0.0)  # as after an update of this program
    run_round(make_round(server))
    seen = look(group_by="region")
    assert seen.groups.tolist() == ["north" if task % 2 else "south" for task in seen.tasks.tolist()]
    assert set(find_out(seen)["groups"]["accuracy"]) == {"north", "south"}
    assert find_out(look(group_by="field"))["groups"]["summary"] == "no labelled task has a field 'field'"


def test_of_very_many_groups_the_first_are_kept(
    look: Callable[..., MonitorInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "MOST_GROUPS", 7)
    seen = replace(look(), groups=np.array([f"group {n}" for n in range(30)]))
    assert len(find_out(seen)["groups"]["accuracy"]) == 7


def test_class_balance_comes_from_the_audit_slice_alone(look: Callable[..., MonitorInput]) -> None:
    seen = look()
    audited = np.arange(30) % 6 > 0
    found = find_out(replace(seen, audited=audited))["balance"]
    for label, column in zip(seen.labels, seen.train.targets[audited].T, strict=True):
        assert found[label]["value"] == pytest.approx(column.mean())
        assert found[label]["n"] == 25


def test_an_answer_that_looks_wrong_is_proposed_within_the_budget_but_no_ground_truth(
    look: Callable[..., MonitorInput],
    server: FakeLabelStudio,
    make_round: MakeRound,
    store: Store,
    taught: dict[int, str],
) -> None:
    wrong = sorted(each["task"] for each in server.annotations())[:2]
    number = {each["task"]: each["id"] for each in server.annotations()}
    for task in wrong:
        other = next(label for label in taught.values() if label != taught[task])
        server.change_annotation(number[task], other)
    run_round(make_round(server))
    found = find_out(look(second_look=5))["second_look"]
    assert {each["task"] for each in found} >= set(wrong) and len(found) <= 5
    assert {each["task"]: each["instead"] for each in found}[wrong[0]] == [taught[wrong[0]]]
    assert len(find_out(look(second_look=1))["second_look"]) == 1
    server.annotation(number[wrong[0]])["ground_truth"] = True
    set_up(store, 5, reconciled_at=0.0)
    run_round(make_round(server))
    assert wrong[0] not in {each["task"] for each in find_out(look(second_look=5))["second_look"]}


def test_the_comparison_is_made_again_at_a_look_alone(
    look: Callable[..., MonitorInput], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = look()
    first = find_out(seen)
    monkeypatch.setattr(monitor, "compare", lambda *_, **__: pytest.fail("nothing has changed"))
    assert find_out(replace(seen, before=first))["comparison"] == first["comparison"]


def test_how_many_audited_answers_the_first_look_still_takes_is_counted_each_time(
    look: Callable[..., MonitorInput],
) -> None:
    seen = look()
    before = find_out(seen)
    after = find_out(replace(seen, before=before, audited=np.arange(30) < 3))["comparison"]
    assert "0 of the 20" in before["comparison"]["sentence"] and "3 of the 20" in after["sentence"]


def test_without_a_learner_there_is_nothing_to_see(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, single: TaskSchema
) -> None:
    fill(server, 30)
    work = make_round(server)
    run_round(work)
    assert see(store, work.pool, work.aggregator, store.projects.ensure(5), single, ProjectSettings()) is None


LOSING = {"comparison": {"verdict": "not winning", "acquisition": "cluster-uncertainty"}}


def test_the_queue_falls_back_to_random_only_if_wanted_and_on_evidence() -> None:
    wanted = ProjectSettings(acquisition_fallback=True).of_form("text")
    assert fall_back(wanted, LOSING)[0].acquisition == "random"
    for options, found in (
        (ProjectSettings(), LOSING),
        (wanted, None),
        (wanted, {}),
        (wanted, {"comparison": {"verdict": "winning"}}),
        (wanted, {"comparison": {"verdict": "not enough evidence"}}),
        (wanted.model_copy(update={"acquisition": "random"}), LOSING),
        (wanted.model_copy(update={"acquisition": "margin"}), LOSING),
    ):
        assert fall_back(options, found) == (options, "")


def test_a_strategy_that_does_not_win_gives_way_at_the_next_round_and_comes_back(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None]
) -> None:
    options(acquisition_fallback=True, queue_size=12, audit_share=0.0)
    run_round(make_round(server))
    before = queue(server)
    set_up(store, 5, watch=LOSING)
    assert run_round(make_round(server)) is not None
    assert "random order: cluster-uncertainty is not winning" in active(store).note
    assert queue(server) != before
    assert run_round(make_round(server)) is None, "nothing has changed since"
    set_up(store, 5, watch={"comparison": {"verdict": "winning"}})
    assert run_round(make_round(server)) is not None
    assert "random order" not in active(store).note


def test_balance_is_by_the_named_field(
    taught: dict[int, str],
    server: FakeLabelStudio,
    make_round: MakeRound,
    store: Store,
    options: Callable[..., None],
    single: TaskSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ml_backend.loop import queue_builder

    for number, task in server.tasks.items():
        task["data"]["region"] = "north" if number % 2 else "south"
    set_up(store, 5, read_under="", reconciled_at=0.0)
    seen: list[Any] = []
    choose = queue_builder.choose
    monkeypatch.setattr(queue_builder, "choose", lambda *args, **more: (seen.append(args), choose(*args, **more))[1])
    options(balance=0.5, group_by="region", queue_size=12, audit_share=0.0)
    learn(server, taught, single, 1)
    work = make_round(server)
    run_round(work)
    groups = seen[-1][2]
    assert groups.tolist() == [task % 2 == 0 for task in work.pool.tasks.tolist()]


def test_status_tells_what_was_found(look: Callable[..., MonitorInput], store: Store) -> None:
    found = find_out(replace(look(second_look=1), audited=np.arange(30) % 6 > 0))
    found["second_look"] = [{"task": 7, "instead": ["metal"]}]
    set_up(store, 5, watch=found)
    said = dict(lines(read_status(store, 5)))
    assert said["classes"].endswith("by the audit slice")
    assert said["by cluster"] == found["groups"]["summary"]
    assert said["against random"] == found["comparison"]["sentence"]
    assert said["enough labels?"] == found["stopping"]["sentence"]
    assert "task 7 (rather metal)" in said["second look"]
    assert read_status(store, 5).as_dict()["watch"] == found

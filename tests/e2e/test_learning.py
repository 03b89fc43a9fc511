"""People annotate in a real Label Studio, and the queue follows them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from running_backend import Backend, Project, until
from texts import messages

from ml_backend.kinds.aggregation import aggregate_annotations
from ml_backend.label_studio.client import LabelStudioClient

pytestmark = pytest.mark.e2e


def test_an_annotation_reorders_the_queue(backend: Backend, make_project: Callable[..., Project]) -> None:
    project = make_project(60)
    backend.connect(project)
    first = backend.wait_for_queue(project)
    project.answer_next(1)
    with backend.held_queue(project, labelled=1) as second:
        assert second.name != first.name and second.labelled == 1
        served = project.next()
        assert served is not None and served.version == second.name
        earlier = [row["task"] for row in project.predictions(second.name)]

    project.answer_next(11)
    with backend.held_queue(project, labelled=12) as version:
        assert version.learner is not None and version.labelled == 12
        assert version.accuracy is not None and version.accuracy.low <= version.accuracy.value <= version.accuracy.high
        order = [row["task"] for row in project.predictions(version.name)]
        served = project.next()
        assert served is not None and served.task == order[0] and served.version == version.name
    assert order != [task for task in earlier if task in order]
    reasons = [region["meta"]["text"][0] for row in project.predictions(version.name) for region in row["result"]]
    assert reasons and all("uncertainty" in reason for reason in reasons)


def test_drafts_get_better_as_labels_come_in(backend: Backend, make_project: Callable[..., Project]) -> None:
    project = make_project(120, classes=6)
    backend.connect(project)
    backend.wait_for_queue(project)
    for done in (12, 24, 36):
        project.answer_next(12)
        version = backend.wait_for_queue(project, labelled=done)
    texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
    drafts = [
        (row["result"][0]["value"]["choices"], project.truth[texts[row["task"]]])
        for row in project.predictions(version.name)
        if row["result"]
    ]
    right = sum(choices == [truth] for choices, truth in drafts)
    assert right >= 0.6 * len(drafts), "even of the tasks chosen for being hard"


def test_every_kind_of_answer_is_counted_as_it_should_be(
    backend: Backend, make_project: Callable[..., Project], annotators: list[LabelStudioClient]
) -> None:
    project = make_project(60, maximum_annotations=3)
    backend.connect(project)
    backend.wait_for_queue(project)
    anna, ben = annotators
    a, b, _ = project.schema.controls[0].labels
    majority, tie, updated, deleted, skipped, truth, one_skips, unanimous = (
        task["id"] for task in project.tasks()[:8]
    )  # fmt: skip
    project.answer(majority, a, client=anna)
    project.answer(majority, a, client=ben)
    project.answer(majority, b)
    project.answer(tie, a, client=anna)
    project.answer(tie, b, client=ben)
    change = project.answer(updated, a)
    project.client.call("PATCH", f"api/annotations/{change}/", body={"result": [project.region(b)]})
    project.client.call("DELETE", f"api/annotations/{project.answer(deleted, a)}/")
    project.skip(skipped)
    for client, label in ((anna, a), (None, a)):
        project.answer(truth, label, client=client)
    golden = project.answer(truth, b, client=ben)
    project.client.call("PATCH", f"api/annotations/{golden}/", body={"ground_truth": True})
    project.answer(one_skips, a, client=anna)
    project.skip(one_skips, client=ben)
    project.answer(unanimous, b, client=anna)
    project.answer(unanimous, b, client=ben)

    def targets() -> dict[int, list[float]]:
        labels = aggregate_annotations(project.schema.controls[0], backend.store.annotations.of(project.number))
        return dict(zip(labels.tasks.tolist(), np.round(labels.targets, 2).tolist(), strict=True))

    expected = {
        majority: [1, 0, 0], tie: [0.5, 0.5, 0], updated: [0, 1, 0], truth: [0, 1, 0], one_skips: [1, 0, 0],
        unanimous: [0, 1, 0],
    }  # fmt: skip
    until(lambda: targets() == expected, f"the answers {expected}, not {targets()}")
    backend.wait_for_queue(project, labelled=6)
    status = backend.printed_status(project)
    assert (status["labelled"], status["pool"], status["connected"], status["last_error"]) == (6, 54, True, None)
    touched = {majority, tie, updated, skipped, truth, one_skips, unanimous}
    queue = {row["task"] for row in project.predictions(backend.active(project).name)}
    assert not queue & touched and deleted not in touched


def test_annotations_imported_with_their_tasks_are_found(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(40)
    everything = list(messages(70, project.schema.controls[0].labels, seed=1).items())
    fresh = [(text, label) for text, label in everything if text not in project.truth]
    project.add(dict(fresh[:5]), annotated=True)
    backend.connect(project)
    backend.wait_for_queue(project, labelled=5)
    project.add(dict(fresh[5:9]), annotated=True)
    assert backend.wait_for_queue(project, labelled=9).learner is not None


def test_without_its_webhook_the_backend_still_learns_and_connecting_mends_it(
    backend: Backend, make_project: Callable[..., Project]
) -> None:
    project = make_project(30)
    backend.connect(project)
    backend.wait_for_queue(project)
    (hook,) = project.webhooks()
    project.client.call("DELETE", f"api/webhooks/{hook['id']}/")
    project.answer_next(2)
    backend.wait_for_queue(project, labelled=2)

    (task, *_) = [task["id"] for task in project.tasks() if task["total_annotations"]]
    deleted_id = next(
        annotation.id for annotation in backend.store.annotations.of(project.number) if annotation.task == task
    )
    project.client.call("DELETE", f"api/annotations/{deleted_id}/")
    until(lambda: backend.status(project).labelled == 1, "the deletion to be noticed")

    backend.connect(project)
    (mended,) = project.webhooks()
    assert mended["url"] == hook["url"] and mended["headers"] == hook["headers"]


def test_two_annotators_at_once_get_different_tasks_in_the_order_of_the_queue(
    backend: Backend, make_project: Callable[..., Project], annotators: list[LabelStudioClient]
) -> None:
    project = make_project(60)
    backend.connect(project)
    got: list[tuple[LabelStudioClient, int]] = []
    together = threading.Barrier(2)
    # Label Studio on SQLite may give one task to two people who ask in the same millisecond: that is not tested here
    asking = threading.Lock()

    def work(client: LabelStudioClient) -> None:
        for _ in range(5):
            together.wait()
            with asking:
                served = project.next(client)
                assert served is not None
                got.append((client, served.task))
            together.wait()  # both look at their tasks at the same time
            project.answer_rightly(served, client)

    with backend.held_queue(project) as version:
        order = [row["task"] for row in project.predictions(version.name)]
        threads = [threading.Thread(target=work, args=(client,)) for client in annotators]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert [task for _, task in got] == order[:10]
    assert [sum(client is annotator for client, _ in got) for annotator in annotators] == [5, 5]
    backend.wait_for_queue(project, labelled=10)


def test_several_choices_at_once_are_drafted_and_learnt(backend: Backend, make_project: Callable[..., Project]) -> None:
    project = make_project(40, multiple=True)
    backend.connect(project)
    backend.wait_for_queue(project)
    choices_by_task: list[tuple[str, ...]] = []
    for place in range(10):
        served = project.next()
        assert served is not None
        label = project.truth[served.text]
        choices_by_task.append(
            () if place == 9 else tuple(dict.fromkeys([label, project.schema.controls[0].labels[0]]))
        )
        project.answer(served.task, *choices_by_task[-1])
    version = backend.wait_for_queue(project, labelled=10)
    assert version.learner is not None
    labels = aggregate_annotations(project.schema.controls[0], backend.store.annotations.of(project.number))
    assert sorted(labels.targets.sum(axis=1).tolist()) == sorted(float(len(task)) for task in choices_by_task)
    drafts = [row["result"][0]["value"]["choices"] for row in project.predictions(version.name) if row["result"]]
    assert any(project.schema.controls[0].labels[0] in choices and len(choices) > 1 for choices in drafts)

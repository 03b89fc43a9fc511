"""Lists of tasks from a real Label Studio, in the order of their ids, and filtered by ids."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from running_backend import Project

from ml_backend.label_studio.client import LabelStudioClient, id_filter

pytestmark = pytest.mark.e2e


def test_pages_follow_the_numbers_of_the_tasks_whatever_is_deleted_meanwhile(
    admin: LabelStudioClient, make_project: Callable[..., Project]
) -> None:
    project = make_project(12)
    pages = admin.task_pages(project.number, size=4, fields="task_only", include="id,data,updated_at")
    first = [task["id"] for task in next(pages)]
    admin.call("DELETE", f"api/tasks/{first[0]}/")
    task_ids = first + [task["id"] for page in pages for task in page]
    assert len(task_ids) == 12 and task_ids == sorted(task_ids)
    assert admin.existing_task_ids(project.number, [*task_ids, 10**9]) == set(task_ids[1:])


def test_answered_and_skipped_tasks_are_found_with_their_annotations(
    admin: LabelStudioClient, make_project: Callable[..., Project]
) -> None:
    project = make_project(6)
    tasks = sorted(task["id"] for page in admin.task_pages(project.number, fields="task_only") for task in page)
    for task, skipped in ((tasks[0], False), (tasks[1], True)):
        admin.call("POST", f"api/tasks/{task}/annotations/", body={"result": [], "was_cancelled": skipped})
    for column, task in (("total_annotations", tasks[0]), ("cancelled_annotations", tasks[1])):
        condition = {**id_filter("greater", 0), "filter": f"filter:tasks:{column}"}
        [page] = admin.task_pages(project.number, filters=[condition], size=50, fields="all", include="id,annotations")
        assert [row["id"] for row in page] == [task]
        assert len(page[0]["annotations"]) == 1

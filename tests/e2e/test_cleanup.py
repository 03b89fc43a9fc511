"""Deletion: texts of deleted tasks, a forgotten project, rows and learners of past rounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from running_backend import Backend, Project, label_config, until
from schemas import first_of
from scripted_server import Reply, Request, choice, completion, serving
from texts import LABELS, messages

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import ModelVersion, content_key
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import RESTORED_SETTINGS
from ml_backend.storage.schema import NO_VERSION
from ml_backend.worker.maintenance import MAX_STALE_VERSIONS

pytestmark = pytest.mark.e2e

TEACHER = "openai:scripted"
COMPLAINT = (
    "Mrs Miller of 17 Elm Street complains that her oven ruins every roast chicken, " + "and then the next, " * 9
)
"""A text that is longer than a quote of one line."""


def reply(request: Request, _: int) -> Reply:
    """The teacher is right about every text of `texts.py`, and quotes COMPLAINT where it speaks of mistakes."""
    names = request.body["response_format"]["json_schema"]["schema"]["properties"].keys()
    if "label" in names:
        label = next((label for label in LABELS if request.text in messages(60, [label])), LABELS[0])
        return Reply(completion(choice({"label": label, "confidence": 0.95})))
    if "summary" in names:
        return Reply(completion(choice({"summary": f'It fails at "{COMPLAINT}".', "patterns": []})))
    if "hard" in names:
        texts = {"hard": ["Is the trout done yet?"], "easy": ["The soup needs more salt."]}
        return Reply(completion(choice(texts)))
    return Reply(completion(choice({"labels": []})))


@pytest.fixture
def taught_backend(make_backend: Callable[..., Backend]) -> Iterator[Backend]:
    """A backend whose teacher drafts the head of each queue."""
    options = ProjectSettings(
        queue_size=10, teacher="openai", teacher_model="scripted", teacher_probabilities="stated", teacher_ahead=6,
        teacher_labels=12,
    )  # fmt: skip
    with serving(reply) as server:
        yield make_backend(defaults=options, teacher_url=server.url)


def drafted_by_teacher(backend: Backend, project: Project) -> list[int]:
    """Returns the tasks with a draft of the teacher, [] while the teacher still has questions."""
    if backend.store.questions.counts(project.number, TEACHER).get(("label", "answered"), 0) < 12:
        return []
    drafts = backend.store.published_drafts.of(project.number, backend.published(project))
    by_teacher = [row.task for row in drafts if any(draft.author == "teacher" for draft in row.drafts.values())]
    return by_teacher if backend.follows(project) else []


def rows(backend: Backend) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each row of each table of the store."""
    with closing(backend.database()) as database:
        database.row_factory = sqlite3.Row
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                yield table, dict(row)


def tables_with(backend: Backend, text: str) -> set[str]:
    return {table for table, row in rows(backend) if text in repr(row)}


def files_with(backend: Backend, content: bytes, pattern: str = "*") -> list[str]:
    """Returns the files of the data folder that contain these bytes, by their relative paths."""
    folder, paths = backend.settings.data_dir, []
    for path in folder.rglob(pattern):
        with suppress(FileNotFoundError):  # some are written and replaced meanwhile
            if path.is_file() and content in path.read_bytes():
                paths.append(str(path.relative_to(folder)))
    return paths


def delete_as_the_data_manager_does(project: Project, tasks: Iterable[int]) -> None:
    chosen = {"selectedItems": {"all": False, "included": list(tasks)}, "filters": {"conjunction": "and", "items": []}}
    params = {"id": "delete_tasks", "project": project.number}
    project.client.call("POST", "api/dm/actions", params=params, body={**chosen, "project": str(project.number)})


def test_the_texts_of_deleted_tasks_are_in_no_table_and_no_file(
    taught_backend: Backend, make_project: Callable[..., Project]
) -> None:
    backend, project = taught_backend, make_project(24)
    project.add({COMPLAINT: "Cooking"})
    texts = {task["id"]: task["data"]["text"] for task in project.tasks()}
    answered = next(task for task, text in texts.items() if text == COMPLAINT)
    backend.connect(project)
    drafted, *_ = until(lambda: drafted_by_teacher(backend, project), "a draft of the teacher")
    for task in [answered, *[task for task in texts if task not in (answered, drafted)][:5]]:
        project.answer(task, project.truth[texts[task]])
    backend.wait_for_queue(project, labelled=6)
    evolved = backend.cli("evolve", "--project", str(project.number), "--rounds", "1", "--train-directly")
    assert evolved.returncode == 0, evolved.stderr
    beginnings = {texts[drafted]: texts[drafted], COMPLAINT: COMPLAINT[:60]}
    assert tables_with(backend, beginnings[COMPLAINT]) >= {"task", "question", "evolution_round"}, "they were there"
    assert tables_with(backend, texts[drafted]) >= {"task", "question"}
    for text in beginnings:
        assert files_with(backend, content_key(text), "vectors/**/*"), "with a vector"
    assert project.predictions(backend.published(project)), "and in a queue"

    delete_as_the_data_manager_does(project, [answered, drafted])

    def left() -> list[object]:
        leftovers: list[object] = [
            (table, row)
            for table, row in rows(backend)
            if row.get("task") in (answered, drafted)
            and not row.get("deleted")
            and row.get("version") != NO_VERSION  # but for tombstones
        ]
        for text, beginning in beginnings.items():
            leftovers += [f"{table}: {beginning}" for table in tables_with(backend, beginning)]
            leftovers += [f"{file}: {beginning}" for file in files_with(backend, beginning.encode())]
            leftovers += [f"{file}: its vector" for file in files_with(backend, content_key(text), "vectors/**/*")]
        return leftovers

    with suppress(AssertionError):
        until(lambda: not left(), "the end of the deleted texts", seconds=180)
    assert left() == []
    until(lambda: backend.status(project).labelled == 5, "an answer less")
    every_row = project.client.call("GET", "api/predictions/", params={"project": project.number})
    assert every_row and not {row["task"] for row in every_row} & {answered, drafted}
    stored = backend.store.tasks.texts(project.number, list(texts.keys() - {answered, drafted}))
    assert sorted(stored) == sorted(text for text in texts.values() if text not in beginnings)
    for text in stored:
        assert files_with(backend, text.encode()) and files_with(backend, content_key(text), "vectors/**/*"), text
    project.answer_next(1)
    backend.wait_for_queue(project, labelled=6)


def made_by_connect(project: Project) -> list[list[Any]]:
    return [
        [object_["id"] for object_ in objects]
        for objects in (project.webhooks(), project.ml_backends(), project.tabs())
    ]


def test_a_forgotten_project_leaves_nothing_and_another_one_goes_on_learning(
    taught_backend: Backend, admin: LabelStudioClient, make_project: Callable[..., Project]
) -> None:
    backend, other_project = taught_backend, make_project(24)
    config, truth = label_config(LABELS[3:]), messages(24, LABELS[3:])
    project = Project.create(admin, "to be forgotten", config, truth, {})
    number, folder = str(project.number), backend.settings.data_dir
    settings = {name: project.seen()[name] or "" for name in RESTORED_SETTINGS}
    foreign = {"task": project.tasks()[0]["id"], "model_version": "another model", "score": 0.5}
    foreign["result"] = [project.region(LABELS[3])]
    admin.call("POST", "api/predictions/", body=foreign)
    for connected_project in (project, other_project):
        backend.connect(connected_project)
        until(partial(drafted_by_teacher, backend, connected_project), "a draft of the teacher")
        connected_project.answer_next(4)
        backend.wait_for_queue(connected_project, labelled=4)
    tables = {table for table, row in rows(backend) if row.get("project") == project.number}
    assert tables >= {"task", "annotation", "version", "shown", "question", "call", "publication", "round"}
    assert files_with(backend, b"", f"artifacts/{number}/*") and files_with(backend, b"", f"vectors/*/{number}/*")
    connected = made_by_connect(other_project)
    active = backend.wait_for_queue(other_project, labelled=4)

    done = backend.cli("forget", "--project", number, "--yes")
    assert done.returncode == 0, done.stderr
    assert f"Project {number} is forgotten" in done.stdout

    assert made_by_connect(project) == [[], [], []]
    predictions = admin.call("GET", "api/predictions/", params={"project": project.number})
    assert [row["model_version"] for row in predictions] == ["another model"]
    assert {name: project.seen()[name] or "" for name in RESTORED_SETTINGS} == settings
    exported = admin.call("GET", f"api/projects/{number}/export", params={"exportType": "JSON"})
    assert sum(len(task["annotations"]) for task in exported) == 4, "what people did stays"

    assert made_by_connect(other_project) == connected
    with backend.held_queue(other_project, labelled=4) as version:
        assert (
            other_project.seen()["model_version"] == version.name and len(other_project.predictions(version.name)) == 10
        )
    other_project.answer_next(3)
    version = backend.wait_for_queue(other_project, labelled=7)
    assert version.number > active.number and version.learner is not None
    tasks = [task["id"] for task in other_project.tasks()]
    assert sorted(backend.store.tasks.texts(other_project.number, tasks)) == sorted(other_project.truth)

    project.answer(project.tasks()[-1]["id"], LABELS[3])  # nobody listens any more
    owner = {"project": "id"}  # of a row; `project` in other tables
    remaining_rows = [
        (table, row) for table, row in rows(backend) if row.get(owner.get(table, "project")) == project.number
    ]
    assert remaining_rows == [] and backend.store.count_rows(project.number) == {}
    assert list(folder.rglob(number)) == []

    def still() -> list[str]:
        return [text for text in truth if files_with(backend, text.encode())]

    with suppress(AssertionError):
        until(lambda: not still(), "the end of its texts", seconds=20)
    assert still() == []
    unknown = backend.cli("status", "--project", number)
    assert unknown.returncode == 1 and "not known here" in unknown.stderr


EARLIER = MAX_STALE_VERSIONS - 10  # versions


def test_after_27_answers_in_a_row_no_more_drafts_and_learners_stay_than_the_ceilings(
    make_backend: Callable[..., Backend], make_project: Callable[..., Project]
) -> None:
    backend = make_backend(keep_versions=3, defaults=ProjectSettings(queue_size=5))
    project = make_project(60)
    backend.connect(project)
    task = project.tasks()[0]["id"]
    with backend.held_queue(project) as version:
        for number in range(version.number + 1, version.number + 1 + EARLIER):  # as a busy day leaves them
            name = f"apprentice-{number}-earlier"
            row = {"task": task, "model_version": name, "score": 0.5, "result": []}
            project.client.call("POST", "api/predictions/", body=row)
            earlier = ModelVersion(project.number, number, name, None, 0, {}, backend.store.clock.now())
            backend.store.versions.add(earlier, None, rows=1)
    versions = set()
    for labelled in range(1, 28):
        project.answer_next(1)
        versions.add(backend.wait_for_queue(project, labelled).number)
        if labelled % 9 == 0:
            check_ceilings(backend, project, labelled)
    assert len(versions) == 27, "a round for each answer"


def check_ceilings(backend: Backend, project: Project, labelled: int) -> None:
    with backend.held_queue(project, labelled) as version:
        standing = project.client.call("GET", "api/predictions/", params={"project": project.number})
        stale = {row["model_version"] for row in standing} - {version.name}
        assert len(stale) <= MAX_STALE_VERSIONS
        assert stale == {name for _, name, _ in backend.store.versions.stale(project.number)}, "none is overlooked"
        learners = backend.store.versions.learners(project.number)
        assert len(learners) <= 3 and version.learner in learners
        artifacts = [backend.store.versions.artifact(project.number, learner) for learner in learners]
        prior = (first_of(backend.store.projects.ensure(project.number).distillations) or {}).get("file")
        names = {Path(name).name for name in [*(name for name, _ in filter(None, artifacts)), prior] if name}
        files = (backend.settings.data_dir / "artifacts").rglob("*.safetensors")
        assert {path.name for path in files} == names

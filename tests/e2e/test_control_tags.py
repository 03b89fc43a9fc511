"""Controls other than Choices, and dialogues and lists, end to end: Label Studio accepts and serves their drafts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from prediction_validation import validation_errors
from running_backend import Backend, Project
from schemas import only
from texts import messages

from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_text
from ml_backend.label_studio.testing_client import create_project, import_tasks

pytestmark = pytest.mark.e2e
TOPICS = ("Cooking", "Football", "Computers")
ANSWERS = 15

RATING = '<View><List name="d" value="$d" title="Results"/><Rating name="c" toName="d" maxRating="7"/></View>'
TAXONOMY = (
    '<View><Paragraphs name="d" value="$d" layout="dialogue"/><Taxonomy name="c" toName="d"><Choice value="Home" '
    'alias="H"><Choice value="Cooking"/><Choice value="Computers"/></Choice><Choice value="Sport"/></Taxonomy></View>'
)


def list_of(text: str) -> list[dict[str, Any]]:
    return [{"id": "1", "title": "Message", "body": text}]


def dialogue_of(text: str) -> list[dict[str, Any]]:
    return [{"author": "Ann", "text": text}, {"author": "Bob", "text": "I see."}]


@pytest.mark.parametrize(
    ("config", "data_of", "labels"),
    [
        (RATING, list_of, (("1",), ("4",), ("7",))),
        (TAXONOMY, dialogue_of, (("Home", "Home > Cooking"), ("Sport",), ("Home", "Home > Computers"))),
    ],
    ids=["a rating of a list", "a taxonomy of dialogues"],
)
def test_a_control_is_learnt_and_its_drafts_are_served(
    admin: LabelStudioClient,
    backend: Backend,
    config: str,
    data_of: Callable[[str], list[dict[str, Any]]],
    labels: Sequence[tuple[str, ...]],
) -> None:
    labels_of = dict(zip(TOPICS, labels, strict=True))
    data = {text: {"d": data_of(text)} for text in messages(60, TOPICS)}
    truth = {
        read_text({"data": data[text]}, read_schema(config).input): labels_of[topic]
        for text, topic in messages(60, TOPICS).items()
    }
    project = Project(admin, create_project(admin, config[6:20], config), read_schema(config), {})
    assert [*import_tasks(admin, project.number, [*data.values()])] == [60]
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(ANSWERS):
        served = project.next()
        assert served is not None
        project.answer(served.task, *truth[served.text])
    backend.wait_for_queue(project, labelled=ANSWERS)
    regions = [row["result"] for row in project.predictions(backend.active(project).name) if row["result"]]
    assert len(regions) > 20
    assert [validation_errors(config, region) for region in regions] == [[]] * len(regions)
    right = 0
    for _ in range(10):
        served = project.next()
        assert served is not None
        right += {*only(served.drafts)} == {*truth[served.text]}
        project.answer(served.task, *truth[served.text])
    assert right >= 5, "most drafts are right"

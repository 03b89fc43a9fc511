"""Controls other than Choices, and dialogues and lists, end to end: Label Studio accepts and serves their drafts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from prediction_validation import validation_errors
from running_backend import Backend
from schemas import only
from texts import messages
from topic_projects import topic_project

from ml_backend.label_studio.client import LabelStudioClient

pytestmark = pytest.mark.e2e
TOPICS = ("Cooking", "Football", "Computers")
ANSWERS = 15

RATING = '<View><List name="d" value="$d" title="Results"/><Rating name="c" toName="d" maxRating="7"/></View>'
TAXONOMY = (
    '<View><Paragraphs name="d" value="$d" layout="dialogue"/><Taxonomy name="c" toName="d"><Choice value="Home" '
    'alias="H"><Choice value="Cooking"/><Choice value="Computers"/></Choice><Choice value="Sport"/></Taxonomy></View>'
)


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        (RATING, (("1",), ("4",), ("7",))),
        (TAXONOMY, (("Home", "Home > Cooking"), ("Sport",), ("Home", "Home > Computers"))),
    ],
    ids=["a rating of a list", "a taxonomy of dialogues"],
)
def test_a_control_is_learnt_and_its_drafts_are_served(
    admin: LabelStudioClient, backend: Backend, config: str, labels: Sequence[tuple[str, ...]]
) -> None:
    project = topic_project(admin, config[6:20], config, messages(60, TOPICS))
    labels_of = dict(zip(TOPICS, labels, strict=True))
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(ANSWERS):
        served = project.next()
        assert served is not None
        project.answer(served.task, *labels_of[project.truth[served.text]])
    backend.wait_for_queue(project, labelled=ANSWERS)
    regions = [row["result"] for row in project.predictions(backend.active(project).name) if row["result"]]
    assert len(regions) > 20
    assert [validation_errors(config, region) for region in regions] == [[]] * len(regions)
    right = 0
    for _ in range(10):
        served = project.next()
        assert served is not None
        right += {*only(served.drafts)} == {*labels_of[project.truth[served.text]]}
        project.answer(served.task, *labels_of[project.truth[served.text]])
    assert right >= 5, "most drafts are right"

"""A project whose annotators rewrite texts politely."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from fake_label_studio import Body, FakeLabelStudio
from prediction_validation import validation_errors
from round_fixtures import MakeRound

from ml_backend.core.word_distance import closeness
from ml_backend.loop.round import run_round

CONTROL = "rewrite"
AREA = f'<TextArea name="{CONTROL}" toName="text" editable="true" maxSubmissions="1" required="true"/>'
CONFIG = f'<View><Text name="text" value="$text"/>{AREA}</View>'
REMARK = '<TextArea name="remark" toName="text" editable="true" maxSubmissions="1"/>'
TOPIC = '<Choices name="topic" toName="text"><Choice value="garden"/><Choice value="kitchen"/></Choices>'
RUDE = ("you idiot", "stupid fool", "dumb clown")
THINGS = {"spade": "garden", "rake": "garden", "kettle": "kitchen", "plate": "kitchen"}


def source(row: int) -> str:
    thing = [*THINGS][row % len(THINGS)]
    return f"{RUDE[row % len(RUDE)]} , bring the {thing} back to the room number {row} at once"


def polite(text: str) -> str:
    """What annotators accept."""
    for rude in RUDE:
        text = text.replace(f"{rude} ,", "please ,")
    return text


def topic(text: str) -> str:
    return next(label for thing, label in THINGS.items() if thing in text)


class TextLabelStudio(FakeLabelStudio):
    """Validates predictions as Label Studio does."""

    def _valid(self, row: Body) -> bool:
        return row["task"] in self.tasks and not validation_errors(self.label_config, row["result"])


@pytest.fixture
def server() -> FakeLabelStudio:
    return TextLabelStudio(label_config=CONFIG)


def region(text: Any, control: str = CONTROL) -> Body:
    texts = text if isinstance(text, list) else [text]
    return {"from_name": control, "to_name": "text", "type": "textarea", "value": {"text": texts}}


def chosen(label: str) -> Body:
    return {"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": [label]}}


def annotate(server: FakeLabelStudio, tasks: Iterable[int]) -> None:
    """Submits a polite text for tasks."""
    for task in tasks:
        server.annotate_with(task, [region(polite(server.tasks[task]["data"]["text"]))])


def not_annotated(server: FakeLabelStudio) -> list[int]:
    return [task for task, row in server.tasks.items() if not row["annotations"]]


def drafts(server: FakeLabelStudio, control: str = CONTROL) -> dict[int, str]:
    """The draft in each prediction of the published queue that has one, by task."""
    return {
        row["task"]: region["value"]["text"][0]
        for row in server.current_predictions()
        for region in row["result"]
        if region["from_name"] == control
    }


def mean_closeness(server: FakeLabelStudio, drafted: dict[int, str]) -> float:
    """Of drafts to what annotators accept."""
    values = [closeness(text, polite(server.tasks[task]["data"]["text"])) for task, text in drafted.items()]
    return sum(values) / len(values)


@pytest.fixture
def learnt(server: FakeLabelStudio, make_round: MakeRound, options: object) -> Sequence[int]:
    """A project of 60 tasks whose second version has a learner, fitted on 24 annotations. The annotated tasks."""
    server.add_tasks([source(row) for row in range(60)])
    run_round(make_round(server))
    tasks = not_annotated(server)[:24]
    annotate(server, tasks)
    run_round(make_round(server))
    return tasks

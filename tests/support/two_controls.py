"""A project of two controls in the fake Label Studio: each text has a label and, by other words, a mood."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fake_label_studio import SINGLE, FakeLabelStudio, text_about

LABEL, MOOD = "label", "mood"
MOOD_WORDS = {"calm": "quiet silent still gentle", "wild": "loud stormy rough fierce"}
MOOD_TAG = (
    '<Choices name="mood" toName="text" choice="single"><Choice value="calm"/><Choice value="wild"/></Choices></View>'
)
TWO_CONTROLS = SINGLE.replace("</View>", MOOD_TAG)
Labels = dict[str, str]
"""The label for each control, by its name."""


def add_moody_tasks(server: FakeLabelStudio, n: int) -> dict[int, Labels]:
    """Adds n tasks with all combinations of labels. Returns the labels of each task."""
    combinations = [{LABEL: label, MOOD: mood} for mood in MOOD_WORDS for label in ("fruit", "metal", "animal")]
    first, labels = max(server.tasks, default=0), [combinations[i % 6] for i in range(n)]
    server.add_tasks([_text(of_task, i) for i, of_task in enumerate(labels)])
    return dict(zip([number for number in server.tasks if number > first], labels, strict=True))


def learn_both_controls(server: FakeLabelStudio, run_round: Callable[[], object]) -> dict[int, Labels]:
    """Runs a round of 90 tasks, labels 30 of them right, and runs another one. Returns the labels of each task."""
    truth = add_moody_tasks(server, 90)
    run_round()
    label_open_tasks(server, truth, 30)
    run_round()
    return truth


def _text(labels: Labels, n: int) -> str:
    words = MOOD_WORDS[labels[MOOD]].split()
    return f"{text_about(labels[LABEL], n)} {words[n % 4]} {words[(n // 4 + 1) % 4]}"


def label_tasks(
    server: FakeLabelStudio, truth: dict[int, Labels], tasks: Iterable[int], controls: Iterable[str] = (LABEL, MOOD)
) -> None:
    """Submits an annotation of each task with its right labels of these controls."""
    for task in tasks:
        server.annotate_with(task, regions({control: truth[task][control] for control in controls}))


def label_open_tasks(
    server: FakeLabelStudio, truth: dict[int, Labels], n: int, controls: Iterable[str] = (LABEL, MOOD)
) -> list[int]:
    """Labels n tasks without an annotation. Returns the tasks."""
    tasks = [task for task in truth if not server.tasks[task]["annotations"]][:n]
    label_tasks(server, truth, tasks, controls)
    return tasks


def regions(labels: Labels) -> list[dict[str, Any]]:
    """The result of an annotation."""
    return [
        {"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": [label]}}
        for control, label in labels.items()
    ]


def drafts_of(server: FakeLabelStudio) -> dict[int, Labels]:
    """The drafts of the published queue, by task and control."""
    return {
        row["task"]: {region["from_name"]: region["value"]["choices"][0] for region in row["result"]}
        for row in server.current_predictions()
    }

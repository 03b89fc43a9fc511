"""A project whose annotators mark persons and places, with sentences in which words are always marked alike."""

from __future__ import annotations

from fake_label_studio import Body, FakeLabelStudio
from prediction_validation import validation_errors

CONFIG = (
    '<View><Labels name="ner" toName="text"><Label value="Person"/><Label value="Place"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
NAMES, PLACES = ("Ann", "Bob", "Carla", "Dan", "Eve", "Finn"), ("Paris", "Rome", "Oslo", "Lima", "Kyiv", "Bern")


class ValidatingLabelStudio(FakeLabelStudio):
    """Checks predictions as the bulk import of Label Studio does."""

    def _valid(self, row: Body) -> bool:
        return not validation_errors(CONFIG, row["result"])


def sentence(n: int) -> tuple[str, list[tuple[str, str]]]:
    """A sentence, and its spans as texts with labels."""
    name, place = NAMES[n % 6], PLACES[(n // 6) % 6]
    return (
        (f"{name} went to {place} on day {n}", [(name, "Person"), (place, "Place")]),
        (f"on day {n} we saw nobody at all", []),
        (f"in {place}, day {n}, it rained", [(place, "Place")]),
    )[n % 3]


def add_tasks(server: FakeLabelStudio, n: int) -> None:
    server.add_tasks([sentence(i)[0] for i in range(n)])


def result(text: str, spans: list[tuple[str, str]]) -> list[Body]:
    return [
        {
            "from_name": "ner", "to_name": "text", "type": "labels",
            "value": {"start": text.index(part), "end": text.index(part) + len(part), "text": part, "labels": [label]},
        }
        for part, label in spans
    ]  # fmt: skip


def annotate(server: FakeLabelStudio, tasks: list[int]) -> None:
    for task in tasks:
        server.annotate_with(task, result(*sentence(task - min(server.tasks))))

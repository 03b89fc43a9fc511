"""What annotators and imports do wrong in a project with spans is counted with its reason, and the rest is learnt."""

from __future__ import annotations

from typing import Any

import pytest
from running_backend import Backend, Project

from ml_backend.core.types import PARTLY_READABLE
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import create_project, import_tasks

pytestmark = pytest.mark.e2e
MANY = "".join(f'<Label value="Type {n}"/>' for n in range(300))
CONFIG = f"""<View>
  <Relations><Relation value="lives in"/></Relations>
  <Labels name="spans" toName="shown"><Label value="Person" maxUsages="1"/><Label value="Place"/></Labels>
  <Labels name="types" toName="shown">{MANY}</Labels>
  <Choices name="topic" toName="shown"><Choice value="Travel"/><Choice value="Weather"/></Choices>
  <Choices name="certainty" toName="shown" perRegion="true"><Choice value="sure"/><Choice value="unsure"/></Choices>
  <TextArea name="note" toName="shown" perRegion="true"/>
  <Text name="shown" value="$shown"/>
</View>"""
TEXT = "🚂 {n}: Anna goes to Rome with Boris"
ANNA, ROME = {"start": 5, "end": 9, "text": "Anna"}, {"start": 18, "end": 22, "text": "Rome"}
"""The places of two names in `TEXT` with a number of one digit."""


def region(place: dict[str, Any], *labels: str, control: str = "spans", **others: Any) -> dict[str, Any]:
    value = {**place, "labels": list(labels)}
    return {"id": "r", "from_name": control, "to_name": "shown", "type": "labels", "value": value, **others}


CASES: dict[str, tuple[list[dict[str, Any]], str, int]] = {
    "as it should be": ([region(ANNA, "Person"), region(ROME, "Place")], "", 2),
    "nothing to mark": ([], "", 0),
    "swapped": ([region({"start": 9, "end": 5, "text": "Anna"}, "Person")], "", 1),
    "texts of digits": ([region({"start": "5", "end": "9", "text": "Anna"}, "Person")], "", 1),
    "UTF-16 units": ([region({"start": 6, "end": 10, "text": "Anna"}, "Person")], "", 1),
    "of a text that has changed": ([region({"start": 400, "end": 404, "text": "Rome"}, "Place")], "", 1),
    "of another text": ([region({"start": 0, "end": 6, "text": "nobody"}, "Person")], "offsets", 0),
    "beyond the text": ([region({"start": 400, "end": 404}, "Person")], "offsets", 0),
    "negative": ([region({"start": -5, "end": 3}, "Person")], "offsets", 0),
    "without a label": ([region(ANNA)], "no label", 0),
    "a removed label": ([region(ANNA, "Animal")], "label", 0),
    "one of two": ([region(ANNA, "Person"), region({"start": 90, "end": 91}, "Place")], "partly offsets", 1),
    "other results": (
        [
            region(ANNA, "Person"),
            {**region(ROME, "Place"), "id": "s"},
            {"from_id": "r", "to_id": "s", "type": "relation", "direction": "right", "labels": ["lives in"]},
            {**region(ANNA), "from_name": "certainty", "type": "choices", "value": {**ANNA, "choices": ["sure"]}},
            {**region(ANNA), "from_name": "note", "type": "textarea", "value": {**ANNA, "text": ["a name"]}},
        ],
        "",
        2,
    ),
    "another control": ([region(ANNA, "Type 7", "Type 299", control="types"), region(ROME, "Place")], "", 1),
}


def test_bad_regions_are_counted_with_their_reason_and_the_others_are_learnt(
    admin: LabelStudioClient, backend: Backend
) -> None:
    project = Project(admin, create_project(admin, "bad regions", CONFIG), read_schema(CONFIG), {})
    texts = ["", *(TEXT.format(n=n % 10) + "." * (n // 10) for n in range(39))]
    for _ in import_tasks(admin, project.number, [{"shown": text} for text in texts]):
        pass
    empty, *tasks = sorted(task["id"] for task in project.tasks())
    backend.connect(project)
    backend.wait_for_queue(project)
    for task, (result, _, _) in zip(tasks, CASES.values(), strict=False):
        admin.call("POST", f"api/tasks/{task}/annotations/", body={"result": result, "lead_time": 1.0})
    admin.call("POST", f"api/tasks/{empty}/annotations/", body={"result": [region(ANNA, "Person")]})
    n_read = sum(not code or code.startswith(PARTLY_READABLE) for _, code, _ in CASES.values())
    version = backend.wait_for_queue(project, labelled=len(CASES))
    labelled = {name: control.labelled for name, control in version.controls.items()}
    assert labelled == {"spans": n_read, "types": len(CASES), "topic": 0}

    stored = {
        annotation.task: annotation.labels["spans"] for annotation in backend.store.annotations.of(project.number)
    }
    for task, (name, (_, code, n_spans)) in zip(tasks, CASES.items(), strict=False):
        spans = [span for span in stored[task].value if span[2] in ("Person", "Place")]
        assert (stored[task].unread, len(spans)) == (code, n_spans), name
    unread = backend.printed_status(project)["controls"]["spans"]["coverage"]["unread"]
    assert {reason["code"]: reason["answers"] for reason in unread} == {
        "offsets": 3, "no label": 1, "label": 1, "partly offsets": 1, "no text": 1,
    }  # fmt: skip
    lines = backend.cli("status", "--project", str(project.number), "--control", "spans").stdout
    for reason in ("characters are not in the text", "have no label", "'Animal'", "has no text", "some of the spans"):
        assert reason in lines, lines
    drafted = [row["result"] for row in project.predictions(version.name)]
    of_people = [[r for r in rows if "Person" in r["value"].get("labels", ())] for rows in drafted]
    assert max(map(len, of_people)) <= 1, "maxUsages"

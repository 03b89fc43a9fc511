"""Spans end to end: drafts in the label stream, a refit after each annotation, beside choices and over each tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from prediction_validation import validation_errors
from running_backend import Backend, Project, until
from scripted_server import Reply, Request, choice, completion, serving

from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import SYNTHETIC_FIELD, LabelValue
from ml_backend.kinds.spans.displayed import control_text
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.spans.scoring import STRICT_F1
from ml_backend.kinds.spans.values import spans_of
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import ServedTask, create_project, submit_labels

pytestmark = pytest.mark.e2e
LABELS = '<Label value="Person"/><Label value="Place" alias="place"/>'
TAGS = {
    "Labels": '<Text name="shown" value="$shown"/>',
    "HyperTextLabels": '<HyperText name="shown" value="$shown"/>',
    "ParagraphLabels": '<Paragraphs name="shown" value="$shown" nameKey="who" textKey="says"/>',
}
NAMES = ("Anna", "Boris", "Carla", "David", "Emma", "Farid", "Grace", "Hans")
PLACES = ("Paris", "Rome", "Oslo", "Lima", "Kyiv", "Bern", "Cairo", "Tokyo")
TOPIC = '<Choices name="topic" toName="shown"><Choice value="Travel"/><Choice value="Weather"/></Choices>'


def sentence(n: int) -> tuple[str, list[tuple[str, str]]]:
    """A sentence, and the texts and labels of its spans."""
    name, place = NAMES[n % 8], PLACES[(n // 3) % 8]
    return (
        (f"{name} is on the way to {place} by train {n} 🚂.", [(name, "Person"), (place, "Place")]),
        (f"It rained all day on the {n} hills.", []),
        (f"The {n} streets of {place} were empty.", [(place, "Place")]),
    )[n % 3]


def displayed(tag: str, text: str) -> Any:
    if tag == "ParagraphLabels":
        return [{"who": "Ed", "says": text}, {"who": "Jo", "says": "I see."}]
    return f"<p>{text[:5]}<b>{text[5:]}</b></p>" if tag == "HyperTextLabels" else text


class SpanProject(Project):
    """A project of sentences."""

    @classmethod
    def of_sentences(cls, client: LabelStudioClient, tag: str, n: int, further: str = "") -> SpanProject:
        config = f'<View><{tag} name="spans" toName="shown">{LABELS}</{tag}>{further}{TAGS[tag]}</View>'
        project = cls(
            client, create_project(client, f"spans with {tag} {further[:8]}", config), read_schema(config), {}
        )
        body = [{"data": {"shown": displayed(tag, sentence(i)[0]), "number": i}} for i in range(n)]
        client.call("POST", f"api/projects/{project.number}/import", body=body, timeout=120)
        return project

    def spans(self, text: str) -> LabelValue:
        """The right spans of the text of a task."""
        number = next(int(word) for word in text.split() if word.isdigit())
        found = [(text.index(part), text.index(part) + len(part), label) for part, label in sentence(number)[1]]
        return tuple(sorted(found))

    @property
    def of_spans(self) -> SpansSchema:
        """The control that marks spans."""
        return next(control for control in self.schema.controls if isinstance(control, SpansSchema))

    def label(self, served: ServedTask) -> None:
        spans = self.spans(control_text(served.content, self.of_spans))
        topic = ("Travel" if spans else "Weather",)
        values = [(control, spans if control is self.of_spans else topic) for control in self.schema.controls]
        submit_labels(self.client, served.content, values)


@pytest.mark.parametrize("tag", TAGS)
def test_spans_are_drafted_in_the_label_stream_and_learnt_from_each_annotation(
    admin: LabelStudioClient, backend: Backend, tag: str
) -> None:
    project = SpanProject.of_sentences(admin, tag, 60)
    backend.connect(project)
    backend.wait_for_queue(project)
    right = []
    for n in range(20):
        served = project.next()
        assert served is not None, "nothing is served"
        expected = project.spans(control_text(served.content, project.of_spans))
        right.append(spans_of(served.drafts.get("spans", ())) == expected)
        project.label(served)
        version = backend.wait_for_queue(project, labelled=n + 1)
    assert sum(right[10:]) > 5, "drafts of the last tasks"
    rows = [row["result"] for row in project.predictions(version.name)]
    assert sum(map(bool, rows)) > 10
    assert [validation_errors(project.seen()["label_config"], row) for row in rows if row] == [[]] * sum(
        map(bool, rows)
    )
    status = backend.printed_status(project)
    assert status["labelled"] == 20 and status["last_error"] is None
    assert STRICT_F1 in backend.cli("report", "--project", str(project.number)).stdout


def test_spans_and_choices_share_a_prediction_and_the_queue(admin: LabelStudioClient, backend: Backend) -> None:
    project = SpanProject.of_sentences(admin, "Labels", 60, TOPIC)
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(16):
        served = project.next()
        assert served is not None, "nothing is served"
        project.label(served)
    version = backend.wait_for_queue(project, labelled=16)
    assert {name: control.labelled for name, control in version.controls.items()} == {"topic": 16, "spans": 16}
    regions = [{region["from_name"] for region in row["result"]} for row in project.predictions(version.name)]
    assert {"topic", "spans"} in regions


WRITTEN = {
    "hard": ["Ines was on the way to Lagos by tram 61.", "Ines met more than 62 old people."],
    "easy": ["The 63 streets of Lagos were empty."],
}


def written_and_labelled(request: Request, _: int) -> Reply:
    """A teacher that writes `WRITTEN`, and marks the names and places of any text."""
    names = request.body["response_format"]["json_schema"]["schema"]["properties"].keys()
    if "summary" in names:
        return Reply(completion(choice({"summary": "It misses names.", "patterns": []})))
    if "hard" in names:
        return Reply(completion(choice(WRITTEN)))
    if "spans" not in names:
        return Reply(completion(choice({"labels": []})))
    label_of = {**dict.fromkeys((*NAMES, "Ines"), "Person"), **dict.fromkeys((*PLACES, "Lagos"), "Place")}
    text = request.body["messages"][-1]["content"]
    spans = [
        {"text": word, "label": label, "occurrence": 1, "before": "", "p": 0.9}
        for word, label in label_of.items()
        if word in text
    ]
    return Reply(completion(choice({"spans": {"spans": spans, "ambiguous": False}})))


@pytest.mark.timeout(580)
def test_written_texts_become_marked_tasks_with_the_teachers_regions_as_the_draft(
    admin: LabelStudioClient, make_backend: Callable[..., Backend]
) -> None:
    options = ProjectSettings(
        queue_size=60, teacher="openai", teacher_model="scripted", teacher_ahead=0, teacher_labels=0, audit_share=0.0,
        synthetic_share=0.25,
    )  # fmt: skip
    with serving(written_and_labelled) as server:
        backend = make_backend(defaults=options, teacher_url=server.url)
        project = SpanProject.of_sentences(admin, "Labels", 40)
        backend.connect(project)
        backend.wait_for_queue(project)
        for _ in range(12):
            served = project.next()
            assert served is not None, "nothing is served"
            project.label(served)
        backend.wait_for_queue(project, labelled=12)
        evolved = backend.cli("evolve", "--project", str(project.number), "--rounds", "1", "--per-round", "3")
        assert evolved.returncode == 0, evolved.stderr
        assert "3 texts written, 3 kept" in evolved.stdout and "strict F1" in evolved.stdout
        made = {task["id"]: task["data"] for task in project.tasks() if SYNTHETIC_FIELD in task["data"]}
        assert {data["shown"]: data[SYNTHETIC_FIELD] for data in made.values()} == {
            text: kind for kind, texts in WRITTEN.items() for text in texts
        }

        def drafts() -> dict[int, list[dict[str, Any]]]:
            published = backend.published(project)
            rows = project.predictions(published) if published else []
            of_made = {row["task"]: row["result"] for row in rows if row["task"] in made}
            return of_made if len(of_made) == len(made) and all(of_made.values()) else {}

        for task, result in until(drafts, "a draft of each written text").items():
            regions = {(region["value"]["text"], *region["value"]["labels"]) for region in result}
            text = made[task]["shown"]
            assert regions == {pair for pair in (("Ines", "Person"), ("Lagos", "place")) if pair[0] in text}
            assert all(text[v["start"] : v["end"]] == v["text"] for v in (region["value"] for region in result))
            assert not validation_errors(project.seen()["label_config"], result)

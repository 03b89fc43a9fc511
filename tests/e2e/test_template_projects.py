"""Label Studio's own templates end to end: each learnt control of a project is drafted after some annotations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from label_studio_templates import learnt_titles, templates
from prediction_validation import validation_errors
from running_backend import Backend, Project, running_backend
from schemas import as_choices
from texts import messages
from topic_projects import topic_project

from ml_backend.core.schema import REASONS_NOT_LEARNT, ControlSchema, takes_several_labels
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import LabelValue, TaskContent
from ml_backend.core.words import word_offsets
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.kinds.choices.hierarchy import with_ancestors
from ml_backend.kinds.spans.displayed import control_text
from ml_backend.kinds.spans.schema import SpansSchema
from ml_backend.kinds.text.schema import TextSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.serialization import content_of_task
from ml_backend.label_studio.testing_client import ServedTask, submit_labels
from ml_backend.rendering.status_text import status_lines

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]  # the first test waits for the queues of all projects
TOPICS = ("Cooking", "Football", "Computers")
TASKS, ANNOTATIONS = 40, 20
SEARCH_RESULTS = [{"value": "The first result"}, {"value": "The second result"}]


@dataclass(frozen=True)
class AnnotatedProject:
    """A project of a template with `ANNOTATIONS` annotated tasks, and its published queue.

    predictions  the rows of the active version in Label Studio
    served       the task that the labelling screen receives next
    """

    config: str
    project: Project
    predictions: Sequence[dict[str, Any]]
    served: ServedTask


@pytest.fixture(scope="module")
def backend_of_templates(label_studio: LocalLabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A backend that shows all tasks with drafts, those of the audit sample included. It does not look for missed
    events as often as in other tests: with so many projects, it would do nothing else."""
    folder, defaults = tmp_path_factory.mktemp("templates"), ProjectSettings(audit_share=0)
    with running_backend(label_studio, folder, reconcile_seconds=60, defaults=defaults) as backend:
        yield backend


@pytest.fixture(scope="module")
def annotated_projects(admin: LabelStudioClient, backend_of_templates: Backend) -> dict[str, AnnotatedProject]:
    """By the title of its template, a project of each template of which a control is learnt."""
    config_of, topics = dict(templates()), messages(TASKS, TOPICS)
    # the choices of a control that is not learnt come from `options`
    projects = {
        title: topic_project(admin, title, config_of[title], topics, options=SEARCH_RESULTS)
        for title in learnt_titles()
    }
    for project in projects.values():
        backend_of_templates.connect(project)
    for project in projects.values():
        annotate(project)
    return {
        title: annotated_project(backend_of_templates, project, config_of[title]) for title, project in projects.items()
    }


def annotate(project: Project) -> None:
    """Submits annotations of the first tasks, with labels of all learnt controls."""
    for task in project.tasks()[:ANNOTATIONS]:
        content = content_of_task(task["id"], task, project.schema.input)
        topic = project.truth[content.text]
        controls = enumerate(project.schema.controls)
        values = [(control, value_of_topic(control, place, topic, content)) for place, control in controls]
        submit_labels(project.client, content, values)


def value_of_topic(control: ControlSchema, place: int, topic: str, content: TaskContent) -> LabelValue:
    """The value of a control that the topic decides: labels, a text or, where spans are marked, the last word with a
    label."""
    if isinstance(control, TextSchema):
        return (f"It is about {topic}.",)
    if not isinstance(control, SpansSchema):
        return tuple(labels_of_topic(control, place, topic))
    starts, ends = word_offsets(control_text(content, control))
    return ((int(starts[-1]), int(ends[-1]), control.labels[TOPICS.index(topic) % len(control.labels)]),)


def labels_of_topic(control: ControlSchema, place: int, topic: str) -> list[str]:
    """One of the last labels of a control, which the topic and the place of the control decide, with its ancestors."""
    labels = control.labels[::-1]
    return with_ancestors([labels[(TOPICS.index(topic) + place) % len(labels)]], as_choices(control))


def annotated_project(backend: Backend, project: Project, config: str) -> AnnotatedProject:
    with backend.held_queue(project, ANNOTATIONS) as version:
        served = project.next()
        assert served is not None and served.version == version.name
        return AnnotatedProject(config, project, project.predictions(version.name), served)


@pytest.fixture(params=learnt_titles())
def annotated(request: pytest.FixtureRequest, annotated_projects: Mapping[str, AnnotatedProject]) -> AnnotatedProject:
    """The project of one template."""
    return annotated_projects[request.param]


def test_each_prediction_has_a_draft_of_each_learnt_control(annotated: AnnotatedProject) -> None:
    """With several choices, a draft may be empty: then it has no region. A text is not drafted if most of its words
    would be replaced."""
    controls = annotated.project.schema.controls
    names, spans = {control.name for control in controls}, {*names_of_spans(annotated)}
    never_empty = {control.name for control in controls if not takes_several_labels(control)} - spans
    never_empty -= {*names_of_texts(annotated)}
    drafted = [[region["from_name"] for region in row["result"]] for row in annotated.predictions]
    assert len(drafted) == TASKS - ANNOTATIONS
    once = [[name for name in drafts if name not in spans] for drafts in drafted]
    assert [sorted(drafts) for drafts in once] == [sorted({*drafts}) for drafts in once], "one region per control"
    assert all(never_empty <= {*drafts} <= names for drafts in drafted)
    assert {name for drafts in drafted for name in drafts} == names


def names_of_spans(annotated: AnnotatedProject) -> list[str]:
    """The controls that mark spans."""
    return [control.name for control in annotated.project.schema.controls if isinstance(control, SpansSchema)]


def names_of_texts(annotated: AnnotatedProject) -> list[str]:
    """The controls in which texts are written."""
    return [control.name for control in annotated.project.schema.controls if isinstance(control, TextSchema)]


def test_label_studio_finds_no_error_in_the_predictions(annotated: AnnotatedProject) -> None:
    errors = [validation_errors(annotated.config, row["result"]) for row in annotated.predictions]
    assert errors == [[]] * len(annotated.predictions)


def test_the_label_stream_serves_a_draft_of_each_learnt_control(annotated: AnnotatedProject) -> None:
    empty = [name for name, draft in annotated.served.drafts.items() if not draft]
    several = [control.name for control in annotated.project.schema.controls if takes_several_labels(control)]
    assert {*empty} <= {*several, *names_of_spans(annotated), *names_of_texts(annotated)}


def test_each_learnt_control_has_a_learner_of_all_its_annotations(
    annotated: AnnotatedProject, backend_of_templates: Backend
) -> None:
    status = backend_of_templates.status(annotated.project)
    assert [*status.controls] == [control.name for control in annotated.project.schema.controls]
    assert {control.labelled for control in status.controls.values()} == {ANNOTATIONS}
    assert all(control.learner is not None for control in status.controls.values())
    assert (status.last_error, status.problem) == (None, None)


def test_the_status_names_each_control_that_is_not_learnt_with_its_reason(
    annotated: AnnotatedProject, backend_of_templates: Backend
) -> None:
    printed = "\n".join(sentence for _, sentence in status_lines(backend_of_templates.status(annotated.project)))
    for control in annotated.project.schema.unlearnt:
        assert f"<{control.tag} name={control.name!r}> ({REASONS_NOT_LEARNT[control.code]})" in printed


def test_no_request_failed(annotated_projects: Mapping[str, AnnotatedProject], backend_of_templates: Backend) -> None:
    assert len(annotated_projects) >= 10
    lines = backend_of_templates.log.read_text().splitlines()
    assert [line for line in lines if "level=error" in line or "level=warning" in line] == []

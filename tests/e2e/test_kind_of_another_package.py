"""A kind of label of another package, found by its entry points, in a project of a real Label Studio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_encoder import install_plugins
from located_answer_kind import LOCATED_ANSWER_PLUGINS
from prediction_validation import validation_errors
from running_backend import Backend, Project
from texts import LABELS, messages

from ml_backend.core import registry
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import create_project, submit_labels

pytestmark = pytest.mark.e2e
TOPICS = LABELS[:3]
CHOICES = "".join(f'<Choice value="{topic}"/>' for topic in TOPICS)
CONFIG = (
    f'<View><HyperText name="text" value="$text"/><Choices name="topic" toName="text">{CHOICES}</Choices>'
    '<TextArea name="remark" toName="text"/></View>'
)
ENTRY_POINTS = {
    "kind.answer": "located_answer_kind:LOCATED_ANSWER",
    "learner.nearest-answer": "answer_kind:NearestAnswer",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installs the other package for the processes of the backend, and its plugins for this one."""
    for name, value in install_plugins(tmp_path, ENTRY_POINTS).items():
        monkeypatch.setenv(name, value)
    with registry.overridden(LOCATED_ANSWER_PLUGINS):
        yield


def test_its_control_is_learnt_and_drafted_beside_choices(
    package: None, admin: LabelStudioClient, make_backend: Callable[..., Backend]
) -> None:
    truth = messages(40, TOPICS)
    project = Project(admin, create_project(admin, "answers", CONFIG), read_schema(CONFIG), {})
    project.add({f"<p>{text}</p>": topic for text, topic in truth.items()})
    topic, remark = project.schema.controls
    assert (topic.kind, remark.kind) == ("choices", "answer")
    backend = make_backend()
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(12):
        served = project.next()
        assert served is not None
        assert served.content.displayed("text") == f"<p>{served.text}</p>"
        label = truth[served.text]
        submit_labels(admin, served.content, [(topic, (label,)), (remark, (f"This is about {label}.",))])
    version = backend.wait_for_queue(project, 12)
    assert all(control.learner is not None for control in version.controls.values())
    rows = project.predictions(version.name)
    assert rows and not any(validation_errors(CONFIG, row["result"]) for row in rows)
    drafted: dict[int, dict[str, Any]] = {
        row["task"]: {region["from_name"]: next(iter(region["value"].values()))[0] for region in row["result"]}
        for row in rows
        if row["result"]
    }
    assert {*map(frozenset, drafted.values())} == {frozenset({"topic", "remark"})}
    assert {drafts["remark"] for drafts in drafted.values()} <= {f"This is about {label}." for label in TOPICS}
    served = project.next()
    assert served is not None and served.version == version.name
    printed = backend.cli("report", "--project", str(project.number), "--control", "remark")
    assert printed.returncode == 0, printed.stderr

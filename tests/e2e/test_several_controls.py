"""Two controls over one text, end to end: each is drafted, learnt and counted by itself, in one prediction."""

from __future__ import annotations

import pytest
from prediction_validation import validation_errors
from running_backend import Backend, Project, until
from texts import messages

from ml_backend.core.exceptions import RequestRefusedError
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.testing_client import ServedTask, create_project, submit_labels

pytestmark = pytest.mark.e2e
TOPICS = ("Cooking", "Football", "Computers")
REMARKS = {"Positive": "How wonderful, I am so happy!", "Negative": "How terrible, I am so angry!"}
TOPIC, SENTIMENT, MOOD = "topic", "sentiment", "mood"
Labels = dict[str, str]
"""The label for each control, by its name."""


def choices(control: str, labels: tuple[str, ...]) -> str:
    values = "".join(f'<Choice value="{label}"/>' for label in labels)
    return f'<Choices name="{control}" toName="text" choice="single">{values}</Choices>'


def config_of(*controls: str) -> str:
    return f'<View><Text name="text" value="$text"/>{"".join(controls)}</View>'


BY_TOPIC, BY_SENTIMENT = choices(TOPIC, TOPICS), choices(SENTIMENT, (*REMARKS,))
BOTH = config_of(BY_TOPIC, BY_SENTIMENT)


class TwoControlProject(Project):
    """A project of messages with a topic and a sentiment. `mood` is another name of the
    sentiment."""

    labels_of: dict[str, Labels]

    @classmethod
    def of_messages(cls, client: LabelStudioClient, title: str, config: str, n: int) -> TwoControlProject:
        project = cls(client, create_project(client, title, config), read_schema(config), {})
        project.labels_of = {}
        for place, (text, topic) in enumerate(messages(n, TOPICS).items()):
            sentiment = [*REMARKS][place % 2]
            project.labels_of[f"{text} {REMARKS[sentiment]}"] = {TOPIC: topic, SENTIMENT: sentiment, MOOD: sentiment}
        data = [{"data": {"text": text}} for text in project.labels_of]
        client.call("POST", f"api/projects/{project.number}/import", body=data, timeout=120)
        return project

    def serve(self) -> ServedTask:
        served = self.next()
        assert served is not None, "nothing is served"
        return served

    def label(self, served: ServedTask, *controls: str) -> int:
        """Submits the right labels of the named controls. Returns the id of the annotation."""
        labels = self.labels_of[served.text]
        by_name = {control.name: control for control in self.schema.controls}
        return submit_labels(self.client, served.content, [(by_name[name], (labels[name],)) for name in controls])

    def label_next(self, n: int) -> list[int]:
        """Labels the next n served tasks with all controls. Returns the ids of the annotations."""
        return [self.label(self.serve(), *(control.name for control in self.schema.controls)) for _ in range(n)]

    def drafts(self, version: str) -> dict[int, Labels]:
        """The drafts of a version by task and control."""
        return {
            row["task"]: {region["from_name"]: region["value"]["choices"][0] for region in row["result"]}
            for row in self.predictions(version)
            if row["result"]
        }

    def share_of_right_drafts(self, version: str, control: str) -> float:
        text_of = {task["id"]: task["data"]["text"] for task in self.tasks()}
        drafts = self.drafts(version)
        right = [labels[control] == self.labels_of[text_of[task]][control] for task, labels in drafts.items()]
        return sum(right) / len(right)


def test_two_controls_are_drafted_in_one_prediction_and_learnt_by_themselves(
    admin: LabelStudioClient, backend: Backend
) -> None:
    project = TwoControlProject.of_messages(admin, "two controls", BOTH, 120)
    backend.connect(project)
    backend.wait_for_queue(project)
    for _ in range(24):
        served = project.serve()
        assert {*served.drafts} == {TOPIC, SENTIMENT}
        assert len({bool(draft) for draft in served.drafts.values()}) == 1, "drafts for both controls or for none"
        project.label(served, TOPIC, SENTIMENT)
    version = backend.wait_for_queue(project, labelled=24)
    assert version.controls.keys() == {TOPIC, SENTIMENT}
    assert all(control.learner and control.labelled == 24 for control in version.controls.values())

    rows = [row["result"] for row in project.predictions(version.name) if row["result"]]
    assert len(rows) > 30
    assert all(sorted(region["from_name"] for region in row) == [SENTIMENT, TOPIC] for row in rows)
    assert [validation_errors(BOTH, row) for row in rows] == [[]] * len(rows)
    assert project.share_of_right_drafts(version.name, TOPIC) > 0.55, "chance is a third"
    assert project.share_of_right_drafts(version.name, SENTIMENT) > 0.7, "chance is a half"

    lines = backend.cli("status", "--project", str(project.number)).stdout.splitlines()
    of_controls = {line.split()[0]: line for line in lines if line.split()[0] in (TOPIC, SENTIMENT)}
    assert all("24 labelled; accuracy" in of_controls[name] for name in (TOPIC, SENTIMENT)), lines
    assert any(line.split()[:2] == ["labelled", "24,"] for line in lines), lines
    controls = backend.printed_status(project)["controls"]
    assert {name: control["labelled"] for name, control in controls.items()} == {TOPIC: 24, SENTIMENT: 24}
    details = backend.cli("status", "--project", str(project.number), "--control", SENTIMENT).stdout
    assert "learner agrees" in details and "Negative" in details and "Football" not in details


def test_an_annotation_of_one_control_has_no_label_for_the_other_and_a_skip_has_none(
    admin: LabelStudioClient, backend: Backend
) -> None:
    project = TwoControlProject.of_messages(admin, "one of two controls", BOTH, 40)
    backend.connect(project)
    backend.wait_for_queue(project)
    project.label_next(6)
    only_topic = project.serve()
    project.label(only_topic, TOPIC)
    skipped = project.serve()
    project.skip(skipped.task)
    version = backend.wait_for_queue(project, labelled=7)
    until(lambda: skipped.task not in project.drafts(backend.active(project).name), "a queue without the skipped task")
    assert {name: control.labelled for name, control in version.controls.items()} == {TOPIC: 7, SENTIMENT: 6}
    status = backend.printed_status(project)
    assert (status["labelled"], status["pool"], status["last_error"]) == (7, 33, None)
    coverage = status["controls"][SENTIMENT]["coverage"]
    assert (coverage["skipped"], coverage["unused"], [unread["code"] for unread in coverage["unread"]]) == (
        1, 1, ["empty"],
    )  # fmt: skip
    assert only_topic.task not in project.drafts(backend.active(project).name)


def test_a_control_may_be_added_renamed_and_removed_under_way(admin: LabelStudioClient, backend: Backend) -> None:
    project = TwoControlProject.of_messages(admin, "a control under way", config_of(BY_TOPIC), 60)
    backend.connect(project)
    backend.wait_for_queue(project)
    project.label_next(8)
    backend.wait_for_queue(project, labelled=8)

    def version_with(*controls: str) -> str:
        """The name of the served version, once it has these controls and its queue is published."""

        def served() -> str | None:
            version = backend.follows(project)
            return version.name if version and {*version.controls} == {*controls} else None

        return str(until(served, f"a version with the controls {controls}"))

    def drafted(version: str) -> set[tuple[str, ...]]:
        return {tuple(sorted(labels)) for labels in project.drafts(version).values()}

    backend.change_config(project, BOTH)
    assert drafted(version_with(TOPIC, SENTIMENT)) == {(SENTIMENT, TOPIC)}, "the teacher drafts the new control"
    learner = backend.active(project).controls[TOPIC].learner
    backend.change_config(project, config_of(BY_TOPIC, BY_SENTIMENT.replace(SENTIMENT, MOOD)))
    assert drafted(version_with(TOPIC, MOOD)) == {(MOOD, TOPIC)}
    controls = backend.active(project).controls
    assert controls[TOPIC].learner == learner is not None, "the other control keeps its learner"
    assert (controls[MOOD].learner, controls[MOOD].labelled) == (None, 0)

    annotations = project.label_next(8)
    version = backend.wait_for_queue(project, labelled=16)
    labelled = {name: control.labelled for name, control in version.controls.items()}
    assert labelled == {TOPIC: 16, MOOD: 8} and version.controls[MOOD].learner is not None
    with pytest.raises(RequestRefusedError):  # Label Studio keeps a control that annotations use
        backend.change_config(project, config_of(BY_TOPIC))

    for annotation in annotations:
        project.client.call("DELETE", f"api/annotations/{annotation}/")
    backend.change_config(project, config_of(BY_TOPIC))
    assert drafted(version_with(TOPIC)) == {(TOPIC,)}
    status = backend.printed_status(project)
    assert ([*status["controls"]], status["labelled"], status["last_error"]) == ([TOPIC], 8, None)


def test_one_control_goes_back_to_an_earlier_learner_and_the_other_one_does_not(
    admin: LabelStudioClient, backend: Backend
) -> None:
    project = TwoControlProject.of_messages(admin, "one control goes back", BOTH, 60)
    backend.connect(project)
    backend.wait_for_queue(project)
    for labelled in (8, 16):
        project.label_next(8)
        backend.wait_for_queue(project, labelled=labelled)
    earlier = backend.store.versions.learners(project.number)[-1]
    rollback = ("rollback", "--project", str(project.number), "--control", TOPIC, "--to")
    command = backend.cli(*rollback, str(earlier))
    assert command.returncode == 0 and f"--to latest --control {TOPIC}" in command.stdout, command.stderr
    until(lambda: backend.active(project).controls[TOPIC].learner == earlier, "the earlier learner")
    version = backend.wait_for_queue(project)
    assert version.controls[SENTIMENT].learner not in (None, earlier)
    assert {tuple(sorted(labels)) for labels in project.drafts(version.name).values()} == {(SENTIMENT, TOPIC)}
    assert backend.printed_status(project)["held"] == {TOPIC: earlier}

    project.label_next(8)
    version = backend.wait_for_queue(project, labelled=24)
    assert version.controls[TOPIC].learner == earlier and version.controls[SENTIMENT].labelled == 24
    assert backend.cli(*rollback, "latest").returncode == 0
    until(lambda: backend.active(project).controls[TOPIC].learner != earlier, "the newest learner")

"""What the teacher has said, row by row: of which tasks, worth what, and what of it may be distilled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from projects import set_up
from schemas import by_control

from ml_backend.core.schema import ChoicesSchema, ControlSchema, InputSpec, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.teacher_types import Answer
from ml_backend.core.types import Draft, Prediction, TaskContent, content_key
from ml_backend.kinds.aggregation import AggregatedLabels
from ml_backend.label_studio.label_config import read_schema
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.teacher import prompts
from ml_backend.teacher.candidates import remaining_labels
from ml_backend.teacher.teacher_labels import TeacherLabels, expected_labels_of_texts, load_teacher_labels

SCHEMA = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal")),))
TEXTS = {10: "apple", 20: "iron", 30: "pear", 40: "zinc", 50: "apple"}
SHOWN: set[str] = set()  # texts whose label was asked for with answers in sight


@pytest.fixture
def remember(store: Store, fake_encoder: FakeEncoder) -> Callable[..., TeacherLabels]:
    """What is recalled after the teacher said so of some texts, and annotators so of some tasks."""
    store.projects.ensure(5)
    store.tasks.put(5, [TaskContent(task, text, content_key(text)) for task, text in TEXTS.items()])
    pool = ProjectPool(store, 5, fake_encoder)
    pool.refresh(store.projects.ensure(5).tasks_revision)

    def look(fruit_shares: dict[str, float], answered: dict[int, str], schema: ProjectSchema = SCHEMA) -> TeacherLabels:
        for text, fruit in fruit_shares.items():
            asked = prompts.label_question(
                prompts.LabelPrompt([schema.controls[0]]), content_key(text), text, "scripted"
            )
            if text in SHOWN:
                asked = replace(asked, examples=(("plum", '{"label": "fruit"}'),))
            store.questions.add(5, "scripted", [(asked, content_key(text))])
            shares = np.full(
                len(schema.controls[0].labels), (1 - fruit) / (len(schema.controls[0].labels) - 1), np.float32
            )
            shares[0] = fruit
            store.questions.store_answer(5, Answer(asked.id, {"label": "fruit"}, {"label": shares}), [])
        tasks = np.array(sorted(answered), np.int64)
        targets = np.eye(2, dtype=np.float32)[
            [SCHEMA.controls[0].labels.index(answered[task]) for task in tasks.tolist()]
        ]
        return load_teacher_labels(
            store, "scripted", SCHEMA.controls[0], pool, 5, AggregatedLabels(tasks, targets.reshape(-1, 2), tasks)
        )

    return look


def test_tasks_with_the_same_text_have_the_same_reply(remember: Callable[..., TeacherLabels]) -> None:
    teacher_labels = remember({"apple": 0.75, "zinc": 0.25}, {})
    assert teacher_labels.tasks.tolist() == [10, 40, 50]
    assert teacher_labels.predicted[:, 0] == pytest.approx([0.75, 0.25, 0.75], abs=1e-4)
    assert (
        teacher_labels.of(np.array([50, 20]))[0].sum() == pytest.approx(1)
        and np.isnan(teacher_labels.of(np.array([20]))).all()
    )


def test_annotated_tasks_are_not_distilled_whether_they_are_in_the_queue_or_not(
    remember: Callable[..., TeacherLabels], store: Store
) -> None:
    store.published_drafts.put(5, "v1", [Prediction(30, 0.1, by_control(Draft(("fruit",), 0.5, "learner")))])
    set_up(store, 5, published="v1")
    teacher_labels = remember(dict.fromkeys(TEXTS.values(), 0.9), {10: "fruit"})
    assert dict(zip(teacher_labels.tasks.tolist(), teacher_labels.may_be_distilled.tolist(), strict=True)) == {
        10: False, 20: True, 30: True, 40: True, 50: True,
    }  # fmt: skip
    assert teacher_labels.compared == 1


def test_labels_given_with_few_shot_examples_are_not_distilled(
    remember: Callable[..., TeacherLabels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those answers would judge what they have taught themselves: a teacher who repeats them would look right."""
    monkeypatch.setitem(remember.__globals__, "SHOWN", {"iron", "zinc"})
    teacher_labels = remember(dict.fromkeys(TEXTS.values(), 0.9), {})
    assert dict(zip(teacher_labels.tasks.tolist(), teacher_labels.may_be_distilled.tolist(), strict=True)) == {
        10: True, 20: False, 30: True, 40: False, 50: True,
    }  # fmt: skip
    assert not np.isnan(teacher_labels.of(np.array([20]))).any(), "it is a draft all the same"


def test_a_reply_to_a_question_without_all_present_labels_is_ignored(remember: Callable[..., TeacherLabels]) -> None:
    other = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "stone")),))
    assert len(remember({"apple": 0.9}, {}, schema=other).tasks) == 0
    wider = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal", "stone")),))
    teacher_labels = remember({"apple": 0.5}, {}, schema=wider)
    assert teacher_labels.predicted[0] == pytest.approx([2 / 3, 1 / 3], abs=1e-4), (
        "what is gone is shared among the others"
    )


def test_annotators_who_contradict_the_teacher_are_expected_to_do_so_again(
    remember: Callable[..., TeacherLabels],
) -> None:
    before = remember(dict.fromkeys(TEXTS.values(), 0.9), {})
    after = remember({}, dict.fromkeys(TEXTS, "metal"))
    assert (before.expected[:, 0] > before.expected[:, 1]).all() and before.corrected == pytest.approx(before.predicted)
    assert (after.expected[:, 0] < before.expected[:, 0]).all() and (after.corrected[:, 0] < 0.9).all()


_projects = itertools.count(100)
SCHEMAS = [
    ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", tuple(labels)),))
    for labels in ("abc", "ab", "ba", "abcd")
]


@given(
    replies=st.lists(
        st.tuples(st.sampled_from(SCHEMAS), st.sampled_from(["apple", "zinc"]), st.floats(0, 1)), max_size=5
    )
)
@hypothesis_settings(max_examples=30)
def test_the_predictor_and_the_queue_use_the_same_reply_after_changes_of_the_labels(
    any_store: Store, fake_encoder: FakeEncoder, replies: list[tuple[ProjectSchema, str, float]]
) -> None:
    project, texts = next(_projects), ["apple", "zinc"]
    any_store.projects.ensure(project)
    any_store.tasks.put(project, [TaskContent(task, text, content_key(text)) for task, text in enumerate(texts)])
    pool = ProjectPool(any_store, project, fake_encoder)
    pool.refresh(any_store.projects.ensure(project).tasks_revision)
    for number, (schema, text, first) in enumerate(replies):
        asked = replace(
            prompts.label_question(prompts.LabelPrompt([schema.controls[0]]), content_key(text), text, "scripted"),
            id=str(number),
        )
        any_store.questions.add(project, "scripted", [(asked, content_key(text))])
        shares = np.full(len(schema.controls[0].labels), (1 - first) / (len(schema.controls[0].labels) - 1), np.float32)
        shares[0] = first
        any_store.questions.store_answer(project, Answer(asked.id, {"label": "x"}, {"label": shares}), [])
    for schema in SCHEMAS:
        no_labels = AggregatedLabels(
            pool.tasks[:0], np.empty((0, len(schema.controls[0].labels)), np.float32), pool.tasks[:0]
        )
        queue = load_teacher_labels(any_store, "scripted", schema.controls[0], pool, project, no_labels)
        request = expected_labels_of_texts(any_store, "scripted", schema.controls[0], project, texts)
        np.testing.assert_array_equal(request, queue.of(pool.tasks))


def test_the_reply_of_an_earlier_set_of_labels_counts_again_when_the_set_is_restored(
    remember: Callable[..., TeacherLabels], store: Store
) -> None:
    wider = ProjectSchema(InputSpec(text_field="text"), (ChoicesSchema("c", "t", ("fruit", "metal", "stone")),))
    remember({"apple": 0.9}, {}, schema=wider)
    remember({"apple": 0.2}, {})
    (between,), (after,) = (
        expected_labels_of_texts(store, "scripted", schema.controls[0], 5, ["apple"]) for schema in (SCHEMA, wider)
    )
    assert between[1] > 0.5 and after[0] > 0.5


TOPIC, TONE = SCHEMA.controls[0], ChoicesSchema("tone", "t", ("angry", "calm"), multiple=True)


def answer_about_both(store: Store, text: str, fruit: float, angry: float) -> None:
    """The teacher gives the labels of two controls in one reply."""
    asked = prompts.label_question(prompts.LabelPrompt([TOPIC, TONE]), content_key(text), text, "scripted")
    store.questions.add(5, "scripted", [(asked, content_key(text))])
    shares = {"c": np.array([fruit, 1 - fruit], np.float32), "tone": np.array([angry, 0.25], np.float32)}
    content = {"c": "metal", "tone": ["angry"]}
    assert store.questions.store_answer(5, Answer(asked.id, content, shares), [])


def load_labels_of(store: Store, control: ControlSchema, fake_encoder: FakeEncoder) -> TeacherLabels:
    """The labels of a control, which the predictor has, too."""
    pool = ProjectPool(store, 5, fake_encoder)
    pool.refresh(store.projects.ensure(5).tasks_revision)
    no_targets = np.empty((0, len(control.labels)), np.float32)
    no_labels = AggregatedLabels(pool.tasks[:0], no_targets, pool.tasks[:0])
    teacher_labels = load_teacher_labels(store, "scripted", control, pool, 5, no_labels)
    request = expected_labels_of_texts(store, "scripted", control, 5, list(TEXTS.values()))
    np.testing.assert_array_equal(request, teacher_labels.of(pool.tasks))
    return teacher_labels


def test_each_control_has_its_labels_from_one_reply_and_the_newest_reply_counts(
    remember: Callable[..., TeacherLabels], store: Store, fake_encoder: FakeEncoder
) -> None:
    remember({"apple": 0.9, "iron": 0.125}, {})  # asked about one control
    answer_about_both(store, "apple", 0.25, 0.75)
    topic, tone = (load_labels_of(store, control, fake_encoder) for control in (TOPIC, TONE))
    assert topic.tasks.tolist() == [10, 20, 50] and tone.tasks.tolist() == [10, 50]
    assert topic.predicted[:, 0] == pytest.approx([0.25, 0.125, 0.25], abs=1e-4)
    assert tone.predicted.tolist() == [[0.75, 0.25]] * 2
    again = load_labels_of(store, TOPIC, fake_encoder)
    np.testing.assert_array_equal(again.predicted, topic.predicted)


def test_the_reply_to_a_question_about_other_controls_does_not_count_for_a_control_with_the_same_labels(
    remember: Callable[..., TeacherLabels], store: Store, fake_encoder: FakeEncoder
) -> None:
    remember({}, {})
    answer_about_both(store, "apple", 0.25, 0.75)
    twin = replace(TONE, name="tone of the reply")
    assert load_labels_of(store, twin, fake_encoder).tasks.tolist() == []


def test_a_reply_does_not_count_for_another_control_with_the_same_labels_that_the_setting_names_later(
    remember: Callable[..., TeacherLabels], store: Store, fake_encoder: FakeEncoder
) -> None:
    remember({}, {})
    twins = "".join(
        f'<Choices name="{name}" toName="text"><Choice value="fruit"/><Choice value="metal"/></Choices>'
        for name in ("first", "second")
    )
    config = f'<View><Text name="text" value="$text"/>{twins}</View>'
    found: list[tuple[list[int], list[int]]] = []
    for name in ("first", "second"):
        schema = read_schema(config, name)
        prompt = prompts.LabelPrompt(schema.controls, named=schema.names_controls)
        asked = prompts.label_question(prompt, content_key("iron"), "iron", "scripted")
        before = load_labels_of(store, schema.controls[0], fake_encoder).tasks.tolist()
        store.questions.add(5, "scripted", [(asked, content_key("iron"))])
        shares = {asked.fields[0].name: np.array([0.25, 0.75], np.float32)}
        assert store.questions.store_answer(5, Answer(asked.id, {asked.fields[0].name: "metal"}, shares), [])
        found.append((before, load_labels_of(store, schema.controls[0], fake_encoder).tasks.tolist()))
    assert found == [([], [20]), ([], [20])]


def test_a_task_counts_as_labelled_when_the_teacher_has_labelled_it_for_all_controls(
    remember: Callable[..., TeacherLabels], store: Store
) -> None:
    remember({"apple": 0.9, "iron": 0.125}, {})
    answer_about_both(store, "zinc", 0.25, 0.75)
    waiting = prompts.label_question(prompts.LabelPrompt([TOPIC, TONE]), content_key("pear"), "pear", "scripted")
    store.questions.add(5, "scripted", [(waiting, content_key("pear"))])
    at_once, by_file = (ProjectSettings(teacher=name, teacher_labels=10) for name in ("openai", "batch"))

    def labelled(options: ProjectSettings, *controls: ControlSchema) -> tuple[int, set[bytes]]:
        remaining = remaining_labels(store, options, ProjectSchema(SCHEMA.input, controls), 5, "scripted")
        return remaining.count, set(remaining.labelled_keys)

    apple, iron, pear, zinc = map(content_key, ("apple", "iron", "pear", "zinc"))
    assert labelled(at_once, TOPIC) == (7, {apple, iron, zinc}) == labelled(by_file, TOPIC)
    assert labelled(at_once, TOPIC, TONE) == (9, {zinc})
    assert labelled(by_file, TOPIC, TONE) == (8, {zinc, pear})

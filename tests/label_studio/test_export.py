"""The reader of exports: which annotations count, which tasks are left out, and which files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_label_studio import MULTIPLE, SINGLE
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from malformed_requests import any_json
from schemas import CONTROL
from two_controls import LABEL, MOOD, TWO_CONTROLS, regions

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import SYNTHETIC_FIELD
from ml_backend.label_studio.export import MAX_GROUPS, Export, make_export, read_config, read_content
from ml_backend.label_studio.label_config import read_schema

Body = dict[str, Any]
LABELS = ("fruit", "metal", "animal")


def answer(number: int, *choices: str, control: str = "label", **values: Any) -> Body:
    """One annotation as Label Studio exports it, by annotator 1."""
    result = [{"from_name": control, "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}]
    return {"id": number, "completed_by": 1, "was_cancelled": False, "ground_truth": False, "result": result} | values


def task(number: Any, *answers: Body, text: Any = "a text", **data: Any) -> Body:
    return {"id": number, "data": {"text": text, **data}, "annotations": list(answers), "predictions": []}


def plain(*numbers: int) -> list[Body]:
    """Annotated tasks without irregularities."""
    return [task(number, answer(number, LABELS[number % 3]), text=f"text {number}") for number in numbers]


class Reader:
    """Writes tasks to a file and reads them; `messages` are those about tasks that were left out."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tasks.json"
        self.messages: list[str] = []

    def __call__(self, tasks: Any, schema: ProjectSchema | None = None, group: str = "") -> Export:
        self.messages = []
        self.path.write_text(json.dumps(tasks))
        schema = schema or read_schema(SINGLE)
        return make_export(read_content(self.path, schema), schema, group, self.messages.append)

    def refusal(self, tasks: Any, schema: ProjectSchema | None = None, group: str = "") -> str:
        with pytest.raises(ApprenticeError) as error:
            self(tasks, schema, group)
        message = str(error.value)
        assert str(self.path) in message
        assert "\n" not in message
        return message


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_tasks_texts_targets_and_groups_have_the_same_rows(read: Reader) -> None:
    export = read(
        [
            task(7, answer(1, "animal"), text="a dog", topic="farm"),
            task(3, answer(2, "fruit"), text="a pear", topic="kitchen"),
        ],
        group="topic",
    )
    assert export.tasks.tolist() == [7, 3]
    assert export.texts == ["a dog", "a pear"]
    assert export.targets[CONTROL].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert export.groups == ["farm", "kitchen"]


def test_targets_are_majority_votes_and_a_tie_stays_a_tie(read: Reader) -> None:
    votes = [["fruit", "fruit", "metal"], ["fruit", "metal"]]
    export = read(
        [
            task(row, *(answer(10 * row + by, label, completed_by=by) for by, label in enumerate(labels, 1)))
            for row, labels in enumerate(votes, 1)
        ]
    )
    assert export.targets[CONTROL].tolist() == [[1, 0, 0], [0.5, 0.5, 0]]


def test_the_ground_truth_overrules_the_others_and_a_skip_does_not_count(read: Reader) -> None:
    export = read(
        [
            task(
                1,
                *(answer(n, "metal", completed_by=n) for n in (1, 2)),
                answer(3, "fruit", completed_by=3, ground_truth=True),
            ),
            task(2, answer(4, "animal"), answer(5, "fruit", completed_by=2, was_cancelled=True)),
            task(3, answer(6, "fruit", was_cancelled=True)),
        ]
    )
    assert export.tasks.tolist() == [1, 2]
    assert export.targets[CONTROL].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert "left out of 3 tasks: 1 skipped (task 3)" in read.messages[0]


def test_with_several_choices_an_empty_annotation_counts(read: Reader) -> None:
    export = read([task(1, answer(1, "fruit", "animal")), task(2, answer(2))], read_schema(MULTIPLE))
    assert export.targets[CONTROL].tolist() == [[1, 0, 1], [0, 0, 0]]


def test_tasks_without_an_annotation_a_text_or_an_id_are_left_out_and_counted(read: Reader) -> None:
    bare = [task(number, text="waiting") for number in (20, 21, 22)]
    empty = [task(number, answer(number, "fruit"), text=text) for number, text in ((30, ""), (31, " \0"), (32, None))]
    nested = [task(33, answer(33, "fruit"), text={"inside": "x"}), {**plain(34)[0], "data": "no object"}]
    nameless = [task(None, answer(40, "fruit")), task(True, answer(41, "fruit")), task(-3, answer(42, "fruit"))]
    export = read([*bare, *plain(1, 2), *empty, *nested, *nameless])
    assert export.tasks.tolist() == [1, 2]
    message = read.messages[0]
    assert "left out of 13 tasks" in message
    assert "3 not labelled (task 20, 21, 22)" in message
    assert "5 without a text in 'text' (task 30, 31, 32, 33, 34)" in message
    assert "3 without an id (in the list, number 11, 12, 13)" in message


def test_unlabelled_and_skipped_tasks_and_tasks_without_a_choice_are_counted_separately(read: Reader) -> None:
    skipped = [task(n, answer(n, "fruit", was_cancelled=True)) for n in (10, 11)]
    beside = [task(20, answer(20, "happy", control="mood")), task(21, answer(21), answer(22, was_cancelled=True))]
    read([*plain(1, 2, 3), *skipped, *beside, task(30)])
    left_out = "1 not labelled (task 30), 2 skipped (task 10, 11), 2 without a choice for 'label' (task 20, 21)"
    assert read.messages[0] == f"{read.path}: left out of 8 tasks: {left_out}"


def test_generated_texts_are_left_out(read: Reader) -> None:
    written = task(9, answer(9, "fruit"), text="an apple, as the teacher would have it", **{SYNTHETIC_FIELD: "hard"})
    assert read([*plain(1, 2, 3), written]).tasks.tolist() == [1, 2, 3]
    assert read.messages[0] == f"{read.path}: left out of 4 tasks: 1 written by the teacher (task 9)"


def test_an_export_without_irregularities_causes_no_message(read: Reader) -> None:
    read(plain(1, 2, 3, 4, 5, 6))
    assert read.messages == []


def test_a_task_counts_if_it_has_a_label_for_any_control(read: Reader) -> None:
    labels: tuple[dict[str, str], ...] = ({LABEL: "fruit", MOOD: "wild"}, {MOOD: "calm"}, {LABEL: "metal"}, {})
    tasks = [
        task(number, answer(number) | {"result": regions(of_task)}, text=f"text {number}")
        for number, of_task in enumerate(labels, 1)
    ]
    export = read(tasks, read_schema(TWO_CONTROLS))
    assert export.tasks.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(export.targets[LABEL], [[1, 0, 0], [np.nan] * 3, [0, 1, 0]])
    np.testing.assert_array_equal(export.targets[MOOD], [[0, 1], [1, 0], [np.nan] * 2])
    assert any("1 without a choice for 'label' or 'mood' (task 4)" in message for message in read.messages)
    assert any("mood: labels that a single task has" in message for message in read.messages)


def test_duplicate_texts_are_reported_with_those_that_have_different_targets(read: Reader) -> None:
    copies = [task(n, answer(n, LABELS[n % 2]), text="same") for n in (11, 12, 13)]
    agreeing = [task(n, answer(n, "metal"), text="other") for n in (14, 15)]
    read([*plain(1, 2, 3, 4, 5, 6), *copies, *agreeing])
    differing = "answered differently: 3 (task 11, 12, 13)"
    assert read.messages == [f"{read.path}: texts that occur more than once: 2, in 5 tasks; {differing}"]
    read([*plain(1, 2, 3, 4, 5, 6), *agreeing])
    assert read.messages == [f"{read.path}: texts that occur more than once: 1, in 2 tasks"]


@pytest.mark.parametrize("config", [SINGLE, MULTIPLE])
def test_tasks_with_evenly_split_annotators_are_reported(read: Reader, config: str) -> None:
    split = [task(n, answer(2 * n, "fruit"), answer(2 * n + 1, "metal", completed_by=2), text=f"{n}") for n in (11, 12)]
    sure = [task(13, *(answer(n, label, completed_by=n) for n, label in ((31, "fruit"), (32, "fruit"), (33, "metal"))))]
    read([*plain(1, 2, 3, 4, 5, 6), *split, *sure], read_schema(config))
    assert read.messages == [f"{read.path}: annotators evenly split: 2 (task 11, 12); either answer counts as correct"]


def test_two_choices_where_one_is_allowed_are_reported_and_do_not_count_as_split(read: Reader) -> None:
    tasks = [*plain(1, 2, 3, 4, 5, 6), task(9, answer(9, "fruit", "metal")), task(8, answer(8, "metal", "animal"))]
    tasks[-1]["data"]["text"] = "another"
    read(tasks)
    assert read.messages == [
        f"{read.path}: several choices where one is allowed: 2 (task 8, 9); either counts as correct"
    ]
    read(tasks, read_schema(MULTIPLE))
    assert read.messages == []


def test_labels_with_no_or_one_task_are_reported(read: Reader) -> None:
    read([*plain(3, 6), task(1, answer(1, "metal"))])
    assert read.messages == [
        f"{read.path}: labels that no task has: 'animal'",
        f"{read.path}: labels that a single task has: 'metal'",
    ]


def test_no_more_than_five_tasks_are_named(read: Reader) -> None:
    read([*plain(1, 2), *(task(number, answer(number, "fruit"), text="") for number in range(10, 18))])
    assert "8 without a text in 'text' (task 10, 11, 12, 13, 14 and 3 more)" in read.messages[0]


def test_texts_may_be_numbers_or_have_characters_that_cannot_be_stored(read: Reader) -> None:
    export = read(
        [task(n, answer(n, "fruit"), text=text) for n, text in enumerate((42, "nul\0here", "half \ud83d"), 1)]
    )
    assert export.texts == ["42", "nul here", "half ?"]


def test_an_id_that_occurs_twice_is_named(read: Reader) -> None:
    message = read.refusal([*plain(1, 2, 3), task("2", answer(9, "metal")), *plain(3)])
    assert "more than one task with the id 2, 3:" in message


def test_an_annotation_belongs_to_the_task_that_contains_it(read: Reader) -> None:
    """The ids may differ after somebody has changed those of the tasks."""
    export = read([task(1, answer(1, "fruit", task=2)), task(2, answer(2, "metal", task=1))])
    assert export.targets[CONTROL].argmax(axis=1).tolist() == [0, 1]


def test_a_label_that_the_configuration_lacks_is_named_with_its_task(read: Reader) -> None:
    message = read.refusal([*plain(1, 2), task(8, answer(8, "fruit", "plastic")), task(9, answer(9, "\ud800wood"))])
    assert "task 8 is labelled 'plastic' for 'label', but the labelling configuration has no such label" in message
    assert "2 of the 4 annotations for 'label': 'plastic', '\\ud800wood'" in message


def test_a_few_labels_that_the_configuration_lacks_are_left_out_and_counted(read: Reader) -> None:
    few = [*plain(*range(1, 42)), task(50, answer(50, "plastic"), text="other"), task(51, answer(51, "fruit", "wood"))]
    export = read(few)
    assert 50 not in export.tasks and 51 in export.tasks
    assert export.targets[CONTROL][-1].tolist() == [1, 0, 0]
    assert any(
        "lacks labels of 2 of the 43 annotations for 'label', which are left out: 'plastic', 'wood' (task 50)"
        in message
        for message in read.messages
    )
    assert "3 of the 44 annotations" in read.refusal([*few, task(52, answer(52, "plastic"))])


def test_a_rating_of_zero_is_no_label_that_the_configuration_lacks(read: Reader) -> None:
    schema = read_schema('<View><Text name="text" value="$text"/><Rating name="stars" toName="text"/></View>')
    stars = [{"from_name": "stars", "to_name": "text", "type": "rating", "value": {"rating": n}} for n in (0, 2, 3)]
    tasks = [task(n, answer(n) | {"result": [region]}, text=f"text {n}") for n, region in enumerate(stars, 1)]
    assert read(tasks, schema).tasks.tolist() == [2, 3]
    assert any("1 without a choice for 'stars' (task 1)" in message for message in read.messages)


def test_a_skip_may_have_any_label(read: Reader) -> None:
    tasks = [*plain(1, 2), task(3, answer(3, "plastic", was_cancelled=True), answer(4, "metal"))]
    assert read(tasks).targets[CONTROL][2].tolist() == [0, 1, 0]


def test_annotations_of_another_control_suggest_the_wrong_configuration(read: Reader) -> None:
    message = read.refusal([task(n, answer(n, "fruit", control="mood")) for n in (1, 2, 3)])
    assert "0 of 3" in message
    assert "There are answers to 'mood': is it the right labelling configuration?" in message


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ([], "is an empty list"),
        ({"tasks": []}, "is not a list of tasks"),
        ("tasks", "is not a list of tasks"),
        ([1, 2], "is not a list of tasks"),
        ([{"id": 1, "text": "a", "choice": "fruit", "annotator": 1}], "not as JSON-MIN"),
        ([{"data": {"text": "a"}}], "lack data or annotations"),
        ([task(1), task(2)], "0 of 2: label some first. Left out: 2 not labelled (task 1, 2)"),
        (plain(1), "1 of 1: label some first"),
    ],
)
def test_a_file_that_is_no_labelled_export_is_refused(read: Reader, tasks: Any, reason: str) -> None:
    assert reason in read.refusal(tasks)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'[{"id": 1}', b"\xff\xfe\x00", b"[" * 100_000, b"[" + b"9" * 5000 + b"]"]
)
def test_a_file_that_is_not_json_is_refused(read: Reader, content: bytes) -> None:
    read.path.write_bytes(content)
    with pytest.raises(ApprenticeError, match=r"is not JSON|cannot be read") as error:
        read_content(read.path, read_schema(SINGLE))
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(ApprenticeError, match=f"{path} cannot be read: "):
            read_content(path, read_schema(SINGLE))
        with pytest.raises(ApprenticeError, match=f"{path} cannot be read: "):
            read_config(path)


@pytest.mark.parametrize(
    "beginning", ["", "\ufeff", '<?xml version="1.0" encoding="UTF-8"?>\n', "\n<?xml version='1.0'?>"]
)
def test_the_configuration_is_read_with_any_declaration_before_it(tmp_path: Path, beginning: str) -> None:
    (tmp_path / "config.xml").write_text(beginning + SINGLE, encoding="utf-8")
    assert read_config(tmp_path / "config.xml") == read_schema(SINGLE)


def test_the_error_of_an_unsupported_configuration_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.xml").write_text('<View><Text name="text" value="$text"/></View>')
    with pytest.raises(ApprenticeError, match="over a <Text>"):
        read_config(tmp_path / "config.xml")


def test_tasks_without_the_field_are_in_no_group_and_counted(read: Reader) -> None:
    values: list[Any] = ["news", 3, True, None, {"deep": 1}, ["list"], "", "nul\0", "x" * 99]
    export = read(
        [task(n, answer(n, "fruit"), topic=value) for n, value in enumerate(values, 1)] + plain(50), group="topic"
    )
    assert export.groups == ["news", "3", "True", "", "", "", "", "nul ", "x" * 64, ""]
    assert f"{read.path}: 5 of 10 tasks have no 'topic' and count in no group" in read.messages


def test_a_field_without_values_or_with_too_many_makes_no_groups(read: Reader) -> None:
    assert "has a field 'topic'" in read.refusal(plain(1, 2), group="topic")
    many = [task(n, answer(n, "fruit"), own=n) for n in range(1, MAX_GROUPS + 2)]
    assert f"'own' has {MAX_GROUPS + 1} different values" in read.refusal(many, group="own")
    assert len({*read(many[:MAX_GROUPS], group="own").groups}) == MAX_GROUPS


@given(
    tasks=st.lists(
        st.fixed_dictionaries({"id": st.integers(1, 9)}, optional={"data": any_json, "annotations": any_json})
        | any_json,
        max_size=4,
    )
)
@hypothesis_settings(max_examples=60)
def test_any_content_is_read_or_refused_in_one_sentence(tmp_path: Path, tasks: list[Any]) -> None:
    read = Reader(tmp_path)
    for schema, group in ((read_schema(SINGLE), "text"), (read_schema(MULTIPLE), "")):
        try:
            export = read([*plain(101, 102), *tasks], schema, group)
        except ApprenticeError as error:
            assert "\n" not in str(error)
            continue
        assert {101, 102} <= {*export.tasks.tolist()}
        assert len(export.tasks) == len(export.texts) == len(export.groups) == len(export.targets[CONTROL])
        assert np.isfinite(export.targets[CONTROL]).all()
        assert all(text.strip() for text in export.texts)

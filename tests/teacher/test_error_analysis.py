"""The weakness report, against counts made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from fake_label_studio import SINGLE, FakeLabelStudio, add_labelled_tasks, submit_labels
from round_fixtures import MakeRound
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import SYNTHETIC_FIELD, Estimate
from ml_backend.loop.round import run_round
from ml_backend.model.fitted_model import FittedModel
from ml_backend.storage import Store
from ml_backend.teacher.evolution import analysis_prompt
from ml_backend.teacher.evolution.confusions import MAX_TYPICAL_MISTAKES, NO_LABEL, typical_rows
from ml_backend.teacher.evolution.error_analysis import analyse_errors, load_serving_learner
from ml_backend.teacher.project_context import ProjectContext, load_project_context


@pytest.fixture
def context(taught: dict[int, str], settings: Settings, store: Store) -> ProjectContext:
    return load_project_context(settings, store, 5)


def saying(learner: FittedModel, predicted: dict[int, str]) -> FittedModel:
    """The learner as if it said this of some of its tasks unseen, and of the others what the annotators say."""
    snapshot = learner.snapshot
    held_out = 0.1 + 0.7 * snapshot.targets
    for task, label in predicted.items():
        row = int(np.searchsorted(snapshot.tasks, task))
        held_out[row] = 0.1
        held_out[row, snapshot.labels.index(label)] = 0.8
    return replace(learner, held_out=held_out.astype(np.float32))


def about(taught: dict[int, str], label: str) -> list[int]:
    """The answered tasks of a label."""
    return [task for task in list(taught)[:30] if taught[task] == label]


def test_labels_are_confused_when_it_happens_twice_and_the_most_frequent_comes_first(
    context: ProjectContext, taught: dict[int, str]
) -> None:
    fruit, metal, animal = (about(taught, label) for label in ("fruit", "metal", "animal"))
    predicted = dict.fromkeys(fruit[:2], "metal") | dict.fromkeys(metal[:4], "animal") | {animal[0]: "fruit"}
    analysis = analyse_errors(context, saying(load_serving_learner(context), predicted))
    assert [(pair.label, pair.instead, pair.count, pair.share) for pair in analysis.pairs] == [
        ("metal", "animal", 4, 0.4),
        ("fruit", "metal", 2, 0.2),
    ]
    assert analysis.pairs[0].tasks == tuple(metal[:4])
    assert analysis.accuracy is not None
    assert analysis.accuracy.value == pytest.approx(23 / 30)
    assert (analysis.accuracy.n, analysis.n) == (30, 30)
    assert [score.label for score in analysis.labels] == ["metal", "animal", "fruit"]
    assert {score.label: score.f1 for score in analysis.labels} == {
        "metal": pytest.approx(2 * 6 / (10 + 8)),
        "animal": pytest.approx(2 * 9 / (10 + 13)),
        "fruit": pytest.approx(2 * 8 / (10 + 9)),
    }
    assert {score.n for score in analysis.labels} == {10}
    assert {answer.label[0] for answer in analysis.right} == {"fruit", "metal", "animal"}
    assert all(answer.label == answer.said for answer in analysis.right)
    assert sum(share.n for share in analysis.clusters.accuracy.values()) == 30
    assert set(analysis.about) == set(analysis.clusters.accuracy) and analysis.groups is None


def test_typical_mistakes_are_quoted_with_both_answers_and_no_two_are_alike(
    context: ProjectContext, taught: dict[int, str]
) -> None:
    fruit = about(taught, "fruit")
    analysis = analyse_errors(context, saying(load_serving_learner(context), dict.fromkeys(fruit, "metal")))
    (pair,) = analysis.pairs
    assert pair.count == 10 and 1 <= len(pair.typical) <= MAX_TYPICAL_MISTAKES
    assert {(answer.label, answer.said, answer.confidence) for answer in pair.typical} == {
        (("fruit",), ("metal",), 0.8)
    }
    texts = dict(zip(pair.tasks, context.store.tasks.texts(5, list(pair.tasks)), strict=True))
    assert all(texts[answer.task] == answer.text for answer in pair.typical)


def test_what_is_typical_lies_in_the_middle_and_a_copy_is_passed_over() -> None:
    angles = np.array([0.0, 0.01, 0.9, -0.9, 2.5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    first, *others = typical_rows(vectors, 3)
    assert first in (0, 1) and not {0, 1} & set(others) and len(others) == 2
    assert typical_rows(vectors[:2], 3) == [int((vectors[:2] @ vectors[:2].mean(axis=0)).argmax())]


def test_what_may_not_be_quoted_still_counts(context: ProjectContext, taught: dict[int, str]) -> None:
    fruit = about(taught, "fruit")
    learner = saying(load_serving_learner(context), dict.fromkeys(fruit, "metal"))
    texts = context.store.tasks.texts(5, list(taught)[:30])
    analysis = analyse_errors(context, learner, unquoted=list(taught)[:30])
    assert analysis.pairs[0].count == 10 and not analysis.pairs[0].typical and not analysis.right and not analysis.about
    assert not any(text in line for text in texts for line in analysis_prompt.error_analysis_lines(analysis))


def test_tasks_that_a_teacher_wrote_are_no_weakness(
    taught: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store
) -> None:
    server.add_tasks(["iron copper n900", "zinc tin n901", "nickel gold n902"], **{SYNTHETIC_FIELD: "hard"})
    written = sorted(server.tasks)[-3:]
    for task in written:
        server.annotate(task, "fruit")
    run_round(make_round(server))
    context = load_project_context(settings, store, 5)
    learner = load_serving_learner(context)
    assert set(written) <= set(learner.snapshot.tasks.tolist())
    analysis = analyse_errors(context, saying(learner, dict.fromkeys(written, "metal")))
    assert (analysis.n, analysis.pairs) == (30, ())


def test_of_several_labels_one_too_few_and_one_too_many_are_told_apart(
    server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store, multiple: ProjectSchema,
    options: object,
) -> None:  # fmt: skip
    server.label_config = SINGLE.replace('choice="single"', 'choice="multiple"')
    truth = add_labelled_tasks(server, 30)
    run_round(make_round(server))
    submit_labels(server, truth, multiple, list(truth))
    run_round(make_round(server))
    context = load_project_context(settings, store, 5)
    learner = load_serving_learner(context)
    held_out = learner.snapshot.targets * 0.8 + 0.1
    fruit = np.flatnonzero(learner.snapshot.targets[:, 0])
    held_out[fruit[:2], 0] = 0.2  # too few
    held_out[fruit[2:5], 1] = 0.9  # too many
    held_out[fruit[5:7], 0], held_out[fruit[5:7], 2] = 0.2, 0.9  # one for another
    analysis = analyse_errors(context, replace(learner, held_out=held_out.astype(np.float32)))
    assert {(pair.label, pair.instead, pair.count) for pair in analysis.pairs} == {
        ("fruit", NO_LABEL, 2),
        (NO_LABEL, "metal", 3),
        ("fruit", "animal", 2),
    }
    assert {pair.label: pair.share for pair in analysis.pairs}[NO_LABEL] == pytest.approx(3 / 30)


def test_a_cluster_of_one_task_is_not_listed(context: ProjectContext) -> None:
    analysis = analyse_errors(context, load_serving_learner(context))
    several, one = Estimate(0.5, 0.1, 0.9, 2, "rows"), Estimate(0.0, 0.0, 0.8, 1, "rows")
    clusters = replace(analysis.clusters, accuracy={"several": several, "one": one})
    text = "\n".join(analysis_prompt.error_analysis_lines(replace(analysis, clusters=clusters)))
    assert "  several: 50% of 2 right" in text and "  one: " not in text
    large = replace(clusters, accuracy={"large": replace(several, n=30, value=0.9), "several": several})
    text = "\n".join(analysis_prompt.error_analysis_lines(replace(analysis, clusters=large)))
    assert "Clusters, the worst first, those with fewer than 10 answers last (" in text
    alone = analysis_prompt.error_analysis_lines(replace(analysis, clusters=replace(clusters, accuracy={"one": one})))
    assert not any(line.startswith("Clusters") for line in alone)


def test_a_score_that_is_no_share_is_worded_as_a_mean_for_groups_too(
    context: ProjectContext,
) -> None:
    analysis = analyse_errors(context, load_serving_learner(context))
    score, group = Estimate(0.93, 0.9, 0.95, 133, "rows"), Estimate(0.76, 0.7, 0.8, 12, "rows")
    groups = replace(analysis.clusters, accuracy={"one": group, "two": group}, best="two", gap=0.0, p_value=1.0)
    closeness = replace(analysis, accuracy=score, clusters=groups, groups=groups, score_name="closeness")
    lines = analysis_prompt.error_analysis_lines(closeness)
    assert lines[1] == "closeness 93% on 133 tasks (95 %: 90% to 95%): rows"
    assert sum("76% on 12 tasks (95 %: 70% to 80%)" in line for line in lines) == 6
    assert any(line.startswith("Clusters by mean closeness, the worst first (") for line in lines)
    accuracy = analysis_prompt.error_analysis_lines(replace(closeness, score_name="accuracy"))
    assert any(line.startswith("Clusters, the worst first (") for line in accuracy)
    assert accuracy[1] == "accuracy 93% of 133 right (95 %: 90% to 95%): rows" and "exactly" not in "".join(accuracy)


def test_groups_of_a_field_are_compared_where_the_project_names_one(
    server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store, single: ProjectSchema,
    options: Callable[..., None],
) -> None:  # fmt: skip
    options(group_by="region", queue_size=12)
    truth = add_labelled_tasks(server, 40)
    for number, task in server.tasks.items():
        task["data"]["region"] = "north" if number % 2 else "south"
    run_round(make_round(server))
    submit_labels(server, truth, single, list(truth))
    run_round(make_round(server))
    context = load_project_context(settings, store, 5)
    north = [task for task in truth if task % 2 and truth[task] != "metal"]
    analysis = analyse_errors(context, saying(load_serving_learner(context), dict.fromkeys(north, "metal")))
    assert analysis.groups is not None and list(analysis.groups.accuracy) == ["north", "south"]
    assert analysis.groups.accuracy["south"].value == 1.0
    assert any(
        line.startswith("By region, the worst first (worst is north")
        for line in analysis_prompt.error_analysis_lines(analysis)
    )


def test_without_a_learner_the_report_says_what_it_takes(
    server: FakeLabelStudio, make_round: MakeRound, settings: Settings, store: Store
) -> None:
    with pytest.raises(ApprenticeError, match="Project 5 is not known here"):
        load_project_context(settings, store, 5)
    add_labelled_tasks(server, 5)
    run_round(make_round(server))
    with pytest.raises(ApprenticeError, match="no learner yet: annotate tasks with at least two different labels"):
        load_serving_learner(load_project_context(settings, store, 5))


def test_the_command_prints_the_report_in_words_and_as_json_without_a_worker(
    context: ProjectContext, settings: Settings, monkeypatch: pytest.MonkeyPatch, fake_encoder: Any
) -> None:
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    context.pool.flush()
    expected = analyse_errors(context, load_serving_learner(context))
    result = CliRunner().invoke(main.app, ["report", "--project", "5"])
    assert result.exit_code == 0 and result.stdout.splitlines()[0] == analysis_prompt.error_analysis_lines(expected)[0]
    assert "Labels, the worst first:" in result.stdout
    dumped = json.loads(CliRunner().invoke(main.app, ["report", "--project", "5", "--json"]).stdout)
    assert dumped == json.loads(json.dumps(asdict(expected)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines", '"two lines"'),
        ('{"age": 88, "city": null, "smoker": "yes", "note": ""}', '"age 88, smoker yes"'),
        ("{}", '"{}"'),
        ("[1, 2]", '"[1, 2]"'),
    ],
)
def test_a_text_is_quoted_in_one_line_and_a_record_by_its_fields(text: str, shown: str) -> None:
    assert analysis_prompt.quoted_text(text) == shown

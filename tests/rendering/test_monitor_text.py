"""The sentences about a result of the monitor."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.evaluation.random_baseline import FIRST_LOOK
from ml_backend.evaluation.stopping import FORECAST_LABELS
from ml_backend.rendering.monitor_text import (
    comparison_sentence,
    groups_sentence,
    monitor_lines,
    stopping_sentence,
)
from ml_backend.teacher.evolution.analysis_prompt import source_text

FIRST = {"verdict": "not winning", "gain": -0.12, "low": -0.2, "high": -0.04, "judged_by": 16, "exchanged": 0.5}


def groups(**values: Any) -> dict[str, Any]:
    poor = asdict(Estimate(0.25, 0.14, 0.4, 40, EstimateSource.GROUP))
    good = asdict(Estimate(0.9, 0.79, 0.96, 50, EstimateSource.GROUP))
    defaults = {"by": "region", "best": "good", "gap": 0.65, "p_value": 0.0005, "missing": None}
    return {"accuracy": {"poor": poor, "good": good}, **defaults, **values}


@pytest.mark.parametrize(
    ("verdict", "kappa", "meaning"),
    [
        ("stop", 0.994, "stopping is reasonable"),
        ("disagree", 0.994, "the two criteria disagree"),
        ("too early", 0.994, "this is too uncertain to say whether to stop"),
        ("go on", 0.9, "go on"),
    ],
)
def test_both_stopping_criteria_make_one_sentence(verdict: str, kappa: float, meaning: str) -> None:
    gain = {"labels": 100, "value": 0.003, "low": -0.005, "high": 0.019}
    assert stopping_sentence({"verdict": verdict, "kappa": kappa, "gains": [gain]}) == (
        f"predictions {'are stable' if kappa > 0.99 else 'still change'} (kappa {kappa:.3f}) and 100 more labels are "
        f"expected to bring 0.3 points (95 %: -0.5 to 1.9): {meaning}"
    )


@pytest.mark.parametrize("stopping", [{"kappa": None, "gains": []}, {"kappa": 1.0, "gains": [{"labels": 50}]}])
def test_with_few_labels_it_is_too_early_to_say(stopping: dict[str, Any]) -> None:
    expected = "too early to say: it takes at least 100 labels"
    assert stopping_sentence({"verdict": "too early", **stopping}) == expected


def test_the_latest_look_is_compared_with_random_order() -> None:
    assert comparison_sentence({**FIRST, "looks": 1}) == (
        "not winning: with 50% of the chosen answers exchanged for random ones, the learner would be 12.0 points "
        "better (chosen minus exchanged, 95.0%: -20.0 to -4.0; on 16 audited answers)"
    )
    assert "points worse" in comparison_sentence({**FIRST, "looks": 1, "gain": 0.12})


def test_before_the_first_look_the_audited_answers_are_counted() -> None:
    comparison = {"verdict": "not enough evidence", "looks": 0, "audited": 3}
    assert f"3 of the {FIRST_LOOK} audited answers" in comparison_sentence(comparison)


def test_the_worst_group_is_compared_with_the_best() -> None:
    assert groups_sentence(groups()) == (
        "worst is poor with 25% of 40 right (95 %: 14% to 40%), 65 points behind good, more than chance (p = 0.0005); "
        "of all labels, most of them chosen for being hard"
    )
    assert "which chance alone can explain (p = 0.5)" in groups_sentence(groups(p_value=0.5))
    assert "nothing to compare" in groups_sentence(groups(best=None, gap=None, p_value=None))


def test_groups_have_a_mean_score_where_it_is_no_share_of_right_drafts() -> None:
    sentence = groups_sentence(groups(), "span F1 of a text")
    assert sentence.startswith("mean span F1 of a text: worst is poor with 25% on 40 tasks")
    nothing = groups_sentence(groups(best=None, gap=None, p_value=None), "span F1 of a text")
    assert not nothing.startswith("mean"), "no score is named where none is given"


def test_without_groups_the_reason_is_given() -> None:
    assert groups_sentence(groups(missing={"code": "no field"})) == "no labelled task has a field 'region'"
    left_out = groups_sentence(groups(missing={"code": "left out", "reason": "constant"}))
    assert left_out.startswith("the field 'region' is left out of the records (constant)")


def test_the_source_of_an_accuracy_is_described() -> None:
    few = Estimate(0.5, 0, 1, 30, EstimateSource.ALL_LABELS_CROSS_VALIDATED, {"audited": 3, "minimum": 20})
    assert source_text(few).endswith("as the audit sample has 3 of 20 answers, cross-validated")
    prequential = Estimate(0.5, 0, 1, 30, EstimateSource.AUDIT_SAMPLE_PREQUENTIAL, {"fewest": 40, "most": 400})
    assert source_text(prequential).endswith("judged by a learner of those before it, 40 to 400")
    assert source_text(Estimate(0.5, 0, 1, 30, "some earlier description")) == "some earlier description"


def test_the_agreement_of_learners_has_the_name_of_its_measure() -> None:
    gain = {"labels": FORECAST_LABELS[-1], "value": 0.02, "low": 0.0, "high": 0.05}
    stopping = {"kappa": 0.9, "gains": [gain], "verdict": "go on"}
    assert "predictions still change (span F1 0.900) and" in stopping_sentence(stopping, "span F1")
    assert "(kappa 0.900)" in stopping_sentence(stopping)


def test_a_proposal_for_parts_is_quoted_unless_its_text_has_changed() -> None:
    added = {"instead": [], "added": [[0, 3, "Person"]], "removed": [], "confidence": 0.876}
    suspects = [{**added, "task": 7}, {**added, "task": 8}]
    result = {
        "balance": {}, "groups": groups(missing={"code": "no field"}), "comparison": {"looks": 0, "audited": 3},
        "stopping": {"kappa": None, "gains": []}, "second_look": suspects,
    }  # fmt: skip
    lines = dict(monitor_lines(result, quotes={7: ("<Person>Ann</Person>, who", ""), 8: ("", "")}))
    assert lines["second look"] == (
        'these annotations look wrong: task 7 (rather "<Person>Ann</Person>, who", 88% sure); task 8'
    )

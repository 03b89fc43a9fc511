"""The sentences about the parts of values."""

from __future__ import annotations

from ml_backend.core.types import Estimate, EstimateSource
from ml_backend.kinds.parts import PartAgreement, PartCounts
from ml_backend.labels.draft_acceptance import TimeSaved
from ml_backend.rendering.parts_text import MAX_GROUPS, agreement_sentence, report_lines, status_lines
from ml_backend.rendering.status_text import time_saved_sentence
from ml_backend.rendering.teacher_report_text import report_lines as teacher_report_lines
from ml_backend.teacher.evolution.part_analysis import ErrorGroup, PartAnalysis, QuotedPart

LABELS = {
    "Person": {"right": 3, "drafted": 4, "annotated": 6},
    "Place": {"right": 0, "drafted": 0, "annotated": 8},
    "Time": {"right": 0, "drafted": 2, "annotated": 0},
}
SOURCE = EstimateSource.AUDIT_SAMPLE_CROSS_VALIDATED
PARTS = {"tasks": 25, "source": SOURCE, "details": {}, "labels": LABELS, "errors": {"missed": 11, "spurious": 3}}


def analysis(*errors: ErrorGroup, agreement: PartAgreement | None = None) -> PartAnalysis:
    labels = {label: PartCounts(**counts) for label, counts in LABELS.items()}
    return PartAnalysis("span", "strict F1", labels, errors, agreement)


def test_status_counts_the_errors_and_has_each_label_the_most_frequent_first() -> None:
    assert dict(status_lines(PARTS, "span", Estimate(0.3, 0.2, 0.4, 25, SOURCE))) == {
        "spans": "3 of 14 annotated spans are drafted right, and 3 of 6 drafted spans are wrong: 11 missed, 3 spurious",
        "by label": "Place: never drafted, recall 0.00; Person: precision 0.75, recall 0.50; "
        "Time: precision 0.00, never annotated",
    }


def test_the_source_of_the_counts_is_named_if_it_is_not_that_of_the_score() -> None:
    prequential = Estimate(0.3, 0.2, 0.4, 13, EstimateSource.AUDIT_SAMPLE_PREQUENTIAL, {"fewest": 20, "most": 40})
    for accuracy in (None, prequential):
        assert dict(status_lines(PARTS, "span", accuracy))["spans"].endswith(
            "11 missed, 3 spurious (25 tasks, audit sample, cross-validated)"
        )


def test_status_says_nothing_of_parts_before_there_are_any() -> None:
    assert [*status_lines({**PARTS, "labels": {}, "errors": {}}, "span", None)] == []


def test_the_report_has_the_most_frequent_kinds_of_errors_first_and_counts_groups_that_it_does_not_list() -> None:
    quoted = QuotedPart(7, "in <Place>Rome</Place>", "<Place>in Rome</Place>", 0.81)
    groups = [ErrorGroup("missed", f"label {n}", 2, (), ()) for n in range(MAX_GROUPS + 2)]
    lines = [*report_lines(analysis(ErrorGroup("wrong boundary", "Place, too long", 3, (quoted,), (7,)), *groups), 25)]
    assert lines.index("Missed, 14 spans:") < lines.index("Wrong boundary, 3 spans:")
    assert "  and 4 more" in lines and "  label 0: 2 times" in lines
    assert lines[-1] == '    task 7: "in <Place>Rome</Place>"; the learner: "<Place>in Rome</Place>", 81% sure'


def test_the_report_without_errors_says_so() -> None:
    assert [*report_lines(analysis(), 25)][-1] == "No span is wrong."
    assert [*report_lines(PartAnalysis("span", "strict F1", {}, (), None), 25)] == ["No span is wrong."]


def test_the_agreement_of_annotators_is_worded() -> None:
    assert agreement_sentence(PartAgreement(1, 0, 0, 0, 0, 1.0), "span").startswith(
        "1 task has several annotators, who marked 0 different spans: none. "
    )
    assert "5 different spans: 2 by all, 1 by more than half, 2 by fewer" in agreement_sentence(
        PartAgreement(3, 2, 1, 0, 2, 0.7), "span"
    )


def test_the_time_is_compared_among_annotations_with_as_many_parts() -> None:
    saved = TimeSaved(90.0, 12, 10, 8, 3.0, 9.0)
    assert time_saved_sentence(saved, "span") == (
        "accepted or edited drafts saved 1.5 minutes, against annotations without a draft that have as many spans "
        "(10 and 8 timed)"
    )
    assert time_saved_sentence(saved) == (
        "accepted drafts saved 1.5 minutes (3.0 s an answer instead of 9.0 s; 10 and 8 timed)"
    )


def test_drafts_are_counted_and_so_are_the_parts_that_nobody_had_to_mark() -> None:
    report = {
        "name": "similarity", "spent": {"in all": {"calls": 0}}, "problem": "", "share": None, "priors": {},
        "shown": 0, "trust": None, "changes": {}, "drafts": {"learner": {"accepted": 1, "edited": 2, "replaced": 0}},
        "agreement": {"teacher": {"overall": None}, "learner": {"overall": None}},
    }  # fmt: skip
    assert dict(teacher_report_lines(report, 5, part="span")) == {
        "drafts": "learner's 1 accepted, 2 edited, 0 replaced"
    }
    nothing = dict.fromkeys(("kept", "removed", "added", "kept_words", "added_words"), 0)
    changes = {"learner": {"kept": 3, "removed": 1, "added": 2, "kept_words": 5, "added_words": 2}, "teacher": nothing}
    assert dict(teacher_report_lines({**report, "changes": changes}, 5, part="span")) == {
        "drafts": "learner's 1 accepted, 2 edited, 0 replaced, with 3 of 4 drafted spans kept, and 2 added",
        "marking saved": "3 of the 5 spans in drafted texts (5 of their 7 words) were drafted right, so that nobody "
        "had to mark them",
    }
    changes = {"learner": {**nothing, "removed": 1}}
    assert "marking saved" not in dict(teacher_report_lines({**report, "changes": changes}, 5, part="span"))

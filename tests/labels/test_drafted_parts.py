"""What annotators do with drafted spans, and the time that edited drafts save, compared with counting by hand."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from schemas import CONTROL, by_control
from span_tasks import span_control

from ml_backend.core.types import Annotation, Draft, Label
from ml_backend.kinds.parts import DraftChanges
from ml_backend.kinds.spans.values import Span
from ml_backend.labels.acceptance_counts import AcceptanceCounts
from ml_backend.labels.annotation_times import AnnotationTimes
from ml_backend.labels.draft_acceptance import MIN_TIMED_ANNOTATIONS, DraftAcceptance
from ml_backend.storage import PublishedDraft

SPANS = replace(span_control("Labels"), name=CONTROL)
ONE, TWO, THREE = (tuple((n, n + 1, "A") for n in range(count)) for count in (1, 2, 3))
spans = st.tuples(st.integers(0, 3), st.just(5), st.sampled_from("AB"))
TEXT = "a, bc def"
values = st.lists(spans, max_size=3, unique=True).map(lambda value: tuple(sorted(value)))


def published(task: int, drafted: tuple[Span, ...] | None) -> PublishedDraft:
    """A published task, without a draft for None. Each drafted span has a probability."""
    draft = None if drafted is None else Draft(tuple((*span, 0.8) for span in drafted), 0.8, "learner")
    return PublishedDraft(task, "v1", 0, by_control(draft))


def annotation(task: int, value: tuple[Span, ...], seconds: float | None = None) -> Annotation:
    return Annotation(task, task, 1, {CONTROL: Label(value)}, lead_time=seconds)


def n_words(span: Span) -> int:
    """The number of words in a span of `TEXT`, which ends behind "bc". A comma is a word."""
    return {0: 3, 1: 2, 2: 1, 3: 1}[span[0]]


@given(st.lists(st.tuples(values, values), max_size=8), st.sets(st.integers(0, 7)), st.integers(0, 7))
def test_kept_removed_and_added_spans_are_counted(
    pairs: list[tuple[tuple[Span, ...], tuple[Span, ...]]], excluded: set[int], withdrawn: int
) -> None:
    counts = AcceptanceCounts(SPANS)
    for task, (drafted, annotated) in enumerate(pairs):
        counts.update(task, published(task, drafted), [annotation(task, annotated)], TEXT)
    if withdrawn < len(pairs):
        counts.update(withdrawn, published(withdrawn, pairs[withdrawn][0]), [])
    counted = [({*a}, {*b}) for task, (a, b) in enumerate(pairs) if task not in {*excluded, withdrawn}]
    use = counts.without(excluded)
    assert use.changes == {
        "teacher": DraftChanges(),
        "learner": DraftChanges(
            kept=sum(len(a & b) for a, b in counted),
            removed=sum(len(a - b) for a, b in counted),
            added=sum(len(b - a) for a, b in counted),
            kept_words=sum(n_words(span) for a, b in counted for span in a & b),
            added_words=sum(n_words(span) for a, b in counted for span in b - a),
        ),
    }
    assert use.acceptance["learner"] == DraftAcceptance(
        accepted=sum(a == b for a, b in counted),
        edited=sum(a != b and bool(a & b) for a, b in counted),
        replaced=sum(a != b and not a & b for a, b in counted),
    )


def test_edited_drafts_save_time_and_annotations_with_as_many_spans_are_compared() -> None:
    times, n = AnnotationTimes([SPANS]), MIN_TIMED_ANNOTATIONS
    tasks = iter(range(1000))

    def annotate(drafted: tuple[Span, ...] | None, annotated: tuple[Span, ...], seconds: float) -> None:
        task = next(tasks)
        times.update(task, published(task, drafted), [annotation(task, annotated, seconds)])

    for _ in range(n):
        annotate(None, ONE, 5.0)  # 4 seconds more than with the draft
        annotate(ONE, ONE, 1.0)
        annotate(None, THREE, 20.0)  # 10 seconds more than with the edited draft
        annotate(TWO, THREE, 10.0)
        annotate(TWO, (), 100.0)  # replaced
    for _ in range(n - 1):
        annotate(TWO, TWO, 3.0)  # compared with nothing
    saved = times.without(())
    assert saved.seconds == n * 4 + n * 10
    assert (saved.accepted, saved.timed, saved.blind) == (3 * n - 1, 3 * n - 1, 2 * n)
    assert times.without([0]).seconds == n * 10, "too few annotations with one span are left"

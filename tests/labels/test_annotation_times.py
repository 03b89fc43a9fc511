"""The time that drafts saved, compared with counting by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from schemas import CONTROL, by_control

from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.types import Annotation, Draft, Label
from ml_backend.labels.annotation_times import AnnotationTimes
from ml_backend.labels.draft_acceptance import MAX_ANNOTATION_SECONDS, MIN_TIMED_ANNOTATIONS
from ml_backend.storage import PublishedDraft

MOOD = "mood"


def shown(task: int, author: str | None, *choices: str) -> PublishedDraft:
    draft = Draft(choices, 0.5, "teacher" if author == "teacher" else "learner") if author else None
    return PublishedDraft(task, "v1", 0, by_control(draft))


def answer(task: int, *choices: str, mood: str = "", seconds: float | None = None) -> Annotation:
    """An annotation. `mood`: the label of another control, "" for none"""
    labels = {CONTROL: Label(choices), MOOD: Label((mood,) if mood else (), "" if mood else "empty")}
    return Annotation(task, task, 1, labels, lead_time=seconds)


def times_of(*annotated: tuple[PublishedDraft, Annotation]) -> AnnotationTimes:
    """The times of tasks with one annotation each."""
    times = AnnotationTimes([ChoicesSchema(name, "text") for name in (CONTROL, MOOD)])
    for draft, annotation in annotated:
        times.update(draft.task, draft, [annotation])
    return times


def test_time_saved_is_the_difference_of_the_medians_for_each_accepted_draft() -> None:
    blind = [(shown(n, None), answer(n, "fruit", seconds=n + 10.0)) for n in range(1, 6)]  # 11 to 15, the median 13
    accepted = [(shown(n, "learner", "fruit"), answer(n, "fruit", seconds=n - 10.0)) for n in range(11, 17)]  # 1 to 6
    untimed = [
        (shown(20, None), answer(20, "fruit", seconds=MAX_ANNOTATION_SECONDS + 1)),
        (shown(21, "learner", "fruit"), answer(21, "fruit", seconds=None)),
        (shown(22, "learner", "fruit"), answer(22, "fruit", seconds=0.0)),
        (shown(23, "learner", "fruit"), answer(23, "metal", seconds=60.0)),
    ]
    saved = times_of(*blind, *accepted, *untimed).without(())
    assert (saved.accepted, saved.timed, saved.blind) == (8, 6, 5)
    assert (saved.median_accepted, saved.median_blind) == (3.5, 13.0)
    assert saved.seconds == pytest.approx(8 * (13 - 3.5))
    fast = [(draft, replace(annotation, lead_time=1.0)) for draft, annotation in blind]
    saved = times_of(*fast, *accepted).without(())
    assert saved.seconds == -2.5 * 6


@pytest.mark.parametrize("short", ["blind", "accepted"])
def test_with_few_timed_annotations_only_their_number_is_returned(short: str) -> None:
    counts = {"blind": MIN_TIMED_ANNOTATIONS, "accepted": MIN_TIMED_ANNOTATIONS, short: MIN_TIMED_ANNOTATIONS - 1}
    blind = [(shown(n, None), answer(n, "fruit", seconds=2.0)) for n in range(counts["blind"])]
    accepted = [
        (shown(n, "teacher", "fruit"), answer(n, "fruit", seconds=1.0)) for n in range(100, 100 + counts["accepted"])
    ]
    saved = times_of(*blind, *accepted).without(())
    assert (saved.seconds, saved.timed, saved.blind) == (None, counts["accepted"], counts["blind"])
    saved = times_of().without(())
    assert saved.median_blind is None


def test_an_annotation_counts_once_however_many_controls_have_drafts() -> None:
    blind = [(shown(n, None), answer(n, "fruit", mood="calm", seconds=10.0)) for n in range(1, 6)]
    drafts = {CONTROL: Draft(("fruit",), 0.5, "learner"), MOOD: Draft(("calm",), 0.5, "teacher")}
    accepted = [
        (PublishedDraft(n, "v1", 0, drafts), answer(n, "fruit", mood="calm", seconds=4.0)) for n in range(11, 16)
    ]
    saved = times_of(*blind, *accepted).without(())
    assert (saved.accepted, saved.timed, saved.seconds) == (5, 5, 5 * (10.0 - 4.0))


@pytest.mark.parametrize(
    ("drafts", "mood", "is_accepted"),
    [
        ({CONTROL: "fruit", MOOD: "calm"}, "calm", True),
        ({CONTROL: "fruit", MOOD: "calm"}, "wild", False),
        ({CONTROL: "fruit", MOOD: "calm"}, "", True),
        ({CONTROL: "fruit"}, "wild", True),
        ({MOOD: "calm"}, "", False),
        ({"removed": "x"}, "calm", False),
    ],
)
def test_drafts_are_accepted_if_they_are_in_every_control_with_a_label(
    drafts: dict[str, str], mood: str, is_accepted: bool
) -> None:
    published = PublishedDraft(1, "v1", 0, {name: Draft((value,), 0.5, "learner") for name, value in drafts.items()})
    saved = times_of((published, answer(1, "fruit", mood=mood, seconds=4.0))).without(())
    assert (saved.accepted, saved.timed, saved.blind) == (is_accepted, is_accepted, 0)


def test_a_task_is_replaced_and_may_be_left_out() -> None:
    times = times_of(
        (shown(1, "learner", "fruit"), answer(1, "fruit", seconds=4.0)),
        (shown(2, None), answer(2, "fruit", seconds=9.0)),
    )
    assert (times.without([1]).timed, times.without([2]).blind, times.without([3]).timed) == (0, 0, 1)
    times.update(1, shown(1, "learner", "metal"), [answer(1, "fruit", seconds=4.0)])
    times.update(2, None, [answer(2, "fruit", seconds=9.0)])
    saved = times.without(())
    assert (saved.accepted, saved.timed, saved.blind) == (0, 0, 0)

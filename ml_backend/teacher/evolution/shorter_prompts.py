"""Shortens the contents of the prompts for a diagnosis and for texts, for a teacher with a small context."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from ml_backend.teacher.context_limit import without_longest
from ml_backend.teacher.evolution.evolution_prompts import ShownDrafts, WritingBrief
from ml_backend.teacher.prompt_parts import shortened

MIN_WRONG, MIN_RIGHT = 2, 1
"""Texts with an error and without one that a diagnosis shows at least, if there are so many."""
MIN_EXAMPLES = 2
"""Texts of the project that the question for texts shows at least."""
SHORT_TEXT_LENGTH, SHORT_WEAKNESSES_LENGTH = 200, 800
"""Characters of a quoted text, and of the weaknesses in words."""
WRONG, RIGHT, EXAMPLES = "texts with an error", "texts without an error", "texts of the project"
FEW_SHOT, TO_WRITE = "few-shot examples", "texts to write"
"""What is left out of questions, see `EvolutionRound.left_out`."""


def shorter_drafts(drafts: ShownDrafts, n_slice_lines: int) -> Iterator[ShownDrafts]:
    """Yields the drafts, and then less and less of them: long texts without their ends; no figures of clusters and
    groups, which are the last `n_slice_lines` lines; without the longest texts; at last without other figures."""
    yield drafts
    drafts = replace(drafts, max_text_length=min(SHORT_TEXT_LENGTH, drafts.max_text_length))
    yield drafts
    drafts = replace(drafts, figures=drafts.figures[: len(drafts.figures) - n_slice_lines])
    yield drafts
    wrong, right = list(drafts.wrong), list(drafts.right)
    while droppable := [*(wrong if len(wrong) > MIN_WRONG else ()), *(right if len(right) > MIN_RIGHT else ())]:
        longest = max(droppable, key=lambda draft: len(json.dumps(drafts.shown(draft), ensure_ascii=False)))
        (wrong if longest in wrong else right).remove(longest)
        yield replace(drafts, wrong=tuple(wrong), right=tuple(right))
    for n_lines in range(len(drafts.figures) - 1, -1, -1):
        yield replace(drafts, wrong=wrong, right=right, figures=drafts.figures[:n_lines])


def drafts_left_out(drafts: ShownDrafts, shorter: ShownDrafts) -> Mapping[str, int]:
    """The numbers of drafts that are left out."""
    return {WRONG: len(drafts.wrong) - len(shorter.wrong), RIGHT: len(drafts.right) - len(shorter.right)}


def shorter_briefs(brief: WritingBrief) -> Iterator[WritingBrief]:
    """Yields the brief, and then shorter and shorter ones: long texts without their ends; without the longest examples;
    without feedback; long weaknesses without their end; at last with fewer texts to write."""
    yield brief
    brief = replace(brief, max_text_length=min(SHORT_TEXT_LENGTH, brief.max_text_length))
    for examples in without_longest(brief.examples, lambda example: len(example.text), MIN_EXAMPLES):
        brief = replace(brief, examples=examples)
        yield brief
    brief = replace(brief, feedback="")
    yield brief
    brief = replace(brief, weaknesses=shortened(brief.weaknesses, SHORT_WEAKNESSES_LENGTH))
    for n in range(brief.n, 0, -1):
        yield replace(brief, n=n)


def brief_left_out(brief: WritingBrief, shorter: WritingBrief) -> Mapping[str, int]:
    """The numbers of examples that are left out, and of texts that are not asked for."""
    return {EXAMPLES: len(brief.examples) - len(shorter.examples), TO_WRITE: 2 * (brief.n - shorter.n)}

"""Compares drafts with accepted texts, by the words that are edited to make one of the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from ml_backend.core.arrays import Floats, Rows
from ml_backend.core.types import LabelValue
from ml_backend.core.word_distance import closeness, kept_words, nearest_closeness, word_edits
from ml_backend.core.words import count_words
from ml_backend.kinds.base import Doubles
from ml_backend.kinds.parts import DraftChanges
from ml_backend.kinds.text.values import Predicted, Target, confidence_of, draft_of

CLOSENESS, EDITS, CHRF = "closeness", "words edited", "chrF"
ACCEPTED, TOUCHED, EDITED, REWRITTEN = "accepted", "touched", "edited", "rewritten"
"""Names of the shares of drafts of which no word, one word, at most half of the words, or more of them are edited; the
words are those of the longer text."""
MAX_EDITED = 0.5


def row_scores(predicted: Rows, targets: Rows) -> Doubles:
    """(n,) the closeness of each draft to the nearest accepted text. 0 without a draft, and for a copy of the source if
    no annotator kept the source as it is: it is near the accepted text, and it saves no work."""
    return np.array([_score(row, target) for row, target in zip(predicted, targets, strict=True)], np.float64)


def expected_errors(predicted: Rows, targets: Rows) -> Floats:
    """(n,) 1 minus the closeness times the confidence in the draft."""
    confidences = np.array([confidence_of(row) for row in predicted], np.float64)
    return np.asarray(1 - row_scores(predicted, targets) * confidences, np.float32).clip(0, 1)


def agreement(earlier: Rows, later: Rows) -> float:
    """The mean closeness of two learners' drafts for the same sources."""
    pairs = [(draft_of(first), draft_of(second)) for first, second in zip(earlier, later, strict=True)]
    return float(np.mean([closeness(first, second) for first, second in pairs])) if pairs else 1.0


def text_metrics(predicted: Rows, targets: Rows) -> dict[str, float]:
    """The mean number of edited words, the shares of drafts by the words that are edited, and chrF from 0 to 1; each
    against the nearest accepted text. A missing draft counts as an empty one. {} without rows."""
    if not len(targets):
        return {}
    drafts = [draft_of(row) for row in predicted]
    nearest = [_nearest(draft, target) for draft, target in zip(drafts, targets, strict=True)]
    edits = [word_edits(draft, text) for draft, text in zip(drafts, nearest, strict=True)]
    classes = [edit_class(draft, text) for draft, text in zip(drafts, nearest, strict=True)]
    shares = {name: classes.count(name) / len(classes) for name in (ACCEPTED, TOUCHED, EDITED, REWRITTEN)}
    return {EDITS: float(np.mean(edits)), **shares, CHRF: _chrf(drafts, targets)}


def edit_class(draft: str, text: str) -> str:
    """How far a draft was edited: ACCEPTED, TOUCHED, EDITED or REWRITTEN."""
    edits, longest = word_edits(draft, text), max(count_words(draft), count_words(text))
    if not edits:
        return ACCEPTED
    if edits > MAX_EDITED * longest:
        return REWRITTEN
    return TOUCHED if edits == 1 else EDITED


def draft_outcome(drafted: LabelValue, annotated: LabelValue) -> str:
    """See `Kind.draft_outcome`: a draft of which more than half of the words changed was replaced."""
    name = edit_class(_text(drafted), _text(annotated))
    return {ACCEPTED: "accepted", REWRITTEN: "replaced"}.get(name, "edited")


def draft_changes(drafted: LabelValue, annotated: LabelValue) -> DraftChanges:
    """The numbers of words that are kept, removed and added."""
    draft, text = _text(drafted), _text(annotated)
    kept = kept_words(draft, text)
    added = count_words(text) - kept
    return DraftChanges(kept, count_words(draft) - kept, added, kept_words=kept, added_words=added)


def _score(row: Predicted | None, target: Target) -> float:
    draft = draft_of(row)
    if row is None or not draft:
        return 0.0
    [score] = nearest_closeness([draft], [target])
    return 0.0 if row[3] and score < 1 else float(score)


def _nearest(draft: str, target: Target) -> str:
    """The accepted text from which a draft differs in the fewest words."""
    return min(target, key=lambda text: (word_edits(draft, text), target.index(text)))


def _text(value: LabelValue) -> str:
    return str(value[0]) if value else ""


def _chrf(drafts: Sequence[str], targets: Rows) -> float:
    """chrF with beta 2 over all drafts (Popović, "chrF: character n-gram F-score for automatic MT evaluation", WMT
    2015), as sacrebleu computes it, against all accepted texts of each task."""
    from sacrebleu.metrics import chrf

    # a missing reference is None, which the annotation of sacrebleu lacks
    references: list[Any] = [*zip_longest(*targets)]
    return float(chrf.CHRF().corpus_score(drafts, references).score) / 100

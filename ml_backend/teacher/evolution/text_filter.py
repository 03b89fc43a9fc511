"""Which of the texts that a teacher wrote are worth a label: neither empty, nor of another length than the project's
own, nor like anything that is there already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.core.types import Floats, content_key
from ml_backend.teacher.evolution.confusions import ALIKE
from ml_backend.teacher.evolution.generated_texts import (
    ALIKE_TASK,
    ALIKE_WRITTEN,
    EMPTY,
    LENGTH,
    DroppedText,
    GeneratedText,
    vectors,
)
from ml_backend.teacher.project_context import ProjectContext

SAMPLE = 2000
"""The project's own texts whose lengths are looked at."""
WIDER = 1.5
"""By this factor a text may be shorter than nearly all of them, or longer."""


def sieve(
    site: ProjectContext, texts: Sequence[GeneratedText], earlier: Sequence[GeneratedText]
) -> tuple[list[GeneratedText], list[DroppedText]]:
    """Those that are kept, and the others. `earlier`: written before and kept."""
    dropped: list[DroppedText] = []
    low, high = lengths(site)
    kept: list[GeneratedText] = []
    for each in texts:
        if not each.text:
            dropped.append(DroppedText(EMPTY, each.text))
        elif not low <= len(each.text) <= high:
            dropped.append(DroppedText(LENGTH, each.text))
        else:
            kept.append(each)
    if not kept:
        return [], dropped
    found = vectors(site.store, site.encoder, site.record.id, kept)
    known = vectors(site.store, site.encoder, site.record.id, earlier)
    alike = _like_a_task(site, kept, found)
    fresh: list[int] = []
    for row, vector in enumerate(found):
        if alike[row]:
            dropped.append(DroppedText(ALIKE_TASK, kept[row].text))
        elif (known @ vector > ALIKE).any() or (found[fresh] @ vector > ALIKE).any():
            dropped.append(DroppedText(ALIKE_WRITTEN, kept[row].text))
        else:
            fresh.append(row)
    return [kept[row] for row in fresh], dropped


def lengths(site: ProjectContext) -> tuple[float, float]:
    """The shortest and the longest that a text may be, in characters, by the project's own texts."""
    tasks = site.pool.tasks[~site.pool.synthetic]
    some = np.random.default_rng(0).permutation(tasks)[:SAMPLE]
    counted = [len(text) for text in site.store.tasks.texts(site.record.id, some.tolist()) if text.strip()]
    low, high = np.percentile(counted or [0], [1, 99])
    return float(low) / WIDER, float(high) * WIDER


def _like_a_task(site: ProjectContext, texts: Sequence[GeneratedText], found: Floats) -> list[bool]:
    """Also by the letter: a task may not have been encoded yet."""
    _, places = site.pool.rows_with([content_key(each.text) for each in texts])
    same = set(places.tolist())
    pool = site.pool.encoded_view().vectors
    near = np.asarray((pool @ found.T > ALIKE).any(axis=0))
    return [row in same or bool(near[row]) for row in range(len(texts))]

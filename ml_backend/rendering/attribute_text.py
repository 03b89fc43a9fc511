"""Words the judgement of an attribute model about accepted pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ml_backend.kinds.base import AttributeJudgement

MAX_WORST = 5
MAX_QUOTED_CHARACTERS = 100


def attribute_lines(
    setting: str, judgement: AttributeJudgement | None, tasks: Sequence[int], sources: Sequence[str]
) -> Iterator[str]:
    """Yields the lines of `apprentice attribute` about n pairs.

    setting    the setting `attribute` of the project
    judgement  None without an attribute model
    """
    if judgement is None:
        advice = "it is fitted from 25 accepted texts on" if setting else "name one by the setting `attribute`"
        yield f"No attribute model is fitted yet: {advice}."
        return
    auc = judgement.auc
    yield f"{judgement.setting}: AUC {auc.value:.3f} (95 %: {auc.low:.3f} to {auc.high:.3f}; {auc.n} accepted pairs)"
    yield (
        "It judges drafts."
        if judgement.is_used
        else "It judges no drafts, because its AUC is below 0.95; attribute_selection `forced` uses it anyway."
    )
    passed = float(np.mean(judgement.accepted_failures <= 0.5))
    flagged = float(np.mean(judgement.source_failures > 0.5))
    yield f"The attribute holds in {passed:.0%} of the accepted texts, and fails in {flagged:.0%} of the sources."
    yield "Judged worst: sources in which the attribute would hold"
    for row in np.argsort(judgement.source_failures, kind="stable")[:MAX_WORST].tolist():
        text = " ".join(sources[row].split())[:MAX_QUOTED_CHARACTERS]
        yield f"  task {tasks[row]}: {judgement.source_failures[row]:.2f} {text}"

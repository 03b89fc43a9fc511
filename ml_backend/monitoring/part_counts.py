"""Counts how many parts of drafts are right, by label, and how many are wrong, by kind of error."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from ml_backend.core.arrays import Mask, Rows
from ml_backend.core.schema import ControlSchema
from ml_backend.evaluation.audit_sample import judged_rows
from ml_backend.kinds.lookup import kind_of


def count_parts(control: ControlSchema, held_out: Rows, targets: Rows, audited: Mask) -> dict[str, Any]:
    """The counts as JSON, in n cross-validated drafts of the audit sample, `audited` (n,), or of all tasks if the audit
    sample is too small.

    tasks            the number of counted tasks
    source, details  which tasks these are, as in `Estimate`
    labels           `PartCounts` by label
    errors           the number of errors by `PartError.name`, the most frequent first
    """
    is_judged, source, details = judged_rows(audited)
    of_kind, predicted, targets = kind_of(control), held_out[is_judged], targets[is_judged]
    errors = Counter(error.name for error in of_kind.part_errors(control, predicted, targets))
    counts = of_kind.part_counts(control, predicted, targets)
    return {
        "tasks": len(targets),
        "source": source,
        "details": details,
        "labels": {label: asdict(of_label) for label, of_label in counts.items()},
        "errors": dict(errors.most_common()),
    }

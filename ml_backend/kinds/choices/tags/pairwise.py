"""<Pairwise>: its labels are the two sides.

Measured on Label Studio 1.23: the screen stores {"selected": "left"} in a region whose `to_name` is the control itself,
whatever `leftChoiceValue` is. The bulk import accepts drafts whose `to_name` is one of the two sides, and drops those
with the name of the control; the screen shows both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_backend.core.schema import PAIR_SIDES, ChoicesSchema
from ml_backend.kinds.choices.tags.control_tag import ControlTag
from ml_backend.kinds.tag_attributes import is_conditional, is_required


def read_schema(element: Any, name: str, source: str) -> ChoicesSchema:
    return ChoicesSchema(
        name=name,
        source=source,
        labels=PAIR_SIDES,
        multiple=False,
        conditional=is_conditional(element) or is_required(element),
        tag="Pairwise",
        antisymmetric=True,
    )


def write(labels: Sequence[str], control: ChoicesSchema) -> str:
    return labels[0]


TAG = ControlTag(read_schema, "pairwise", "selected", write, source_count=2)

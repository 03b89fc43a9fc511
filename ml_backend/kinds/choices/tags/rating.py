"""<Rating>: its labels are the numbers from 1 to `maxRating`, in their order.

Observed in the labelling screen of Label Studio 1.23: it stores {"rating": 4}; a rating that is taken back leaves no
region. The API also accepts 0 as a rating, which is no label here. With a `maxRating` that is not a whole number, the
server refuses all drafts, so that such a control has no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_backend.core.schema import ChoicesSchema
from ml_backend.kinds.choices.tags.control_tag import ControlTag
from ml_backend.kinds.tag_attributes import attribute, is_conditional, is_required

DEFAULT_MAX_RATING = 5
MAX_RATING = 100
"""Labels of a <Rating>: those above are not read, because no screen has room for as many stars."""


def read_schema(element: Any, name: str, source: str) -> ChoicesSchema:
    text = attribute(element, "maxRating").strip() or str(DEFAULT_MAX_RATING)
    max_rating = int(text[:9]) if text.isascii() and text.isdigit() else 0
    return ChoicesSchema(
        name=name,
        source=source,
        labels=tuple(str(rating) for rating in range(1, min(max_rating, MAX_RATING) + 1)),
        multiple=False,
        conditional=is_conditional(element) or is_required(element),
        tag="Rating",
        ordered=True,
    )


def write(labels: Sequence[str], control: ChoicesSchema) -> int:
    return int(labels[0])


TAG = ControlTag(read_schema, "rating", "rating", write, blank="0")

"""The control tags whose labels are learnt as choices: a module for each, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping

from ml_backend.kinds.choices.tags import choices, pairwise, rating, taxonomy
from ml_backend.kinds.choices.tags.control_tag import ControlTag

CONTROL_TAGS: Mapping[str, ControlTag] = {
    "Choices": choices.TAG,
    "Rating": rating.TAG,
    "Taxonomy": taxonomy.TAG,
    "Pairwise": pairwise.TAG,
}
"""By the name of the tag."""

"""<Taxonomy>: its labels are the nodes of a tree, by their paths; a node implies its ancestors.

Measured on Label Studio 1.23: the screen stores the path of each selected node, in `alias` if there is one, and not the
paths of its parents; it shows a draft by these paths, which the bulk import accepts. With `leafsOnly`, it selects only
leaves. With `maxUsages`, it refuses to submit more nodes than that. `showFullPath` and `pathSeparator` change what it
shows, not what it stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ml_backend.core.schema import ChoicesSchema
from ml_backend.kinds.choices.hierarchy import ancestors_of, deepest_labels
from ml_backend.kinds.choices.tags.choice_tree import hints_of, read_choices
from ml_backend.kinds.choices.tags.control_tag import ControlTag, stored_paths
from ml_backend.kinds.tag_attributes import is_conditional, is_required, is_set, whole_number


def read_schema(element: Any, name: str, source: str) -> ChoicesSchema:
    leaves_only = is_set(element, "leafsOnly")
    choices = [choice for choice in read_choices(element, nested=True) if not (leaves_only and choice.is_parent)]
    row_by_path = {choice.path: row for row, choice in enumerate(choices)}
    parents = tuple(row_by_path.get(choice.path[:-1], -1) for choice in choices)
    return ChoicesSchema(
        name=name,
        source=source,
        labels=tuple(choice.name for choice in choices),
        multiple=True,
        hints=hints_of(choices),
        stored=tuple(choice.path for choice in choices),
        conditional=is_conditional(element) or is_required(element),
        tag="Taxonomy",
        parents=parents if any(parent >= 0 for parent in parents) else (),
        max_usages=whole_number(element, "maxUsages"),
    )


def write(labels: Sequence[str], control: ChoicesSchema) -> list[list[str]]:
    """The paths of the deepest labels. A label without all of its ancestors is left out."""
    consistent = [label for label in labels if {*ancestors_of(label, control)} <= {*labels}]
    return [[*path] for path in stored_paths(deepest_labels(consistent, control), control)]


TAG = ControlTag(read_schema, "taxonomy", "taxonomy", write)

"""Finds which words of an accepted text stand in the place of each word of its source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein

from ml_backend.core.arrays import Ints


def accepted_ranges(source: Sequence[str], accepted: Sequence[str]) -> Ints:
    """(w, 2) for each of the source's words (w,) the accepted words in its place: the first one, and the one behind the
    last one. One after another, they are all words of the accepted text, if the source has any.

    The fewest words are inserted, deleted or replaced (Levenshtein 1966), where words that differ in the letter case
    are equal. Inserted words stand beside a word that is deleted or replaced, if they can, or else behind the word
    before them.
    """
    ends = np.zeros(len(source), np.int64)
    operations = Levenshtein.opcodes([word.lower() for word in source], [word.lower() for word in accepted])
    for number, operation in enumerate(operations):
        begin, end = operation.src_start, operation.src_end
        if operation.tag == "insert":
            is_next_changed = number + 1 < len(operations) and operations[number + 1].tag != "equal"
            is_previous_changed = number > 0 and operations[number - 1].tag != "equal"
            if begin and (is_previous_changed or not is_next_changed):
                ends[begin - 1] = operation.dest_end
        elif operation.tag == "delete":
            ends[begin:end] = operation.dest_start
        else:
            ends[begin:end] = np.arange(operation.dest_start, operation.dest_end) + 1
    ends[-1:] = len(accepted)
    return np.stack([np.concatenate([np.zeros(1, np.int64), ends])[: len(source)], ends], axis=1)

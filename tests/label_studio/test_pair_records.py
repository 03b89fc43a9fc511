"""The record of a task whose texts are compared."""

from __future__ import annotations

from ml_backend.label_studio.pair_records import pair_record


def test_fields_that_are_named_like_the_sides_keep_their_content() -> None:
    record = {"a": "x", "b": "y", "left": "margin", "more": "z"}
    assert pair_record(record, [["a", "more"], ["b"]]) == {"left": "x\nz", "right": "y", "left (context)": "margin"}

"""The kind of `answer_kind`, which fails unless it gets the content of the task with each region and each reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from answer_kind import ANSWER_PLUGINS, AnswerKind

from ml_backend.core.arrays import Rows
from ml_backend.core.displayed_text.html_text import visible_text
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import Texts
from ml_backend.core.types import Label, LabelValue, TaskContent, read_record


class LocatedAnswerKind(AnswerKind):
    locates_regions = True

    def read_label(self, regions: Sequence[Mapping[str, Any]], control: ControlSchema, content: TaskContent) -> Label:
        assert_is_displayed(content, control)
        return super().read_label(regions, control, content)

    def write_regions(self, value: LabelValue, control: ControlSchema, content: TaskContent) -> list[dict[str, Any]]:
        assert_is_displayed(content, control)
        return super().write_regions(value, control, content)

    def reply_of(self, control: ControlSchema, value: LabelValue, text: str) -> Any:
        assert text
        return super().reply_of(control, value, text)

    def read_replies(self, control: ControlSchema, replies: Rows, texts: Texts) -> Rows:
        read = texts(np.arange(len(replies)))
        assert len(read) == len(replies) and all(read)
        return super().read_replies(control, replies, texts)


LOCATED_ANSWER = LocatedAnswerKind()
LOCATED_ANSWER_PLUGINS = {**ANSWER_PLUGINS, "kind.answer": LOCATED_ANSWER}


def assert_is_displayed(content: TaskContent, control: ControlSchema) -> None:
    """Fails unless the text of a task is what is read of the HTML, of the text or of the record that is displayed."""
    displayed = content.displayed(control.source)
    assert control.object_tag is not None and control.object_tag.name == control.source
    if control.object_tag.tag == "Table":
        assert displayed.items() <= read_record(content.text).items() and displayed
    else:
        assert content.text and visible_text(displayed) == visible_text(content.text)
        assert ("<" in displayed) == (control.object_tag.tag == "HyperText")

"""What is learnt of the labelling configurations that come with Label Studio."""

from __future__ import annotations

from itertools import groupby

import pytest
from label_studio_templates import listed_rows, templates

from ml_backend.core.schema import REASONS_NOT_LEARNT
from ml_backend.kinds.choices.tags import CONTROL_TAGS
from ml_backend.label_studio.label_config import read_controls

pytestmark = pytest.mark.e2e


def template_row(title: str, config: str) -> str:
    """The row of a template in the page: its controls that are learnt, and the others by their reasons."""
    learnt, unlearnt = read_controls(config)
    code_of = {code: position for position, code in enumerate(REASONS_NOT_LEARNT)}
    by_code = groupby(sorted(unlearnt, key=lambda control: code_of[control.code]), lambda control: control.code)
    reasons = [
        f"{', '.join(f'`{control.name}` ({control.tag})' for control in controls)}: {REASONS_NOT_LEARNT[code]}"
        for code, controls in by_code
    ]
    names = ", ".join(f"`{control.name}` ({control.tag})" for control in learnt)
    return f"| {title} | {names} | {'; '.join(reasons)} |"


def test_the_page_says_what_is_learnt_of_each_template() -> None:
    rows = sorted(template_row(title, config) for title, config in templates())
    assert listed_rows() == rows, "copy these rows between the markers:\n" + "\n".join(rows)


def test_every_choice_rating_taxonomy_and_comparison_of_a_whole_task_is_learnt() -> None:
    codes = {
        (title, control.name): control.code
        for title, config in templates()
        for control in read_controls(config)[1]
        if control.tag in CONTROL_TAGS and control.code not in ("per region", "dynamic")
    }
    assert codes == {("Chatbot Model Assessment", "likert_scale"): "source"}, "this one has no toName"

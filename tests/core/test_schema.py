"""The schema of a project."""

from __future__ import annotations

import pytest
from schemas import text_schema

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.schema import MAX_LABELS, REASONS_NOT_LEARNT, ProjectSchema, UnlearntControl

TEXT_SCHEMA = text_schema("ab")
SCHEMA = ProjectSchema(TEXT_SCHEMA.input, TEXT_SCHEMA.controls, (UnlearntControl("topic", "Taxonomy", "many labels"),))


def test_a_control_that_is_not_learnt_is_refused_with_the_reason() -> None:
    reason = REASONS_NOT_LEARNT["many labels"]
    assert str(MAX_LABELS) in reason
    with pytest.raises(ApprenticeError) as failure:
        SCHEMA.selected_controls("topic")
    assert str(failure.value) == f"The project learns no control 'topic' ({reason}): name one of 'label'"


def test_a_control_that_does_not_exist_is_refused_with_the_names_of_the_others() -> None:
    with pytest.raises(ApprenticeError, match=r"^The project learns no control 'mood': name one of 'label'$"):
        SCHEMA.selected_controls("mood")

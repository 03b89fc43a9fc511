"""A project that is reconciled."""

from __future__ import annotations

import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from reconciliation import assert_agree, settle

from ml_backend.storage import Store


@pytest.fixture
def stored_truth(server: FakeLabelStudio, store: Store) -> dict[int, str]:
    """Six tasks, two of them annotated and one skipped, all of them in the store."""
    truth = add_labelled_tasks(server, 6)
    first, second, third = list(truth)[:3]
    server.annotate(first, "fruit")
    server.annotate(second, "metal")
    server.annotate(third, skip=True)
    settle(server, store)
    assert_agree(server, store)
    return truth

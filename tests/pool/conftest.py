"""A pool of project 5."""

from __future__ import annotations

import pytest
from fake_encoder import FakeEncoder

from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store


@pytest.fixture
def pool(store: Store, fake_encoder: FakeEncoder) -> ProjectPool:
    return ProjectPool(store, 5, fake_encoder)

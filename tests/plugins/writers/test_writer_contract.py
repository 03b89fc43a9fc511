"""The contract, for every installed writer."""

from __future__ import annotations

import pytest
from writer_contract import WriterContract

from ml_backend.core import registry
from ml_backend.core.ports import Writer


class TestInstalled(WriterContract):
    @pytest.fixture(params=sorted(registry.installed("writer")))
    def writer(self, request: pytest.FixtureRequest) -> Writer:
        return registry.writers()[str(request.param)]


def test_the_installed_writers_are_found() -> None:
    assert {"edits", "nearest"} <= {*registry.writers()}

"""The contract is no test module, but its assertions shall explain themselves, too."""

import pytest

pytest.register_assert_rewrite("contract")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """No strategy uses torch, so no test waits for its import."""

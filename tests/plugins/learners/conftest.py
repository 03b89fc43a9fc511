"""The contract is no test module, but its assertions shall explain themselves, too."""

import pytest

pytest.register_assert_rewrite("learner_contract")

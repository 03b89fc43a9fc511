"""The strategy that CONTRIBUTING.md shows keeps the contract, with the test that is shown beside it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pools import make_pool

CONTRIBUTING = Path(__file__).parents[3] / "CONTRIBUTING.md"
STRATEGY, TEST = re.findall(r"^```python\n(.*?)^```", CONTRIBUTING.read_text(), re.DOTALL | re.MULTILINE)
NAME = "most_confident"

most_confident = ModuleType(NAME)
exec(compile(STRATEGY, f"{NAME}.py of CONTRIBUTING.md", "exec"), most_confident.__dict__)

with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, NAME, most_confident)
    exec(compile(TEST, "test of CONTRIBUTING.md", "exec"))  # defines TestMostConfident, which pytest runs


def test_the_example_serves_the_least_uncertain_rows() -> None:
    pool = make_pool(40)
    chosen = most_confident.MostConfident().select(pool, 5, 0)
    assert (np.diff(chosen.uncertainty) >= 0).all()
    assert len(chosen.rows) == 5


def test_the_tests_of_the_example_are_run() -> None:
    assert "TestMostConfident" in globals()


def test_the_entry_point_of_the_example_names_its_class() -> None:
    assert f'"acquisition.most-confident" = "{NAME}:MostConfident"' in CONTRIBUTING.read_text()

"""Several functions that are minimised at once."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.lbfgs import Limits, minimize


def rosenbrock(at: Doubles) -> tuple[Doubles, Doubles]:
    return np.array([rosen(row) for row in at]), np.array([rosen_der(row) for row in at])


def test_each_function_comes_to_its_minimum() -> None:
    starts = np.array([[-1.2, 1.0, 0.5], [3.0, -2.0, 1.0]])
    np.testing.assert_allclose(minimize(rosenbrock, starts, Limits(300, 0.0)), 1.0, atol=1e-4)


def test_a_search_does_not_depend_on_the_others() -> None:
    starts = np.array([[-1.2, 1.0], [1.0, 1.0], [3.0, -2.0]])
    together = minimize(rosenbrock, starts, Limits(15, 1e-3))
    alone = [minimize(rosenbrock, start[None], Limits(15, 1e-3))[0] for start in starts]
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("evaluations", [1, 2, 5, 20])
def test_no_value_rises_and_evaluations_are_bounded(evaluations: int) -> None:
    starts, calls = np.array([[-1.2, 1.0], [30.0, -20.0]]), []

    def counted(at: Doubles) -> tuple[Doubles, Doubles]:
        calls.append(1)
        return rosenbrock(at)

    end = minimize(counted, starts, Limits(evaluations, 0.0))
    assert (rosenbrock(end)[0] <= rosenbrock(starts)[0]).all() and len(calls) <= evaluations


def test_steps_into_values_that_are_no_numbers_are_shortened() -> None:
    def logarithm(at: Doubles) -> tuple[Doubles, Doubles]:
        with np.errstate(all="ignore"):
            return (at - 100 * np.log(at)).sum(axis=1), 1 - 100 / at

    np.testing.assert_allclose(minimize(logarithm, np.array([[1000.0], [0.5]]), Limits(60, 0.0)), 100.0, rtol=1e-4)

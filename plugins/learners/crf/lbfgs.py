"""Minimises several functions that share their work, by the limited-memory BFGS method.

Nocedal and Wright, "Numerical Optimization" (2nd edition, 2006), algorithms 7.4 and 7.5, with steps that are shortened
until the value has fallen (3.5). All functions are evaluated together. Each has its own search apart from that: its
result does not depend on the other functions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from plugins.learners.crf.chain import Doubles

MEMORY = 10
"""Steps that the second derivatives are estimated from."""
FIRST_STEP = 0.1
"""Length of the first step, as a share of the gradient: one over a usual second derivative."""
SUFFICIENT_DECREASE = 1e-4
"""Share of the decrease that the gradient promises, from which a step is taken."""
SHORTENED = (0.1, 0.5)
"""The bounds of the factor by which a step is shortened."""
Functions = Callable[[Doubles], tuple[Doubles, Doubles]]
Pair = tuple[Doubles, Doubles, Doubles]
"""The step (h, p), the change of the gradients (h, p), and one over their product (h,), 0 if a function has no step."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search ends.

    evaluations  how often the functions are evaluated at most
    tolerance    relative decrease of a value in one step below which the search for its function ends
    """

    evaluations: int
    tolerance: float


def minimize(functions: Functions, start: Doubles, limits: Limits) -> Doubles:
    """(h, p) the parameters with the lowest values of h functions.

    functions  give the values (h,) and the gradients (h, p) for parameters (h, p)
    start      (h, p)
    """
    parameters, (values, gradients) = start, functions(start)
    pairs: deque[Pair] = deque(maxlen=MEMORY)
    scales: Doubles = np.full(len(start), FIRST_STEP)
    lengths: Doubles = np.ones(len(start))
    goes_on = np.ones(len(start), np.bool_)
    for _ in range(limits.evaluations - 1):
        directions = _directions(gradients, pairs, scales)
        slopes = lengths * _products(directions, gradients)
        trial = parameters + lengths[:, None] * directions
        new_values, new_gradients = functions(trial)
        is_lower = goes_on & (new_values <= values + SUFFICIENT_DECREASE * slopes)
        steps = np.where(is_lower[:, None], trial - parameters, 0.0)
        changes = np.where(is_lower[:, None], new_gradients - gradients, 0.0)
        curvatures = _products(steps, changes)
        is_pair = curvatures > 0
        pairs.append((steps, changes, np.divide(1.0, curvatures, where=is_pair, out=np.zeros(len(start)))))
        np.divide(curvatures, _products(changes, changes), where=is_pair, out=scales)
        lengths = np.where(is_lower, 1.0, lengths * _shortening(values, slopes, new_values))
        goes_on &= ~is_lower | (values - new_values > limits.tolerance * np.abs(values))
        values = np.where(is_lower, new_values, values)
        parameters = np.where(is_lower[:, None], trial, parameters)
        gradients = np.where(is_lower[:, None], new_gradients, gradients)
        if not goes_on.any():
            break
    return parameters


def _products(first: Doubles, second: Doubles) -> Doubles:
    """(h,) the inner products."""
    return np.asarray(np.einsum("hp,hp->h", first, second))


def _directions(gradients: Doubles, pairs: Iterable[Pair], scales: Doubles) -> Doubles:
    """(h, p) from the gradients and the pairs, the oldest first. scales: (h,) one over the second derivatives"""
    directions, factors = -gradients, []
    for steps, changes, inverses in reversed([*pairs]):
        factors.append(inverses * _products(steps, directions))
        directions -= factors[-1][:, None] * changes
    directions *= scales[:, None]
    for (steps, changes, inverses), factor in zip(pairs, reversed(factors), strict=True):
        directions += (factor - inverses * _products(changes, directions))[:, None] * steps
    return directions


def _shortening(values: Doubles, slopes: Doubles, new_values: Doubles) -> Doubles:
    """(h,) the factors of lengths with which parabolas are lowest."""
    least, most = SHORTENED
    with np.errstate(all="ignore"):
        lowest = -0.5 * slopes / (new_values - values - slopes)
    return np.asarray(np.fmin(np.fmax(lowest, least), most))

"""What a simulated teacher added to the strategy that it was asked beside, and what it took.

An arm is no strategy: with a teacher and without one is another question than which labels come first, and is answered
apart from it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ml_backend.core.formatting import chance, points, span, sureness
from ml_backend.simulation import sequential_testing, statistics
from ml_backend.simulation.learning_curves import Measurement, table

SPENT = ("calls", "tokens", "cost")
BESIDE = " + "  # in no strategy's name


def name_of(strategy: str, arm: str, rounds: int, per_round: int) -> str:
    return f"{strategy}{BESIDE}{arm} ({rounds} x {per_round})"


def is_arm(name: str) -> bool:
    return BESIDE in name


def against_base(measurements: Sequence[Measurement], tried: Collection[str] = ()) -> dict[str, Any]:
    """Of each arm with a run that its strategy alone has, too: `base`, `gain` in normalised area under the macro-F1
    with its `interval` at `level`, `p_holm` corrected for `corrected_for` arms (those `tried` on the same data, too),
    `wins` of `seeds`, and the means of `calls`, `tokens` and `cost` of a repetition."""
    budgets, curves = table(measurements, "macro_f1")
    found: dict[str, Any] = {}
    for name in filter(is_arm, curves):
        base = name.split(BESIDE)[0]
        if not len(curves[name]) or not len(curves.get(base, ())):
            continue
        areas = [statistics.normalised_area(budgets, curves[each]) for each in (name, base)]
        gain, level = statistics.paired(*areas), sequential_testing.level(len(areas[0]))
        low, high = statistics.interval(areas[0] - areas[1], level)
        mine = [each for each in measurements if each.strategy == name]
        spent = {what: float(table(mine, f"teacher_{what}")[1][name][:, -1].mean()) for what in SPENT}
        found[name] = {
            "base": base, "gain": gain.gain, "interval": [float(low), float(high)], "level": level,
            "p_value": gain.p_value, "wins": gain.wins, "seeds": len(areas[0]), **spent,
        }  # fmt: skip
    unseen = {name: 1.0 for name in tried if is_arm(name) and name not in found}
    corrected = statistics.holm({name: each.pop("p_value") for name, each in found.items()} | unseen)
    return {name: {**each, "p_holm": corrected[name], "corrected_for": len(corrected)} for name, each in found.items()}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same in words, a sentence each, those that gain most first."""
    for name, each in sorted(found.items(), key=lambda item: -item[1]["gain"]):
        sure = f"ahead in {each['wins']} of {each['seeds']} repetitions"
        if each["seeds"] < sequential_testing.fewest(each["corrected_for"]):
            sure += ", which are too few to say"
        else:
            sure = (
                f"{sureness(each['level'])} interval: {span(each['interval'])}; {sure}, p {chance(each['p_holm'])} "
                f"corrected for {each['corrected_for']}, where it takes less than {each['level']:.2g}"
            )
        cost = f" at {each['cost']:.3g}" if each["cost"] else ""
        yield (
            f"{name}: {points(each['gain'])} points of macro-F1 beside {each['base']} alone ({sure}), for "
            f"{each['calls']:.0f} calls and {each['tokens']:,.0f} tokens{cost} a repetition."
        )

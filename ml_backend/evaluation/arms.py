"""What a simulated teacher added to the strategy that it was asked beside, and what it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_backend.evaluation import statistics
from ml_backend.evaluation.curves import Measurement, table

SPENT = ("calls", "tokens", "cost")


def against_base(measurements: Sequence[Measurement], arms: Mapping[str, str]) -> dict[str, Any]:
    """Of each arm with a run that its strategy alone has, too: `base`, `gain` in normalised area under the macro-F1
    with its 95 % interval `ci95`, `p_holm` (corrected for the number of arms), `wins` of `seeds`, and the means of
    `calls`, `tokens` and `cost` of a repetition."""
    budgets, curves = table(measurements, "macro_f1")
    found: dict[str, Any] = {}
    for name, base in arms.items():
        if not len(curves.get(name, ())) or not len(curves.get(base, ())):
            continue
        areas = [statistics.normalised_area(budgets, curves[each]) for each in (name, base)]
        gain = statistics.paired(*areas)
        mine = [each for each in measurements if each.strategy == name]
        spent = {what: float(table(mine, f"teacher_{what}")[1][name][:, -1].mean()) for what in SPENT}
        found[name] = {
            "base": base, "gain": gain.gain, "ci95": [gain.low, gain.high], "p_value": gain.p_value, "wins": gain.wins,
            "seeds": len(areas[0]), **spent,
        }  # fmt: skip
    corrected = statistics.holm({name: each.pop("p_value") for name, each in found.items()})
    return {name: {**each, "p_holm": corrected[name]} for name, each in found.items()}


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same in words, a sentence each, those that gain most first."""
    for name, each in sorted(found.items(), key=lambda item: -item[1]["gain"]):
        low, high = (100 * end for end in each["ci95"])
        cost = f" at {each['cost']:.3g}" if each["cost"] else ""
        yield (
            f"{name}: {100 * each['gain']:+.1f} points of macro-F1 beside {each['base']} alone (95 % interval: "
            f"{low:+.1f} to {high:+.1f}; ahead in {each['wins']} of {each['seeds']} repetitions, p "
            f"{each['p_holm']:.2g} corrected for {len(found)}), for {each['calls']:.0f} calls and "
            f"{each['tokens']:,.0f} tokens{cost} a repetition."
        )

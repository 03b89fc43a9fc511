"""Words the result of the monitor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ml_backend.rendering.formatting import MAX_LISTED_ITEMS, and_more

MAX_NAME_LETTERS = 15  # of a line's name


def monitor_lines(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not result:
        return
    if result["balance"]:
        shares = sorted(result["balance"].items(), key=lambda item: -item[1]["value"])
        shown = [f"{label} {share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})" for label, share in shares]
        yield "classes", ", ".join(shown[:MAX_LISTED_ITEMS]) + and_more(shown) + ", by the audit sample"
    yield f"by {result['groups']['by']}"[:MAX_NAME_LETTERS], result["groups"]["summary"]
    yield "against random", result["comparison"]["sentence"]
    yield "enough labels?", result["stopping"]["sentence"]
    if result["second_look"]:
        suspects = [
            f"{suspect['task']} (rather {', '.join(suspect['instead']) or 'none'})" for suspect in result["second_look"]
        ]
        yield "second look", f"these annotations look wrong: task {', '.join(suspects)}"

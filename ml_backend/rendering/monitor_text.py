"""Words the result of the monitor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from ml_backend.core.types import Estimate
from ml_backend.evaluation.group_metrics import GroupMetrics
from ml_backend.evaluation.random_baseline import FIRST_LOOK, error_rate
from ml_backend.evaluation.stopping import FORECAST_LABELS, MIN_STABLE_AGREEMENT
from ml_backend.kinds.base import ACCURACY
from ml_backend.rendering.formatting import MAX_LISTED_ITEMS, and_more
from ml_backend.teacher.evolution.analysis_prompt import group_summary

NO_QUOTES: Mapping[int, tuple[str, str]] = MappingProxyType({})
MAX_NAME_LETTERS = 15  # of a line's name
STOPPING_MEANINGS = {
    "stop": "stopping is reasonable",
    "go on": "go on",
    "disagree": "the two criteria disagree",
    "too early": "this is too uncertain to say whether to stop",
}


def monitor_lines(
    result: Mapping[str, Any],
    score_name: str = ACCURACY,
    agreement_name: str = "kappa",
    quotes: Mapping[int, tuple[str, str]] = NO_QUOTES,
) -> Iterator[tuple[str, str]]:
    """The lines of a result of `run_monitor`, as pairs of a name and a sentence; none before its first run.

    score_name      see `Kind.score_name`
    agreement_name  see `Kind.agreement_name`
    quotes          see `ControlStatus.quotes`
    """
    if not result:
        return
    if result["balance"]:
        shares = sorted(result["balance"].items(), key=lambda item: -item[1]["value"])
        shown = [f"{label} {share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})" for label, share in shares]
        yield "classes", ", ".join(shown[:MAX_LISTED_ITEMS]) + and_more(shown) + ", by the audit sample"
    yield f"by {result['groups']['by']}"[:MAX_NAME_LETTERS], groups_sentence(result["groups"], score_name)
    yield "against random", comparison_sentence(result["comparison"])
    yield "enough labels?", stopping_sentence(result["stopping"], agreement_name)
    if choice := result.get("word_layers"):
        yield "word layers", layers_sentence(choice)
    if unusual := result.get("unusual"):
        listed = (f"{n} of {words}, e.g. task {task}" for words, (n, task) in unusual.items())
        yield "unusual labels", f"{'; '.join(listed)}: they are learnt from"
    if (withheld := result.get("withheld", {})).get("reasons"):
        reasons = ", ".join(f"{n} because {reason}" for reason, n in withheld["reasons"].items())
        yield "not shown", f"of {withheld['of']} cross-validated drafts: {reasons}"
    if suspects := [_suspect(suspect, quotes) for suspect in result["second_look"]]:
        separator = "; task " if quotes else ", "  # a quote may have commas
        yield "second look", f"these annotations look wrong: task {separator.join(suspects)}"


def layers_sentence(choice: Mapping[str, Any]) -> str:
    """Names the layers after which words are read, and the candidates that they were compared with; see
    `LayerChoice`."""
    since = datetime.fromtimestamp(choice["since"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    layers = " and ".join(map(str, choice["layers"])) or "its own"
    scores = ", ".join(f"{'+'.join(map(str, compared))} {score:.1%}" for compared, score in choice["scores"])
    compared = f"by the held-out drafts of {choice['labelled']} tasks ({scores})" if scores else "it offers no others"
    return f"{layers} of {choice['encoder']}, since {since}: {compared}"


def _suspect(suspect: Mapping[str, Any], quotes: Mapping[int, tuple[str, str]]) -> str:
    """The task of a suspected error, and what is proposed instead: all labels or, of values with parts, a quote."""
    if "added" not in suspect:
        return f"{suspect['task']} (rather {', '.join(suspect['instead']) or 'none'})"
    added, removed = quotes.get(suspect["task"], ("", ""))
    if not added:  # the text has changed or was deleted since
        return str(suspect["task"])
    than = f' than "{removed}"' if removed else ""
    return f'{suspect["task"]} (rather "{added}"{than}, {suspect["confidence"]:.0%} sure)'


def groups_sentence(groups: Mapping[str, Any], score_name: str = ACCURACY) -> str:
    """Compares the groups, or says why there are none. `score_name`: see `Kind.score_name`"""
    if missing := groups["missing"]:
        if missing["code"] == "left out":
            reason = missing["reason"]
            return f"the field {groups['by']!r} is left out of the records ({reason}), so that it makes no groups"
        return f"no labelled task has a field {groups['by']!r}"
    accuracy = {name: Estimate(**estimate) for name, estimate in groups["accuracy"].items()}
    metrics = GroupMetrics(accuracy, groups["best"], groups["gap"], groups["p_value"])
    score = "" if score_name == ACCURACY or metrics.best is None else f"mean {score_name}: "
    return f"{score}{group_summary(metrics, score_name)}; of all labels, most of them chosen for being hard"


def comparison_sentence(comparison: Mapping[str, Any]) -> str:
    """Says whether the query strategy is better than random order, by the result of the latest look."""
    if not comparison["looks"]:
        progress = f"{comparison['audited']} of the {FIRST_LOOK} audited answers that the first look takes"
        return f"not compared with random order yet: {progress}"
    gain, low, high = (100 * comparison[name] for name in ("gain", "low", "high"))
    confidence = 1 - 2 * error_rate(comparison["looks"])
    return (
        f"{comparison['verdict']}: with {comparison['exchanged']:.0%} of the chosen answers exchanged for random ones, "
        f"the learner would be {abs(gain):.1f} points {'worse' if gain >= 0 else 'better'} (chosen minus exchanged, "
        f"{confidence:.1%}: {low:.1f} to {high:.1f}; on {comparison['judged_by']} audited answers)"
    )


def stopping_sentence(stopping: Mapping[str, Any], agreement_name: str = "kappa") -> str:
    """Says whether more labels are worth their cost, and by which two criteria. `agreement_name`: see
    `Kind.agreement_name`"""
    kappa, gains = stopping["kappa"], stopping["gains"]
    if kappa is None or not gains or gains[-1]["labels"] < FORECAST_LABELS[-1]:
        return f"too early to say: it takes at least {FORECAST_LABELS[-1]} labels"
    value, low, high = (100 * gains[-1][name] for name in ("value", "low", "high"))
    return (
        f"predictions {'are stable' if kappa >= MIN_STABLE_AGREEMENT else 'still change'} "
        f"({agreement_name} {kappa:.3f}) and {gains[-1]['labels']} more labels are expected to bring "
        f"{value:.1f} points (95 %: {low:.1f} to {high:.1f}): "
        f"{STOPPING_MEANINGS[stopping['verdict']]}"
    )

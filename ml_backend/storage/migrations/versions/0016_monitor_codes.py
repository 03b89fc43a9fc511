"""Results of the monitor and estimates of accuracy as numbers and codes instead of sentences.

What only a sentence had, such as the share of exchanged answers, is read from the sentence.
"""

import re
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

SOURCES = (  # pattern of a description, its code, and the names of the numbers in it
    (r"audit (?:sample|slice), each answer judged .*?(\d+) to (\d+)", "audit sample, prequential", ("fewest", "most")),
    (r"all labels.*?(\d+) of (\d+)", "all labels, cross-validated", ("audited", "minimum")),
    (r"rows of this group", "group", ()),
)
MIN_ROWS_TO_COMPARE = 10


def upgrade() -> None:
    monitor = sa.table("monitor", sa.column("project", sa.Integer()), sa.column("results", sa.JSON()))
    version = sa.table(
        "version", *(sa.column(name, sa.Integer()) for name in ("project", "number")), sa.column("accuracy", sa.JSON())
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(monitor)).mappings().all():
        same = monitor.c.project == row["project"]
        connection.execute(sa.update(monitor).where(same).values(results=_converted(row["results"])))
    for row in connection.execute(sa.select(version)).mappings().all():
        if row["accuracy"]:
            same = sa.and_(version.c.project == row["project"], version.c.number == row["number"])
            connection.execute(sa.update(version).where(same).values(accuracy=_estimate(row["accuracy"])))


def downgrade() -> None:
    op.execute("DELETE FROM monitor")  # the monitor runs again


def _converted(result: dict[str, Any]) -> dict[str, Any]:
    converted = dict(result)
    if stopping := result.get("stopping"):
        converted["stopping"] = {name: value for name, value in stopping.items() if name != "sentence"}
    if comparison := result.get("comparison"):
        converted["comparison"] = _comparison(comparison)
    if groups := result.get("groups"):
        converted["groups"] = _groups(groups)
    if result.get("accuracy"):
        converted["accuracy"] = _estimate(result["accuracy"])
    if result.get("balance"):
        converted["balance"] = {label: _estimate(share) for label, share in result["balance"].items()}
    return converted


def _comparison(comparison: dict[str, Any]) -> dict[str, Any]:
    share = re.search(r"with (\d+)% of the chosen", comparison.get("sentence", ""))
    exchanged = int(share[1]) / 100 if share else None
    return {**{name: value for name, value in comparison.items() if name != "sentence"}, "exchanged": exchanged}


def _groups(groups: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in groups.items() if name not in ("summary", "chance", "accuracy")}
    summary, accuracy = groups.get("summary", ""), groups.get("accuracy", {})
    left_out = re.search(r"is left out of the records \((.*)\), so", summary)
    missing = {"code": "left out", "reason": left_out[1]} if left_out else None
    if summary.startswith("no labelled task has a field"):
        missing = {"code": "no field"}
    best = re.search(r" points behind (.*), (?:more than chance|which chance)", summary)
    compared = [name for name, estimate in accuracy.items() if estimate["n"] >= MIN_ROWS_TO_COMPARE]
    has_gap = groups.get("gap") is not None and compared
    return {
        **kept,
        "accuracy": {name: _estimate(estimate) for name, estimate in accuracy.items()},
        "best": (best[1] if best else compared[-1]) if has_gap else None,
        "p_value": groups.get("chance"),
        "missing": missing,
    }


def _estimate(estimate: dict[str, Any]) -> dict[str, Any]:
    for pattern, code, names in SOURCES:
        if found := re.match(pattern, estimate["source"]):
            numbers = dict(zip(names, map(int, found.groups()), strict=True))
            return {**estimate, "source": code, "details": numbers}
    return {**estimate, "details": {}}

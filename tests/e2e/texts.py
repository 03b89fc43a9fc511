"""Short texts with known labels, 60 per label."""

from __future__ import annotations

import random
from collections.abc import Sequence

_MESSAGES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "Cooking": (
        (
            "How long should I simmer the {}?", "My {} came out of the oven dry.", "Which spices go well with {}?",
            "A recipe for {} with less butter, please.", "Can {} be kept in the freezer?", "We ate {} for dinner.",
        ),
        (
            "lentil soup", "roast chicken", "apple pie", "mushroom risotto", "lamb stew", "banana bread",
            "tomato sauce", "fish curry", "potato salad", "onion tart",
        ),
    ),
    "Football": (
        (
            "The {} scored twice before half-time.", "Will the {} win the cup this year?", "A red card for the {}.",
            "The {} missed a penalty again.", "Nobody expected the {} to lose at home.", "The {} needs a new coach.",
        ),
        (
            "young striker", "home team", "captain", "goalkeeper", "visiting side", "national squad", "left winger",
            "league champion", "defender", "substitute",
        ),
    ),
    "Computers": (
        (
            "The {} crashes when I start it.", "How do I update the {}?", "My {} is too slow after the upgrade.",
            "The {} does not find the network.", "Which {} should I install?", "I lost a file when the {} froze.",
        ),
        (
            "laptop", "web browser", "database server", "printer driver", "operating system", "text editor",
            "graphics card", "backup software", "compiler", "router firmware",
        ),
    ),
    "Travel": (
        (
            "Is there a night train to {}?", "We lost our luggage on the flight to {}.", "A cheap hotel in {}.",
            "Do I need a visa for {}?", "The ferry to {} was late.", "What should I see on a weekend in {}?",
        ),
        (
            "Lisbon", "Vienna", "Oslo", "Istanbul", "Athens", "Dublin", "Warsaw", "Marrakesh", "Prague", "Naples",
        ),
    ),
    "Money": (
        (
            "The bank charged me twice for the {}.", "How much tax is due on a {}?", "Interest on my {} went up.",
            "I cannot pay back the {} this month.", "Is a {} a safe investment?", "Please refund the {}.",
        ),
        (
            "credit card", "mortgage", "savings account", "car loan", "pension fund", "government bond",
            "insurance policy", "overdraft", "monthly invoice", "share portfolio",
        ),
    ),
    "Health": (
        (
            "I have had {} since Monday.", "Which doctor treats {}?", "The pills against {} do not help.",
            "Is {} contagious?", "My grandmother suffers from {}.", "Can exercise prevent {}?",
        ),
        (
            "a headache", "back pain", "a high fever", "asthma", "a sore throat", "hay fever", "high blood pressure",
            "a sprained ankle", "insomnia", "an ear infection",
        ),
    ),
}  # fmt: skip
LABELS = tuple(_MESSAGES)


def messages(n: int, labels: Sequence[str], seed: int = 0) -> dict[str, str]:
    """Returns n different short texts and their labels, evenly spread, in a fixed random order."""
    pairs: dict[str, str] = {}
    for label in labels:
        templates, fillers = _MESSAGES[label]
        rows = [(template.format(filler), label) for template in templates for filler in filler_order(fillers, seed)]
        random.Random(seed).shuffle(rows)
        pairs.update(rows[: -(-n // len(labels))])
    chosen = list(pairs.items())
    random.Random(seed + 1).shuffle(chosen)
    assert len(chosen) >= n, "there are only 60 texts a label"
    return dict(chosen[:n])


def filler_order(fillers: Sequence[str], seed: int) -> list[str]:
    return random.Random(seed).sample(list(fillers), len(fillers))

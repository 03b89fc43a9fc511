"""The texts of the demo of rewriting, and how they are loaded."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from ml_backend.demo import rewrites
from ml_backend.demo.rewrites import CONTROL, FILE, N_HELD_OUT_OF_TOPIC, load_rewrites

POOL, HELD_OUT = load_rewrites()
TASKS = [*POOL, *HELD_OUT]
PAIRS = [(task.text, str(task.values[CONTROL][0])) for task in TASKS]
TOPICS = ("billing", "health care", "public administration", "IT support", "travel")
HARD_TOPIC = "public administration"
REPLACED_PHRASES = (
    "accordance", "additional", "adjacent", "alternative", "anticipate", "approximately", "assistance", "at present",
    "at the present", "at the time", "attempt", "basis", "capability", "circumstances beyond", "commence", "conduct",
    "currently", "deemed", "demonstrate", "discontinue", "due to the fact", "duration", "endeavour", "event of",
    "event that", "exceed", "expenditure", "for the purpose", "furnish", "hereby", "in excess", "in order to",
    "in possession", "in receipt", "in respect of", "in size", "incorrect", "inform ", "initial", "insufficient",
    "kindly", "located", "majority", "modif", "no later than", "not less than", "notif", "notwithstanding", "obtain",
    "operational", "owing to", "period of", "permitted", "persons", "prior", "provide", "purchase", "pursuant",
    "remainder", "requested", "required to", "retain", "said", "save where", "shall", "subsequent", "sufficient",
    "terminat", "therein", "that are", "that is", "thereof", "together with", "unable", "undertake", "until such time",
    "upon", "utilis", "with effect from", "with regard",
)  # fmt: skip
"""Beginnings of words and phrases that an editor always replaces."""


def texts() -> list[str]:
    return [text for pair in PAIRS for text in pair]


def edited_share(source: str, accepted: str) -> float:
    """The share of the source's words that are not kept."""
    blocks = SequenceMatcher(None, source.split(), accepted.split(), autojunk=False).get_matching_blocks()
    return 1 - sum(block.size for block in blocks) / len(source.split())


def of_topic(topic: str) -> list[tuple[str, str]]:
    return [pair for task, pair in zip(TASKS, PAIRS, strict=True) if task.data["topic"] == topic]


def test_every_row_of_the_file_is_a_task() -> None:
    header, *lines = Path(rewrites.__file__).with_name(FILE).read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["topic", "source", "accepted"]
    loaded = [(task.data["topic"], *pair) for task, pair in zip(TASKS, PAIRS, strict=True)]
    assert sorted(loaded) == sorted(tuple(line.split("\t")) for line in lines)
    assert all(task.data["text"] == task.text for task in TASKS)


def test_the_order_is_the_same_in_each_run_and_the_held_out_tasks_have_as_many_of_each_topic() -> None:
    assert load_rewrites() == (POOL, HELD_OUT)
    assert (len(POOL), len(HELD_OUT)) == (200, 60)
    counts = Counter(task.data["topic"] for task in HELD_OUT)
    assert counts == dict.fromkeys(TOPICS, N_HELD_OUT_OF_TOPIC)
    assert not {task.text for task in POOL} & {task.text for task in HELD_OUT}


def test_no_source_is_there_twice() -> None:
    sources = [re.sub(r"\W+", " ", source.lower()) for source, _ in PAIRS]
    assert [source for source, count in Counter(sources).items() if count > 1] == []
    accepted = Counter(accepted for _, accepted in PAIRS)
    assert max(accepted.values()) == 1, accepted.most_common(3)


def test_every_text_is_one_sentence_with_single_blanks() -> None:
    assert [text for text in texts() if text != " ".join(text.split())] == []
    sentence = re.compile(r"[\"A-Z][^.!?]*(?:\d\.\d[^.!?]*)?\.")
    assert [text for text in texts() if not sentence.fullmatch(text)] == []


def test_sources_have_8_to_30_words_and_no_accepted_text_is_empty() -> None:
    assert [source for source, _ in PAIRS if not 8 <= len(source.split()) <= 30] == []
    assert min(len(accepted.split()) for _, accepted in PAIRS) >= 4


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_has_52_pairs_of_which_about_15_percent_are_unchanged(topic: str) -> None:
    pairs = of_topic(topic)
    assert len(pairs) == 52
    assert 7 <= sum(source == accepted for source, accepted in pairs) <= 9


def test_edits_have_all_sizes() -> None:
    shares = [edited_share(*pair) for pair in PAIRS]
    counts = Counter(
        "none" if not share else "few" if share <= 0.2 else "most" if share > 0.5 else "some" for share in shares
    )
    assert min(counts[size] for size in ("none", "few", "some", "most")) >= 30, counts


def test_the_hard_topic_has_the_longest_sentences_and_most_edits() -> None:
    words = {topic: sum(len(source.split()) for source, _ in of_topic(topic)) for topic in TOPICS}
    edits = {topic: sum(edited_share(*pair) * len(pair[0].split()) for pair in of_topic(topic)) for topic in TOPICS}
    for totals in (words, edits):
        assert totals[HARD_TOPIC] > 1.3 * max(total for topic, total in totals.items() if topic != HARD_TOPIC), totals


@pytest.mark.parametrize("phrase", REPLACED_PHRASES)
def test_a_phrase_that_is_replaced_is_in_sources_and_in_no_accepted_text(phrase: str) -> None:
    pattern = re.compile(rf"\b{phrase}", re.IGNORECASE)
    assert any(pattern.search(source) for source, _ in PAIRS)
    assert [accepted for _, accepted in PAIRS if pattern.search(accepted)] == []


def test_an_accepted_text_has_the_numbers_of_its_source() -> None:
    numbers = re.compile(r"\d+(?:[.,]\d+)*")
    lost = [pair for pair in PAIRS if set(numbers.findall(pair[0])) - set(numbers.findall(pair[1]))]
    assert lost == []


def test_the_package_has_the_file() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert FILE in project["tool"]["setuptools"]["package-data"]["ml_backend.demo"]

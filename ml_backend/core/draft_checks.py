"""Checks the draft of a text before annotators see it. All functions are pure.

Language models repeat themselves, answer in the format of a chat, and copy from the texts that they were shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import regex

from ml_backend.core.text_hashes import text_hashes
from ml_backend.core.words import count_words, words_of

EMPTY, LENGTH, LOOP, CHAT, LEAK = "empty", "length", "loop", "chat", "leak"
COPY, WORSE = "flagged copy", "worse"
"""Codes of problems with a draft."""
PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        EMPTY: "it is empty",
        LENGTH: "it is much shorter or longer than the source, and accepted texts are not",
        LOOP: "it repeats itself",
        CHAT: "it has the format of a chat",
        LEAK: "it has a phrase of the text that was accepted for another task",
        COPY: "it is a copy of the source, in which the attribute fails",
        WORSE: "the attribute fails in it more probably than in the source",
    }
)
"""What is wrong with a draft, in a few words."""
MIN_RATIO, MAX_RATIO = 0.3, 3.0
"""Words of a draft, as a share of the words of its source."""
MIN_PAIRS, MIN_SHARE = 10, 0.9
"""Number of accepted texts, and the share of them in these bounds, from which drafts must be in them, too."""
MAX_FAILURE = 0.5
"""The probability up to which the attribute holds."""
PHRASE_WORDS = 4
MAX_PERIOD = 12
"""Words of the longest phrase whose repetition is looked for."""
MIN_WORD_REPEATS, MIN_PHRASE_REPEATS = 5, 3
"""How often a word, with or without punctuation, and a phrase of several words stand behind themselves in a loop."""

_CHAT_MARKER = regex.compile(
    r"<\|\w+\|>|\[/?INST\]|</?s>|^\s*#{2,}\s*(?:instruction|response|input|output)\b"
    r"|^\s*(?:assistant|user|system|human|ai)\s*:",
    regex.IGNORECASE | regex.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class DraftRules:
    """What the accepted texts of a project say of its drafts.

    keeps_length  whether accepted texts are about as long as their sources
    phrases       (m,) uint64, ascending: the hashes of the phrases of PHRASE_WORDS words that stand in one accepted
                  text; a phrase in several of them is a common one
    """

    keeps_length: bool
    phrases: npt.NDArray[np.uint64]


NO_RULES = DraftRules(keeps_length=False, phrases=np.empty(0, np.uint64))
"""Before there are accepted texts."""


def rules_of(sources: Sequence[str], accepted: Sequence[str]) -> DraftRules:
    """The rules that follow from n sources and the text that was accepted for each of them."""
    ratios = [_length_ratio(text, source) for source, text in zip(sources, accepted, strict=True)]
    known = [MIN_RATIO <= ratio <= MAX_RATIO for ratio in ratios if ratio is not None]
    counts = Counter(phrase for text in accepted for phrase in {*_phrases(words_of(text))})
    rare = (phrase for phrase, count in counts.items() if count == 1)
    return DraftRules(
        keeps_length=len(known) >= MIN_PAIRS and sum(known) >= MIN_SHARE * len(known),
        phrases=np.unique(text_hashes(rare)),
    )


def draft_problem(draft: str, source: str, rules: DraftRules = NO_RULES, *, may_leak: bool = False) -> str:
    """The code of the first problem with a draft, "" if it can be shown.

    may_leak  whether a language model wrote the draft, so that no phrase of another task's accepted text may be in it
              unless it is in the source
    """
    words = words_of(draft)
    if not words:
        return EMPTY
    if _has_chat_marker(draft, source):
        return CHAT
    if _loops(words) and not _loops(words_of(source)):
        return LOOP
    ratio = _length_ratio(draft, source) if rules.keeps_length else None
    if ratio is not None and not MIN_RATIO <= ratio <= MAX_RATIO:
        return LENGTH
    return LEAK if may_leak and _leaks(words, source, rules.phrases) else ""


def attribute_problem(draft_failure: float, source_failure: float, *, is_copy: bool) -> str:
    """The code of the problem that an attribute model finds in a draft, from the probabilities that the attribute fails
    in the draft and in its source; "" if it finds none."""
    if is_copy:
        return COPY if source_failure > MAX_FAILURE else ""
    return WORSE if draft_failure > source_failure else ""


def is_copy(draft: str, source: str) -> bool:
    """Whether a draft equals its source, apart from blanks."""
    return draft.split() == source.split()


def _length_ratio(text: str, source: str) -> float | None:
    """The words of a text, as a share of those of its source; None for a source without words."""
    n = count_words(source)
    return count_words(text) / n if n else None


def _has_chat_marker(draft: str, source: str) -> bool:
    """Whether a draft has a marker of a chat that its source does not have."""
    in_source = {match.group().strip().lower() for match in _CHAT_MARKER.finditer(source)}
    return any(match.group().strip().lower() not in in_source for match in _CHAT_MARKER.finditer(draft))


def _loops(words: Sequence[str]) -> bool:
    """Whether a phrase stands several times behind itself. Repeated punctuation is no loop."""
    n_repeated = len(words) - len({*words})
    for period in range(1, MAX_PERIOD + 1):
        if n_repeated < (MIN_PHRASE_REPEATS - 1) * period:  # longer phrases need more repeated words
            return False
        run = 0
        for i in range(period, len(words)):
            run = run + 1 if words[i] == words[i - period] else 0
            if run >= (MIN_PHRASE_REPEATS - 1) * period and run >= _needed_run(words[i - period : i]):
                return True
    return False


def _needed_run(phrase: Sequence[str]) -> float:
    """The number of words, each of which equals the one a phrase before it, that make a loop of the phrase."""
    n_words = sum(word[0].isalnum() for word in phrase)
    repeats = MIN_PHRASE_REPEATS if n_words > 1 else MIN_WORD_REPEATS if n_words else math.inf
    return (repeats - 1) * len(phrase)


def _leaks(words: Sequence[str], source: str, phrases: npt.NDArray[np.uint64]) -> bool:
    foreign = {*_phrases(words)} - {*_phrases(words_of(source))}
    return bool(np.isin(text_hashes(foreign), phrases).any())


def _phrases(words: Sequence[str]) -> Iterator[str]:
    lower = [word.lower() for word in words]
    return map("\0".join, zip(*(lower[start:] for start in range(PHRASE_WORDS)), strict=False))

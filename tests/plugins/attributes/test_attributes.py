"""The attribute models: learnt from pairs or from a file of examples, or a list of words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError

RUDE = ("idiot", "fool", "clown")
SOURCES = [f"you {RUDE[row % 3]} , bring box {row} to {place}" for row, place in enumerate("abcdefghijklmnop" * 4)]
ACCEPTED = [source.replace(f"you {RUDE[row % 3]} ,", "please") for row, source in enumerate(SOURCES)]
WriteFile = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteFile:
    def write_file(content: str) -> Path:
        file = tmp_path / "attribute"
        file.write_text(content, encoding="utf-8")
        return file

    return write_file


def test_pairs_teach_that_the_attribute_fails_in_sources() -> None:
    model = registry.attribute_model("pairs")
    fit = model.fit(SOURCES, ACCEPTED)
    assert fit.source_failures.min() > 0.5 > fit.accepted_failures.max()
    rude, polite = model.failure_probabilities(fit.tensors, ["a clown , bring it", "please bring it"])
    assert rude > 0.5 > polite


def test_pairs_are_judged_by_models_that_have_not_seen_them() -> None:
    """If each source has words of its own, a model that has seen the pairs knows which text is the source."""
    random = np.random.default_rng(0)
    sources, accepted = ([_word(random) for _ in range(60)] for _ in range(2))
    model = registry.attribute_model("pairs")
    fit = model.fit(sources, accepted)
    assert 0.3 < np.mean(fit.source_failures[:, None] > fit.accepted_failures) < 0.7
    seen, other = (model.failure_probabilities(fit.tensors, texts) for texts in (sources, accepted))
    assert np.mean(seen[:, None] > other) > 0.95


def _word(random: np.random.Generator) -> str:
    return "".join(random.choice(list("abcdefghijklmnop"), 12))


def test_a_fit_is_deterministic_and_holds_no_text() -> None:
    first, second = (registry.attribute_model("pairs").fit(SOURCES, ACCEPTED).tensors for _ in range(2))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])
        assert tensor.dtype.kind in "uf"


@pytest.mark.parametrize("text", ["", "   ", "😀", "пожалуйста", "\ud800", "word " * 4000])
@pytest.mark.parametrize("name", ["pairs", "words"])
def test_every_text_has_a_probability(text: str, name: str, write: WriteFile) -> None:
    model = registry.attribute_model("pairs" if name == "pairs" else f"words:{write('idiot')}")
    [failure] = model.failure_probabilities(model.fit(SOURCES, ACCEPTED).tensors, [text])
    assert 0 <= failure <= 1


def test_examples_teach_without_the_pairs(write: WriteFile) -> None:
    rows = [*((text, "fails") for text in SOURCES), *((text, "0") for text in ACCEPTED)]
    file = write("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
    fit = registry.attribute_model(f"examples:{file}").fit(ACCEPTED[:5], SOURCES[:5])
    assert fit.source_failures.max() < 0.5 < fit.accepted_failures.min()


def test_words_of_a_list_fail_independently(write: WriteFile) -> None:
    file = write("Idiot\nfool\t0.5\n\nclown\t0.2")
    model = registry.attribute_model(f"words:{file}")
    tensors = model.fit([], []).tensors
    texts = ["an IDIOT !", "fool and clown", "fools", "a clown, a clown", ""]
    np.testing.assert_allclose(model.failure_probabilities(tensors, texts), [1, 1 - 0.5 * 0.8, 0, 0.2, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "content", "message"),
    [
        ("pairs:x", "", "has no argument"),
        ("examples", "", "needs a file"),
        ("examples:FILE", "sentence,label\na,1\n", "row 1 cannot be read"),
        ("examples:FILE", "text,label\na,perhaps\n", "the labels 1 or fails"),
        ("examples:FILE", "text,label\na,1\n", "at least 10 of each"),
        ("examples:/nowhere.csv", "", "No such file"),
        ("words", "", "needs a file"),
        ("words:FILE", "", "has no words"),
        ("words:FILE", "one two", "one word a line"),
        ("words:FILE", "one\t2", "above 0 and up to 1"),
        ("words:FILE", "one\tmuch", "line 1"),
        ("words:/nowhere.txt", "", "No such file"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(setting: str, content: str, message: str, write: WriteFile) -> None:
    model = registry.attribute_model(setting.replace("FILE", str(write(content))))
    with pytest.raises(ApprenticeError, match=message):
        model.check()

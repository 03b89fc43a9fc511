"""The sentences of the demo of spans, read from a wheel that a test writes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.demo import sentences
from ml_backend.demo.sentences import CONTROL, LABELS, MIN_WORDS, N_HELD_OUT, load_sentences
from ml_backend.demo.texts import DemoTask

MakeWheel = Callable[..., Path]
WORDS = st.sampled_from(["the", "a", "value", "returns", "when", "given", "loaded", "before", "object", "which"])
NAMES = st.from_regex(r"[A-Z][a-z]{2,6}", fullmatch=True)
MARKED = st.tuples(st.sampled_from([*LABELS]), NAMES, st.sampled_from(["", ".", "_orm.", "!", "~sqlalchemy.orm."]))


@pytest.fixture
def make_wheel(tmp_path: Path) -> Iterator[MakeWheel]:
    """Writes a wheel of one module, whose docstring has these paragraphs. Returns the folder."""

    def make(*paragraphs: str) -> Path:
        docstring = "\n\n    ".join(paragraphs)
        with zipfile.ZipFile(tmp_path / "sqlalchemy-0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("sqlalchemy/module.py", f'def function():\n    r"""{docstring}"""\n')
            wheel.writestr("sqlalchemy/licence.txt", "This is no sentence of a docstring.")
        return tmp_path

    yield make


def loaded(folder: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """The texts and, for each, the marked names with their labels, in the order of the texts."""
    pool, held_out = load_sentences(folder)
    return sorted((task.text, names_of(task)) for task in (*pool, *held_out))


def names_of(task: DemoTask) -> list[tuple[str, str]]:
    return [(task.text[start:end], label) for start, end, label in task.values[CONTROL]]


def test_the_marked_names_are_the_spans_and_the_markup_is_gone(make_wheel: MakeWheel) -> None:
    folder = make_wheel(
        "Use the :meth:`_orm.Session.get` method of the\n    :class:`.Session` to load it.  It returns nothing else.",
        "The :paramref:`~sqlalchemy.orm.mapper.flag` parameter is set in all of these cases.",
        "An error (e.g. :exc:`.LoadError`) is raised by :func:`!load()` here.",
    )
    assert loaded(folder) == [
        ("An error (e.g. LoadError) is raised by load here.", [("LoadError", "Class"), ("load", "Function")]),
        ("The flag parameter is set in all of these cases.", [("flag", "Parameter")]),
        ("Use the Session.get method of the Session to load it.", [("Session.get", "Function"), ("Session", "Class")]),
    ]


@pytest.mark.parametrize("left_out", [
    "See :ref:`loading` for all of the details of it.",
    "The value ``None`` is what comes back in the end.",
    "A sentence that does not end like one does",
    "It is too short.",
    "This one has a bracket (that is not closed.",
    "An error is raised by the :func:`function <.load>` of it.",
    "The elements are defined in :class:`_schema.` and nowhere else.",
    "Another Session in a sentence where nobody has marked it.",
    "The method load_all is named in a sentence without markup.",
])  # fmt: skip
def test_sentences_with_other_markup_or_names_without_markup_are_left_out(make_wheel: MakeWheel, left_out: str) -> None:
    kept = "Each :class:`.Session` is kept until the end of the block."
    assert [text for text, _ in loaded(make_wheel(kept, left_out))] == [kept.replace(":class:`.Session`", "Session")]


@given(st.lists(WORDS | MARKED, min_size=MIN_WORDS, max_size=20))
def test_each_span_has_the_characters_of_its_name(parts: Sequence[str | tuple[str, str, str]]) -> None:
    marked, names, expected = ["It"], [], ["It"]
    for part in parts:
        if isinstance(part, str):
            marked.append(part)
            expected.append(part)
        else:
            role, name, prefix = part
            marked.append(f":{role}:`{prefix}{name}`")
            names.append((name, LABELS[role]))
            expected.append(name)
    [(text, spans)] = sentences._sentences(" ".join([*marked, "ends."]))
    assert text == " ".join([*expected, "ends."])
    assert [(text[start:end], label) for start, end, label in spans] == names
    assert [*spans] == sorted(spans)


def test_half_of_the_sentences_have_a_name_and_no_held_out_one_is_in_the_pool(make_wheel: MakeWheel) -> None:
    of_names = [f"The class number {n} is called :class:`Class{n}` in this text." for n in range(300)]
    others = [f"The sentence number {n} is about nothing in particular here." for n in range(900)]
    pool, held_out = load_sentences(make_wheel(*of_names, *others, *of_names))
    assert len(held_out) == N_HELD_OUT and len(pool) + len(held_out) == 600
    assert sum(bool(task.values[CONTROL]) for task in (*pool, *held_out)) == 300
    assert len({task.text.lower() for task in (*pool, *held_out)}) == 600
    assert (pool, held_out) == load_sentences(make_wheel(*others, *of_names)), "the order is the same in each run"
    assert all(task.data == {"text": task.text} for task in pool)


def test_the_labelling_configuration_has_the_labels_of_the_sentences() -> None:
    [control] = ET.parse("label_config_spans.xml").getroot().iter("Labels")
    assert control.get("name") == CONTROL
    assert [label.get("value") for label in control] == [*dict.fromkeys(LABELS.values())]
    assert len({label.get("background") for label in control}) == len(control)

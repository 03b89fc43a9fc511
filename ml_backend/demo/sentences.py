"""Real sentences for the demo: those of SQLAlchemy's documentation, with the names of classes, functions, attributes
and parameters in them, read from a package at run time.

The wheel of SQLAlchemy (MIT) has the sentences in its docstrings. The authors have marked the names with roles of
Sphinx, such as :class:`.Session`, and the sentences are read without this markup. The literature knows the recognition
of such names as a task (Tabassum et al., "Code and Named Entity Recognition in StackOverflow", ACL 2020).
"""

from __future__ import annotations

import ast
import random
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ml_backend.demo.downloads import wheel_file
from ml_backend.demo.texts import DemoTask

WHEEL = "sqlalchemy==2.1.9"
CONTROL = "names"  # name of the control in `label_config_spans.xml`
N_HELD_OUT = 400
MIN_WORDS, MAX_WORDS = 6, 40  # of a sentence
LABELS = {
    "class": "Class",
    "exc": "Class",
    "meth": "Function",
    "func": "Function",
    "attr": "Attribute",
    "data": "Attribute",
    "paramref": "Parameter",
}
"""The label of the names that each role of Sphinx marks."""
_ROLE = re.compile(r":([a-z]+):`([^`<>]*\w)(?:\(\))?`")  # the parentheses of "load()" are not part of the name
_QUALIFIER = re.compile(r"^(?:~.*\.|[!~]|_[a-z]+\.|\.)")  # not displayed: of "~a.b.Session", "_orm.Session", ".Session"
_SENTENCE_END = re.compile(r"(?<=[a-z)`]\.)(?<!e\.g\.)(?<!i\.e\.)\s+(?=[A-Z:])")
_SENTENCE = re.compile(r"[A-Z][^`|*:<>\[\]]*[a-z)]\.")
_CODE = re.compile(r"\w_|_\w|\w\(|[a-z]{2}\.[a-z]")

Span = tuple[int, int, str]
Sentence = tuple[str, tuple[Span, ...]]
"""A text and the spans (start, end, label) of its names, in ascending order."""


def load_sentences(folder: Path) -> tuple[list[DemoTask], list[DemoTask]]:
    """The sentences of the pool with the spans of their names, and a fixed set of held-out sentences; no text is in
    both. Half of all sentences have a name. The wheel is stored in `folder` for later calls.

    Raises ApprenticeError if the wheel is not in the folder and cannot be downloaded from the package index.
    """
    with zipfile.ZipFile(wheel_file(WHEEL, folder)) as wheel:
        sentences = [sentence for text in _docstrings(wheel) for sentence in _sentences(text)]
    chosen = _balanced(_fully_marked(sentences))
    tasks = [DemoTask(text, {CONTROL: spans}, {"text": text}) for text, spans in chosen]
    return tasks[N_HELD_OUT:], tasks[:N_HELD_OUT]


def _docstrings(wheel: zipfile.ZipFile) -> Iterator[str]:
    for name in wheel.namelist():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(wheel.read(name))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield ast.get_docstring(node) or ""


def _sentences(docstring: str) -> Iterator[Sentence]:
    """The sentences of the paragraphs of a docstring, without those that have markup of another kind."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        for marked in _SENTENCE_END.split(" ".join(paragraph.split())):
            text, spans = _without_roles(marked)
            has_whole_brackets = text.count("(") == text.count(")")
            if _SENTENCE.fullmatch(text) and has_whole_brackets and MIN_WORDS <= len(text.split()) <= MAX_WORDS:
                yield text, spans


def _without_roles(marked: str) -> Sentence:
    """The sentence as it is displayed, with the spans of the names that `LABELS` has. Other roles are kept."""
    text, spans, end = "", [], 0
    for role in _ROLE.finditer(marked):
        label = LABELS.get(role[1])
        if label is None:
            continue
        name = _QUALIFIER.sub("", role[2])
        text += marked[end : role.start()]
        spans.append((len(text), len(text) + len(name), label))
        text, end = text + name, role.end()
    return text + marked[end:], tuple(spans)


def _fully_marked(sentences: list[Sentence]) -> list[Sentence]:
    """The different sentences without those in which a name is not marked: one that is marked elsewhere, or a word with
    the characters of code. A name that could be a common word ("insert") counts as one where it is not marked."""
    names = {text[start:end] for text, spans in sentences for start, end, _ in spans}
    names = {name for name in names if not (name.isalpha() and name.islower())}
    unique = {text.lower(): (text, spans) for text, spans in sentences}
    return [(text, spans) for text, spans in sorted(unique.values()) if not _has_name(_unmarked(text, spans), names)]


def _has_name(text: str, names: set[str]) -> bool:
    return bool(_CODE.search(text)) or not names.isdisjoint(re.findall(r"\w+", text))


def _unmarked(text: str, spans: tuple[Span, ...]) -> str:
    """The text with a blank in place of each span."""
    for start, end, _ in reversed(spans):
        text = f"{text[:start]} {text[end:]}"
    return text


def _balanced(sentences: list[Sentence]) -> list[Sentence]:
    """All sentences with a name and as many without, in a fixed random order."""
    generator = random.Random(0)  # noqa: S311 (a fixed order, no secret)
    with_names = [sentence for sentence in sentences if sentence[1]]
    others = [sentence for sentence in sentences if not sentence[1]]
    chosen = with_names + generator.sample(others, min(len(with_names), len(others)))
    generator.shuffle(chosen)
    return chosen

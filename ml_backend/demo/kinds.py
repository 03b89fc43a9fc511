"""The kinds of tasks of the demo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.demo.rewrites import load_rewrites
from ml_backend.demo.sentences import load_sentences
from ml_backend.demo.table import load_records
from ml_backend.demo.texts import DemoTask, load_questions, load_questions_with_subclasses


@dataclass(frozen=True, slots=True)
class DemoKind:
    """One kind of tasks.

    title        of the project in Label Studio
    config_file  with the labelling configuration
    load         the tasks of the pool and the held-out tasks; it may store files in the given folder
    commands     the commands of Apprentice that show such a project
    metrics      the `Kind.metrics` in the table of held-out scores, with the format of their values; {} for the
                 `Kind.main_metric` of each control
    """

    title: str
    config_file: Path
    load: Callable[[Path], tuple[list[DemoTask], list[DemoTask]]]
    commands: str = "versions, rollback and cues"
    metrics: Mapping[str, str] = field(default_factory=dict)

    def read_label_config(self) -> str:
        """Raises ApprenticeError if the file is not there."""
        if not self.config_file.is_file():
            raise ApprenticeError(
                f"The demo needs {self.config_file}: run `make demo` in the folder of Apprentice's source"
            )
        return self.config_file.read_text()


TABLE = "table"
DEMO_KINDS = {
    "text": DemoKind("Apprentice demo: questions", Path("label_config.xml"), load_questions),
    TABLE: DemoKind(
        "Apprentice demo: tumours",
        Path("label_config_table.xml"),
        lambda _folder: load_records(),
        "versions, rollback and features",
    ),
    "controls": DemoKind(
        "Apprentice demo: two controls", Path("label_config_controls.xml"), load_questions_with_subclasses
    ),
    "spans": DemoKind(
        "Apprentice demo: names", Path("label_config_spans.xml"), load_sentences, "versions, rollback and report"
    ),
    "rewrite": DemoKind(
        "Apprentice demo: plain language",
        Path("label_config_text.xml"),
        lambda _folder: load_rewrites(),
        "versions, rollback and report",
        {"words edited": ".2f", "accepted": ".1%"},
    ),
}


def demo_kind(name: str) -> DemoKind:
    """The kind with this name. Raises ApprenticeError if there is none."""
    if name not in DEMO_KINDS:
        raise ApprenticeError(f"The demo has no kind {name!r}: choose one of {', '.join(DEMO_KINDS)}")
    return DEMO_KINDS[name]

"""`apprentice versions` and `apprentice rollback`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from ml_backend.cli.common import Control, DataDir, Project, open_store, out, read_settings

if TYPE_CHECKING:
    from ml_backend.core.types import ModelVersion


def versions(project: Project, data_dir: DataDir = None) -> None:
    """List the model versions of a project, newest first, with the learner and the accuracy of each control."""
    from ml_backend.kinds.base import ACCURACY
    from ml_backend.monitoring.status import read_status
    from ml_backend.rendering.remarks_text import remarks_text

    store = open_store(read_settings(data_dir=data_dir))
    status = read_status(store, project)
    held = status.held
    active, stored_learners = store.versions.active(project), set(store.versions.learners(project))
    versions = store.versions.all(project)
    metric_names = {control: status.metric_name(control) for version in versions for control in version.controls}
    metric_head = " or ".join(sorted({*metric_names.values()})) or ACCURACY
    table = Table(Column("version", no_wrap=True), "learner", "labels", metric_head, "made", "note", box=None)
    labelled_counts = {version.number: str(version.labelled) for version in versions}
    for version in versions:
        is_active = active is not None and version.number == active.number
        name = f"[green]{version.name} active[/]" if is_active else version.name
        if holding := [control for control, number in held.items() if number == version.number]:
            name += f" [yellow]held{escape(_names_text(version, holding))}[/]"
        served = f"of {version.learner}" if version.learner else "none yet"
        learner = ("kept" if version.number in stored_learners else served) + _earlier_learners_text(version)
        labels = labelled_counts.get(version.learner or version.number, "-")  # those that the learner was fitted on
        accuracy = _accuracy_text(version, metric_names)
        created = datetime.fromtimestamp(version.created_at, UTC).astimezone().strftime("%d %b %H:%M")
        table.add_row(name, escape(learner), labels, escape(accuracy), created, escape(remarks_text(version.remarks)))
    out.print(table)


def _names_text(version: ModelVersion, controls: Sequence[str]) -> str:
    """The names of the controls that a rollback holds at a version; "" if these are all controls."""
    return "" if {*controls} >= version.controls.keys() else f" for {', '.join(controls)}"


def _earlier_learners_text(version: ModelVersion) -> str:
    """The controls whose learner is that of an earlier version than the others'; "" if all are of one version."""
    learners = {name: control.learner for name, control in version.controls.items() if control.learner}
    latest = max(learners.values(), default=None)
    earlier = [f"{name} of {number}" for name, number in learners.items() if number != latest]
    return f" ({', '.join(earlier)})" if earlier else ""


def _accuracy_text(version: ModelVersion, metric_names: Mapping[str, str]) -> str:
    """The main metric of each control's learner, with the name of the control if there are several, and with that of
    the metric if some controls have another one."""
    are_named = len({*metric_names.values()}) > 1
    texts = []
    for name, control in version.controls.items():
        control_name = [name] if len(version.controls) > 1 else []
        metric_name = [metric_names[name]] if are_named and control.accuracy else []
        value = f"{control.accuracy.value:.3f}" if control.accuracy else "-"
        texts.append(" ".join([*control_name, *metric_name, value]))
    return ", ".join(texts) or "-"


def rollback(
    project: Project,
    to: Annotated[str | None, typer.Option(help="version name or number; `latest` ends a rollback")] = None,
    control: Control = "",
    data_dir: DataDir = None,
) -> None:
    """Serve earlier learners again, at once, until the rollback is ended.

    With --control, the other controls go on learning.
    """
    from ml_backend.loop.rollback import roll_back
    from ml_backend.rendering.rollback_text import rollback_sentence

    store = open_store(read_settings(data_dir=data_dir))
    held_before = store.projects.require(project).pinned
    held = roll_back(store, project, to, control)
    if held is None and not (control in held_before if control else held_before):
        of_control = f" of {control}" if control else ""
        out.print(f"Project {project}: no learner{of_control} was held.", markup=False)
        return
    out.print(f"Project {project}: {rollback_sentence(project, held, control)}.", markup=False)

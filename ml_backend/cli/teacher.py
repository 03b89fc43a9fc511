"""The commands about the teacher and the learner's errors: report, evolve, teach, cues, ledger."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ml_backend.cli.common import (
    ApiKey,
    AsJson,
    Control,
    DataDir,
    Edit,
    JsonFile,
    LabelStudioUrl,
    Project,
    cap_threads,
    edit_in_editor,
    edit_options,
    make_client,
    open_store,
    out,
    print_control_name,
    print_indented,
    read_json_text,
    read_settings,
    require_one_control,
)
from ml_backend.core.schema import compares_pair
from ml_backend.kinds.lookup import kind_of

if TYPE_CHECKING:
    from ml_backend.core.types import TaskContent
    from ml_backend.teacher.descriptions.label_descriptions import LabelDescriptions
    from ml_backend.teacher.evolution.generated_texts import EvolutionRound

LEDGER_MIN_COLUMNS = 120  # of the terminal: a narrower table would cut numbers off
LEDGER_HEADER = (
    "calls", "answered", "malformed", "refused", "failed", "tokens read", "tokens written", "cost", "seconds a call",
)  # fmt: skip


def report(
    project: Project,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, with all figures")] = False,
    control: Control = "",
    data_dir: DataDir = None,
) -> None:
    """Show the learner's errors: confused labels or wrong spans, its worst labels, clusters and groups, examples."""
    from dataclasses import asdict

    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.rendering.evolution_text import report_lines
    from ml_backend.teacher.evolution.error_analysis import analyse_errors, load_serving_learner
    from ml_backend.teacher.project_context import load_project_context

    settings = read_settings(data_dir=data_dir)
    context = load_project_context(settings, open_store(settings), project, control)
    controls = context.schema.selected_controls(control)
    if as_json:
        require_one_control(controls)
    problems = []
    for shown in controls:
        of_control = context.with_control(shown)
        print_control_name(shown, controls)
        try:
            analysis = analyse_errors(of_control, load_serving_learner(of_control))
        except ApprenticeError as error:  # the other controls may have learners
            problems.append(error)
            if len(controls) > 1:
                out.print(str(error), highlight=False, markup=False)
            continue
        if as_json:
            typer.echo(json.dumps(asdict(analysis), indent=2, ensure_ascii=False))
            return
        for line in report_lines(analysis):
            out.print(line, highlight=False, markup=False)
    if len(problems) == len(controls):
        raise problems[0] if len(controls) == 1 else typer.Exit(1)


def evolve(
    project: Project,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="number of rounds")] = 3,
    per_round: Annotated[int, typer.Option(min=1, max=100, help="hard texts a round, and as many easy ones")] = 20,
    train_directly: Annotated[
        bool, typer.Option("--train-directly", help="teach the learner without asking the annotators")
    ] = False,
    from_pool: Annotated[
        bool, typer.Option("--from-pool", help="let it label tasks near the errors instead of writing texts")
    ] = False,
    control: Control = "",
    label_studio_url: LabelStudioUrl = None,
    api_key: ApiKey = None,
    data_dir: DataDir = None,
) -> None:
    """Let the teacher write texts like those that the learner gets wrong, and import them as tasks with drafts.

    The texts become tasks within the quota synthetic_share, at most --per-round a round. The teacher's label, or its
    spans, are the draft of each. After an interruption, the same command continues, and asks no question twice.
    """
    from ml_backend.core import registry
    from ml_backend.core.exceptions import RepliesAwaitedError
    from ml_backend.label_studio.generated_tasks import import_generated_texts
    from ml_backend.rendering.evolution_text import round_lines
    from ml_backend.rendering.formatting import control_option
    from ml_backend.teacher.evolution.evolution_run import EvolutionRun, check_texts_can_be_written
    from ml_backend.teacher.evolution.generated_texts import POOL, TASKS, TAUGHT
    from ml_backend.teacher.project_context import load_project_context

    if train_directly and from_pool:
        raise typer.BadParameter(
            "give --train-directly or --from-pool: labels of tasks of the pool are used for training anyway"
        )
    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    cap_threads(settings.threads)
    store = open_store(settings)
    context = load_project_context(settings, store, project, control)
    controls = context.schema.selected_controls(control)
    way = POOL if from_pool else TAUGHT if train_directly else TASKS
    check_texts_can_be_written(context, way)
    client = make_client(settings) if way == TASKS else None  # raises an error before a teacher is paid

    def import_texts(texts: Mapping[str, str], since: str) -> Sequence[TaskContent]:
        return import_generated_texts(client, project, context.schema.input, texts, since) if client else ()

    try:
        for evolved in controls:
            print_control_name(evolved, controls)
            run = EvolutionRun(context.with_control(evolved), context.teacher_client(), way, per_round, import_texts)
            option = control_option(evolved.name, context.schema.controls)
            for evolution_round in _with_spinner(run.run(rounds)):
                question_ids = [question_id for ids in evolution_round.asked.values() for question_id in ids]
                for line in round_lines(evolution_round, store.ledger.spent_on(project, question_ids), option):
                    out.print(line, highlight=False, markup=False)
    except RepliesAwaitedError as error:
        by_file = context.options.teacher == registry.BATCH_TEACHER
        hint = f": apprentice teach --project {project} --export FILE" if by_file else ""
        out.print(f"{error}{hint}", highlight=False, markup=False)
        if not by_file:  # a batch takes its time; a teacher that answers at once has failed
            raise typer.Exit(1) from None


def teach(
    project: Project,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write the waiting questions to this file")
    ] = None,
    replies: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="read the replies from this file")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write the teacher's questions to a batch file (OpenAI's Batch format, JSON lines), or read the replies.

    A question for the labels or spans of a task is about all controls, so that a file is about all controls of the
    project.

    The cost is computed from teacher_input_price and teacher_output_price: set the prices of a batch, which are often
    half of the others. An import can be repeated: no reply is stored or counted twice.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.rendering import batch_text
    from ml_backend.teacher import batch_files

    if (export is None) == (replies is None):
        raise typer.BadParameter("give --export FILE or --import FILE")
    if export and export.exists():
        raise ApprenticeError(f"{export} is there already: choose another name, or remove it")
    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    if export:
        exported = batch_files.export_questions(store, settings, project, export)
        out.print(batch_text.export_text(exported, project, export), highlight=False, markup=False)
    if replies:
        imported = batch_files.import_answers(store, settings, project, replies)
        out.print(batch_text.import_text(imported), highlight=False, markup=False)
        if not imported.has_replies:
            raise typer.Exit(1)


def cues(
    project: Project,
    edit: Edit = False,
    file: JsonFile = None,
    as_json: AsJson = False,
    control: Control = "",
    data_dir: DataDir = None,
) -> None:
    """Show or change each label's meaning, and the phrases for it (score up to 10) or against it (down to -10).

    The learner starts from these cues. The teacher is asked for them once, unless you have written your own.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.label_studio.label_config import read_schema
    from ml_backend.teacher.descriptions.label_descriptions import (
        label_descriptions_from_text,
        label_descriptions_to_text,
        save_label_descriptions,
    )

    if edit + as_json + (file is not None) > 1:
        raise typer.BadParameter("give one of --edit, --file and --json")
    store = open_store(read_settings(data_dir=data_dir))
    project_row = store.projects.require(project)
    schema = read_schema(project_row.label_config, project_row.choices)
    if schema.input.is_record:
        raise ApprenticeError(f"The tasks of project {project} are records: use `apprentice features`")
    controls = [
        selected for selected in schema.selected_controls(control) if kind_of(selected).describes_labels(selected)
    ]
    if not controls:
        selected_controls = schema.selected_controls(control)
        problem = "has no labels"
        if any(map(compares_pair, selected_controls)):
            problem = "compares texts: its labels are the two sides, which have no cues"
        elif part := next(filter(None, (kind_of(selected).part_name for selected in selected_controls)), ""):
            problem = f"marks {part}s: cues are for the labels of whole texts"
        subject = f"The control {control!r} of project {project}" if control else f"Project {project}"
        raise ApprenticeError(f"{subject} {problem}")
    if not (as_json or file or edit):
        outcomes = store.ledger.outcomes(project).get("describe", Counter())
        n_useless_replies = outcomes["malformed"] + outcomes["refused"]
        for shown in controls:
            print_control_name(shown, controls)
            shown_cues = project_row.label_descriptions.get(shown.name, {})
            _print_cues(shown_cues, shown.labels, n_useless_replies, edit_options(shown, schema.controls))
        return
    require_one_control(controls)
    changed_control, stored = controls[0], project_row.label_descriptions.get(controls[0].name)
    text = label_descriptions_to_text(stored or {}, changed_control)
    if as_json:
        typer.echo(text, nl=False)
        return
    if file:
        changed: LabelDescriptions | None = label_descriptions_from_text(read_json_text(file), changed_control)
    else:
        changed = edit_in_editor(text, lambda edited: label_descriptions_from_text(edited, changed_control))
    if changed is None or changed == stored:
        out.print("Nothing has changed.")
    else:
        save_label_descriptions(store, project, changed_control, changed)
        n_labels = len(changed_control.labels)
        out.print(f"Kept: {len(changed)} of {n_labels} labels have cues. The next learner starts from them.")


def ledger(
    project: Project,
    as_csv: Annotated[bool, typer.Option("--csv", help="one line for each call, as CSV")] = False,
    data_dir: DataDir = None,
) -> None:
    """List the calls to the teacher by purpose, with their outcomes, tokens, cost and time."""
    import csv
    import sys

    from ml_backend.storage.ledger import COLUMNS

    store = open_store(read_settings(data_dir=data_dir))
    store.projects.require(project)
    if as_csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(store.ledger.calls(project))
        return
    spent, outcomes = store.ledger.spent(project), store.ledger.outcomes(project)
    if not spent[""].calls:
        out.print(f"The teacher of project {project} has not been called yet.")
        return
    table = Table("for", *(Column(name, justify="right") for name in LEDGER_HEADER), box=None)
    for purpose in [*sorted(spent.keys() - {""}), ""]:
        spending = spent[purpose]
        counts = [spending.calls, *(outcomes[purpose][outcome] for outcome in LEDGER_HEADER[1:5])]
        costs = [f"{spending.input_tokens:,}", f"{spending.output_tokens:,}", f"{spending.cost:.4g}"]
        table.add_row(purpose or "all", *map(str, counts), *costs, f"{spending.seconds / spending.calls:.1f}")
    Console(width=max(out.width, LEDGER_MIN_COLUMNS), soft_wrap=True, emoji=False).print(table)


def _with_spinner(rounds: Iterator[EvolutionRound]) -> Iterator[EvolutionRound]:
    """Shows on the terminal that the teacher is being asked: a slow one takes minutes."""
    while True:
        with out.status("the teacher is asked for a diagnosis, for texts, and for the label of each …"):
            evolution_round = next(rounds, None)
        if evolution_round is None:
            return
        yield evolution_round


def _print_cues(cues: LabelDescriptions, labels: Sequence[str], n_useless_replies: int, edit: str) -> None:
    """Prints the cues of a control. `edit`: the options with which the command changes them"""
    if not cues and n_useless_replies:
        problem = f"No cues: {n_useless_replies} replies of the teacher could not be used"
        out.print(f"{problem}. Write your own with {edit}.", highlight=False, markup=False)
        return
    if not cues:
        problem = "No cues yet: a teacher that can be asked is asked for them"
        out.print(f"{problem}, or write your own with {edit}.", highlight=False, markup=False)
        return
    for label in labels:
        description = cues.get(label, {"description": "", "cues": []})
        out.print(f"[bold]{escape(label)}[/]  {escape(description['description'])}", highlight=False)
        for phrase, score, *other_label in description["cues"]:
            print_indented(f"{score:>5}  {phrase}{f' (rather {other_label[0]})' if other_label else ''}")

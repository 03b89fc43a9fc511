"""What the learner is weak on, and what its teacher can do about it: report, evolve, teach, cues, ledger."""

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
    DataDir,
    Key,
    Project,
    Url,
    cap_threads,
    edited,
    make_client,
    open_store,
    out,
    read_json_text,
    read_settings,
    say,
)

if TYPE_CHECKING:
    from ml_backend.core.types import Example
    from ml_backend.teacher.descriptions.label_descriptions import Cues
    from ml_backend.teacher.evolution.generated_texts import EvolutionRound

WIDE = 120  # letters that the ledger may need: a number that is cut off is none
LEDGER = (
    "calls", "answered", "malformed", "refused", "failed", "tokens read", "tokens written", "cost", "seconds a call",
)  # fmt: skip


def report(
    project: Project,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, with all there is")] = False,
    data_dir: DataDir = None,
) -> None:
    """Where the learner is weak: labels that it confuses, its worst labels, clusters and groups, typical mistakes."""
    from dataclasses import asdict

    from ml_backend.teacher.evolution import report_text
    from ml_backend.teacher.evolution.error_analysis import serving, weakness
    from ml_backend.teacher.project_context import visit

    settings = read_settings(data_dir=data_dir)
    site = visit(settings, open_store(settings), project)
    found = weakness(site, serving(site))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    for line in [*report_text.lines(found), *filter(None, [report_text.caveat(found)])] if not as_json else ():
        out.print(line, highlight=False, markup=False)


def evolve(
    project: Project,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="how often")] = 3,
    per_round: Annotated[int, typer.Option(min=1, max=100, help="hard texts a round, and as many easy ones")] = 20,
    train_directly: Annotated[
        bool, typer.Option("--train-directly", help="teach the learner without asking the annotators")
    ] = False,
    from_pool: Annotated[
        bool, typer.Option("--from-pool", help="label tasks of the weak slices instead of writing texts")
    ] = False,
    label_studio_url: Url = None,
    api_key: Key = None,
    data_dir: DataDir = None,
) -> None:
    """Let the teacher write texts that the learner is weak on, and import them as tasks with its label as draft.

    What is written becomes a task under the quota synthetic_share, at most --per-round a round. Whatever interrupts it,
    the same command goes on from there, and nothing is asked twice.
    """
    from ml_backend.core import registry
    from ml_backend.core.exceptions import RepliesAwaitedError
    from ml_backend.label_studio.generated_tasks import add_written
    from ml_backend.teacher.evolution.evolution_run import EvolutionRun, refuse_records
    from ml_backend.teacher.evolution.generated_texts import POOL, TASKS, TAUGHT
    from ml_backend.teacher.evolution.report_text import round_lines
    from ml_backend.teacher.project_context import visit

    if train_directly and from_pool:
        raise typer.BadParameter("tasks of the pool are taught anyway: give --train-directly or --from-pool")
    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    cap_threads(settings.threads)
    store = open_store(settings)
    site = visit(settings, store, project)
    way = POOL if from_pool else TAUGHT if train_directly else TASKS
    refuse_records(site, way)
    client = make_client(settings) if way == TASKS else None  # before anything is paid for

    def send(texts: Mapping[str, str], since: str) -> Sequence[Example]:
        return add_written(client, project, site.schema, texts, since) if client else ()

    try:
        for one in _waited_for(EvolutionRun(site, site.desk(), way, per_round, send).run(rounds)):
            spent = store.ledger.spent_on(project, [each for ids in one.asked.values() for each in ids])
            for line in round_lines(one, spent):
                out.print(line, highlight=False, markup=False)
    except RepliesAwaitedError as waiting:
        by_file = site.options.teacher == registry.BY_FILE
        hint = f": apprentice teach --project {project} --export FILE" if by_file else ""
        out.print(f"{waiting}{hint}", highlight=False, markup=False)
        if not by_file:  # a batch is waited for, whoever should answer at once is not there
            raise typer.Exit(1) from None


def teach(
    project: Project,
    export: Annotated[Path | None, typer.Option(metavar="FILE", help="write the questions that wait")] = None,
    replies: Annotated[Path | None, typer.Option("--import", metavar="FILE", help="read the answers")] = None,
    data_dir: DataDir = None,
) -> None:
    """Take the teacher's questions to a batch (OpenAI's Batch format, JSON lines), and its answers back.

    What it costs is counted by teacher_input_price and teacher_output_price: give those of a batch, which is often half
    price. An import can be repeated: nothing is kept or counted twice.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.teacher import batch_files

    if (export is None) == (replies is None):
        raise typer.BadParameter("give --export FILE or --import FILE")
    if export and export.exists():
        raise ApprenticeError(f"{export} is there already: take another name, or remove it")
    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    said, useful = batch_files.export(store, settings, project, export) if export else "", True
    if replies:
        said, useful = batch_files.take_in(store, settings, project, replies)
    out.print(said, highlight=False, markup=False)
    if not useful:
        raise typer.Exit(1)


def cues(
    project: Project,
    edit: Annotated[bool, typer.Option("--edit", help="change them in your editor ($EDITOR)")] = False,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="take them from a JSON file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, as --file wants it")] = False,
    data_dir: DataDir = None,
) -> None:
    """What each label means, and the phrases that speak for it (up to 10) or against it (down to -10).

    The learner starts from them. The teacher is asked for them once, unless you have written your own.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.label_studio.label_config import read_schema
    from ml_backend.teacher.descriptions.label_descriptions import as_text, from_text, keep

    if edit + as_json + (file is not None) > 1:
        raise typer.BadParameter("give one of --edit, --file and --json")
    store = open_store(read_settings(data_dir=data_dir))
    record = store.projects.known(project)
    schema, known = read_schema(record.label_config, record.choices), record.cues or {}
    if schema.is_record:
        raise ApprenticeError(f"The tasks of project {project} are records: `apprentice features` has what is known")
    if as_json:
        typer.echo(as_text(known, schema), nl=False)
        return
    if file:
        changed: Cues | None = from_text(read_json_text(file), schema)
    elif edit:
        changed = edited(as_text(known, schema), lambda text: from_text(text, schema))
    else:
        described = store.ledger.outcomes(project).get("describe", Counter())
        _print_cues(known, schema.labels, described["malformed"] + described["refused"])
        return
    if changed is None or changed == record.cues:
        out.print("Nothing has changed.")
    else:
        keep(store, project, changed)
        out.print(f"Kept: {len(changed)} of {len(schema.labels)} labels have cues. The learner is taught them anew.")


def ledger(
    project: Project,
    as_csv: Annotated[bool, typer.Option("--csv", help="every single call, as CSV")] = False,
    data_dir: DataDir = None,
) -> None:
    """What the teacher was called for, what came of it, and what that took."""
    import csv
    import sys

    from ml_backend.storage.ledger import COLUMNS

    store = open_store(read_settings(data_dir=data_dir))
    store.projects.known(project)
    if as_csv:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(store.ledger.calls(project))
        return
    spent, outcomes = store.ledger.spent(project), store.ledger.outcomes(project)
    if not spent[""].calls:
        out.print(f"The teacher of project {project} has not been called yet.")
        return
    table = Table("for", *(Column(name, justify="right") for name in LEDGER), box=None)
    for purpose in [*sorted(spent.keys() - {""}), ""]:
        each, how = spent[purpose], outcomes[purpose]
        told = [each.calls, *(how[outcome] for outcome in LEDGER[1:5])]
        tokens = [f"{each.input_tokens:,}", f"{each.output_tokens:,}", f"{each.cost:.4g}"]
        table.add_row(purpose or "all", *map(str, told), *tokens, f"{each.seconds / each.calls:.1f}")
    Console(width=max(out.width, WIDE), soft_wrap=True, emoji=False).print(table)


def _waited_for(rounds: Iterator[EvolutionRound]) -> Iterator[EvolutionRound]:
    """Says meanwhile that the teacher is being asked: a slow one takes minutes."""
    while True:
        with out.status("the teacher is asked for a diagnosis, for texts, and for the label of each …"):
            one = next(rounds, None)
        if one is None:
            return
        yield one


def _print_cues(cues: Cues, labels: Sequence[str], vain: int) -> None:
    if not cues and vain:
        out.print(f"No cues: {vain} replies of the teacher were of no use. Write your own with --edit.")
        return
    if not cues:
        out.print("No cues yet: a teacher that can be asked is asked for them, or write your own with --edit.")
        return
    for label in labels:
        told = cues.get(label, {"description": "", "cues": []})
        out.print(f"[bold]{escape(label)}[/]  {escape(told['description'])}", highlight=False)
        for phrase, score, *instead in told["cues"]:
            say(f"{score:>5}  {phrase}{f' (rather {instead[0]})' if instead else ''}")

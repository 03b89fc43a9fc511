"""The command `apprentice`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from ml_backend.domain import Example
    from ml_backend.label_studio.client import LabelStudioClient
    from ml_backend.settings import Settings
    from ml_backend.status import Status
    from ml_backend.store import Store
    from ml_backend.teaching.cues import Cues

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True)
WORKER_NICE = 5  # Label Studio waits for the web process, and an annotator for Label Studio: they come first

Project = Annotated[int, typer.Option(min=1, max=2**31 - 1, help="the project's number in Label Studio")]
AnyProject = Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="only this project")]
Url = Annotated[str | None, typer.Option(help="Label Studio's address as seen from here")]
Key = Annotated[str | None, typer.Option(help="access token; better in APPRENTICE_LABEL_STUDIO_API_KEY")]
DataDir = Annotated[Path | None, typer.Option(help="folder of store, vectors and artifacts")]


def main() -> None:
    """Entry point: an error that is the user's to mend is one sentence and exit code 1; Ctrl-C is one line and 130."""
    try:
        from ml_backend.domain import ApprenticeError  # here, as all that takes its time: Ctrl-C may come at once

        try:
            app()
        except ApprenticeError as error:
            Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
            sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("Interrupted.", err=True)
        sys.exit(130)


@app.callback(invoke_without_command=True)
def version(
    asked: Annotated[bool, typer.Option("--version", help="print the version and end")] = False,
) -> None:
    """Active learning for Label Studio: annotate, and the queue reorders itself."""
    if asked:
        from importlib.metadata import version as version_of

        typer.echo(version_of("apprentice-label-studio"))
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=32, help="worker processes")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the backend: one web process and its workers, until Ctrl-C or SIGTERM."""
    from ml_backend.jobs.supervisor import serve as supervise

    settings = _settings(host=host, port=port, workers=workers, data_dir=data_dir)
    supervise(settings, _stop_on_signals())


@app.command(hidden=True)
def web() -> None:
    """The web process of `serve`."""
    from ml_backend.jobs.supervisor import stop_with_parent
    from ml_backend.web import run_web

    stop = _stop_on_signals()
    stop_with_parent(stop)
    run_web(_settings(), stop)


@app.command(hidden=True)
def worker() -> None:
    """A worker process of `serve`."""
    from ml_backend.jobs.supervisor import stop_with_parent
    from ml_backend.jobs.worker import Worker

    settings, stop = _settings(), _stop_on_signals()
    stop_with_parent(stop)
    os.nice(WORKER_NICE)
    _cap_threads(settings.threads)
    Worker(settings, stop).run()


@app.command()
def connect(project: Project, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None) -> None:
    """Connect a project: webhook, ML backend, sampling, a tab in queue order, and the first round."""
    from ml_backend.knock import check_backend
    from ml_backend.label_studio.connect import connect as set_up
    from ml_backend.store import Store, credentials, remember_credentials

    settings = _settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    check_backend(settings)  # before anything is changed: a project that works would be cut off
    client, store = _client(settings), Store(settings)
    client.version()
    client.project(project)  # the key is right: now the worker of the first round may have it
    remember_credentials(settings.data_dir, *credentials(settings))
    set_up(client, store, settings, project, _say)
    out.print(f"Project {project} is connected. `apprentice status --project {project}` shows the first round.")


@app.command()
def disconnect(project: Project, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None) -> None:
    """Undo `connect` and restore the project's earlier settings. What was learnt is kept."""
    from ml_backend.label_studio.connect import disconnect as take_apart

    settings = _settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    store = _store(settings)
    done = take_apart(_client(settings), store, project, _say)
    out.print(f"Project {project} is {'disconnected' if done else 'not connected: nothing to do'}.")


@app.command()
def status(
    project: AnyProject = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object (a list without --project)")] = False,
    data_dir: DataDir = None,
) -> None:
    """What is labelled, how good the learner is, and what the last round did."""
    from ml_backend.status import read_status

    store = _store(_settings(data_dir=data_dir))
    numbers = [project] if project else [record.id for record in store.projects.connected()]
    found = [read_status(store, number) for number in numbers]
    if as_json:
        dumped = [each.as_dict() for each in found]
        typer.echo(json.dumps(dumped[0] if project else dumped, indent=2))
    elif not found:
        out.print("No project is connected: `apprentice connect --project N`.")
    for each in found if not as_json else ():
        _print_status(each)


@app.command()
def report(
    project: Project,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, with all there is")] = False,
    data_dir: DataDir = None,
) -> None:
    """Where the learner is weak: labels that it confuses, its worst labels, clusters and groups, typical mistakes."""
    from dataclasses import asdict

    from ml_backend.teaching import wording
    from ml_backend.teaching.site import visit
    from ml_backend.teaching.weakness import serving, weakness

    settings = _settings(data_dir=data_dir)
    site = visit(settings, _store(settings), project)
    found = weakness(site, serving(site))
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False))
    for line in wording.lines(found) if not as_json else ():
        out.print(line, highlight=False, markup=False)


@app.command()
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
    from ml_backend.label_studio.synthetic import add_written
    from ml_backend.teaching.evolve import Evolving, Waiting
    from ml_backend.teaching.site import visit
    from ml_backend.teaching.wording import round_lines
    from ml_backend.teaching.written import POOL, TASKS, TAUGHT

    if train_directly and from_pool:
        raise typer.BadParameter("tasks of the pool are taught anyway: give --train-directly or --from-pool")
    settings = _settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    _cap_threads(settings.threads)
    store = _store(settings)
    site = visit(settings, store, project)
    way = POOL if from_pool else TAUGHT if train_directly else TASKS
    client = _client(settings) if way == TASKS else None  # before anything is paid for

    def send(texts: Mapping[str, str], since: str) -> Sequence[Example]:
        return add_written(client, project, site.schema, texts, since) if client else ()

    try:
        for one in Evolving(site, site.desk(), way, per_round, send).run(rounds):
            spent = store.ledger.spent_on(project, [each for ids in one.asked.values() for each in ids])
            for line in round_lines(one, spent):
                out.print(line, highlight=False, markup=False)
    except Waiting as waiting:
        out.print(str(waiting), highlight=False, markup=False)


@app.command()
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
    from ml_backend.teaching import batch

    if (export is None) == (replies is None):
        raise typer.BadParameter("give --export FILE or --import FILE")
    settings = _settings(data_dir=data_dir)
    store = _store(settings)
    said = batch.export(store, settings, project, export) if export else ""
    said = batch.take_in(store, settings, project, replies) if replies else said
    out.print(said, highlight=False, markup=False)


@app.command()
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
    from ml_backend.domain import ApprenticeError
    from ml_backend.label_studio.config import read_schema
    from ml_backend.teaching.cues import as_text, from_text, keep

    if edit + as_json + (file is not None) > 1:
        raise typer.BadParameter("give one of --edit, --file and --json")
    store = _store(_settings(data_dir=data_dir))
    record = store.projects.known(project)
    schema, known = read_schema(record.label_config), record.cues or {}
    if as_json:
        typer.echo(as_text(known, schema), nl=False)
        return
    if file:
        try:
            changed: Cues | None = from_text(file.read_text(encoding="utf-8-sig"), schema)
        except (OSError, UnicodeDecodeError) as error:
            raise ApprenticeError(f"{file} cannot be read ({error}): give a JSON file as --json writes it") from error
    elif edit:
        changed = _edited(as_text(known, schema), lambda edited: from_text(edited, schema))
    else:
        _print_cues(known, schema.labels)
        return
    if changed is None or changed == record.cues:
        out.print("Nothing has changed.")
    else:
        keep(store, project, changed)
        out.print(f"Kept: {len(changed)} of {len(schema.labels)} labels have cues. The learner is taught them anew.")


@app.command()
def versions(project: Project, data_dir: DataDir = None) -> None:
    """The model versions of a project, newest first."""
    from ml_backend.status import read_status

    store = _store(_settings(data_dir=data_dir))
    read_status(store, project)  # says so if the project is unknown
    active, kept = store.versions.active(project), set(store.versions.learners(project))
    table = Table(Column("version", no_wrap=True), "learner", "labels", "accuracy", "made", "note", box=None)
    found = store.versions.all(project)
    learnt = {version.number: str(version.labelled) for version in found}
    for version in found:
        name = f"[green]{version.name} active[/]" if active and version.number == active.number else version.name
        own = "kept" if version.number in kept else (f"of {version.learner}" if version.learner else "none yet")
        labels = learnt.get(version.learner or version.number, "-")  # what its learner was trained on
        accuracy = f"{version.accuracy.value:.3f}" if version.accuracy else "-"
        made = datetime.fromtimestamp(version.created_at, UTC).astimezone().strftime("%d %b %H:%M")
        table.add_row(name, own, labels, accuracy, made, escape(version.note))
    out.print(table)


@app.command()
def rollback(
    project: Project,
    to: Annotated[str | None, typer.Option(help="version name or number; `latest` ends a rollback")] = None,
    data_dir: DataDir = None,
) -> None:
    """Serve an earlier learner again, at once, and hold it there."""
    from ml_backend.rollback import roll_back

    said = roll_back(_store(_settings(data_dir=data_dir)), project, to)
    out.print(f"Project {project}: {said}.")


@app.command()
def doctor(
    project: AnyProject = None, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None
) -> None:
    """Check everything from both sides and say what to do. Exit code 1 if something is wrong."""
    from ml_backend.doctor import examine

    settings = _settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    wrong = 0
    for finding in examine(settings, project):
        wrong += finding.state == "wrong"
        mark = {"good": "[green]ok   [/]", "notice": "[yellow]note [/]", "wrong": "[red]wrong[/]"}[finding.state]
        out.print(f"{mark} [bold]{escape(finding.about)}[/]: {escape(finding.text)}", highlight=False)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def simulate(
    tasks: Annotated[Path, typer.Option(metavar="FILE", help="labelled tasks: the project exported as JSON")],
    label_config: Annotated[Path, typer.Option(metavar="FILE", help="the project's labelling configuration")],
    out_folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="for report.html, summary.json and curves.csv")
    ],
    test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="labelled test tasks; without it, 30 % are held out, anew each time"),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default="the one in use", help="compared with random; again for each"),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=2, help="labels at most; 500, or half of the tasks to choose from, if not told")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="labels between two rounds of learning")] = 25,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="repetitions, each from other first labels; best decided before")
    ] = 10,
    initial: Annotated[
        int | None, typer.Option(min=0, help="first labels, drawn at random; one batch if not told")
    ] = None,
    group: Annotated[str, typer.Option(metavar="FIELD", help="field of the tasks' data whose values are groups")] = "",
) -> None:
    """Try strategies on labels that you have: how many labels would each have saved?

    Every finished repetition is kept in --out: interrupted or asked for more, the same command goes on from there.
    """
    simulator: Simulator | None = None
    try:
        settings = _settings()
        chosen = strategy or [settings.defaults.acquisition]
        with _progress_bar() as progress:
            from ml_backend.evaluation.request import Request
            from ml_backend.simulator import Simulator

            _cap_threads(settings.threads)
            request = Request(tasks, label_config, out_folder, test, chosen, budget, batch, seeds, initial, group)
            simulator = Simulator(settings, request, _say, progress)
            simulator.run()
    except (KeyboardInterrupt, Exception) as reason:
        if isinstance(reason, KeyboardInterrupt):
            out.print("Interrupted: the same command goes on from here.")
        if simulator is not None:
            from ml_backend.domain import ApprenticeError

            try:  # what is finished is kept, and told
                _print_simulation(simulator.conclude(), out_folder)
            except ApprenticeError as nothing:
                if str(nothing) != str(reason):  # that is told anyway
                    out.print(str(nothing), highlight=False, markup=False)
        raise
    _print_simulation(simulator.conclude(), out_folder)


@app.command()
def demo(
    annotations: Annotated[int, typer.Option(min=0, max=5000, help="label so many automatically, then stop")] = 0,
    folder: Annotated[Path, typer.Option(help="where the demo keeps Label Studio's and our data")] = Path(".demo"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="port of Label Studio")] = 8080,
    teacher: Annotated[
        str, typer.Option(help="`similarity`, or `smollm2`: a small language model, run here")
    ] = "similarity",
) -> None:
    """Label Studio, this backend and 4,880 questions to label, on this machine."""
    from ml_backend.demo.run import run_demo
    from ml_backend.logs import set_up_logs

    set_up_logs("warning")
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT, too: shells let background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    run_demo(folder, annotations, port, teacher)


def _settings(**overrides: object) -> Settings:
    from ml_backend.logs import set_up_logs
    from ml_backend.settings import load_settings

    settings = load_settings(**overrides)
    set_up_logs(settings.log_level)
    return settings


def _store(settings: Settings) -> Store:
    from ml_backend.store import Store

    return Store(settings, must_exist=True)


def _client(settings: Settings) -> LabelStudioClient:
    from ml_backend.label_studio.client import LabelStudioClient
    from ml_backend.store import credentials

    return LabelStudioClient(*credentials(settings), settings.timeout_seconds)


def _say(text: str) -> None:
    out.print(f"  {escape(text)}", highlight=False)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bar:
        shown = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(shown, description=what, completed=done, total=total)


def _edited(text: str, read: Callable[[str], Cues]) -> Cues | None:
    """What comes out of the user's editor; None if it was left as it is. What is wrong can be mended at once."""
    import click

    from ml_backend.domain import ApprenticeError

    while True:
        try:
            edited = click.edit(text, extension=".json")
        except click.ClickException as error:
            raise ApprenticeError(f"{error.message}: set EDITOR, or use --json and --file") from None
        if edited is None or edited == text:
            return None
        try:
            return read(edited)
        except ApprenticeError as error:
            _say(str(error))
            if not typer.confirm("Nothing is changed yet. Edit again?", default=True):
                raise
            text = edited


def _print_cues(cues: Cues, labels: Sequence[str]) -> None:
    if not cues:
        out.print("No cues yet: a teacher that can be asked is asked for them, or write your own with --edit.")
        return
    for label in labels:
        told = cues.get(label, {"description": "", "cues": []})
        out.print(f"[bold]{escape(label)}[/]  {escape(told['description'])}", highlight=False)
        for phrase, score, *instead in told["cues"]:
            _say(f"{score:>5}  {phrase}{f' (rather {instead[0]})' if instead else ''}")


def _cap_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _print_simulation(verdict: str, folder: Path) -> None:
    for line in (verdict, f"The curves are in {folder / 'report.html'}."):
        out.print(line, highlight=False, markup=False)


def _print_status(each: Status) -> None:
    from ml_backend.status import lines

    out.print(f"[bold]Project {each.project}[/]")
    for name, text in lines(each):
        out.print(f"  {name:<16}{escape(text)}", highlight=False)


if __name__ == "__main__":
    main()

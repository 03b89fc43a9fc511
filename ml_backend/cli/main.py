"""The command `apprentice`."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

import ml_backend.cli.features
import ml_backend.cli.forget
import ml_backend.cli.teacher  # noqa: F401 their commands are the application's by now
from ml_backend import __version__
from ml_backend.cli.common import (
    AnyProject,
    DataDir,
    Key,
    Project,
    Url,
    app,
    cap_threads,
    make_client,
    open_store,
    out,
    progress_bar,
    read_settings,
    say,
    settings_of_child,
    stop_on_signals,
)

if TYPE_CHECKING:
    from ml_backend.monitoring.status import Status

Parent = Annotated[int, typer.Option(help="the process that ends this one with it")]
WORKER_NICE = 5  # Label Studio waits for the web process, and an annotator for Label Studio: they come first


def main() -> None:
    """Entry point: an error that is the user's to mend is one sentence and exit code 1; Ctrl-C is one line and 130."""
    try:
        from ml_backend.core.exceptions import (
            ApprenticeError,  # here, as all that takes its time: Ctrl-C may come at once
        )

        try:
            app()
        except ApprenticeError as error:
            Console(stderr=True, soft_wrap=True, emoji=False).print(
                f"[bold red]error:[/] {escape(str(error))}", highlight=False
            )
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
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port to listen on")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=32, help="worker processes")] = None,
    data_dir: DataDir = None,
) -> None:
    """Run the backend: one web process and its workers, until Ctrl-C or SIGTERM."""
    from ml_backend.worker.supervisor import serve as supervise

    settings = read_settings(host=host, port=port, workers=workers, data_dir=data_dir)
    supervise(settings, stop_on_signals())


@app.command(hidden=True)
def web(parent: Parent) -> None:
    """The web process of `serve`."""
    from ml_backend.worker.supervisor import stop_with_parent

    stop = stop_on_signals()
    stop_with_parent(stop, parent)
    from ml_backend.web.server import run_web

    run_web(settings_of_child(), stop)


@app.command(hidden=True)
def worker(parent: Parent) -> None:
    """A worker process of `serve`."""
    from ml_backend.worker.supervisor import stop_with_parent

    settings, stop = settings_of_child(), stop_on_signals()
    stop_with_parent(stop, parent)
    from ml_backend.worker.worker import Worker

    os.nice(WORKER_NICE)
    cap_threads(settings.threads)
    Worker(settings, stop).run()


@app.command()
def connect(project: Project, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None) -> None:
    """Connect a project: webhook, ML backend, sampling, a tab in queue order, and the first round."""
    from ml_backend.label_studio.setup import connect as set_up
    from ml_backend.monitoring.health_check import check_backend
    from ml_backend.monitoring.text_sample import question_and_texts
    from ml_backend.storage import Store, credentials, remember_credentials

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    check_backend(settings)  # before anything is changed: a project that works would be cut off
    client, store = make_client(settings), Store(settings)
    client.version()
    client.project(project)  # the key is right: now the worker of the first round may have it
    remember_credentials(settings.data_dir, *credentials(settings))
    schema = set_up(client, store, settings, project, say)
    for sentence in question_and_texts(client, project, schema):
        say(sentence)
    out.print(f"Project {project} is connected. `apprentice status --project {project}` shows the first round.")


@app.command()
def disconnect(project: Project, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None) -> None:
    """Undo `connect` and restore the project's earlier settings. What was learnt is kept: `forget` removes it."""
    from ml_backend.label_studio.setup import disconnect as take_apart

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
    store = open_store(settings)
    done = take_apart(make_client(settings), store, project, say)
    out.print(f"Project {project} is {'disconnected' if done else 'not connected: nothing to do'}.")


@app.command()
def status(
    project: AnyProject = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object (a list without --project)")] = False,
    data_dir: DataDir = None,
) -> None:
    """What is labelled, how good the learner is, and what the last round did."""
    from ml_backend.monitoring.status import read_status

    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    numbers = [project] if project else [record.id for record in store.projects.connected()]
    found = [read_status(store, number, settings) for number in numbers]
    if as_json:
        dumped = [each.as_dict() for each in found]
        typer.echo(json.dumps(dumped[0] if project else dumped, indent=2))
    elif not found:
        out.print("No project is connected: `apprentice connect --project N`.")
    for each in found if not as_json else ():
        _print_status(each)


@app.command()
def versions(project: Project, data_dir: DataDir = None) -> None:
    """The model versions of a project, newest first."""
    from ml_backend.monitoring.status import read_status

    store = open_store(read_settings(data_dir=data_dir))
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
    from ml_backend.loop.rollback import roll_back

    said = roll_back(open_store(read_settings(data_dir=data_dir)), project, to)
    out.print(f"Project {project}: {said}.")


@app.command()
def doctor(
    project: AnyProject = None, label_studio_url: Url = None, api_key: Key = None, data_dir: DataDir = None
) -> None:
    """Check everything from both sides and say what to do. Exit code 1 if something is wrong."""
    from ml_backend.monitoring.doctor import examine

    settings = read_settings(label_studio_url=label_studio_url, label_studio_api_key=api_key, data_dir=data_dir)
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
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="of records: what fields say, as `apprentice features --json` writes it"),
    ] = None,
    teacher_arm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="ask the teacher as well: evolve, weak-slices or teach; again for each"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=100, show_default="3", help="of --teacher-arm: how often")
    ] = None,
    per_round: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, show_default="20", help="of --teacher-arm: hard texts a round, and as many easy ones"
        ),
    ] = None,
) -> None:
    """Try strategies on labels that you have: how many labels would each have saved?

    With --teacher-arm, the first strategy is also tried with a teacher that is really asked, at its price: `evolve` has
    it write texts, `weak-slices` and `teach` have it label as many tasks, near the learner's mistakes or as
    teacher_acquisition chooses.

    Every finished repetition is kept in --out: interrupted or asked for more, the same command goes on from there.
    """
    if (rounds or per_round) and not teacher_arm:
        raise typer.BadParameter("--rounds and --per-round are of --teacher-arm: give that, too")
    simulator: Simulator | None = None
    try:
        settings = read_settings()
        with progress_bar() as progress:
            from ml_backend.simulation.config import SimulationConfig
            from ml_backend.simulation.run import Simulator

            cap_threads(settings.threads)
            request = SimulationConfig(
                tasks, label_config, out_folder, test, strategy or (), budget, batch, seeds, initial, group,
                list(dict.fromkeys(teacher_arm or ())), rounds or 3, per_round or 20, features,
            )  # fmt: skip
            simulator = Simulator(settings, request, say, progress)
            simulator.run()
    except (KeyboardInterrupt, Exception) as reason:
        if isinstance(reason, KeyboardInterrupt):
            out.print("Interrupted: the same command goes on from here.")
        if simulator is not None:
            from ml_backend.core.exceptions import ApprenticeError

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
    kind: Annotated[str, typer.Option(help="`text`: 4,880 questions; `table`: 400 records of tumours")] = "text",
) -> None:
    """Label Studio, this backend and real texts or records to label, on this machine."""
    from ml_backend.core.logs import set_up_logs
    from ml_backend.demo.run import run_demo

    set_up_logs("warning")
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT, too: shells let background jobs ignore it
        signal.signal(number, signal.default_int_handler)
    run_demo(folder, annotations, port, teacher, kind)


def _print_simulation(verdict: str, folder: Path) -> None:
    for line in (verdict, f"The curves are in {folder / 'report.html'}."):
        out.print(line, highlight=False, markup=False)


def _print_status(each: Status) -> None:
    from ml_backend.monitoring.status import lines

    out.print(f"[bold]Project {each.project}[/]")
    for name, text in lines(each):
        out.print(f"  {name:<16}{escape(text)}", highlight=False)

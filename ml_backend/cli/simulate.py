"""`apprentice simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ml_backend.cli.common import Control, cap_threads, out, print_indented, progress_bar, read_settings

if TYPE_CHECKING:
    from ml_backend.simulation.run import Simulator

Axis = Literal["tasks", "words", "spans"]


def simulate(
    tasks: Annotated[Path, typer.Option(metavar="FILE", help="labelled tasks: the project exported as JSON")],
    label_config: Annotated[Path, typer.Option(metavar="FILE", help="the project's labelling configuration")],
    out_folder: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="for report.html, summary.json and curves.csv")
    ],
    test: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="labelled test tasks; without it, each repetition holds out 30 % of the tasks"
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", show_default="the one in use", help="query strategy to compare with random; can be repeated"
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=2, help="labels at most; default: 500, or half of the tasks to choose from")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="labels between two rounds of learning")] = 25,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="repetitions, each from other first labels; best decided beforehand")
    ] = 10,
    initial: Annotated[
        int | None, typer.Option(min=0, help="first labels, drawn at random; default: one batch")
    ] = None,
    control: Control = "",
    group: Annotated[str, typer.Option(metavar="FIELD", help="field of the tasks' data whose values are groups")] = "",
    x: Annotated[
        Axis | None,
        typer.Option(
            help="what the strategies are compared by: tasks, words read or spans marked",
            show_default="words if spans are marked, else tasks",
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="for records: fields and scores, as `apprentice features --json` writes them"
        ),
    ] = None,
    teacher_arm: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="ask the teacher as well: evolve, weak-slices or teach; can be repeated"),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, max=100, show_default="3", help="with --teacher-arm: rounds of the teacher")
    ] = None,
    per_round: Annotated[
        int | None,
        typer.Option(
            min=1, max=100, show_default="20", help="with --teacher-arm: hard texts a round, and as many easy ones"
        ),
    ] = None,
) -> None:
    """Try query strategies on labels that you have: how many labels would each have saved?

    With --teacher-arm, the first strategy is also tried with a teacher. The teacher is really asked, at its price: with
    `evolve`, it writes texts; with `weak-slices`, it labels as many tasks near the learner's mistakes; with `teach`, as
    many tasks that teacher_acquisition chooses.

    If tasks are labelled for several controls, all are learnt at once, from one queue, and the report has a section for
    each; --control replays one alone. --teacher-arm and --features are about one control.

    If spans are marked, the strategies are compared by the words that annotators read; the report also has the tasks
    and the spans. --x compares them by another of the three.

    Every finished repetition is stored in --out: after an interruption, or with more --seeds, the command continues.
    """
    if (rounds or per_round) and not teacher_arm:
        raise typer.BadParameter("--rounds and --per-round need --teacher-arm")
    simulator: Simulator | None = None
    try:
        settings = read_settings()
        with progress_bar() as progress:
            from ml_backend.rendering.simulation_text import notice_text
            from ml_backend.simulation.config import SimulationConfig
            from ml_backend.simulation.run import Simulator

            cap_threads(settings.threads)
            config = SimulationConfig(
                tasks, label_config, out_folder, test, strategy or (), budget, batch, seeds, initial, group,
                list(dict.fromkeys(teacher_arm or ())), rounds or 3, per_round or 20, features, control, x or "",
            )  # fmt: skip
            simulator = Simulator(settings, config, lambda notice: print_indented(notice_text(notice)), progress)
            simulator.run()
    except (KeyboardInterrupt, Exception) as failure:
        if isinstance(failure, KeyboardInterrupt):
            out.print("Interrupted: the same command goes on from here.")
        if simulator is not None:
            from ml_backend.core.exceptions import ApprenticeError

            try:  # the finished repetitions are reported
                _report(simulator, out_folder)
            except ApprenticeError as error:
                if str(error) != str(failure):  # `main` prints the failure
                    out.print(str(error), highlight=False, markup=False)
        raise
    _report(simulator, out_folder)


def _report(simulator: Simulator, folder: Path) -> None:
    from ml_backend.rendering.simulation_report import REPORT, write_report

    recommendation = write_report(simulator.conclude(), folder)
    for line in (recommendation, f"The curves are in {folder / REPORT}."):
        out.print(line, highlight=False, markup=False)

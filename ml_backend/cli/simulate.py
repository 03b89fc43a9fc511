"""`apprentice simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_backend.cli.common import cap_threads, out, progress_bar, read_settings, say

if TYPE_CHECKING:
    from ml_backend.simulation.run import Simulator


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


def _print_simulation(verdict: str, folder: Path) -> None:
    for line in (verdict, f"The curves are in {folder / 'report.html'}."):
        out.print(line, highlight=False, markup=False)

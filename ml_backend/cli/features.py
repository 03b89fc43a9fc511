"""What is known of the fields of records: to be read, and changed by somebody who knows better."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from ml_backend.cli.common import DataDir, Project, edited, open_store, out, read_json_text, read_settings

if TYPE_CHECKING:
    from ml_backend.teacher.project_context import ProjectContext

MOST_VALUES = 12  # of a category, that are listed


def features(
    project: Project,
    edit: Annotated[bool, typer.Option("--edit", help="change it in your editor ($EDITOR)")] = False,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="take it from a JSON file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, as --file wants it")] = False,
    data_dir: DataDir = None,
) -> None:
    """Of records: what their fields are, and how much each speaks for a label (up to 10) or against it (down to -10).

    A number's score is that of a high value; a category has one for each of its values. The learner starts from them.
    The teacher is asked for them, a few times over, unless you have written your own. What a file says of the fields,
    or its scores, takes the place of all that was known of them.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.pool.feature_space import descriptions
    from ml_backend.teacher.descriptions.feature_scores import as_text, from_text, keep
    from ml_backend.teacher.project_context import visit

    if edit + as_json + (file is not None) > 1:
        raise typer.BadParameter("give one of --edit, --file and --json")
    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    site = visit(settings, store, project)
    encoder = site.records
    if encoder is None:
        raise ApprenticeError(
            f"The tasks of project {project} are texts: `apprentice cues` shows what is known of them"
        )
    told = descriptions(site.options, site.record.features)
    text = as_text(site.record, encoder, site.schema, told)
    if as_json:
        typer.echo(text, nl=False)
    elif file or edit:
        read = read_json_text(file) if file else None
        changed = (
            from_text(read, encoder, site.schema, site.record.features)
            if read is not None
            else edited(text, lambda each: from_text(each, encoder, site.schema, site.record.features))
        )
        if changed is None or changed == from_text(text, encoder, site.schema, site.record.features):
            out.print("Nothing has changed.")
            return
        keep(store, project, changed)
        n = len((changed.get("estimates") or [{}])[0].keys() & {*site.schema.labels})
        out.print(f"Kept: {n} of {len(site.schema.labels)} labels have scores. The learner is taught them anew.")
        if above := sorted(changed["fields"].keys() & site.options.fields.keys()):
            words = f"Of {', '.join(above)}, the project's extra params say something, too, which stands above this."
            out.print(escape(words), highlight=False)
    else:
        _print(site, told)


def _print(site: ProjectContext, told: Mapping[str, str]) -> None:
    from ml_backend.teacher.descriptions.feature_scores import BY_HAND, estimates, mean, spread

    said = estimates(site.record)
    scores, spreads = mean(said), spread(said)
    for field in site.records.about() if site.records else ():
        name = field["name"]
        words = f"  {told[name]}" if name in told else ""
        values = f" ({_values(field['values'], field['kind'])})" if field["values"] else ""
        out.print(f"[bold]{escape(name)}[/]  {field['kind']}{escape(values + words)}", highlight=False)
        for label in site.schema.labels:
            if line := _line(scores.get(label, {}).get(name), spreads.get(label, {}).get(name)):
                out.print(f"    {escape(label)}: {escape(line)}", highlight=False)
    left = site.records.left_out() if site.records else {}
    if left:
        shown = ", ".join(f"{name} ({why})" for name, why in left.items())
        out.print(f"Left out: {escape(shown)}", highlight=False)
    if gone := [label for label in scores if label not in site.schema.labels]:
        words = f"Scores of labels that are not in the project: {', '.join(gone)}. With --edit, give them another name."
        out.print(escape(words), highlight=False)
    if not said and (problem := _in_vain(site)):
        out.print(f"No scores: {escape(problem)}. Write your own with --edit.", highlight=False)
    elif not said:
        out.print("No scores yet: a teacher that can be asked is asked for them, or write your own with --edit.")
    elif (site.record.features or {}).get("by") == BY_HAND:
        out.print("Written by hand: the teacher is not asked.")
    else:
        out.print(f"Mean of {len(said)} estimates of the teacher, with their standard deviation.")


def _in_vain(site: ProjectContext) -> str:
    """Why the teacher's replies were of no use, "" if it has not been asked."""
    from ml_backend.teacher.descriptions.feature_scores import asked

    teacher = (site.record.teacher or {}).get("name")
    if site.records is None or not teacher:
        return ""
    wanted = [each.id for each in asked(site.record, site.records, site.schema, {}, (), teacher)]
    dropped = [each.problem for each in site.store.questions.answers(site.record.id, wanted).values() if each.problem]
    return f"{len(dropped)} questions to the teacher came to nothing ({dropped[0]})" if dropped else ""


def _values(values: list[str], kind: str) -> str:
    """Those of a category; of a number, the lowest and the highest, as they were read."""
    if kind in ("numeric", "date"):
        return f"{values[0]} to {values[-1]}"
    from ml_backend.core.types import shortened

    shown = [shortened(value) for value in values[:MOST_VALUES]]
    quoted = [f'"{value}"' if " " in value or "," in value else value for value in shown]
    more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return ", ".join(quoted) + more


def _line(score: Any, spread: Any) -> str:
    """A field's score for a label, or those of its values, as far as there are any."""
    if isinstance(score, Mapping):
        shown = [f"{value} {_number(score[value], spread[value])}" for value in score if score[value]][:MOST_VALUES]
        return ", ".join(shown)
    return _number(score, spread) if score is not None else ""


def _number(score: float, spread: float) -> str:
    return f"{score:+.3g}" + (f" ± {spread:.2g}" if spread else "")

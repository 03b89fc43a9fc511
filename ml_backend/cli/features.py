"""`apprentice features`: shows and changes the descriptions and scores of the fields of records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from ml_backend.cli.common import (
    AsJson,
    Control,
    DataDir,
    Edit,
    JsonFile,
    Project,
    edit_in_editor,
    edit_options,
    open_store,
    out,
    print_control_name,
    read_json_text,
    read_settings,
    require_one_control,
)
from ml_backend.kinds.lookup import kind_of

if TYPE_CHECKING:
    from ml_backend.teacher.project_context import ProjectContext

MAX_LISTED_VALUES = 12  # of a category


def features(
    project: Project,
    edit: Edit = False,
    file: JsonFile = None,
    as_json: AsJson = False,
    control: Control = "",
    data_dir: DataDir = None,
) -> None:
    """For records: show or change each field's type, and its scores for a label (up to 10) or against it (to -10).

    A number's score is that of a high value; a category has one for each of its values. The learner starts from the
    scores. The teacher is asked for them, a few times over, unless you have written your own. The fields of a file
    replace all stored fields, for all controls, and its scores replace all stored scores of the control.
    """
    from ml_backend.core.exceptions import ApprenticeError
    from ml_backend.pool.feature_space import field_descriptions
    from ml_backend.teacher.descriptions.feature_scores import (
        features_from_text,
        features_to_text,
        save_features,
        stored_features,
    )
    from ml_backend.teacher.project_context import load_project_context

    if edit + as_json + (file is not None) > 1:
        raise typer.BadParameter("give one of --edit, --file and --json")
    settings = read_settings(data_dir=data_dir)
    store = open_store(settings)
    context = load_project_context(settings, store, project, control)
    encoder = context.record_encoder
    if encoder is None:
        has_cues = any(kind_of(described).describes_labels(described) for described in context.schema.controls)
        raise ApprenticeError(
            f"The tasks of project {project} are texts{': use `apprentice cues`' if has_cues else ', without fields'}"
        )
    controls = context.schema.selected_controls(control)
    if edit or file or as_json:
        require_one_control(controls)
    descriptions = field_descriptions(context.options, context.project_row.field_overrides)
    stored = stored_features(context.project_row, context.control)
    text = features_to_text(context.project_row, encoder, context.control, descriptions)
    if as_json:
        typer.echo(text, nl=False)
    elif file or edit:
        file_text = read_json_text(file) if file else None
        changed = (
            features_from_text(file_text, encoder, context.control, stored)
            if file_text is not None
            else edit_in_editor(text, lambda edited: features_from_text(edited, encoder, context.control, stored))
        )
        if changed is None or changed == features_from_text(text, encoder, context.control, stored):
            out.print("Nothing has changed.")
            return
        save_features(store, project, context.control, changed)
        labels = context.control.labels
        n_scored = len((changed.scores.get("estimates") or [{}])[0].keys() & {*labels})
        out.print(f"Kept: {n_scored} of {len(labels)} labels have scores. The next learner starts from them.")
        if overridden := sorted(changed.fields.keys() & context.options.fields.keys()):
            sentence = f"The project's extra params override what is kept of these fields: {', '.join(overridden)}."
            out.print(escape(sentence), highlight=False)
    else:
        for shown in controls:
            print_control_name(shown, controls)
            _print_features(context.with_control(shown), descriptions)


def _print_features(context: ProjectContext, descriptions: Mapping[str, str]) -> None:
    from ml_backend.teacher.descriptions.feature_scores import BY_HAND, estimate_deviation, estimates, mean_estimate

    edit = edit_options(context.control, context.schema.controls)
    score_estimates = estimates(context.project_row, context.control)
    scores, deviations = mean_estimate(score_estimates), estimate_deviation(score_estimates)
    for field in context.record_encoder.field_summaries() if context.record_encoder else ():
        name = field["name"]
        description = f"  {descriptions[name]}" if name in descriptions else ""
        values = f" ({_values_text(field['values'], field['kind'])})" if field["values"] else ""
        out.print(f"[bold]{escape(name)}[/]  {field['kind']}{escape(values + description)}", highlight=False)
        for label in context.control.labels:
            if line := _scores_text(scores.get(label, {}).get(name), deviations.get(label, {}).get(name)):
                out.print(f"    {escape(label)}: {escape(line)}", highlight=False)
    left_out = context.record_encoder.left_out() if context.record_encoder else {}
    if left_out:
        listed = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
        out.print(f"Left out: {escape(listed)}", highlight=False)
    if removed_labels := [label for label in scores if label not in context.control.labels]:
        names = ", ".join(removed_labels)
        sentence = f"Scores of labels that are not in the project: {names}. With {edit}, give them another name."
        out.print(escape(sentence), highlight=False)
    if not score_estimates and (problem := _teacher_problem(context)):
        out.print(escape(f"No scores: {problem}. Write your own with {edit}."), highlight=False)
    elif not score_estimates:
        sentence = f"No scores yet: a teacher that can be asked is asked for them, or write your own with {edit}."
        out.print(escape(sentence), highlight=False)
    elif (context.feature_scores or {}).get("by") == BY_HAND:
        out.print("Written by hand: the teacher is not asked.")
    else:
        out.print(f"Mean of {len(score_estimates)} estimates of the teacher, with their standard deviation.")


def _teacher_problem(context: ProjectContext) -> str:
    """Says how many questions to the teacher failed, and why the first one did; "" if none did."""
    from ml_backend.teacher.descriptions.feature_scores import score_questions

    teacher = (context.project_row.teacher or {}).get("name")
    if context.record_encoder is None or not teacher:
        return ""
    questions = score_questions(context.project_row, context.record_encoder, context.control, {}, (), teacher)
    answers = context.store.questions.answers(context.project_row.id, [question.id for question in questions])
    problems = [answer.problem for answer in answers.values() if answer.problem]
    return f"{len(problems)} questions to the teacher failed ({problems[0]})" if problems else ""


def _values_text(values: list[str], kind: str) -> str:
    """The values of a category; for a number or a date, the lowest and the highest value, as they were read."""
    if kind in ("numeric", "date"):
        return f"{values[0]} to {values[-1]}"
    from ml_backend.core.types import shorten
    from ml_backend.rendering.formatting import and_more

    shown = [shorten(value) for value in values[:MAX_LISTED_VALUES]]
    quoted = [f'"{value}"' if " " in value or "," in value else value for value in shown]
    more = and_more(values, MAX_LISTED_VALUES)
    return ", ".join(quoted) + more


def _scores_text(score: Any, deviation: Any) -> str:
    """A field's score for a label, or the scores of its values; "" if there is none."""
    if isinstance(score, Mapping):
        shown = [value for value in score if score[value]][:MAX_LISTED_VALUES]
        return ", ".join(f"{value} {_score_text(score[value], deviation[value])}" for value in shown)
    return _score_text(score, deviation) if score is not None else ""


def _score_text(score: float, deviation: float) -> str:
    return f"{score:+.3g}" + (f" ± {deviation:.2g}" if deviation else "")

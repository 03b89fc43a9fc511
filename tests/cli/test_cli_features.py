"""`apprentice features`: fields of records and their scores are shown and edited, and errors are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from fake_label_studio import SINGLE, FakeLabelStudio
from patient_records import SCORES, TABLE, add_patients
from projects import set_up
from round_fixtures import MakeRound
from schemas import CONTROL, first_of
from span_project import CONFIG as SPANS
from two_controls import MOOD, MOOD_TAG
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.teacher.descriptions import feature_scores
from ml_backend.teacher.project_context import load_project_context

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:  # fmt: skip
    """Runs the command on a project of records; returns exit code and output."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("APPRENTICE_ENCODER", settings.encoder)
    monkeypatch.setenv("COLUMNS", "200")
    server.label_config = TABLE
    add_patients(server, 60)
    run_round(make_round(server))

    def call(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main.app, ["features", "--project", "5", *arguments])
        return result.exit_code, result.output + (str(result.exception) if result.exception else "")

    return call


def write_file(tmp_path: Path, **content: Any) -> str:
    file = tmp_path / "features.json"
    file.write_text(json.dumps(content))
    return str(file)


def test_fields_are_shown_with_their_kinds_and_scores(run: Run, tmp_path: Path, store: Store) -> None:
    code, output = run()
    assert (
        code == 0 and "age  numeric" in output and "smoker  boolean (no, yes)" in output and "No scores yet" in output
    )
    fields = {"age": {"kind": "numeric", "description": "in years"}}
    code, output = run("--file", write_file(tmp_path, fields=fields, scores=SCORES))
    assert (code, output) == (0, "Kept: 1 of 2 labels have scores. The next learner starts from them.\n")
    project_row = store.projects.ensure(5)
    assert project_row.field_overrides == {"age": {"description": "in years"}}
    assert first_of(project_row.feature_scores) == {"estimates": [SCORES], "by": "hand"}
    assert store.jobs.state(5).waiting
    output = run()[1]
    assert "age  numeric (19 to 87)  in years\n    yes: +8\n" in output and "    yes: Oslo -3, Bergen +4\n" in output
    assert output.endswith("Written by hand: the teacher is not asked.\n")


def test_the_json_output_can_be_imported_again(run: Run, tmp_path: Path, store: Store) -> None:
    run("--file", write_file(tmp_path, scores=SCORES))
    before, text = first_of(store.projects.ensure(5).feature_scores), run("--json")[1]
    assert json.loads(text)["scores"] == {"no": {}, **SCORES}
    (tmp_path / "again.json").write_text(text)
    assert run("--file", str(tmp_path / "again.json")) == (0, "Nothing has changed.\n")
    assert first_of(store.projects.ensure(5).feature_scores) == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"scores": {"maybe": {}}}, "There is no label 'maybe' in the project; there are: no, yes"),
        ({"scores": {"yes": {"agee": 1}}}, "name a field 'agee' that no record has, did you mean 'age'?"),
        ({"scores": {"yes": {"age": 11}}}, "The score of 'age' for 'yes' must be a number from -10 to 10, not 11"),
        ({"scores": {"yes": {"age": True}}}, "must be a number from -10 to 10"),
        ({"scores": {"yes": {"city": {"Oslo": "much"}}}}, "must be a number from -10 to 10, not 'much'"),
        ({"scores": {"yes": 3}}, "The scores of 'yes' must be an object in JSON"),
        ({"scores": []}, "scores must be an object in JSON"),
        ({"scores": {"yes": {"city": 4}}}, "'city' is a category: give a score for each of its values for 'yes'"),
        ({"scores": {"yes": {"age": {"30": 4}}}}, "'age' is numeric: give one score for 'yes', that of a high value"),
        ({"scores": {"yes": {"city": {"Paris": 4}}}}, "'city' has no value 'Paris' that is frequent enough"),
        ({"fields": {"age": {"kind": "colourful"}}}, "The field 'age' cannot be 'colourful': say one of numeric, date"),
        ({"fields": {"age": {"order": "up"}}}, "The order of 'age' must be a list of its values, the lowest first"),
        ({"fields": {"age": 3}}, "The field 'age' must be an object in JSON"),
        ({"fields": {"aeg": "numeric"}}, "There is no field 'aeg' in the records, did you mean 'age'?"),
        ({"fields": {"age": {"sort": "x"}}}, "The field 'age' has 'sort': there are kind, order and description"),
        ({"score": {}}, "must be a JSON object"),
    ],
)  # fmt: skip
def test_an_error_in_the_file_is_explained_and_changes_nothing(
    run: Run, store: Store, tmp_path: Path, content: dict[str, Any], words: str
) -> None:
    code, output = run("--file", write_file(tmp_path, **content))
    assert first_of(store.projects.ensure(5).feature_scores) is None
    assert code == 1 and words in output


def test_scores_can_be_changed_in_an_editor(run: Run, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "edit", lambda text, extension: text.replace('"yes": {}', '"yes": {"age": 4}'))
    assert run("--edit")[0] == 0
    stored = first_of(store.projects.ensure(5).feature_scores)
    assert stored is not None and stored["estimates"] == [{"yes": {"age": 4}}]


def test_a_kind_that_is_edited_holds_from_the_next_round_on(
    run: Run, store: Store, tmp_path: Path, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    run("--file", write_file(tmp_path, fields={"city": {"order": ["Oslo", "Bergen"]}, "noise": {"kind": "left out"}}))
    run_round(make_round(server))
    output = run()[1]
    assert "city  ordinal (Oslo, Bergen)" in output and "Left out: noise (left out)" in output
    assert json.loads(run("--json")[1])["fields"]["noise"]["kind"] == "left out", "to be changed again"


def test_fields_are_those_of_the_project_whatever_control_they_are_edited_under(
    run: Run, store: Store, tmp_path: Path, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    server.label_config = TABLE.replace("</View>", MOOD_TAG.replace('"text"', '"record"'))
    run_round(make_round(server))
    city = {"order": ["Oslo", "Bergen"]}
    run("--control", CONTROL, "--file", write_file(tmp_path, fields={"city": city, "noise": "left out"}, scores=SCORES))
    run_round(make_round(server))
    assert json.loads(run("--control", MOOD, "--json")[1])["fields"]["city"]["kind"] == "ordinal"
    scores = first_of(store.projects.ensure(5).feature_scores)
    run("--control", MOOD, "--file", write_file(tmp_path, fields={"noise": "categorical"}, scores={"wild": {"age": 2}}))
    run_round(make_round(server))
    for control in (CONTROL, MOOD):
        fields = json.loads(run("--control", control, "--json")[1])["fields"]
        kinds = {name: fields[name]["kind"] for name in ("city", "noise")}
        assert kinds == {"city": "categorical", "noise": "categorical"}, control
    assert store.projects.ensure(5).feature_scores == {
        CONTROL: scores, MOOD: {"estimates": [{"wild": {"age": 2}}], "by": "hand"},
    }  # fmt: skip


def test_a_project_of_texts_has_cues_instead(
    run: Run, store: Store, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    set_up(store, 5, label_config=SINGLE, record_profile=None)
    code, output = run()
    assert code == 1 and "are texts: use `apprentice cues`" in output
    assert run("--edit", "--json")[0] == 2
    set_up(store, 5, label_config=SPANS)
    code, output = run()
    assert code == 1 and "are texts, without fields" in output and "cues" not in output, "spans have none either"


def test_a_kind_that_was_edited_survives_the_next_edit(
    run: Run, store: Store, tmp_path: Path, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    run("--file", write_file(tmp_path, fields={"noise": {"kind": "categorical"}}))
    run_round(make_round(server))
    text = json.loads(run("--json")[1])
    assert text["fields"]["noise"]["kind"] == "categorical"
    text["fields"]["age"]["description"] = "in years"
    (tmp_path / "again.json").write_text(json.dumps(text))
    run("--file", str(tmp_path / "again.json"))
    assert store.projects.ensure(5).field_overrides["noise"] == {"kind": "categorical"}


def test_what_a_file_does_not_mention_is_not_changed(run: Run, tmp_path: Path, store: Store) -> None:
    run("--file", write_file(tmp_path, fields={"age": {"description": "in years"}}, scores=SCORES))
    before = first_of(store.projects.ensure(5).feature_scores)
    assert run("--file", write_file(tmp_path)) == (0, "Nothing has changed.\n")
    code, output = run("--file", write_file(tmp_path, fields={"noise": "left out", "city": ["Oslo", "Bergen"]}))
    assert code == 0 and "Kept: 1 of 2 labels have scores" in output
    fields = {"noise": {"kind": "left out"}, "city": {"order": ["Oslo", "Bergen"]}}
    project_row = store.projects.ensure(5)
    assert (first_of(project_row.feature_scores), project_row.field_overrides) == (before, fields)
    run("--file", write_file(tmp_path, scores={}))
    project_row = store.projects.ensure(5)
    assert not first_of(project_row.feature_scores), "unless it says that there is nothing"
    assert project_row.field_overrides == fields


def test_the_teachers_scores_stay_the_teachers_until_one_is_changed(run: Run, tmp_path: Path, store: Store) -> None:
    features = {"estimates": [{"yes": {"age": 8.0}}, {"yes": {"age": 6.0}}], "by": "teacher", "asked": ["x"]}
    set_up(store, 5, feature_scores=features)
    shown = json.loads(run("--json")[1])
    assert shown["scores"]["yes"] == {"age": 7.0}
    assert shown["fields"]["city"] == {"kind": "categorical", "values": ["Bergen", "Oslo"], "description": ""}
    shown["fields"]["age"]["description"] = "in years"
    run("--file", write_file(tmp_path, **shown))
    project_row = store.projects.ensure(5)
    assert first_of(project_row.feature_scores) == features
    assert project_row.field_overrides == {"age": {"description": "in years"}}
    shown["scores"]["yes"]["age"] = 2
    run("--file", write_file(tmp_path, **shown))
    stored = first_of(store.projects.ensure(5).feature_scores)
    assert stored is not None and stored["by"] == "hand" and stored["estimates"] == [{"yes": {"age": 2}}]


def test_fields_that_the_extra_params_override_are_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_DEFAULTS", '{"fields": {"noise": "left out"}}')
    output = run("--file", write_file(tmp_path, fields={"noise": "categorical", "age": {"description": "in years"}}))[1]
    assert "The project's extra params override what is kept of these fields: noise." in output


def test_the_scores_of_a_renamed_label_can_be_moved_to_its_new_name(
    run: Run, tmp_path: Path, store: Store, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    run("--file", write_file(tmp_path, scores=SCORES))
    server.label_config = TABLE.replace('"yes"', '"ill"')
    run_round(make_round(server))
    assert "Scores of labels that are not in the project: yes. With --edit" in run()[1]
    document = json.loads(run("--json")[1])
    assert document["scores"] == {"no": {}, "ill": {}, **SCORES}
    assert run("--file", write_file(tmp_path, **document)) == (0, "Nothing has changed.\n"), (
        "they wait for whoever moves them"
    )
    document["scores"]["ill"] = document["scores"].pop("yes")
    code, output = run("--file", write_file(tmp_path, **document))
    assert code == 0 and "Kept: 1 of 2 labels have scores" in output
    assert feature_scores.estimates(
        store.projects.ensure(5), read_schema(store.projects.require(5).label_config).controls[0]
    ) == [{"ill": SCORES["yes"]}]


def test_failed_questions_are_reported_with_the_reason(run: Run, store: Store, settings: Settings) -> None:
    context = load_project_context(settings, store, 5)
    assert context.record_encoder is not None
    questions = feature_scores.score_questions(
        context.project_row, context.record_encoder, context.schema.controls[0], {}, (), "small"
    )
    store.questions.add(5, "small", [(question, None) for question in questions])
    for question in questions:
        store.questions.store_answer(5, Answer(question.id, None, None, (), "the request is too long"), [])
    set_up(store, 5, teacher={"name": "small", "model": "m", "problem": "", "until": 0.0})
    assert "No scores: 3 questions to the teacher failed (the request is too long)." in run()[1]

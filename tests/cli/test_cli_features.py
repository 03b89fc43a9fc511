"""`apprentice features`: what is known of the fields of records is shown, edited, and refused where it is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from fake_label_studio import SINGLE, FakeLabelStudio
from patient_records import SCORES, TABLE, people
from projects import set_up
from round_fixtures import MakeRound
from typer.testing import CliRunner

from ml_backend.cli import main
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer
from ml_backend.loop.round import run_round
from ml_backend.storage import Store
from ml_backend.teacher.descriptions import feature_scores
from ml_backend.teacher.project_context import visit

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(
    settings: Settings, store: Store, server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:  # fmt: skip
    """Runs the command on a project of records; returns exit code and what was said."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("APPRENTICE_ENCODER", settings.encoder)
    monkeypatch.setenv("COLUMNS", "200")
    server.label_config = TABLE
    people(server, 60)
    run_round(make_round(server))

    def call(*arguments: str) -> tuple[int, str]:
        found = CliRunner().invoke(main.app, ["features", "--project", "5", *arguments])
        return found.exit_code, found.output + (str(found.exception) if found.exception else "")

    return call


def given(tmp_path: Path, **content: Any) -> str:
    file = tmp_path / "features.json"
    file.write_text(json.dumps(content))
    return str(file)


def test_fields_are_shown_with_their_kinds_and_scores(run: Run, tmp_path: Path, store: Store) -> None:
    code, said = run()
    assert code == 0 and "age  numeric" in said and "smoker  boolean (no, yes)" in said and "No scores yet" in said
    fields = {"age": {"kind": "numeric", "description": "in years"}}
    code, said = run("--file", given(tmp_path, fields=fields, scores=SCORES))
    assert (code, said) == (0, "Kept: 1 of 2 labels have scores. The learner is taught them anew.\n")
    kept = store.projects.ensure(5).features
    assert kept == {"fields": {"age": {"description": "in years"}}, "estimates": [SCORES], "by": "hand"}
    assert store.jobs.state(5).waiting
    said = run()[1]
    assert "age  numeric (19 to 87)  in years\n    yes: +8\n" in said and "    yes: Oslo -3, Bergen +4\n" in said
    assert said.endswith("Written by hand: the teacher is not asked.\n")


def test_what_is_shown_as_json_can_be_given_back(run: Run, tmp_path: Path, store: Store) -> None:
    run("--file", given(tmp_path, scores=SCORES))
    before, text = store.projects.ensure(5).features, run("--json")[1]
    assert json.loads(text)["scores"] == {"no": {}, **SCORES}
    (tmp_path / "again.json").write_text(text)
    assert run("--file", str(tmp_path / "again.json")) == (0, "Nothing has changed.\n")
    assert store.projects.ensure(5).features == before


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
        ({"scores": {"yes": {"city": 4}}}, "'city' is a category: say for 'yes' what each of its values is worth"),
        ({"scores": {"yes": {"age": {"30": 4}}}}, "'age' is numeric: say for 'yes' with one number what a high value"),
        ({"scores": {"yes": {"city": {"Paris": 4}}}}, "'city' has no value 'Paris' that is frequent enough"),
        ({"fields": {"age": {"kind": "colourful"}}}, "The field 'age' cannot be 'colourful': say one of numeric, date"),
        ({"fields": {"age": {"order": "up"}}}, "The order of 'age' must be a list of its values, the lowest first"),
        ({"fields": {"age": 3}}, "The field 'age' must be an object in JSON"),
        ({"fields": {"aeg": "numeric"}}, "There is no field 'aeg' in the records, did you mean 'age'?"),
        ({"fields": {"age": {"sort": "x"}}}, "The field 'age' has 'sort': there are kind, order and description"),
        ({"score": {}}, "must be a JSON object"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_and_changes_nothing(
    run: Run, store: Store, tmp_path: Path, content: dict[str, Any], words: str
) -> None:
    code, said = run("--file", given(tmp_path, **content))
    assert store.projects.ensure(5).features is None
    assert code == 1 and words in said


def test_an_editor_may_change_it_and_mend_what_is_wrong(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click, "edit", lambda text, extension: text.replace('"yes": {}', '"yes": {"age": 4}'))
    assert run("--edit")[0] == 0
    kept = store.projects.ensure(5).features
    assert kept is not None and kept["estimates"] == [{"yes": {"age": 4}}]


def test_a_kind_that_is_edited_holds_from_the_next_round_on(
    run: Run, store: Store, tmp_path: Path, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    run("--file", given(tmp_path, fields={"city": {"order": ["Oslo", "Bergen"]}, "noise": {"kind": "left out"}}))
    run_round(make_round(server))
    said = run()[1]
    assert "city  ordinal (Oslo, Bergen)" in said and "Left out: noise (left out)" in said
    assert json.loads(run("--json")[1])["fields"]["noise"]["kind"] == "left out", "to be changed again"


def test_texts_have_cues_instead(run: Run, store: Store, server: FakeLabelStudio, make_round: MakeRound) -> None:
    set_up(store, 5, label_config=SINGLE, records=None)
    code, said = run()
    assert code == 1 and "are texts: `apprentice cues` shows" in said
    assert run("--edit", "--json")[0] == 2


def test_a_kind_that_was_edited_survives_the_next_edit(
    run: Run, store: Store, tmp_path: Path, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    run("--file", given(tmp_path, fields={"noise": {"kind": "categorical"}}))
    run_round(make_round(server))
    text = json.loads(run("--json")[1])
    assert text["fields"]["noise"]["kind"] == "categorical"
    text["fields"]["age"]["description"] = "in years"
    (tmp_path / "again.json").write_text(json.dumps(text))
    run("--file", str(tmp_path / "again.json"))
    kept = store.projects.ensure(5).features
    assert kept is not None and kept["fields"]["noise"] == {"kind": "categorical"}


def test_what_a_file_says_nothing_of_stays(run: Run, tmp_path: Path, store: Store) -> None:
    run("--file", given(tmp_path, fields={"age": {"description": "in years"}}, scores=SCORES))
    before = store.projects.ensure(5).features
    assert run("--file", given(tmp_path)) == (0, "Nothing has changed.\n")
    code, said = run("--file", given(tmp_path, fields={"noise": "left out", "city": ["Oslo", "Bergen"]}))
    assert code == 0 and "Kept: 1 of 2 labels have scores" in said
    kept = store.projects.ensure(5).features
    assert kept == {**(before or {}), "fields": {"noise": {"kind": "left out"}, "city": {"order": ["Oslo", "Bergen"]}}}
    run("--file", given(tmp_path, scores={}))
    assert store.projects.ensure(5).features == {"fields": kept["fields"]}, "unless it says that there is nothing"


def test_what_a_teacher_said_stays_its_own_as_long_as_nobody_changes_a_score(
    run: Run, tmp_path: Path, store: Store
) -> None:
    said = {"estimates": [{"yes": {"age": 8.0}}, {"yes": {"age": 6.0}}], "by": "teacher", "asked": ["x"]}
    set_up(store, 5, features=said)
    shown = json.loads(run("--json")[1])
    assert shown["scores"]["yes"] == {"age": 7.0}
    assert shown["fields"]["city"] == {"kind": "categorical", "values": ["Bergen", "Oslo"], "description": ""}
    shown["fields"]["age"]["description"] = "in years"
    run("--file", given(tmp_path, **shown))
    assert store.projects.ensure(5).features == {**said, "fields": {"age": {"description": "in years"}}}
    shown["scores"]["yes"]["age"] = 2
    run("--file", given(tmp_path, **shown))
    kept = store.projects.ensure(5).features
    assert kept is not None and kept["by"] == "hand" and kept["estimates"] == [{"yes": {"age": 2}}]


def test_it_is_told_what_the_extra_params_say_otherwise(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_DEFAULTS", '{"fields": {"noise": "left out"}}')
    said = run("--file", given(tmp_path, fields={"noise": "categorical", "age": {"description": "in years"}}))[1]
    assert "Of noise, the project's extra params say something, too, which stands above this." in said


def test_the_scores_of_a_label_that_got_another_name_can_be_moved_to_it(
    run: Run, tmp_path: Path, store: Store, server: FakeLabelStudio, make_round: MakeRound
) -> None:
    run("--file", given(tmp_path, scores=SCORES))
    server.label_config = TABLE.replace('"yes"', '"ill"')
    run_round(make_round(server))
    assert "Scores of labels that are not in the project: yes. With --edit" in run()[1]
    found = json.loads(run("--json")[1])
    assert found["scores"] == {"no": {}, "ill": {}, **SCORES}
    assert run("--file", given(tmp_path, **found)) == (0, "Nothing has changed.\n"), "they wait for whoever moves them"
    found["scores"]["ill"] = found["scores"].pop("yes")
    code, said = run("--file", given(tmp_path, **found))
    assert code == 0 and "Kept: 1 of 2 labels have scores" in said
    assert feature_scores.estimates(store.projects.ensure(5)) == [{"ill": SCORES["yes"]}]


def test_questions_that_came_to_nothing_are_told_with_the_reason(run: Run, store: Store, settings: Settings) -> None:
    site = visit(settings, store, 5)
    assert site.records is not None
    wanted = feature_scores.asked(site.record, site.records, site.schema, {}, (), "small")
    store.questions.want(5, "small", [(each, None) for each in wanted])
    for each in wanted:
        store.questions.record(5, Answer(each.id, None, None, (), "the request is too long"), [])
    set_up(store, 5, teacher={"name": "small", "model": "m", "problem": "", "until": 0.0})
    assert "No scores: 3 questions to the teacher came to nothing (the request is too long)." in run()[1]

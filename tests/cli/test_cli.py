"""The command line: JSON for scripts, output for people, and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_label_studio import SINGLE, FakeClient, FakeLabelStudio, add_labelled_tasks, submit_labels
from projects import set_up
from schemas import by_control
from two_controls import LABEL, MOOD, TWO_CONTROLS, label_open_tasks, learn_both_controls
from typer.testing import CliRunner
from versions import version

from ml_backend import __version__
from ml_backend.cli import main as cli
from ml_backend.cli.common import out
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import ControlVersion, Estimate
from ml_backend.demo.server import free_port
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.monitoring import health_check
from ml_backend.storage import RoundRow, Store

Run = Callable[..., Any]


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command on the test's data folder; the result has the exception of an error."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    monkeypatch.setattr(out, "width", 200)  # the console has read COLUMNS when it was imported

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=True)

    return invoke


@pytest.fixture
def main(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command as a shell would; returns exit code, standard output and standard error."""
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["apprentice", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code, printed.out, printed.err

    return call


@pytest.fixture
def two_rounds(
    server: FakeLabelStudio, make_round: Callable[..., RoundContext], store: Store, single: ProjectSchema
) -> FakeLabelStudio:
    truth = add_labelled_tasks(server, 60)
    set_up(store, 5, connection={"ml": 1})
    for first in (0, 30):
        record = run_round(make_round(server))
        assert record is not None
        store.versions.record_round(5, record)
        submit_labels(server, truth, single, list(truth)[first : first + 30])
    return server


def fail_once(store: Store, error: str) -> None:
    """Records a failed round, which will be repeated."""
    store.jobs.request(5)
    lease = store.jobs.claim("worker")
    assert lease is not None
    store.jobs.fail(lease)
    store.versions.record_round(5, RoundRow(None, 1.0, 2.0, {}, error))


def test_status_as_json_has_the_keys_that_scripts_read(run: Run, two_rounds: FakeLabelStudio, store: Store) -> None:
    fail_once(store, "Label Studio does not answer")
    result = run("status", "--project", "5", "--json")
    assert result.exit_code == 0
    status = json.loads(result.stdout)
    keys = {
        "project",
        "labelled",
        "pool",
        "active_version",
        "accuracy",
        "running",
        "waiting",
        "last_round",
        "last_error",
    }
    assert keys <= status.keys()
    assert (status["project"], status["labelled"], status["pool"]) == (5, 30, 30)
    assert status["active_version"] == two_rounds.settings["model_version"]
    assert {"value", "low", "high", "n", "source", "details"} == status["accuracy"].keys()
    assert 0 <= status["accuracy"]["low"] <= status["accuracy"]["value"] <= status["accuracy"]["high"] <= 1
    assert (status["running"], status["waiting"]) == (False, True)
    assert {"version", "finished_at", "seconds", "stages"} <= status["last_round"].keys()
    assert status["last_round"]["version"] == status["active_version"]
    assert set(status["last_round"]["stages"]) == {"reconcile", "encode", "fit", "assess", "rank", "publish"}
    assert status["last_error"] == "Label Studio does not answer"


def test_status_before_the_first_round_has_the_same_keys(run: Run, store: Store) -> None:
    set_up(store, 5, connection={"ml": 1})
    status = json.loads(run("status", "--project", "5", "--json").stdout)
    assert (status["labelled"], status["pool"], status["running"], status["waiting"]) == (0, 0, False, False)
    assert [status[name] for name in ("active_version", "accuracy", "last_round", "last_error")] == [None] * 4


def test_status_of_all_projects_is_a_list(run: Run, store: Store) -> None:
    assert json.loads(run("status", "--json").stdout) == []
    for project in (3, 5):
        set_up(store, project, connection={"ml": 1})
    set_up(store, 4)
    assert [status["project"] for status in json.loads(run("status", "--json").stdout)] == [3, 5]


def test_status_for_people_has_the_same_content(run: Run, two_rounds: FakeLabelStudio) -> None:
    output = run("status").stdout
    for part in ("Project 5", "30, 30 to go", two_rounds.settings["model_version"], "accuracy", "last round"):
        assert part in output
    assert run("status", "--project", "5").stdout.startswith("Project 5")


def test_brackets_in_the_output_are_not_read_as_markup(run: Run, store: Store) -> None:
    set_up(store, 5, connection={"ml": 1})
    fail_once(store, "text [/with] [bold]brackets[/]")
    result = run("status", "--project", "5")
    assert result.exit_code == 0
    assert "[/with] [bold]brackets[/]" in result.stdout


def test_versions_are_listed_newest_first(run: Run, two_rounds: FakeLabelStudio, store: Store) -> None:
    output = run("versions", "--project", "5").stdout
    newest, oldest = (version.name for version in store.versions.all(5))
    assert f"{newest} active" in output
    assert output.index(newest) < output.index(oldest)
    assert "none yet" in output


def test_a_rollback_holds_a_learner_until_it_is_ended(
    run: Run, two_rounds: FakeLabelStudio, make_round: Callable[..., RoundContext], store: Store
) -> None:
    run_round(make_round(two_rounds))
    held = run("rollback", "--project", "5")
    assert held.exit_code == 0
    assert "is held until" in held.stdout
    assert store.projects.ensure(5).pinned == by_control(2)
    assert run("rollback", "--project", "5", "--to", "latest").exit_code == 0
    assert store.projects.ensure(5).pinned == {}


def test_versions_name_the_earlier_learner_of_a_control_and_the_controls_that_are_held(
    run: Run, make_round: Callable[..., RoundContext], options: object, store: Store
) -> None:
    server = FakeLabelStudio(label_config=TWO_CONTROLS)
    set_up(store, 5, connection={"ml": 1})
    truth = learn_both_controls(server, lambda: run_round(make_round(server)))
    label_open_tasks(server, truth, 10, controls=[MOOD])
    run_round(make_round(server))
    result = run("rollback", "--project", "5", "--to", "2", "--control", MOOD)
    assert (result.exit_code, store.projects.ensure(5).pinned) == (0, {MOOD: 2})
    newest, held, first = run("versions", "--project", "5").stdout.splitlines()[1:]
    assert f"kept ({LABEL} of 2)" in newest and "held" not in newest
    assert f"held for {MOOD}" in held and "held" not in first
    assert run("rollback", "--project", "5", "--to", "latest", "--control", MOOD).exit_code == 0
    assert store.projects.ensure(5).pinned == {}


def test_a_failed_round_is_told_once_by_status_and_as_wrong_by_doctor(
    run: Run, two_rounds: FakeLabelStudio, store: Store
) -> None:
    fail_once(store, "Label Studio kept 2 of 12 predictions")
    assert run("status", "--project", "5").stdout.count("kept 2 of 12 predictions") == 1
    result = run("doctor", "--project", "5")
    assert result.exit_code == 1
    assert "the last round failed: Label Studio kept 2 of 12 predictions" in result.stdout


def test_ending_a_rollback_that_there_is_not_says_so(run: Run, two_rounds: FakeLabelStudio) -> None:
    for option in ((), ("--control", "label")):
        result = run("rollback", "--project", "5", "--to", "latest", *option)
        assert result.exit_code == 0 and "was held" in result.stdout


def test_report_goes_on_after_a_control_without_a_learner(
    run: Run, make_round: Callable[..., RoundContext], options: object, store: Store
) -> None:
    server = FakeLabelStudio(label_config=TWO_CONTROLS)
    set_up(store, 5, connection={"ml": 1})
    learn_both_controls(server, lambda: run_round(make_round(server)))
    added = '<Choices name="added" toName="text"><Choice value="x"/><Choice value="y"/><Choice value="z"/></Choices>'
    server.label_config = TWO_CONTROLS.replace("<Choices", f"{added}<Choices", 1)
    run_round(make_round(server))
    result = run("report", "--project", "5")
    assert result.exit_code == 0
    sections = [line for line in result.stdout.splitlines() if line in (LABEL, MOOD, "added")]
    assert {*sections} == {LABEL, MOOD, "added"}
    without = result.stdout.index("The control 'added' of project 5 has no learner yet")
    assert any(result.stdout.index(f"\n{name}\n") > without for name in sections if name != "added")
    alone = run("report", "--project", "5", "--control", "added")
    assert alone.exit_code != 0 and "'added'" in str(alone.exception)


def test_status_shows_the_whole_names_of_controls_as_they_are(run: Run, store: Store) -> None:
    names = ["expresses_opinion_1", "expresses_opinion_2", "[bold]b"]
    choices = "".join(
        f'<Choices name="{name}" toName="text"><Choice value="x"/><Choice value="y"/></Choices>' for name in names
    )
    set_up(store, 5, label_config=f'<View><Text name="text" value="$text"/>{choices}</View>', connection={"ml": 1})
    lines = run("status", "--project", "5").stdout.splitlines()
    for name in names:
        [line] = [line for line in lines if line.startswith(f"  {name} ")]
        assert line[22:].startswith("0 labelled")


STARS_TAG = '<Rating name="stars" toName="text"/></View>'
STARS = f'<View><Text name="text" value="$text"/>{STARS_TAG}'


@pytest.mark.parametrize(
    ("label_config", "head", "scores"),
    [
        (SINGLE, "accuracy", {"label": "0.500"}),
        (STARS, "closeness", {"stars": "0.500"}),
        (
            SINGLE.replace("</View>", STARS_TAG),
            "accuracy or closeness",
            {"label": "label accuracy 0.500", "stars": "stars closeness 0.500"},
        ),
    ],
)
def test_versions_name_the_score(run: Run, store: Store, label_config: str, head: str, scores: dict[str, str]) -> None:
    set_up(store, 5, label_config=label_config, connection={"ml": 1})
    of_control = ControlVersion(1, 20, Estimate(0.5, 0.2, 0.8, 20, "rows"))
    store.versions.add(version(1, controls=dict.fromkeys(scores, of_control)), None, rows=0)
    header, line = run("versions", "--project", "5").stdout.splitlines()
    assert head in header
    assert ", ".join(scores.values()) in line


@pytest.mark.parametrize(
    "arguments",
    [
        ("rollback", "--project", "5"),
        ("rollback", "--project", "5", "--to", "2", "--control", "unknown"),
        ("rollback", "--project", "77", "--to", "1"),
        ("rollback", "--project", "5", "--to", "[/red] nonsense"),
        ("status", "--project", "77"),
        ("connect", "--project", "5"),
        ("disconnect", "--project", "5"),
    ],
)
def test_an_error_of_the_user_is_one_sentence_and_exit_code_1(
    main: Run, two_rounds: FakeLabelStudio, arguments: tuple[str, ...], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_check, "WAIT_SECONDS", 0.0)  # no waiting: nothing answers
    set_up(store, 5, connection={"ml": 1})
    for number in store.versions.learners(5):
        store.versions.drop_artifact(5, number)
    code, out, err = main(*arguments)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.strip().split("\n")) == 1
    assert "Traceback" not in err


def test_connect_changes_nothing_while_no_backend_answers(main: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_check, "WAIT_SECONDS", 0.0)
    monkeypatch.setenv("APPRENTICE_PORT", str(free_port()))
    monkeypatch.setenv("APPRENTICE_LABEL_STUDIO_API_KEY", "key")
    code, out, err = main("connect", "--project", "5")
    assert (code, out) == (1, "")
    assert "start `apprentice serve`" in err


def test_connect_waits_for_a_backend_that_was_started_a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_check, "RETRY_SECONDS", 0.0)
    responses = iter([False, False, True])
    monkeypatch.setattr(health_check, "is_answering", lambda _: next(responses))
    health_check.wait_for_backend(Settings())
    assert next(responses, None) is None


@pytest.mark.parametrize(
    "arguments",
    [("status",), ("versions", "--project", "5"), ("rollback", "--project", "5"), ("disconnect", "--project", "5")],
)
def test_a_folder_without_a_store_is_named_and_not_created(
    main: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    code, _, err = main(*arguments, "--data-dir", str(elsewhere))
    assert code == 1
    assert str(elsewhere) in err.replace("\n", "")
    assert not elsewhere.exists()


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").stdout.strip() == __version__


def test_a_bad_setting_is_one_sentence_and_exit_code_1(main: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_PORT", "many")
    code, _, err = main("status")
    assert code == 1
    assert "APPRENTICE_PORT" in err
    assert "Traceback" not in err


def test_a_misspelt_setting_is_a_warning_beside_the_output_and_no_error(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_SECRT", "hidden")
    result = run("status", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])
    assert result.stderr == "warning: APPRENTICE_SECRT is ignored: did you mean APPRENTICE_SECRET?\n"


@pytest.mark.parametrize(
    "arguments", [("status", "--project", "0"), ("rollback",), ("serve", "--port", "0"), ("nothing",)]
)
def test_a_wrong_option_is_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_help_names_every_command(run: Run) -> None:
    output = run("--help").stdout
    for command in ("serve", "connect", "disconnect", "status", "versions", "rollback", "doctor", "simulate", "demo"):
        assert command in output


def test_forget_asks_first_and_removes_nothing_when_the_answer_is_no(
    run: Run, two_rounds: FakeLabelStudio, store: Store
) -> None:
    before = store.count_rows(5)
    result = run("forget", "--project", "5")  # without any input
    assert result.exit_code == 1
    assert "60 tasks, 30 annotations, 2 versions" in result.stdout
    assert store.count_rows(5) == before


def test_forget_prints_the_number_of_removed_rows(
    run: Run, two_rounds: FakeLabelStudio, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.connections.forget(5)
    store.connections.begin(5, {})
    set_up(store, 5, made_at=two_rounds.made_at, connection={"ml": 1})
    monkeypatch.setattr("ml_backend.cli.forget.make_client", lambda _: FakeClient(two_rounds))
    result = run("forget", "--project", "5", "--yes")
    assert result.exit_code == 0, result.output
    assert "removed the drafts of 2 versions" in result.stdout
    assert all(count in result.stdout for count in ("task 60", "annotation 30", "project 1"))
    assert (store.count_rows(5), two_rounds.predictions) == ({}, [])
    repeated = run("forget", "--project", "5", "--yes")
    assert repeated.exit_code == 1
    assert "nothing to forget" in str(repeated.exception)


def test_forget_stops_when_label_studio_cannot_be_reached_unless_the_user_continues(
    run: Run, two_rounds: FakeLabelStudio, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.count_rows(5)
    assert "no API key" in str(run("forget", "--project", "5", "--yes").exception)
    assert store.count_rows(5) == before
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert run("forget", "--project", "5").exit_code == 0
    assert store.count_rows(5) == {}

"""Settings: their sources, and the errors of invalid ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, SettingProblem, Settings, load_settings, project_params
from ml_backend.core.unknown_settings import unknown_settings


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(Settings.model_config, "env_file", ".env")
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().port == 9090
    env_file.write_text("APPRENTICE_PORT=1111\nAPPRENTICE_WORKERS=3\nOTHER=1\n")
    assert (load_settings().port, load_settings().workers) == (1111, 3)
    monkeypatch.setenv("APPRENTICE_PORT", "2222")
    assert (load_settings().port, load_settings().workers) == (2222, 3)
    assert load_settings(port=3333, workers=None).port == 3333
    assert load_settings(port=None).port == 2222


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"), ("PORT", "many"), ("WORKERS", "0"), ("THREADS", "-1"), ("LEASE_SECONDS", "1"),
        ("KEEP_VERSIONS", "1"), ("LOG_LEVEL", "loud"), ("DEFAULTS", '{"queue_size": 0}'), ("DEFAULTS", "{not json"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"APPRENTICE_{name}", value)
    with pytest.raises(ApprenticeError, match=f"(?i)APPRENTICE_{name}"):
        load_settings()


def test_all_bad_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_PORT", "x")
    monkeypatch.setenv("APPRENTICE_WORKERS", "x")
    with pytest.raises(ApprenticeError, match=r"APPRENTICE_PORT.*APPRENTICE_WORKERS"):
        load_settings()


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_SECRET", "hidden-one")
    monkeypatch.setenv("APPRENTICE_LABEL_STUDIO_API_KEY", "hidden-two")
    settings = load_settings()
    assert "hidden" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.secret.get_secret_value() == "hidden-one"


def test_a_level_may_be_written_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_LOG_LEVEL", "WARNING")
    assert load_settings().log_level == "warning"


def test_addresses_are_composed_from_the_settings() -> None:
    assert Settings(host="h", port=1).address == "http://h:1"
    assert Settings(public_url="https://x.example/a/").address == "https://x.example/a"
    assert Settings(store_url="postgresql://x/y").database_url == "postgresql://x/y"
    assert Settings(data_dir=Path("relative")).database_url == f"sqlite:///{Path.cwd()}/relative/apprentice.db"


def test_a_project_overrides_the_defaults() -> None:
    settings = Settings(defaults=ProjectSettings(queue_size=20, audit_share=0.2))
    options, problems = settings.for_project({"queue_size": 7})
    assert (options.queue_size, options.audit_share, problems) == (7, 0.2, ())


def test_extra_params_may_be_json_in_a_text_as_label_studios_form_sends_them() -> None:
    assert Settings().for_project('{"acquisition": "entropy"}') == (ProjectSettings(acquisition="entropy"), ())
    assert project_params('{"acquisition": "entropy"}') == {"acquisition": "entropy"}


@pytest.mark.parametrize("stored", [False, True])
def test_a_misspelt_extra_param_is_reported_with_the_right_name_and_without_its_value(stored: bool) -> None:
    extra_params: dict[str, object] = {"aquisition": "margin", "queue_size": 7, "zzz": {"token": "a secret"}}
    options, problems = Settings().for_project(project_params(extra_params) if stored else extra_params)
    assert options == ProjectSettings(queue_size=7)
    assert problems == (SettingProblem("unknown", "aquisition", "acquisition"), SettingProblem("unknown", "zzz"))
    assert "a secret" not in json.dumps(project_params(extra_params))


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_a_project_without_extra_params_has_the_defaults(nothing: object) -> None:
    assert Settings().for_project(nothing) == (ProjectSettings(), ())


def test_a_bad_default_of_all_projects_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPRENTICE_DEFAULTS", '{"queue_size": 0}')
    with pytest.raises(ApprenticeError, match="APPRENTICE_DEFAULTS: queue_size: "):
        load_settings()


@pytest.mark.parametrize(
    ("weight", "message"),
    [("Infinity", "finite number"), ("NaN", "finite number"), ("1e300", "less than or equal to 1000")],
)
def test_a_weight_that_is_not_finite_or_too_large_is_no_default_of_all_projects(
    weight: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPRENTICE_DEFAULTS", f'{{"control_weights": {{"mood": {weight}}}}}')
    with pytest.raises(ApprenticeError, match=f"APPRENTICE_DEFAULTS: control_weights: mood: .*{message}"):
        load_settings()


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("nonsense", ["text", 5, [1], True, "[1]", "{"])
def test_extra_params_that_are_no_object_are_ignored_and_reported(nonsense: object, stored: bool) -> None:
    options, problems = Settings().for_project(project_params(nonsense) if stored else nonsense)
    assert options == ProjectSettings()
    assert problems == (SettingProblem("not an object"),)


@pytest.mark.parametrize(
    "bad", [{"queue_size": 0}, {"queue_size": "x"}, {"audit_share": 0.9}, {"audit_share": None}, {"learner": 5},
            {"queue_size": [], "audit_share": {}}, {"control_weights": {"mood": 1e300}},
            {"control_weights": {"mood": float("inf")}}],
)  # fmt: skip
def test_bad_extra_params_are_named_and_the_good_ones_hold(bad: dict[str, object]) -> None:
    options, problems = Settings().for_project({"acquisition": "random", **bad})
    assert options == ProjectSettings(acquisition="random")
    assert {problem.name for problem in problems} == bad.keys() and all(problem.detail for problem in problems)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("APPRENTICE_SECRT", "did you mean APPRENTICE_SECRET?"),
        ("apprentice_secrt", "did you mean APPRENTICE_SECRET?"),
        ("APPRENTICE_LABELSTUDIO_URL", "did you mean APPRENTICE_LABEL_STUDIO_URL?"),
        ("APRENTICE_SECRET", "did you mean APPRENTICE_SECRET?"),
        ("APPRENTICE_QUEUE_SIZE", "queue_size is set for each project, or for all of them in APPRENTICE_DEFAULTS"),
        (
            "APPRENTICE_TEACHER_MODLE",
            "did you mean teacher_model, which is set for each project, or for all of them in APPRENTICE_DEFAULTS?",
        ),
        ("APPRENTICE_XYZZY_QUUX", "there is no such setting"),
    ],
)
def test_a_misspelt_variable_is_reported_with_the_setting_that_was_meant(
    name: str, advice: str, tmp_path: Path
) -> None:
    assert unknown_settings({name: "hidden"}, None) == [f"{name} is ignored: {advice}"]
    file = tmp_path / ".env"
    file.write_text(f"APPRENTICE_PORT=1\n{name}=hidden\nOTHER=1\n")
    assert unknown_settings({}, file) == [f"{name} in {file} is ignored: {advice}"]


def test_a_misspelt_default_of_all_projects_is_named_with_the_right_one(tmp_path: Path) -> None:
    defaults = '{"queue_sise": 30, "queue_size": 20}'
    advice = "'queue_sise' is ignored: did you mean queue_size?"
    assert unknown_settings({"APPRENTICE_DEFAULTS": defaults}, None) == [f"APPRENTICE_DEFAULTS: {advice}"]
    file = tmp_path / ".env"
    file.write_text(f"APPRENTICE_DEFAULTS='{defaults}'\n")
    assert unknown_settings({}, file) == [f"APPRENTICE_DEFAULTS in {file}: {advice}"]
    for other in ("[1]", "{"):
        assert unknown_settings({"APPRENTICE_DEFAULTS": other}, None) == []


def test_settings_and_variables_of_other_programs_are_not_reported(tmp_path: Path) -> None:
    ours = {f"APPRENTICE_{name.upper()}": "" for name in Settings.model_fields}
    others = dict.fromkeys(("PATH", "HOME", "APPLE_ID", "APP_PORT", "OPENAI_API_KEY", "PRENTICE", "_"), "")
    assert unknown_settings({**ours, "apprentice_port": "1", **others}, tmp_path / "none") == []


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("politeness", "there is no 'politeness'; installed: examples, pairs, words"),
        ("pairs:x", "`pairs` has no argument"),
        ("words:/nowhere.txt", "No such file"),
    ],
)
def test_an_attribute_that_cannot_be_used_is_ignored_with_a_message(attribute: str, message: str) -> None:
    options, [problem] = Settings().for_project({"attribute": attribute})
    assert options.attribute == "" and problem.name == "attribute" and message in problem.detail

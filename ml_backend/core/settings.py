"""Settings: one class for the installation, one for a project.

Order of precedence: command line, environment (prefix `APPRENTICE_`), a `.env` file in the working directory, the
default. A project overrides the defaults in the extra params of its ML backend connection in Label Studio.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from ml_backend.core.arrays import InclusiveBy
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.registry import attribute_model, installed
from ml_backend.core.teacher_types import TeacherOptions
from ml_backend.core.types import DraftRule

UNKNOWN_NAMES_KEY = "?"  # in the result of `project_params`
TaskForm = Literal["text", "record", "record with text"]
FORM_DEFAULTS: dict[TaskForm, dict[str, str]] = {
    "text": {"learner": "logistic", "acquisition": "cluster-uncertainty"},
    "record": {"learner": "tabular", "acquisition": "near-and-far"},
    "record with text": {"learner": "tabular", "acquisition": "cluster-uncertainty"},
}
"""The settings that hold for tasks of each form where a project leaves them empty."""
MAX_NAME_CHARACTERS, MAX_UNKNOWN_NAMES = 40, 5  # that are kept of extra params that are no settings
MAX_JSON_VALUE_CHARACTERS = 20_000  # of a value that is an object or a list, as JSON


class ProjectSettings(BaseModel):
    """Settings of a project, given in the extra params of its connection in Label Studio: `{"queue_size": 100}`."""

    model_config = {"extra": "ignore"}

    # at most 200: a stale queue is deleted in one call, which takes 20 ms a row while annotators wait
    queue_size: int = Field(50, ge=1, le=200, description="number of tasks that are published as the head of the queue")
    audit_share: float = Field(
        0.05, ge=0, le=0.5, description="share of the served tasks that are drawn at random and shown without a draft"
    )
    acquisition: str = Field(
        "",
        description="query strategy that orders the queue; empty: `cluster-uncertainty` for texts and for records with "
        "a text field, `near-and-far` for other records",
    )
    cost: Literal["sentences", "words"] = Field(
        "sentences",
        description="what a task costs annotators: `sentences`, each task as much as another; `words`: as much as they "
        "read, so that the queue prefers short texts among those that the learner gains much from; not for records",
    )
    balance: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the queue reserved for the groups whose error rate is above the project's",
    )
    choices: str = Field(
        "",
        max_length=200,
        description="name of the only control that is learnt; empty: all controls that can be learnt",
    )
    group_by: str = Field(
        "",
        max_length=64,
        description="field of the tasks' data whose values are the groups; empty: the clusters are the groups",
    )
    control_weights: dict[str, Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]] = Field(
        {},
        description="weights of the controls in the order of the queue, by the name of the control, from 0 to "
        "1000; a control that is not named has the weight 1, and one with the weight 0 does not count",
    )
    acquisition_fallback: bool = Field(
        False,
        description="whether random order replaces `acquisition` while the comparison with random order shows no gain",
    )
    second_look: int = Field(
        0,
        ge=0,
        le=50,
        description="maximum number of annotations that are proposed for a check because they look wrong, for each "
        "control",
    )
    draft_precision: float = Field(
        0.0,
        ge=0,
        le=0.99,
        description="lowest share of right ones among the drafted spans of a label, as far as it is measured; 0: as "
        "many spans are drafted as give the highest expected F1 score",
    )
    every_occurrence: bool = Field(
        True,
        description="whether a span that annotators have marked once is drafted wherever its words occur, as far as "
        "the annotations bear it out",
    )
    attribute: str = Field(
        "",
        max_length=500,
        description="model of the attribute that written texts must have, such as politeness: `pairs` (it fails in "
        "sources, and holds in accepted texts), `examples:<CSV>` (columns `text` and `label`: 1 or fails, 0 or holds) "
        "or `words:<file>` (one word a line, with a weight after a tab); empty: none",
    )
    attribute_selection: Literal["measured", "forced"] = Field(
        "measured",
        description="`measured`: the attribute model judges drafts if it tells sources from accepted texts with an AUC "
        "of at least 0.95; `forced`: in any case",
    )
    inclusive_by: InclusiveBy = Field(
        "attribute-least",
        description="what the query strategy `inclusive` ranks the drafts of a cluster by: `attribute-least` (the "
        "attribute fails most probably), `attribute-unsure` (the attribute model is least sure) or `doubt` (of the "
        "learner)",
    )
    learner: str = Field(
        "",
        description="model that is trained on the annotations; empty: `logistic` for texts, `tabular` for records. "
        "Spans are learnt by `crf`, unless this is another learner of spans",
    )
    fields: dict[str, Any] = Field(
        {},
        description="overrides of the inferred field types of records, by field name: a type, an ordered list of "
        "values, or an object with `kind`, `order` and `description`",
    )
    teacher: str = Field(
        "similarity",
        description="teacher that drafts: `similarity` (to the labels' names), `openai`, `batch` or `transformers`",
    )
    teacher_model: str = Field(
        "", max_length=200, description="name of the teacher's model at the endpoint, or of a local model"
    )
    teacher_probabilities: Literal["auto", "logprobs", "samples", "stated"] = Field(
        "auto",
        description="source of the teacher's probabilities: `logprobs`, `samples` or `stated`; `auto`: logprobs if the "
        "endpoint has them, else samples; by `batch`: the confidence that a reply states",
    )
    teacher_context: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="number of tokens that the teacher reads and writes in a call; questions for labels and those of "
        "`evolve` are shortened to it; 0: unknown, and no question is shortened",
    )
    teacher_ahead: int = Field(
        20, ge=0, le=200, description="number of tasks at the head of the queue that the teacher labels in advance"
    )
    teacher_labels: int = Field(
        500, ge=0, le=20_000, description="number of tasks that the teacher labels to train the learner (distillation)"
    )
    teacher_acquisition: str = Field(
        "coverage", description="query strategy that chooses the tasks for `teacher_labels`"
    )
    synthetic_share: float = Field(
        0.2, ge=0, le=1, description="maximum number of tasks that `evolve` may add, as a share of the labelled tasks"
    )
    teacher_input_price: float = Field(0.0, ge=0, description="price of a million input tokens of the teacher")
    teacher_output_price: float = Field(0.0, ge=0, description="price of a million output tokens of the teacher")
    teacher_budget: float = Field(
        5.0, ge=0, description="maximum cost of the teacher for a project, in the unit of the prices; 0: no limit"
    )
    teacher_daily_budget: float = Field(
        1.0, ge=0, description="maximum cost of the teacher for a project in a day (UTC); 0: no limit"
    )
    teacher_daily_calls: int = Field(
        2000, ge=0, description="maximum number of calls to the teacher for a project in a day (UTC); 0: no limit"
    )

    @property
    def draft_rule(self) -> DraftRule:
        """What learners draft, of kinds of labels that draft parts of a text, or texts."""
        forced = self.attribute_selection == "forced"
        return DraftRule(self.draft_precision, self.every_occurrence, self.attribute, forced)

    def control_weight(self, control: str) -> float:
        """The weight of a control in the order of the queue."""
        return self.control_weights.get(control, 1.0)

    def with_form_defaults(self, form: TaskForm) -> ProjectSettings:
        """The same settings, with the defaults for tasks of this form where a setting is empty."""
        return self.model_copy(
            update={name: value for name, value in FORM_DEFAULTS[form].items() if not getattr(self, name)}
        )

    @field_validator("acquisition", "teacher_acquisition", "learner", "teacher")
    @classmethod
    def _is_installed(cls, name: str, info: ValidationInfo) -> str:
        plugins = installed(str(info.field_name).removeprefix("teacher_"))
        if name not in plugins and (name or info.field_name not in FORM_DEFAULTS["text"]):
            raise ValueError(f"there is no {name!r}; installed: {', '.join(sorted(plugins))}")
        return name

    @field_validator("attribute")
    @classmethod
    def _is_usable(cls, setting: str) -> str:
        if not setting:
            return setting
        name, models = setting.partition(":")[0], installed("attribute")
        if name not in models:
            raise ValueError(f"there is no {name!r}; installed: {', '.join(sorted(models))}")
        try:
            attribute_model(setting).check()
        except ApprenticeError as error:
            raise ValueError(str(error)) from None
        return setting


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """Why a value of a project's extra params is ignored, or all of them. `rendering.settings_text` words it.

    name    the setting, "" if the extra params are not an object
    detail  of an unknown setting the most similar name, "" if none is similar; of an invalid value the error message;
            the name of a control that is not learnt
    """

    code: Literal["not an object", "unknown", "invalid", "no control"]
    name: str = ""
    detail: str = ""


class Settings(BaseSettings):
    """Settings of an installation."""

    model_config = SettingsConfigDict(env_prefix="APPRENTICE_", env_file=".env", extra="ignore")

    label_studio_url: str = Field(
        "http://127.0.0.1:8080", description="address of Label Studio, as this backend reaches it"
    )
    label_studio_api_key: SecretStr = Field(
        SecretStr(""), description="access token of Label Studio, personal or legacy"
    )
    secret: SecretStr = Field(
        SecretStr(""),
        description="secret that Label Studio must send; empty: only requests from this machine are served, and none "
        "that a proxy forwards",
    )
    public_url: str = Field("", description="address of this backend, as Label Studio reaches it; empty: host and port")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(9090, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=32, description="number of worker processes")
    data_dir: Path = Field(Path("apprentice-data"), description="folder of the database, the vectors and the artifacts")
    store_url: str = Field(
        "",
        description="database URL, for example `postgresql+psycopg://user@host/name`; empty: SQLite in the data folder",
    )
    encoder: str = Field(
        "minilm",
        description="encoder of texts: `minilm` (embedded) or `sentence:<hub name or path>` for a model of "
        "sentence-transformers",
    )
    teacher_url: str = Field(
        "",
        description="address of an OpenAI-compatible endpoint, for example `http://127.0.0.1:11434/v1`; empty: that of "
        "OpenAI, which needs a key",
    )
    teacher_key: SecretStr = Field(SecretStr(""), description="key for the teacher's endpoint, if it needs one")
    teacher_timeout: float = Field(60, ge=1, le=3600, description="timeout of a call to the teacher, in seconds")
    teacher_concurrency: int = Field(
        4, ge=1, le=64, description="maximum number of calls to the teacher at the same time"
    )
    threads: int = Field(1, ge=1, le=64, description="number of BLAS and torch threads of a process")
    lease_seconds: float = Field(
        30,
        ge=2,
        le=600,
        description="seconds without a heartbeat after which another worker takes over a worker's project",
    )
    reconcile_seconds: float = Field(
        60, ge=1, le=86400, description="seconds between two checks of the store against Label Studio's API"
    )
    timeout_seconds: float = Field(20, ge=1, le=600, description="timeout of a call to Label Studio, in seconds")
    keep_versions: int = Field(
        10,
        ge=2,
        le=1000,
        description="number of learners that are kept for a rollback; half of them are the latest ones",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged: debug, info, warning or error"
    )
    defaults: ProjectSettings = Field(
        default=ProjectSettings(), description="defaults of the project settings, as JSON"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_lower_case(cls, level: Any) -> Any:
        return level.lower() if isinstance(level, str) else level

    @field_validator("defaults")
    @classmethod
    def _is_for_any_project(cls, defaults: ProjectSettings) -> ProjectSettings:
        if defaults.choices:
            raise ValueError("`choices` names a control of one project: set it in that project's extra params")
        return defaults

    @field_validator("label_studio_url", "public_url", "teacher_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if url and not (url.startswith(("http://", "https://")) and urlsplit(url).hostname):
            raise ValueError("not an address such as http://127.0.0.1:8080")
        return url

    @property
    def database_file(self) -> Path:
        """The path of the SQLite database, which is used if `store_url` is empty."""
        return self.data_dir / "apprentice.db"

    @property
    def database_url(self) -> str:
        """`store_url`, or the URL of the SQLite database in the data folder."""
        return self.store_url or f"sqlite:///{self.database_file.absolute()}"

    def teacher_options(self, options: ProjectSettings) -> TeacherOptions:
        """The options of the teacher of a project with these `options`."""
        return TeacherOptions(
            model=options.teacher_model,
            url=self.teacher_url,
            key=self.teacher_key.get_secret_value(),
            timeout=self.teacher_timeout,
            concurrency=self.teacher_concurrency,
            probabilities=options.teacher_probabilities,
        )

    @property
    def address(self) -> str:
        """The URL under which Label Studio reaches this backend, without a trailing slash."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    def for_project(self, extra_params: Any) -> tuple[ProjectSettings, tuple[SettingProblem, ...]]:
        """The project's settings, and the problems of its extra params: bad values are ignored.

        `extra_params` are those that Label Studio sends, or those that `project_params` returned.
        """
        overrides = project_params(extra_params)
        unknown_names = overrides.pop(UNKNOWN_NAMES_KEY, [])
        problems = [SettingProblem("not an object")] if unknown_names is None else []
        for name in unknown_names or ():
            near = difflib.get_close_matches(name, ProjectSettings.model_fields, 1)
            problems.append(SettingProblem("unknown", name, near[0] if near else ""))
        values = {**self.defaults.model_dump(), **overrides}
        try:
            return ProjectSettings.model_validate(values), tuple(problems)
        except ValidationError as error:
            invalid = {str(item["loc"][0]): _message(item) for item in error.errors()}
            valid = {name: value for name, value in overrides.items() if name not in invalid}
            problems += [SettingProblem("invalid", name, message) for name, message in invalid.items()]
            return ProjectSettings.model_validate({**self.defaults.model_dump(), **valid}), tuple(problems)


def _message(item: Any) -> str:
    """The message of an error of pydantic, after the name of the part of the value that it is about."""
    part = "".join(f"{name!r}: " for name in item["loc"][1:2])
    return part + _without_prefix(item["msg"])


def _without_prefix(message: str) -> str:
    """An error message without the prefix that pydantic adds."""
    return message.removeprefix("Value error, ")


def is_loopback(host: str) -> bool:
    """Whether a host, given by name or address, is the loopback interface of this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(**overrides: Any) -> Settings:
    """Reads the settings. `overrides` that are None count as absent. Raises ApprenticeError that names each bad
    setting."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = (f"{_variable(*map(str, e['loc']))}: {_without_prefix(e['msg'])}" for e in error.errors())
        raise ApprenticeError("These settings are not valid: " + "; ".join(lines)) from None
    except SettingsError:  # APPRENTICE_DEFAULTS is the only setting that is written as JSON
        raise ApprenticeError("These settings are not valid: APPRENTICE_DEFAULTS: not a JSON object") from None


def _variable(name: str, *nested_names: str) -> str:
    """The variable of a setting, followed by the names of nested settings."""
    return ": ".join([f"APPRENTICE_{name.upper()}", *nested_names])


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings that were set explicitly, as variables for a child process. The variables hold secrets."""

    def as_text(value: Any) -> str:
        if isinstance(value, BaseModel):
            return value.model_dump_json()
        return str(value.get_secret_value() if isinstance(value, SecretStr) else value)

    return {f"APPRENTICE_{name.upper()}": as_text(getattr(settings, name)) for name in settings.model_fields_set}


def settings_table() -> str:
    """The table of docs/settings.md, in Markdown: the variable, the default and the meaning of each setting."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for prefix, model in (("APPRENTICE_", Settings), ("", ProjectSettings)):
        for name, field in model.model_fields.items():
            if name == "defaults":
                continue
            default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
            cell = f"`{default}`" if default != "" else ""
            lines.append(f"| `{prefix + name.upper() if prefix else name}` | {cell} | {field.description} |")
    return "\n".join(lines)


def project_params(extra_params: Any) -> dict[str, Any]:
    """The extra params that are settings, from those that Label Studio sends, which may be JSON in a text.

    Only the names of other params are kept, as a list under `UNKNOWN_NAMES_KEY`. The value there is None if the extra
    params are no JSON object. Applied to its own result, the function returns the same.
    """
    if isinstance(extra_params, str) and extra_params.strip():
        try:
            extra_params = json.loads(extra_params)
        except ValueError:
            return {UNKNOWN_NAMES_KEY: None}
    if extra_params is None or extra_params == "":
        return {}
    if not isinstance(extra_params, dict):
        return {UNKNOWN_NAMES_KEY: None}
    if extra_params.get(UNKNOWN_NAMES_KEY, ()) is None:  # an earlier result of this function
        return {UNKNOWN_NAMES_KEY: None}
    names = [
        *map(str, extra_params.get(UNKNOWN_NAMES_KEY) or ()),
        *(extra_params.keys() - ProjectSettings.model_fields.keys()),
    ]
    unknown = sorted(str(name)[:MAX_NAME_CHARACTERS] for name in names if name != UNKNOWN_NAMES_KEY)[:MAX_UNKNOWN_NAMES]
    settings = {
        name: _storable_value(value) for name, value in extra_params.items() if name in ProjectSettings.model_fields
    }
    return {**settings, **({UNKNOWN_NAMES_KEY: unknown} if unknown else {})}


def _storable_value(value: Any) -> Any:
    """The value if a JSON column can hold it, else None, which the validation of the settings rejects."""
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict | list):
        with suppress(ValueError, TypeError, RecursionError):
            if len(json.dumps(value, allow_nan=False)) <= MAX_JSON_VALUE_CHARACTERS:
                return value
    return None

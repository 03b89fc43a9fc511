"""Settings: one class for the installation, one for what a single project may override.

Order of precedence: command line, environment (prefix `APPRENTICE_`), a `.env` file in the working directory, the
default. A project's own values come from the extra parameters of its ML backend connection in Label Studio.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.registry import installed
from ml_backend.core.teacher_types import TeacherOptions

STRANGE = "?"
Form = Literal["text", "record", "record with text"]
BEST: dict[Form, dict[str, str]] = {
    "text": {"learner": "logistic", "acquisition": "cluster-uncertainty"},
    "record": {"learner": "tabular", "acquisition": "near-and-far"},
    "record with text": {"learner": "tabular", "acquisition": "cluster-uncertainty"},
}
"""What is best for each form of tasks, unless somebody chooses another one."""
LONGEST_NAME, MOST_STRANGE = 40, 5
LONGEST = 20_000  # letters of a value that is an object or a list


class ProjectSettings(BaseModel):
    """What a project may set for itself in Label Studio: `{"queue_size": 100}` in the connection's extra params."""

    model_config = {"extra": "ignore"}

    # the upper bound: a stale queue is pruned in one call, at 20 ms a row, while annotators wait
    queue_size: int = Field(50, ge=1, le=200, description="K: how many tasks of the queue's head are published")
    audit_share: float = Field(
        0.05, ge=0, le=0.5, description="share of served tasks drawn at random and shown without a draft"
    )
    acquisition: str = Field(
        "",
        description="strategy that orders the queue; empty: `cluster-uncertainty` for texts, and for records with a "
        "text among their fields, `near-and-far` for other records",
    )
    balance: float = Field(
        0.0, ge=0, le=1, description="share of the queue kept for the groups that the learner does worst on"
    )
    choices: str = Field(
        "",
        max_length=200,
        description="name of the `Choices` that is learnt, if the configuration has several; empty: one that is always "
        "visible, required or a single choice, among the most labels",
    )
    group_by: str = Field("", max_length=64, description="field of the tasks' data that names groups; empty: clusters")
    acquisition_fallback: bool = Field(
        False, description="random order as long as the comparison with random says that acquisition does not win"
    )
    second_look: int = Field(0, ge=0, le=50, description="how many answers that look wrong are proposed for a check")
    learner: str = Field(
        "", description="the small model that is trained; empty: `logistic` for texts, `tabular` for records"
    )
    fields: dict[str, Any] = Field(
        {},
        description="of records, what fields are that are not what they seem, by name: a kind, a list of the values in "
        "their order, or an object with `kind`, `order` and `description`",
    )
    teacher: str = Field(
        "similarity", description="who drafts: `similarity` to the labels' names, `openai`, `batch` or `transformers`"
    )
    teacher_model: str = Field("", max_length=200, description="the teacher's model, by its name at the endpoint")
    teacher_probabilities: Literal["auto", "logprobs", "samples", "stated"] = Field(
        "auto",
        description="where its probabilities come from; `auto`: logprobs where there are any, else samples; `batch`: "
        "the confidence that each reply states",
    )
    teacher_ahead: int = Field(
        20, ge=0, le=200, description="tasks at the queue's head that the teacher works ahead on"
    )
    teacher_labels: int = Field(
        500, ge=0, le=20_000, description="tasks that the teacher labels for the learner to be distilled from"
    )
    teacher_acquisition: str = Field("coverage", description="strategy that chooses those tasks")
    synthetic_share: float = Field(
        0.2, ge=0, le=1, description="most tasks that `evolve` may add, in parts of the tasks that have a label"
    )
    teacher_input_price: float = Field(0.0, ge=0, description="price of a million tokens that the teacher reads")
    teacher_output_price: float = Field(0.0, ge=0, description="price of a million tokens that it writes")
    teacher_budget: float = Field(
        5.0, ge=0, description="most that may be spent on a project, in the prices' unit; 0: no cap"
    )
    teacher_daily_budget: float = Field(1.0, ge=0, description="most that may be spent on it in a day (UTC); 0: no cap")
    teacher_daily_calls: int = Field(2000, ge=0, description="most calls for it in a day (UTC); 0: no cap")

    def of_form(self, form: Form) -> ProjectSettings:
        """The same for tasks of this form: where nothing is chosen, with what is best for them."""
        return self.model_copy(update={name: value for name, value in BEST[form].items() if not getattr(self, name)})

    @field_validator("acquisition", "teacher_acquisition", "learner", "teacher")
    @classmethod
    def _is_installed(cls, name: str, info: ValidationInfo) -> str:
        known = installed(str(info.field_name).removeprefix("teacher_"))
        if name not in known and (name or info.field_name not in BEST["text"]):
            raise ValueError(f"there is no {name!r}; installed: {', '.join(sorted(known))}")
        return name


class Settings(BaseSettings):
    """Settings of one installation."""

    model_config = SettingsConfigDict(env_prefix="APPRENTICE_", env_file=".env", extra="ignore")

    label_studio_url: str = Field("http://127.0.0.1:8080", description="where Label Studio is, as seen from here")
    label_studio_api_key: SecretStr = Field(
        SecretStr(""), description="an access token of Label Studio, personal or legacy"
    )
    secret: SecretStr = Field(
        SecretStr(""), description="what Label Studio must present; without it only loopback is served, and no proxy"
    )
    public_url: str = Field("", description="this backend's address as Label Studio sees it; empty: host and port")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(9090, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=32, description="worker processes")
    data_dir: Path = Field(Path("apprentice-data"), description="folder of the store, the vectors and the artifacts")
    store_url: str = Field(
        "",
        description="database URL, for example `postgresql+psycopg://user@host/name`; empty: SQLite in the data folder",
    )
    encoder: str = Field(
        "minilm", description="`minilm` (embedded) or `sentence:<hub name or path>` for any sentence-transformers model"
    )
    teacher_url: str = Field(
        "",
        description="an OpenAI-style endpoint, for example `http://127.0.0.1:11434/v1`; empty: OpenAI's, with a key",
    )
    teacher_key: SecretStr = Field(SecretStr(""), description="its key, if it wants one")
    teacher_timeout: float = Field(60, ge=1, le=3600, description="time-out of one call to the teacher, in seconds")
    teacher_concurrency: int = Field(4, ge=1, le=64, description="calls to the teacher at the same time")
    threads: int = Field(1, ge=1, le=64, description="BLAS and torch threads of one process")
    lease_seconds: float = Field(30, ge=2, le=600, description="after this a silent worker's project is taken over")
    reconcile_seconds: float = Field(60, ge=1, le=86400, description="interval of the check against Label Studio's API")
    timeout_seconds: float = Field(20, ge=1, le=600, description="time-out of one call to Label Studio")
    keep_versions: int = Field(
        10, ge=2, le=1000, description="how many learners stay for a rollback; half of them are the latest"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    defaults: ProjectSettings = Field(
        default=ProjectSettings(), description="defaults of the per-project settings, as JSON"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_small_letters(cls, level: Any) -> Any:
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
        """Where the SQLite database lies, if no `store_url` names another one."""
        return self.data_dir / "apprentice.db"

    @property
    def database_url(self) -> str:
        """`store_url`, or the SQLite file in the data folder."""
        return self.store_url or f"sqlite:///{self.database_file.absolute()}"

    def teacher_options(self, options: ProjectSettings) -> TeacherOptions:
        """What a project's teacher is made with."""
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

    def for_project(self, extra_params: Any) -> tuple[ProjectSettings, str]:
        """The project's settings, and what was wrong with its extra params ("" if nothing): bad values are ignored.

        `extra_params`: as Label Studio hands them over, or as `own_params` kept them.
        """
        given = own_params(extra_params)
        strange = given.pop(STRANGE, [])
        said = ["extra params are not a JSON object; ignored"] if strange is None else []
        for name in strange or ():
            near = difflib.get_close_matches(name, ProjectSettings.model_fields, 1)
            said.append(f"extra params: there is no setting {name!r}{f', did you mean {near[0]}?' if near else ''}")
        values = {**self.defaults.model_dump(), **given}
        try:
            return ProjectSettings.model_validate(values), "; ".join(said)
        except ValidationError as error:
            bad = {str(item["loc"][0]): _plainly(item["msg"]) for item in error.errors()}
            good = {name: value for name, value in given.items() if name not in bad}
            said.append("extra params: " + "; ".join(f"{name}: {message}" for name, message in bad.items()))
            return ProjectSettings.model_validate({**self.defaults.model_dump(), **good}), "; ".join(said)


def _plainly(message: str) -> str:
    """Without the words that pydantic puts before our own."""
    return message.removeprefix("Value error, ")


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, is this machine seen from itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(**overrides: Any) -> Settings:
    """Reads the settings; `overrides` that are None count as absent. Raises ApprenticeError naming each bad setting."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = (f"{_variable(*map(str, e['loc']))}: {_plainly(e['msg'])}" for e in error.errors())
        raise ApprenticeError("These settings are not valid: " + "; ".join(lines)) from None
    except SettingsError:  # of the one setting that is written as JSON
        raise ApprenticeError("These settings are not valid: APPRENTICE_DEFAULTS: not a JSON object") from None


def _variable(name: str, *inside: str) -> str:
    """The variable of a setting; of one inside of it, its name, too."""
    return ": ".join([f"APPRENTICE_{name.upper()}", *inside])


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings that were chosen, as variables that a child process reads them from again. Holds the secrets."""

    def written(value: Any) -> str:
        if isinstance(value, BaseModel):
            return value.model_dump_json()
        return str(value.get_secret_value() if isinstance(value, SecretStr) else value)

    return {f"APPRENTICE_{name.upper()}": written(getattr(settings, name)) for name in settings.model_fields_set}


def settings_table() -> str:
    """The table of docs/settings.md, in Markdown: every setting with its variable, default and meaning."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for prefix, model in (("APPRENTICE_", Settings), ("", ProjectSettings)):
        for name, field in model.model_fields.items():
            if name == "defaults":
                continue
            default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
            shown = f"`{default}`" if default != "" else ""
            lines.append(f"| `{prefix + name.upper() if prefix else name}` | {shown} | {field.description} |")
    return "\n".join(lines)


def own_params(extra_params: Any) -> dict[str, Any]:
    """Of the extra params that Label Studio hands over (by its form, as text), what is a setting here: no more is kept
    of the others than their names, under `STRANGE`; None stands there if they are no JSON object at all."""
    if isinstance(extra_params, str) and extra_params.strip():
        try:
            extra_params = json.loads(extra_params)
        except ValueError:
            return {STRANGE: None}
    if extra_params is None or extra_params == "":
        return {}
    if not isinstance(extra_params, dict):
        return {STRANGE: None}
    if extra_params.get(STRANGE, ()) is None:  # as it was kept
        return {STRANGE: None}
    names = [*map(str, extra_params.get(STRANGE) or ()), *(extra_params.keys() - ProjectSettings.model_fields.keys())]
    strange = sorted(str(name)[:LONGEST_NAME] for name in names if name != STRANGE)[:MOST_STRANGE]
    own = {name: _plain(value) for name, value in extra_params.items() if name in ProjectSettings.model_fields}
    return {**own, **({STRANGE: strange} if strange else {})}


def _plain(value: Any) -> Any:
    """The value if it is one that JSON can keep in a column: anything else is told to be wrong by its kind."""
    if isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, dict | list):
        with suppress(ValueError, TypeError, RecursionError):
            if len(json.dumps(value, allow_nan=False)) <= LONGEST:
                return value
    return None

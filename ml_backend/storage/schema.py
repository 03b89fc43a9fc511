"""The tables. A change here comes with a migration in `migrations/versions/`; a test compares the two.

`erasure` removes rows by the names of their columns (`project`, `task`, `key`), and `quote_erasure` removes texts of
tasks from the JSON and text columns of other rows. New columns must follow these names.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    and_,
    literal_column,
    true,
)

from ml_backend.storage.columns import PortableText, first_revision

metadata = MetaData()

project = Table(
    "project",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("label_config", PortableText, nullable=False, default=""),
    Column("extra_params", JSON, nullable=False, default=dict),
    Column("made_at", String(40), nullable=False, default=""),  # creation in Label Studio; identifies the project
    Column("tasks_revision", BigInteger, nullable=False, default=first_revision),  # raised by each change
)


def _project_table(name: str, *columns: Column[Any]) -> Table:
    """Returns a table with at most one row for each project."""
    return Table(name, metadata, Column("project", Integer, primary_key=True, autoincrement=False), *columns)


def _control_table(name: str, *columns: Column[Any]) -> Table:
    """Returns a table with at most one row for each control of a project."""
    return Table(
        name,
        metadata,
        Column("project", Integer, primary_key=True, autoincrement=False),
        Column("control", String(), primary_key=True),  # name of the control
        *columns,
    )


connection = _project_table(
    "connection",  # ids of the objects that `connect` created in Label Studio, for `disconnect` to remove
    Column("webhook", Integer, nullable=True),
    Column("ml_backend", Integer, nullable=True),
    Column("tab", Integer, nullable=True),
    Column("second_look_tab", Integer, nullable=True),
    Column("earlier", JSON(none_as_null=True), nullable=True),  # the project's settings before `connect`
    Column("complete", Boolean, nullable=False),  # False while `connect` or `disconnect` is under way
)

publication = _project_table(
    "publication",
    Column("published", PortableText, nullable=True),  # model_version that Label Studio serves
    Column("fingerprint", String(64), nullable=False, default=""),  # of all inputs of the published queue
    Column("republish", Integer, nullable=False, default=0),  # number of requests to publish in any case
    Column("bulk_seconds", Float, nullable=True),  # measured duration of one bulk import
    Column("single_seconds", Float, nullable=True),  # measured duration of the creation of one prediction
)

synchronisation = _project_table(
    "synchronisation",
    Column("tasks", Integer, nullable=True),  # Label Studio's own counts, as last received
    Column("annotations", Integer, nullable=True),
    Column("skips", Integer, nullable=True),
    # the fields of the label configuration with which the tasks were read
    Column("read_under", PortableText, nullable=False, default=""),
    Column("watermark", String(40), nullable=False, default=""),  # reconciled up to this updated_at
    Column("reconciled_at", Float, nullable=False, default=0.0),  # see `synchronisation`; 0: reconcile again
)

progress = _project_table(
    "progress",
    Column("worker", String(100), nullable=True),  # the worker that encodes the project's tasks
    Column("encoded", Integer, nullable=True),  # number of tasks encoded so far, of `tasks`
    Column("tasks", Integer, nullable=True),
    Column("read", Integer, nullable=True),  # number of tasks listed so far; NULL: no listing is under way
)

monitor = _control_table("monitor", Column("results", JSON, nullable=False))  # last results of the monitor

pinned_version = _control_table(
    "pinned_version",
    Column("version", Integer, nullable=False),  # version whose learner a rollback holds
)

review_proposal = Table(
    "review_proposal",  # annotations that are proposed for a second look
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("prediction", BigInteger, nullable=False),  # id of the prediction in Label Studio
    Column("annotation", BigInteger, nullable=False),
    Column("updated_at", String(40), nullable=False),  # last change of the annotation when it was proposed
    Column("proposed_at", Float, nullable=False),
    Column("controls", JSON, nullable=False, default=list),  # for which the prediction has labels, by their names
)

reviewed_annotation = Table(
    "reviewed_annotation",  # annotations that were reviewed
    metadata,
    Column("project", Integer, primary_key=True),
    Column("annotation", BigInteger, primary_key=True, autoincrement=False),
    Column("updated_at", String(40), nullable=False),  # a later change makes it a new annotation, not reviewed yet
)

teacher_state = _project_table(
    "teacher_state",
    Column("name", PortableText, nullable=False),
    Column("model", PortableText, nullable=False, default=""),
    Column("problem", PortableText, nullable=False, default=""),  # "": none
    Column("until", Float, nullable=False, default=0.0),  # time at which it is asked again
)

label_description = _control_table(
    "label_description",
    Column("descriptions", JSON, nullable=False),  # with key phrases; written by the teacher or edited
)

record_profile = _project_table(
    "record_profile",  # field types of a pool of records
    Column("profile", PortableText, nullable=False),
    Column("before", PortableText, nullable=True),  # the previous profile
    Column("problems", JSON, nullable=False),  # of the records and their fields, see `core.types.Remark`
    Column("tasks", Integer, nullable=False),  # number of tasks in the pool from which the profile was made
    Column("made_of", JSON, nullable=False),  # the settings from which the profile was made
    Column("seen", BigInteger, nullable=False),  # the `tasks_revision` with which the profile was last compared
)

field_override = _project_table(
    "field_override",
    Column("fields", JSON, nullable=False),  # by field name: the type and the description that people have given
)

feature_score = _control_table(
    "feature_score",
    Column("scores", JSON, nullable=False),  # scores of the fields of records; from the teacher or edited
)

distillation = _control_table(
    "distillation",  # artifact of the learner that was fitted on teacher labels alone
    Column("file", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("number", Integer, nullable=False, default=0),  # raised by each distillation
    Column("made_of", JSON(none_as_null=True), nullable=True),  # provenance: see `teacher.distillation`
)

task = Table(
    "task",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(16), nullable=False),
    Column("text", PortableText, nullable=False),
    Column("fields", JSON, nullable=True),  # short values in the task's other data
    Column("displayed_values", JSON(none_as_null=True), nullable=True),  # of tags in which regions have positions
    Column("revision", BigInteger, nullable=False, server_default="0"),  # `tasks_revision` of the task's last change
    Index("task_key", "project", "key"),
    Index("task_revision", "project", "revision"),
)

set_aside = Table(
    "set_aside",  # see `unusable_tasks`
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(16), nullable=False),  # content key of the text that the encoder cannot encode
    Column("space", String(200), nullable=False),  # feature space of the encoder
    Column("code", String(40), nullable=False),  # why: a code of `unusable_tasks`
)

deleted_text = Table(
    "deleted_text",  # texts that no task has any more, until their quotes are removed
    metadata,
    Column("project", Integer, primary_key=True),
    Column("key", LargeBinary(16), primary_key=True),
    Column("text", PortableText, nullable=False),
    Column("deleted_at", Float, nullable=False, server_default="0"),  # last deletion, in seconds since the epoch
)

labelling_rules = Table(
    "labelling_rules",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("skip_queue", String(100), nullable=False),  # Label Studio's setting for skipped tasks
    Column("overlap", Integer, nullable=False),  # number of annotators for each task
)

annotation = Table(
    "annotation",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("task", BigInteger, nullable=False),
    Column("annotator", Integer, nullable=True),
    Column("labels", JSON, nullable=False, server_default="{}"),  # by control: see `types.Label`
    Column("cancelled", Boolean, nullable=False),
    Column("ground_truth", Boolean, nullable=False),
    Column("updated_at", String(40), nullable=False),
    Column("lead_time", Float, nullable=True),
    Column("deleted", Boolean, nullable=False, default=False),  # a tombstone, because events arrive out of order
    Column("revision", BigInteger, nullable=False, server_default="0"),  # of its last change: see `annotation_revision`
    Index("annotation_project", "project", "deleted"),
    Index("annotation_task", "project", "task"),
    Index("annotation_changed", "project", "revision"),
)

annotation_revision = Table(
    "annotation_revision",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),  # newest change to the project's annotations or published drafts
    Column("complete", BigInteger, nullable=False),  # no row was removed since; a reader with an older one reads all
    Column("answers", Integer, nullable=False),  # number of annotations that are neither deleted nor skips
    Column("skips", Integer, nullable=False),  # number of skips that are not deleted
)

version = Table(
    "version",  # see `types.ModelVersion`
    metadata,
    Column("project", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", PortableText, nullable=False),
    Column("learner", Integer, nullable=True),
    Column("labelled", Integer, nullable=False),
    Column("controls", JSON, nullable=False, server_default="{}"),  # by control: see `types.ControlVersion`
    Column("created_at", Float, nullable=False),
    Column("remarks", JSON, nullable=False, server_default="[]"),  # codes and values, see `core.types.Remark`
    Column("artifact", String(200), nullable=True),  # file of its own fit; NULL: another version's fit, or removed
    Column("sha256", String(64), nullable=True),
    Column("active", Boolean, nullable=False, default=False),
    Column("rows", Integer, nullable=False, default=0),  # number of its predictions in Label Studio
    Column("acquisition", PortableText, nullable=False, server_default=""),  # query strategy that ordered its queue
)
# Partial indexes, because a project may have tens of thousands of versions. A query uses one only if it has the same
# condition.
is_active = version.c.active == true()
has_own_fit = version.c.artifact.is_not(None)
is_stale = and_(~version.c.active, version.c.rows > literal_column("0"))
Index("version_name", version.c.project, version.c.name)
for _name, _condition in (("active", is_active), ("own_fit", has_own_fit), ("stale", is_stale)):
    Index(
        f"version_{_name}",
        version.c.project,
        version.c.number,
        sqlite_where=_condition,
        postgresql_where=_condition,
    )

audit = Table(
    "audit",  # the audit sample
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("drawn_at", Float, nullable=False),
)

round_ = Table(
    "round",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", Integer, nullable=False),
    Column("version", PortableText, nullable=True),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float, nullable=False),
    Column("stages", JSON, nullable=False),
    Column("error", PortableText, nullable=True),
    Index("round_project", "project", "id"),
)

job = Table(
    "job",  # see `jobs`
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("wanted", Integer, nullable=False, default=0),
    Column("covers", Integer, nullable=False, default=0),  # number of the newest request that the running round answers
    Column("done", Integer, nullable=False, default=0),
    Column("owner", String(100), nullable=True),
    Column("token", Integer, nullable=False, default=0),  # fencing token, raised by every claim
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("not_before", Float, nullable=False, default=0.0),  # earliest start; 0 after an event
    Column("failures", Integer, nullable=False, default=0),
)

worker = Table(
    "worker",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("seen_at", Float, nullable=False),
)

GIVEN_UP_SECONDS = 60.0  # age from which a question that was taken, and not renewed, may be taken again
question = Table(
    "question",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("teacher", PortableText, nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("key", LargeBinary(16), nullable=True),  # content key of its task
    Column("body", JSON, nullable=False),  # `question_json.body_of`
    Column("state", String(10), nullable=False),  # waiting, answered, dropped
    Column("wanted_at", Float, nullable=False),
    Column("asked_at", Float, nullable=False, default=0.0),  # when a process took it; 0: never, or it was given back
    Column("answered_at", Float, nullable=True),
    Column("content", JSON, nullable=True),
    Column("shares", JSON, nullable=True),  # `question_json.shares_json`
    Column("problem", PortableText, nullable=False, default=""),
    Column("alone", Boolean, nullable=False, server_default=true()),  # asked without annotations as examples
    Index("question_state", "project", "state", "purpose"),
    Index("question_about", "project", "key"),
    Index("question_replies", "project", "teacher", "purpose", "state", "answered_at"),
    Index("question_key", "project", "teacher", "purpose", "state", "key"),
)

call = Table(
    "call",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", Integer, nullable=False),
    Column("question", String(64), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("teacher", PortableText, nullable=False),
    Column("model", PortableText, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost", Float, nullable=False),
    Column("outcome", String(20), nullable=False),
    Index("call_project", "project", "made_at"),
    Index("call_question", "project", "question"),
)

ledger_total = Table(  # sums over `call`, updated in the same transactions
    "ledger_total",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False),  # in UTC, since the epoch
    Column("purpose", String(20), primary_key=True),
    Column("outcome", String(20), primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cost", Float, nullable=False),
    Column("seconds", Float, nullable=False),
)

evolution_round = Table(
    "evolution_round",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("control", String(), nullable=False, server_default=""),  # the control that its texts are about
    Column("way", String(10), nullable=False),  # use of its texts: tasks, taught, pool
    Column("teacher", PortableText, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("body", JSON, nullable=False),  # its questions, weaknesses and texts
)

NO_VERSION = ""
"""The version of a published draft whose task was removed: a tombstone, for readers that follow the revisions."""
shown = Table(
    "shown",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", PortableText, nullable=False),
    Column("place", Integer, nullable=False),  # position in the queue, from 0
    Column("drafts", JSON, nullable=False, server_default="{}"),  # by control; {}: published without a draft
    Column("revision", BigInteger, nullable=False, server_default="0"),  # of its last change: see `annotation_revision`
    Index("shown_changed", "project", "revision"),
    Index("shown_version", "project", "version"),
)

stats = Table(
    "stats",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("basis", String(64), nullable=False),  # digest of the inputs of the numbers
    Column("made_at", Float, nullable=False),
    Column("document", JSON, nullable=False),  # numbers and codes
)

confusion = _control_table(
    "confusion",
    Column("teacher", PortableText, nullable=False),
    Column("properties", JSON, nullable=False),  # of the control, on which a fit depends
    Column("matrix", LargeBinary, nullable=False),  # a tensor of float64, as safetensors
)

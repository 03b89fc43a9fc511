"""The tables. A change here comes with a migration in `migrations/versions/`; a test compares the two.

What a row is about is found by the names of its columns (`project`, `task`, `key`) when it is to be removed, and texts
of tasks in documents by theirs: see `erasure`.
"""

from __future__ import annotations

import time
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
    TypeDecorator,
    and_,
    literal_column,
    true,
)
from sqlalchemy import Text as _Text

from ml_backend.core.types import storable

metadata = MetaData()


class PortableText(TypeDecorator[str]):
    """Words of any length: what people, teachers and errors say. What no database takes in them is replaced."""

    impl = _Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else storable(value)


def beginning() -> int:
    """A revision ahead of every one that a reader may remember of an earlier project with the same number."""
    return time.time_ns() // 1_000_000


project = Table(
    "project",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("label_config", PortableText, nullable=False, default=""),
    Column("extra_params", JSON, nullable=False, default=dict),
    Column("made_at", String(40), nullable=False, default=""),  # in Label Studio: another time is another project
    Column("pinned", Integer, nullable=True),  # version held by a rollback
    Column("tasks_revision", BigInteger, nullable=False, default=beginning),  # grows when a task comes, goes or changes
)


def _of_project(name: str, *columns: Column[Any]) -> Table:
    """A table with at most one row a project."""
    return Table(name, metadata, Column("project", Integer, primary_key=True, autoincrement=False), *columns)


connection = _of_project(
    "connection",  # what `connect` made in Label Studio, for `disconnect` to undo
    Column("webhook", Integer, nullable=True),
    Column("ml_backend", Integer, nullable=True),
    Column("tab", Integer, nullable=True),
    Column("second_look_tab", Integer, nullable=True),
    Column("earlier", JSON(none_as_null=True), nullable=True),  # the project's own settings before
    Column("complete", Boolean, nullable=False),  # False while `connect` or `disconnect` is under way
)

publication = _of_project(
    "publication",
    Column("published", PortableText, nullable=True),  # model_version that Label Studio serves
    Column("fingerprint", String(64), nullable=False, default=""),  # of all that the published queue came from
    Column("republish", Integer, nullable=False, default=0),  # how often it was asked to publish in any case
    Column("bulk_seconds", Float, nullable=True),  # measured, of one bulk import and of one single row
    Column("single_seconds", Float, nullable=True),
)

synchronisation = _of_project(
    "synchronisation",
    Column("tasks", Integer, nullable=True),  # Label Studio's own counts, as last heard
    Column("annotations", Integer, nullable=True),
    Column("skips", Integer, nullable=True),
    Column(
        "read_under", PortableText, nullable=False, default=""
    ),  # fields of the configuration that tasks were read by
    Column("watermark", String(40), nullable=False, default=""),  # reconciled up to this updated_at
    Column("reconciled_at", Float, nullable=False, default=0.0),
)

progress = _of_project(
    "progress",
    Column("worker", String(100), nullable=True),  # that encodes the project's tasks
    Column("encoded", Integer, nullable=True),  # of `tasks`
    Column("tasks", Integer, nullable=True),
    Column("read", Integer, nullable=True),  # tasks listed so far, while all are being listed
)

monitor = _of_project("monitor", Column("results", JSON, nullable=False))  # what the loop last found out about itself

review_proposal = Table(
    "review_proposal",  # answers that stand for a second look
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("prediction", BigInteger, nullable=False),  # the row in Label Studio
    Column("annotation", BigInteger, nullable=False),
    Column("updated_at", String(40), nullable=False),  # of the annotation, when it was proposed
    Column("proposed_at", Float, nullable=False),
)

reviewed_annotation = Table(
    "reviewed_annotation",  # answers that have had their second look
    metadata,
    Column("project", Integer, primary_key=True),
    Column("annotation", BigInteger, primary_key=True, autoincrement=False),
    Column("updated_at", String(40), nullable=False),  # another time is another answer
)

teacher_state = _of_project(
    "teacher_state",  # how it goes with the teacher
    Column("name", PortableText, nullable=False),
    Column("model", PortableText, nullable=False, default=""),
    Column("problem", PortableText, nullable=False, default=""),
    Column("until", Float, nullable=False, default=0.0),  # when it is asked again
)

label_description = _of_project(
    "label_description",
    Column("descriptions", JSON, nullable=False),  # with cue phrases; the teacher's or edited
)

record_profile = _of_project(
    "record_profile",  # of a pool of records
    Column("profile", PortableText, nullable=False),
    Column("before", PortableText, nullable=True),  # the profile that it had before
    Column("odd", PortableText, nullable=False),
    Column("tasks", Integer, nullable=False),  # of the pool that the profile was made of
    Column("made_of", JSON, nullable=False),
    Column("seen", BigInteger, nullable=False),  # the `tasks_revision` that the profile was last compared with
)

feature_score = _of_project(
    "feature_score",
    Column("scores", JSON, nullable=False),  # of the fields of records; the teacher's or edited
)

distillation = _of_project(
    "distillation",  # the artifact of what the teacher alone has taught
    Column("file", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("number", Integer, nullable=False, default=0),
    Column("made_of", JSON(none_as_null=True), nullable=True),
)

task = Table(
    "task",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(16), nullable=False),
    Column("text", PortableText, nullable=False),
    Column("fields", JSON, nullable=True),  # the short values of the task's other data
    Column("revision", BigInteger, nullable=False, server_default="0"),  # of the project's tasks when this one changed
    Index("task_key", "project", "key"),
    Index("task_revision", "project", "revision"),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(16), nullable=False),  # of the text that the encoder makes nothing of
    Column("space", String(200), nullable=False),  # the encoder's
    Column("code", String(40), nullable=False),
)

deleted_text = Table(
    "deleted_text",  # that no task has any more, until it is looked for where documents quote it
    metadata,
    Column("project", Integer, primary_key=True),
    Column("key", LargeBinary(16), primary_key=True),
    Column("text", PortableText, nullable=False),
    Column("deleted_at", Float, nullable=False, server_default="0"),  # seconds since the epoch; the last time
)

labelling_rules = Table(
    "labelling_rules",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("skip_queue", String(100), nullable=False),  # where Label Studio puts what is skipped
    Column("overlap", Integer, nullable=False),  # annotators that are to answer each task
)

annotation = Table(
    "annotation",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("task", BigInteger, nullable=False),
    Column("annotator", Integer, nullable=True),
    Column("choices", JSON, nullable=False),
    Column("cancelled", Boolean, nullable=False),
    Column("ground_truth", Boolean, nullable=False),
    Column("updated_at", String(40), nullable=False),
    Column("lead_time", Float, nullable=True),
    Column("deleted", Boolean, nullable=False, default=False),  # kept as a tombstone: events come out of order
    Column("revision", BigInteger, nullable=False, server_default="0"),  # of its last change: see annotation_revision
    Column("unread", String(20), nullable=False, server_default=""),  # why it cannot be learnt from: `domain.UNREAD`
    Index("annotation_project", "project", "deleted"),
    Index("annotation_task", "project", "task"),
    Index("annotation_changed", "project", "revision"),
    Index("annotation_unread", "project", "unread"),
)

annotation_revision = Table(
    "annotation_revision",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),  # of the newest change to the project's annotations or shown drafts
    Column("complete", BigInteger, nullable=False),  # from which on no row has vanished: older readers begin anew
    Column("answers", Integer, nullable=False),  # standing annotations that are answers
    Column("skips", Integer, nullable=False),  # and those that are skips
)

version = Table(
    "version",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", PortableText, nullable=False),
    Column("learner", Integer, nullable=True),
    Column("labelled", Integer, nullable=False),
    Column("accuracy", JSON, nullable=True),
    Column("created_at", Float, nullable=False),
    Column("note", PortableText, nullable=False, default=""),
    Column("artifact", String(200), nullable=True),
    Column("sha256", String(64), nullable=True),
    Column("active", Boolean, nullable=False, default=False),
    Column("rows", Integer, nullable=False, default=0),  # predictions of it that stand in Label Studio
    Column("acquisition", PortableText, nullable=False, server_default=""),  # the strategy that ordered its queue
)
# what is looked up among tens of thousands of versions; the conditions are those of the queries, to the letter
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
    "audit",
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
    "job",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("wanted", Integer, nullable=False, default=0),
    Column("covers", Integer, nullable=False, default=0),  # the newest request that the running round answers
    Column("done", Integer, nullable=False, default=0),
    Column("owner", String(100), nullable=True),
    Column("token", Integer, nullable=False, default=0),  # grows with every claim: fences out an older owner
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("not_before", Float, nullable=False, default=0.0),  # back-off after a failed round
    Column("failures", Integer, nullable=False, default=0),
)

worker = Table(
    "worker",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("seen_at", Float, nullable=False),
)

question = Table(
    "question",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", String(64), primary_key=True),
    Column("teacher", PortableText, nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("key", LargeBinary(16), nullable=True),  # content of the task it is about
    Column("body", JSON, nullable=False),
    Column("state", String(10), nullable=False),  # waiting, answered, dropped
    Column("wanted_at", Float, nullable=False),
    Column("asked_at", Float, nullable=False, default=0.0),  # 0: never, or it was given back
    Column("answered_at", Float, nullable=True),
    Column("content", JSON, nullable=True),
    Column("shares", JSON, nullable=True),  # label -> probability
    Column("problem", PortableText, nullable=False, default=""),
    Column("alone", Boolean, nullable=False, server_default=true()),  # asked without any of the annotators' answers
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

ledger_total = Table(  # of `call`, kept in the same transactions
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
    Column("way", String(10), nullable=False),  # what becomes of its texts: tasks, taught, pool
    Column("teacher", PortableText, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("body", JSON, nullable=False),  # its questions, weaknesses and texts
)

NO_VERSION = ""
"""The version of a shown draft whose task was removed: a tombstone, for readers that look for later revisions."""
shown = Table(
    "shown",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", PortableText, nullable=False),
    Column("place", Integer, nullable=False),  # in the queue, from 0
    Column("author", String(10), nullable=True),  # None: served without a draft
    Column("choices", JSON, nullable=False),
    Column("confidence", Float, nullable=True),
    Column("revision", BigInteger, nullable=False, server_default="0"),  # of its last change: see annotation_revision
    Index("shown_changed", "project", "revision"),
    Index("shown_version", "project", "version"),
)

stats = Table(
    "stats",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("basis", String(64), nullable=False),  # digest of what the numbers were computed from
    Column("made_at", Float, nullable=False),
    Column("document", JSON, nullable=False),  # numbers and codes
)

confusion = Table(
    "confusion",
    metadata,
    Column("project", Integer, primary_key=True, autoincrement=False),
    Column("teacher", PortableText, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("multiple", Boolean, nullable=False),
    Column("matrix", LargeBinary, nullable=False),  # float64, row by row
)

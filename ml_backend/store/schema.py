"""The tables. A change here comes with a migration in `migrations/versions/`; a test compares the two."""

from __future__ import annotations

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
    Text,
)

metadata = MetaData()

project = Table(
    "project",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("label_config", Text, nullable=False, default=""),
    Column("extra_params", JSON, nullable=False, default=dict),
    Column("connection", JSON, nullable=True),  # what `connect` made and changed; None: not connected
    Column("made_at", String(40), nullable=False, default=""),  # in Label Studio: another time is another project
    Column("published", String(100), nullable=True),  # model_version that Label Studio serves
    Column("fingerprint", String(64), nullable=False, default=""),  # of all that the published queue came from
    Column("pinned", Integer, nullable=True),  # version held by a rollback
    Column("counts", JSON, nullable=True),  # Label Studio's own counts, as last heard
    Column("tasks_revision", Integer, nullable=False, default=0),  # grows when a task comes, goes or changes
    Column("read_under", Text, nullable=False, default=""),  # fields of the configuration that tasks were read by
    Column("watermark", String(40), nullable=False, default=""),  # reconciled up to this updated_at
    Column("reconciled_at", Float, nullable=False, default=0.0),
    Column("pace", JSON, nullable=False, default=dict),  # measured seconds of publishing calls
    Column("progress", JSON, nullable=False, default=dict),  # of reading and encoding the tasks
    Column("watch", JSON, nullable=True),  # what the loop last found out about itself
    Column("proposals", JSON, nullable=True),  # answers that stand for a second look, and those that had theirs
    Column(
        "teacher", JSON, nullable=True
    ),  # how it goes with the teacher: what is wrong, and until when it is left alone
    Column("cues", JSON, nullable=True),  # descriptions and cue phrases of the labels, the teacher's or edited
    Column("records", JSON, nullable=True),  # of a project of records: the profile of its pool, and what it was made of
    Column("features", JSON, nullable=True),  # what somebody knows of the fields of records, the teacher's or edited
    Column("prior", JSON, nullable=True),  # artifact of what the teacher alone has taught, and what it was made from
    Column("evolution", JSON, nullable=True),  # the rounds of `apprentice evolve`, with the texts that were written
)

task = Table(
    "task",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("fields", JSON, nullable=True),  # the short values of the task's other data
    Column("revision", Integer, nullable=False, server_default="0"),  # of the project's tasks when this one changed
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
    Index("annotation_project", "project", "deleted"),
)

version = Table(
    "version",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(100), nullable=False),
    Column("learner", Integer, nullable=True),
    Column("labelled", Integer, nullable=False),
    Column("accuracy", JSON, nullable=True),
    Column("created_at", Float, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("artifact", String(200), nullable=True),
    Column("sha256", String(64), nullable=True),
    Column("active", Boolean, nullable=False, default=False),
    Column("rows", Integer, nullable=False, default=0),  # predictions of it that stand in Label Studio
    Column("acquisition", String(100), nullable=False, server_default=""),  # the strategy that ordered its queue
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
    Column("version", String(100), nullable=True),
    Column("started_at", Float, nullable=False),
    Column("finished_at", Float, nullable=False),
    Column("stages", JSON, nullable=False),
    Column("error", Text, nullable=True),
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
    Column("teacher", String(200), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("key", LargeBinary(16), nullable=True),  # content of the task it is about
    Column("body", JSON, nullable=False),
    Column("state", String(10), nullable=False),  # waiting, answered, dropped
    Column("wanted_at", Float, nullable=False),
    Column("asked_at", Float, nullable=False, default=0.0),  # 0: never, or it was given back
    Column("answered_at", Float, nullable=True),
    Column("content", JSON, nullable=True),
    Column("shares", JSON, nullable=True),  # label -> probability
    Column("problem", Text, nullable=False, default=""),
    Index("question_state", "project", "state", "purpose"),
)

call = Table(
    "call",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("project", Integer, nullable=False),
    Column("question", String(64), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("teacher", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("made_at", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cost", Float, nullable=False),
    Column("outcome", String(20), nullable=False),
    Index("call_project", "project", "made_at"),
)

shown = Table(
    "shown",
    metadata,
    Column("project", Integer, primary_key=True),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", String(100), nullable=False),
    Column("place", Integer, nullable=False),  # in the queue, from 0
    Column("author", String(10), nullable=True),  # None: served without a draft
    Column("choices", JSON, nullable=False),
    Column("confidence", Float, nullable=True),
)

"""The stage "encode": reads what the round needs of its project, and tells whether anything has changed."""

from __future__ import annotations

import json
from hashlib import sha256

from ml_backend.core import registry
from ml_backend.core.schema import ControlSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Remark
from ml_backend.kinds.choices.label_aggregation import AggregatedLabels
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.context import RoundContext, RoundInputs
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import MIN_TARGETS, FittedModel
from ml_backend.monitoring.monitor import apply_acquisition_fallback
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.teacher.teacher_labels import TeacherLabels, load_teacher_labels


def prepare(context: RoundContext) -> RoundInputs:
    """Brings the feature space, the pool and the labels up to date, and loads the serving learner."""
    store, pool, project = context.store, context.pool, context.project
    project_row = store.projects.ensure(project)
    options, _ = context.settings.for_project(project_row.extra_params)
    schema = read_schema(project_row.label_config, project_row.choices)
    project_row, record_problems = feature_space.update_space(
        store, context.settings, project_row, schema.input, options
    )
    encoder = feature_space.project_encoder(context.settings, project_row)
    options = options.with_form_defaults(feature_space.task_form(encoder))
    options, fallback = apply_acquisition_fallback(options, project_row.monitor_result)
    pool.use_encoder(encoder)
    pool.refresh(project_row.tasks_revision)
    label_snapshot = context.aggregator.refresh(schema.control)
    labels = label_snapshot.aggregated.without_tasks(pool.tasks[pool.unreadable])
    active_version = store.versions.active(project)
    pinned = project_row.pinned
    serving_version = active_version if pinned is None else store.versions.get(project, pinned)
    serving, problem = fitted_model.load_best(store, serving_version, pool.space)
    return RoundInputs(
        project_row=project_row,
        options=options,
        schema=schema,
        record_encoder=feature_space.as_record_encoder(encoder),
        label_snapshot=label_snapshot,
        labels=labels,
        active_version=active_version,
        serving_version=serving_version,
        serving=serving,
        teacher_labels=_load_teacher_labels(context, options, schema.control, labels),
        remarks=(*record_problems, *filter(None, [fallback, problem, _changed_labels(serving, schema.control)])),
    )


def has_changed(inputs: RoundInputs, pool: ProjectPool) -> bool:
    """Whether the published queue was made from other inputs. True, too, if no version is active, or if the active
    version has another learner than the one that serves."""
    active, serving = inputs.active_version, inputs.serving
    if active is None or active.learner != (serving.number if serving else None):
        return True
    return fingerprint(inputs, pool) != inputs.project_row.fingerprint


def fingerprint(inputs: RoundInputs, pool: ProjectPool) -> str:
    """A hash of everything that a queue is made from: the queue changes only if the hash changes."""
    row, n_encoded = inputs.project_row, int(pool.encoded.sum())
    prior = (
        (row.distillation or {}).get("sha256", "") if len(inputs.label_snapshot.aggregated.tasks) >= MIN_TARGETS else ""
    )
    parts = {
        "config": row.label_config,
        "options": inputs.options.model_dump(),
        "pinned": row.pinned,
        "tasks": row.tasks_revision,
        # the queue changes when the number of encoded tasks has doubled, and when all tasks are encoded
        "space": pool.space,
        "encoded": "all" if not pool.missing.any() else n_encoded.bit_length(),
        "prior": prior,
        "recalled": inputs.teacher_labels.digest if inputs.teacher_labels else "",
        "answers": inputs.label_snapshot.digest,
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _load_teacher_labels(
    context: RoundContext, options: ProjectSettings, control: ControlSchema, labels: AggregatedLabels
) -> TeacherLabels | None:
    """The labels of the teacher so far; None without a teacher that can be asked."""
    teacher = registry.teacher(options.teacher, context.settings.teacher_options(options))
    if teacher is None:
        return None
    return load_teacher_labels(context.store, teacher.name, control, context.pool, context.project, labels)


def _changed_labels(serving: FittedModel | None, control: ControlSchema) -> Remark | None:
    """A remark on labels that were added or removed since the serving learner was fitted, None if none were."""
    if serving is None or set(serving.snapshot.labels) == set(control.labels):
        return None
    added = [label for label in control.labels if label not in serving.snapshot.labels]
    removed = [label for label in serving.snapshot.labels if label not in control.labels]
    return Remark("labels changed", {"added": added, "removed": removed})

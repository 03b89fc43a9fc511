"""The stage "encode": reads what the round needs of its project, and tells whether anything has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import numpy as np

from ml_backend.core import registry
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.types import Remark
from ml_backend.kinds.aggregation import AggregatedLabels
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.labels.aggregation import LabelSnapshot
from ml_backend.loop.context import RoundContext, RoundInputs
from ml_backend.loop.serving_models import held_versions, load_serving_models
from ml_backend.model.applicable_options import applicable_options
from ml_backend.model.fitted_model import MIN_TARGETS
from ml_backend.model.project_model import ProjectModel, models_of
from ml_backend.monitoring.monitor import apply_acquisition_fallback
from ml_backend.pool import feature_space
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.teacher.teacher_labels import TeacherLabels, load_teacher_labels

LATEST_ANNOTATED, MIN_ANNOTATED = 50, 10
"""The number of the latest annotated tasks in which the labels of a control are counted, and the lowest number that
says something."""


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
    form = feature_space.task_form(encoder)
    options, not_applicable = applicable_options(options, schema, form)
    options, fallback = apply_acquisition_fallback(options, schema, project_row.monitor_results)
    fallbacks = () if fallback is None else (fallback,)
    pool.use_encoder(encoder)
    pool.refresh(project_row.tasks_revision)
    label_snapshot = context.aggregator.refresh(schema.controls)
    unreadable = pool.tasks[pool.unreadable]
    labels = {name: of_control.without_tasks(unreadable) for name, of_control in label_snapshot.by_control.items()}
    rarely_labelled = _rarely_labelled(context, schema, label_snapshot)
    active_version = store.versions.active(project)
    held = held_versions(store, project_row, schema)
    serving = load_serving_models(store, schema, active_version, held, pool.space)
    return RoundInputs(
        project_row=project_row,
        options=options,
        schema=schema,
        record_encoder=feature_space.as_record_encoder(encoder),
        label_snapshot=label_snapshot,
        labels=labels,
        active_version=active_version,
        held_versions=held,
        serving=serving.model,
        serving_stored=serving.is_stored,
        teacher_labels=_load_teacher_labels(
            context, options, [control for control in schema.controls if control.name not in rarely_labelled], labels
        ),
        rarely_labelled=rarely_labelled,
        remarks=(
            *record_problems,
            *not_applicable,
            *fallbacks,
            *serving.problems,
            *_changed_labels(serving.model, schema),
        ),
    )


def has_changed(inputs: RoundInputs, pool: ProjectPool) -> bool:
    """Whether the published queue was made from other inputs. True, too, if no version is active, or if the active
    version has other learners than those that serve."""
    active, serving = inputs.active_version, inputs.serving
    if active is None or not inputs.serving_stored or active.learner != (serving.number if serving else None):
        return True
    return fingerprint(inputs, pool) != inputs.project_row.fingerprint


def fingerprint(inputs: RoundInputs, pool: ProjectPool) -> str:
    """A hash of everything that a queue is made from: the queue changes only if the hash changes."""
    row, n_encoded = inputs.project_row, int(pool.encoded.sum())
    priors = {
        control: (row.distillations.get(control) or {}).get("sha256", "")
        for control, labels in inputs.label_snapshot.by_control.items()
        if len(labels.tasks) >= MIN_TARGETS
    }
    parts = {
        "config": row.label_config,
        "options": inputs.options.model_dump(),
        "pinned": {control: version.number for control, version in inputs.held_versions.items()},
        "tasks": row.tasks_revision,
        # the queue changes when the number of encoded tasks has doubled, and when all tasks are encoded
        "space": pool.space,
        "encoded": "all" if not pool.missing.any() else n_encoded.bit_length(),
        "priors": priors,
        "teacher": {control: labels.digest for control, labels in inputs.teacher_labels.items()},
        "answers": inputs.label_snapshot.digest,
    }
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _load_teacher_labels(
    context: RoundContext,
    options: ProjectSettings,
    controls: Sequence[ControlSchema],
    labels: Mapping[str, AggregatedLabels],
) -> dict[str, TeacherLabels]:
    """The labels of the teacher so far for some controls, by the control's name; none without a teacher that can be
    asked."""
    teacher = registry.teacher(options.teacher, context.settings.teacher_options(options))
    if teacher is None:
        return {}
    return {
        control.name: load_teacher_labels(
            context.store, teacher.name, control, context.pool, context.project, labels[control.name]
        )
        for control in controls
    }


def _rarely_labelled(
    context: RoundContext, schema: ProjectSchema, label_snapshot: LabelSnapshot
) -> dict[str, tuple[int, int]]:
    """See `RoundInputs.rarely_labelled`. Only the latest tasks count, because a control may have been added later."""
    shares: dict[str, tuple[int, int]] = {}
    for control in schema.controls:
        min_share = kind_of(control).min_labelled_share
        latest = context.aggregator.latest_annotated(LATEST_ANNOTATED) if min_share and not control.shown_if else []
        labelled = int(np.isin(latest, label_snapshot.by_control[control.name].tasks).sum())
        if len(latest) >= MIN_ANNOTATED and labelled < min_share * len(latest):
            shares[control.name] = labelled, len(latest)
    return shares


def _changed_labels(serving: ProjectModel | None, schema: ProjectSchema) -> Iterator[Remark]:
    """Yields a remark for each control whose labels have changed since its serving learner was fitted."""
    for control in schema.controls:
        model = models_of(serving).get(control.name)
        if model is None or {*model.snapshot.labels} == {*control.labels}:
            continue
        added = [label for label in control.labels if label not in model.snapshot.labels]
        removed = [label for label in model.snapshot.labels if label not in control.labels]
        of_control = {"control": control.name} if len(schema.controls) > 1 else {}
        yield Remark("labels changed", {"added": added, "removed": removed, **of_control})

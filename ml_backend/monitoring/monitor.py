"""The monitor: accuracy by group, class balance, query strategy against random order, when to stop, label errors.

It runs beside the rounds, on the tasks that the serving learner was fitted on. Only the verdict on the query strategy
changes a queue, and only if the project allows it (`acquisition_fallback`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Ints, Mask, Rows, TrainingSet
from ml_backend.core.schema import ControlSchema, ProjectSchema
from ml_backend.core.settings import ProjectSettings
from ml_backend.core.texts import Texts
from ml_backend.core.types import EstimateSource, Remark
from ml_backend.evaluation.group_metrics import metrics_by_group
from ml_backend.evaluation.metrics import MIN_ANSWERS_FOR_ACCURACY
from ml_backend.evaluation.prequential import prequential_accuracy
from ml_backend.evaluation.random_baseline import compare_with_random, count_looks
from ml_backend.evaluation.retrospective import predict_retrospectively
from ml_backend.evaluation.stopping import advise_on_stopping, forecast_gains, measure_stability
from ml_backend.kinds.base import Doubles
from ml_backend.kinds.lookup import kind_of
from ml_backend.labels.aggregation import LabelAggregator
from ml_backend.model import project_model
from ml_backend.model.fitted_model import FittedModel
from ml_backend.model.project_model import models_of
from ml_backend.model.training_sample import MAX_FITTED_TASKS, pool_texts, random_rows
from ml_backend.model.word_layers import LayerComparison, choose_layers, is_choice_due
from ml_backend.monitoring.part_counts import count_parts
from ml_backend.pool.layer_choice import WORD_LAYERS, stored_choice
from ml_backend.pool.pool_snapshot import PoolContents, PoolSnapshot
from ml_backend.pool.task_groups import NO_GROUP, task_group_names
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher import distillation

MAX_STOP_SET_TASKS = 1000  # successive learners are compared on these
MAX_STORED_GROUPS = 100
RANDOM = registry.RANDOM_ORDER


@dataclass(frozen=True, slots=True)
class MonitorInput:
    """The n tasks that the serving learner was fitted on, in the order of their first annotations. If there are very
    many, the audit sample and a random sample of the others.

    version         the version number of that learner
    control         the control whose labels are the columns
    n_fitted        how many tasks the learner was fitted on, without those that a teacher wrote
    plugin          the name of the learner
    tasks           (n,) int64
    train           their vectors and targets
    held_out        (n, ...) the learner's cross-validated predictions
    audited         (n,) bool: in the audit sample
    protected       (n,) bool: the annotation is never proposed for a review
    synthetic       (n,) bool: written by a teacher, so that they are used for fitting and never for evaluation
    groups          (n,) the name of each task's group
    group_by        the field that the groups come from, or "cluster"
    left_out        the reason why the encoder leaves out that field, "" if it does not
    stop_set        (m, d) vectors of a fixed random sample of the pool
    stop_texts      the texts of this sample
    second_look     the largest number of annotations that are proposed for a review
    acquisition     the query strategy that the project names; annotations of an earlier strategy count, too
    previous        the result of the last run, {} before the first one
    layers          the comparison of the encoder's layers, None unless it is due
    """

    version: int
    control: ControlSchema
    n_fitted: int
    plugin: str
    tasks: Ints
    train: TrainingSet
    held_out: Rows
    audited: Mask
    protected: Mask
    synthetic: Mask
    groups: npt.NDArray[np.str_]
    group_by: str
    left_out: str
    stop_set: Floats
    stop_texts: Texts
    second_look: int
    acquisition: str
    previous: dict[str, Any]
    layers: LayerComparison | None = None

    def without_synthetic(self) -> MonitorInput:
        """The same without the tasks that a teacher wrote."""
        rows = ~self.synthetic
        return replace(
            self,
            tasks=self.tasks[rows],
            train=self.train.take(np.flatnonzero(rows)),
            **{name: getattr(self, name)[rows] for name in ("held_out", "audited", "protected", "synthetic", "groups")},
        )


def read_monitor_input(
    store: Store, pool: PoolContents, aggregator: LabelAggregator, project_row: ProjectRow, control: ControlSchema,
    options: ProjectSettings,
) -> MonitorInput | None:  # fmt: skip
    """Reads the input of the monitor for one control. The labels of the aggregator must be up to date.

    None without a learner, if the learner's labels or tasks have changed, or if all of its tasks are synthetic.
    """
    project = project_row.id
    active = store.versions.active(project)
    model, _ = project_model.load_best(store, active, pool.space)
    learner = models_of(model).get(control.name)
    if learner is None or not learner.snapshot.is_for(control):
        return None
    snapshot, pool_snapshot = learner.snapshot, PoolSnapshot(pool)  # another thread reads the texts
    rows = pool.rows_of(snapshot.tasks)
    if len(rows) != len(snapshot.tasks) or not pool.encoded[rows].all() or pool.synthetic[rows].all():
        return None
    n_synthetic = int(pool.synthetic[rows].sum())
    audited_tasks = store.versions.audited(project)
    sample = np.union1d(
        random_rows(snapshot.tasks, MAX_FITTED_TASKS), np.flatnonzero(np.isin(snapshot.tasks, audited_tasks))
    )
    annotated_at = dict(zip(sample.tolist(), aggregator.first_annotated_at(snapshot.tasks[sample]), strict=True))
    order = np.array(sorted(sample.tolist(), key=annotated_at.__getitem__))
    train = snapshot.training_set(
        pool.vectors_at(rows),
        pool_snapshot.texts(snapshot.tasks),
        distillation.load_priors(store, project_row, snapshot.plugin, pool.space, control).tensors,
    )
    train = replace(train, pool_texts=pool_texts(pool_snapshot))
    tasks, rows = snapshot.tasks[order], rows[order]
    encoded = np.flatnonzero(pool.encoded & ~pool.synthetic)
    stop_set = np.sort(np.random.default_rng(project).permutation(encoded)[:MAX_STOP_SET_TASKS])
    return MonitorInput(
        version=learner.number,
        control=control,
        plugin=snapshot.plugin,
        tasks=tasks,
        train=train.take(order),
        held_out=learner.held_out[order],
        n_fitted=len(snapshot.tasks) - n_synthetic,
        audited=np.isin(tasks, audited_tasks),
        protected=~aggregator.has_single_annotation(tasks) | np.isin(tasks, _reviewed_tasks(store, project)),
        synthetic=pool.synthetic[rows],
        groups=task_group_names(pool, options.group_by, rows),
        group_by=options.group_by or "cluster",
        left_out=pool.left_out.get(options.group_by, ""),
        stop_set=np.asarray(pool.vectors_at(stop_set)),
        stop_texts=pool_snapshot.texts(pool.tasks[stop_set]),
        second_look=options.second_look,
        acquisition=options.acquisition,
        previous=project_row.monitor_results.get(control.name, {}),
        layers=_due_comparison(store, pool, project_row, learner, n_labelled=len(snapshot.tasks) - n_synthetic),
    )


def _due_comparison(
    store: Store, pool: PoolContents, project_row: ProjectRow, learner: FittedModel, n_labelled: int
) -> LayerComparison | None:
    """The comparison of the encoder's layers, if it is due: by the first control whose learner reads words, and while
    no rollback holds a learner, which would be lost with its words."""
    encoder, control = pool.layered_encoder, learner.snapshot.control
    if encoder is None or project_row.pinned or not kind_of(control).reads_words:
        return None
    choice = stored_choice(project_row, encoder.name)
    is_marked = kind_of(control).strata(control, learner.snapshot.targets).any(axis=1)
    is_marked &= ~pool.synthetic[pool.rows_of(learner.snapshot.tasks)]
    if not is_choice_due(choice, n_labelled, int(is_marked.sum())):
        return None
    return LayerComparison(encoder, choice, store.clock.now(), n_labelled)


def _reviewed_tasks(store: Store, project: int) -> list[int]:
    """The ids of the tasks with an annotation that has been reviewed since its last change."""
    reviewed = store.reviews.reviewed(project)
    annotations = store.annotations.with_ids(project, reviewed)
    return [annotation.task for annotation in annotations if reviewed[annotation.id] == annotation.updated_at]


def run_monitor(monitor_input: MonitorInput) -> dict[str, Any]:
    """Runs the monitor and returns its result as JSON, for `ProjectRow.monitor_results`. Takes some ten fits."""
    control, of_kind = monitor_input.control, kind_of(monitor_input.control)
    learner, score = of_kind.learner(control, monitor_input.plugin), partial(of_kind.scores, control)
    # fitted on synthetic tasks, too, as the serving learner is; no synthetic task is in the audit sample
    audit_accuracy = prequential_accuracy(
        learner, monitor_input.train, monitor_input.audited, monitor_input.version, score,
        partial(of_kind.score_weights, control),
    )  # fmt: skip
    monitor_input = monitor_input.without_synthetic()
    train, held_out, audited = monitor_input.train, monitor_input.held_out, monitor_input.audited
    past = predict_retrospectively(
        learner, train, monitor_input.stop_set, monitor_input.version, score, monitor_input.stop_texts
    )
    stable = measure_stability(past.predictions, partial(of_kind.agreement, control))
    gains = forecast_gains(past.sizes, past.scores)
    n_audited = int(audited.sum())
    n_looks = count_looks(n_audited)
    comparison_inputs = {
        "looks": n_looks,
        "acquisition": monitor_input.acquisition,
        "audited": 0 if n_looks else n_audited,
    }
    comparison = monitor_input.previous.get("comparison", {})
    if comparison_inputs.items() - comparison.items():  # costs many fits, and only a new look changes the result
        comparison = {**asdict(compare_with_random(learner, train, audited, 0, score)), **comparison_inputs}
    suspects = of_kind.suspected_errors(
        control, held_out, train.targets, monitor_input.protected, monitor_input.second_look
    )
    balance = of_kind.balance(control, train.targets[audited], EstimateSource.AUDIT_SAMPLE)
    layers = monitor_input.previous.get(WORD_LAYERS)
    if monitor_input.layers is not None:
        layers = asdict(choose_layers(monitor_input.layers, learner, train))
    return {
        "version": monitor_input.version,
        "kind": control.kind,
        "labelled": monitor_input.n_fitted,
        "accuracy": asdict(audit_accuracy) if audit_accuracy else None,
        "balance": {label: asdict(share) for label, share in balance.items()}
        if n_audited >= MIN_ANSWERS_FOR_ACCURACY
        else {},
        "groups": _group_scores(score(held_out, train.targets), monitor_input),
        "unusual": _unusual_targets(monitor_input),
        "withheld": {"of": len(held_out), "reasons": of_kind.withheld_drafts(control, held_out)},
        **({"parts": count_parts(control, held_out, train.targets, audited)} if of_kind.part_name else {}),
        "stopping": {
            "verdict": advise_on_stopping(stable, gains),
            "kappa": stable.mean if stable else None,
            "gains": [asdict(gain) for gain in gains],
        },
        "comparison": comparison,
        **({WORD_LAYERS: layers} if layers else {}),
        "second_look": [
            {
                "task": int(monitor_input.tasks[suspect.row]),
                "instead": list(suspect.instead),
                "confidence": suspect.confidence,
                **({"added": suspect.added, "removed": suspect.removed} if of_kind.part_name else {}),
            }
            for suspect in suspects
        ],
    }


def _unusual_targets(monitor_input: MonitorInput) -> dict[str, tuple[int, int]]:
    """For each sort of unusual labels that occurs, in words, their number and the id of a task."""
    train = monitor_input.train
    if train.texts is None:
        return {}
    masks = kind_of(monitor_input.control).unusual_targets(monitor_input.control, train.texts, train.targets)
    tasks = {words: monitor_input.tasks[mask] for words, mask in masks.items()}
    return {words: (len(of_words), int(of_words[0])) for words, of_words in tasks.items() if len(of_words)}


def _group_scores(scores: Doubles, monitor_input: MonitorInput) -> dict[str, Any]:
    """The groups that are compared come first, then others up to `MAX_STORED_GROUPS`. `missing` says why no task has a
    group: no task has such a field, or the encoder leaves it out, for a reason of `RecordEncoder.left_out`."""
    metrics = asdict(metrics_by_group(scores, monitor_input.groups))
    missing = None
    if (monitor_input.groups == NO_GROUP).all():
        reason = monitor_input.left_out
        missing = {"code": "left out", "reason": reason} if reason else {"code": "no field"}
    shown = dict(list(metrics["accuracy"].items())[:MAX_STORED_GROUPS])
    return {"by": monitor_input.group_by, **metrics, "accuracy": shown, "missing": missing}


def apply_acquisition_fallback(
    options: ProjectSettings, schema: ProjectSchema, monitor_results: Mapping[str, dict[str, Any]]
) -> tuple[ProjectSettings, Remark | None]:
    """The options with random order, and a remark, if `acquisition_fallback` is set and the monitor found that the
    project's query strategy does not win for a control that counts in the queue, and wins for none; else the same
    options and None.

    Random order stays until a later look (at twice as many audited annotations) finds otherwise, or until the setting,
    the strategy or the controls change. Results of controls that are not in the schema any more do not count.
    """
    counted = [control.name for control in schema.controls if options.control_weight(control.name) > 0]
    comparisons = [monitor_results.get(name, {}).get("comparison") or {} for name in counted]
    verdicts = {
        comparison.get("verdict") for comparison in comparisons if comparison.get("acquisition") == options.acquisition
    }
    is_losing = "not winning" in verdicts and "winning" not in verdicts
    if not options.acquisition_fallback or not is_losing or options.acquisition == RANDOM:
        return options, None
    remark = Remark("acquisition fallback", {"acquisition": options.acquisition})
    return options.model_copy(update={"acquisition": RANDOM}), remark

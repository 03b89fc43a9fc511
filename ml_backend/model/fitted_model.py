"""What a project's learner knows: the fitted tensors together with the lesson that they were fitted on.

Both lie in one artifact, so that a version can be restored and the gate can compare what was known then with now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from ml_backend.core import registry
from ml_backend.core.exceptions import ApprenticeError, ArtifactError
from ml_backend.core.types import Fit, Floats, Ints, Mask, ModelVersion, TaskSchema, Tensors, TrainingSet
from ml_backend.model.tensor_packing import pack, rounded, unpack
from ml_backend.model.training_sample import TrainingSample, training_sample
from ml_backend.storage import Store

_HEADER, _TASKS, _TEXTS, _HELD_OUT = "snapshot.header", "snapshot.tasks", "snapshot.texts", "snapshot.held_out"
FEWEST = 2
"""Answers that a learner needs."""
MOST_JUDGED_ANEW = 5000
"""Answers up to which the serving knowledge is cross-validated anew, on the folds of the new one; of more, what it said
of each answer without having learnt from it is compared."""
CHUNK = 8192  # rows whose vectors are in memory at once beside the pool's
NO_PRIORS: Mapping[str, Tensors] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TrainingSnapshot:
    """All that a fit depends on: the learner `plugin`, the encoder `space`, and the answers.

    labels   the names of the c columns; `multiple`: whether several may hold at once
    tasks    (n,) int64 ascending
    texts    the content keys of their texts, one after the other
    targets  (n, c) float32
    prior    names the priors, of labels' names and what a teacher has taught, that the fit could start from; "": none
    """

    plugin: str
    space: str
    labels: tuple[str, ...]
    multiple: bool
    tasks: Ints
    texts: bytes
    targets: Floats
    prior: str = ""

    def same(self, other: TrainingSnapshot) -> bool:
        """Whether fitting on the other one would give the same learner again."""
        mine = (self.plugin, self.space, self.labels, self.multiple, self.texts, self.prior)
        return (
            mine == (other.plugin, other.space, other.labels, other.multiple, other.texts, other.prior)
            and np.array_equal(self.tasks, other.tasks)
            and np.array_equal(self.targets, other.targets)
        )

    def targets_for(self, new: TrainingSnapshot) -> Floats | None:
        """(n of `new`, c) what was known of its tasks, NaN where nothing was; None if the kind of answer changed."""
        if set(new.labels) != set(self.labels) or new.multiple != self.multiple:
            return None
        return _on_tasks(self.targets, self, new)


def _on_tasks(values: Floats, old: TrainingSnapshot, new: TrainingSnapshot) -> Floats:
    """(n of `new`, c) the `values` of one lesson's tasks, in the columns of another one with the same labels; NaN of
    tasks that it does not have."""
    out = np.full(new.targets.shape, np.nan, np.float32)
    _, row, mine = np.intersect1d(new.tasks, old.tasks, assume_unique=True, return_indices=True)
    out[row] = values[mine][:, [old.labels.index(label) for label in new.labels]]
    return out


@dataclass(frozen=True, slots=True)
class FittedModel:
    """The fit that version `number` made of a lesson.

    held_out      (n, c) what it says of each task of the lesson without having learnt from it, rounded as an artifact
                  keeps it
    started_from  the name of the prior that was worth it, "" for none; `prior_errors` and `trust` as in `Fit`
    """

    number: int
    lesson: TrainingSnapshot
    tensors: Tensors
    held_out: Floats
    started_from: str = ""
    prior_errors: Mapping[str, float] = field(default_factory=dict)
    trust: float | None = None

    def held_out_for(self, new: TrainingSnapshot) -> Floats:
        """(n of `new`, c) what it says of the tasks of a lesson with the same labels; NaN of those not learnt from."""
        return _on_tasks(self.held_out, self.lesson, new)

    def errors(self, tasks: Ints) -> Floats:
        """(m,) the held-out probability of a wrong answer to each of `tasks` (m,), ascending; NaN if not learnt from.
        With several labels, the mean over them."""
        targets, found = self.lesson.targets, self.held_out
        wrong = np.abs(targets - found).mean(axis=1) if self.lesson.multiple else 1 - (targets * found).sum(axis=1)
        out = np.full(len(tasks), np.nan, np.float32)
        _, row, mine = np.intersect1d(tasks, self.lesson.tasks, assume_unique=True, return_indices=True)
        out[row] = wrong[mine].clip(0, 1)
        return out

    def for_drafts(self) -> FittedModel:
        """The same without the answers that it was fitted on: it predicts alike, and takes little memory."""
        lesson = self.lesson
        bare = replace(lesson, tasks=lesson.tasks[:0].copy(), texts=b"", targets=lesson.targets[:0].copy())
        return replace(self, lesson=bare, held_out=self.held_out[:0].copy())

    def predict(self, schema: TaskSchema, vectors: Floats) -> Floats:
        """(n, c) probabilities in the columns of `schema`; a label that the fit never saw gets 0."""
        return self._predict(schema.labels, schema.multiple, vectors)

    def _predict(self, wanted: tuple[str, ...], multiple: bool, vectors: Floats) -> Floats:
        labels = self.lesson.labels
        fitted = registry.learner(self.lesson.plugin).predict(self.tensors, vectors)
        if labels == wanted:
            return fitted
        out = np.zeros((len(fitted), len(wanted)), np.float32)
        for column, label in enumerate(wanted):
            if label in labels:
                out[:, column] = fitted[:, labels.index(label)]
        if not multiple:
            out += 1e-6  # if none of the labels is left, all are equally likely
            out /= out.sum(axis=1, keepdims=True)
        return out


def learn(
    lesson: TrainingSnapshot,
    vectors: Floats,
    serving: FittedModel | None,
    number: int,
    priors: Mapping[str, Tensors] = NO_PRIORS,
    judges: Mask | None = None,
) -> tuple[FittedModel, Fit] | tuple[None, None]:
    """What version `number` would know from a lesson and its vectors (n, d), with the serving knowledge cross-validated
    on the same folds for the gate; nothing if all tasks have the same answer and no prior is worth starting from. The
    vectors are read by rows; of very many answers, it is fitted on a part (see `training_sample`).
    `judges` as in `TrainingSet`."""
    targets = lesson.targets
    differ = bool((targets != targets[:1]).any())
    if len(targets) < FEWEST or not (differ or priors):
        return None, None
    train = TrainingSet(
        vectors=vectors,
        targets=targets,
        weights=np.ones(len(targets), np.float32),
        multiple=lesson.multiple,
        earlier=serving.lesson.targets_for(lesson) if serving else None,
        earlier_tensors=serving.tensors if serving and serving.lesson.labels == lesson.labels else None,
        priors=priors,
        judges=judges,
        judges_earlier=len(targets) <= MOST_JUDGED_ANEW,
    )
    known = np.zeros(len(targets), np.bool_) if train.earlier is None else (train.earlier == targets).all(axis=1)
    sample = training_sample(lesson.tasks, targets, ~known)
    fit = _fit(lesson, train, serving, number) if sample is None else _fit_some(lesson, train, sample, number)
    if not train.judges_earlier:
        fit = replace(fit, held_out_earlier=_said_unseen(serving, train, lesson) if serving else None)
    if not (differ or fit.prior):
        return None, None
    return FittedModel(number, lesson, fit.tensors, rounded(fit.held_out), fit.prior, fit.prior_errors, fit.trust), fit


def _fit(lesson: TrainingSnapshot, train: TrainingSet, serving: FittedModel | None, number: int) -> Fit:
    fit = registry.learner(lesson.plugin).fit(replace(train, vectors=np.asarray(train.vectors)), seed=number)
    kind = serving.lesson.plugin if serving and train.judges_earlier else lesson.plugin
    if kind != lesson.plugin and kind in registry.installed("learner"):
        # another kind of learner has to beat what the serving kind makes of the earlier labels
        rival = registry.learner(kind).fit(train, seed=number)
        fit = replace(fit, held_out_earlier=rival.held_out_earlier)
    return fit


def _fit_some(lesson: TrainingSnapshot, train: TrainingSet, sample: TrainingSample, number: int) -> Fit:
    """A fit on a sample alone. The other rows are predicted by its head, which has not seen them."""
    fit = registry.learner(lesson.plugin).fit(replace(train.of(sample.rows), weights=sample.weights), seed=number)
    held_out = np.empty(train.targets.shape, np.float32)
    held_out[sample.rows] = fit.held_out
    others = np.setdiff1d(np.arange(len(held_out)), sample.rows, assume_unique=True)
    for some in np.array_split(others, len(others) // CHUNK + 1):
        held_out[some] = registry.learner(lesson.plugin).predict(fit.tensors, train.vectors[some])
    return replace(fit, held_out=held_out)


def _said_unseen(serving: FittedModel, train: TrainingSet, lesson: TrainingSnapshot) -> Floats | None:
    """(n, c) what the serving knowledge says of each row of a lesson without having learnt from it: what it said when
    it was learnt, and of rows that have come since what its head says. None if it was of other labels, or its kind is
    installed no more."""
    if train.earlier is None or serving.lesson.plugin not in registry.installed("learner"):
        return None
    said = serving.held_out_for(lesson)
    new = np.flatnonzero(np.isnan(said).any(axis=1))
    for some in np.array_split(new, len(new) // CHUNK + 1) if len(new) else ():
        said[some] = serving._predict(lesson.labels, lesson.multiple, train.vectors[some])
    return said


def save(store: Store, project: int, known: FittedModel) -> tuple[str, str]:
    """Writes the artifact; returns its file name and checksum. Raises StoreError."""
    lesson = known.lesson
    header = {
        "plugin": lesson.plugin, "space": lesson.space, "labels": lesson.labels, "multiple": lesson.multiple,
        "prior": lesson.prior, "started_from": known.started_from, "prior_errors": dict(known.prior_errors),
        "trust": known.trust,
    }  # fmt: skip
    snapshot: Tensors = {
        _HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8),
        _TASKS: lesson.tasks,
        _TEXTS: np.frombuffer(lesson.texts, np.uint8),
        **pack(lesson.targets, lesson.multiple),
        _HELD_OUT: known.held_out.astype(np.float16),
    }
    return store.artifacts.write(project, f"{known.number:06d}", {**known.tensors, **snapshot})


def load(store: Store, project: int, number: int) -> FittedModel:
    """Reads the fit that one version made. Raises ArtifactError if it is damaged or gone."""
    artifact = store.versions.artifact(project, number)
    if artifact is None:
        raise ArtifactError(f"version {number} of project {project} has no artifact: an older version serves")
    tensors = store.artifacts.read(*artifact)
    header = json.loads(tensors.pop(_HEADER).tobytes())
    lesson = TrainingSnapshot(
        plugin=header["plugin"],
        space=header["space"],
        labels=tuple(header["labels"]),
        multiple=header["multiple"],
        tasks=tensors.pop(_TASKS).astype(np.int64),
        texts=tensors.pop(_TEXTS).tobytes(),
        targets=unpack(tensors, len(header["labels"])),
        prior=header.get("prior", ""),  # older artifacts know none
    )
    held_out = tensors.pop(_HELD_OUT).astype(np.float32)
    told = {name: header[name] for name in ("started_from", "prior_errors", "trust") if name in header}
    return FittedModel(number, lesson, tensors, held_out, **told)


def load_best(store: Store, wanted: ModelVersion | None, space: str) -> tuple[FittedModel | None, str]:
    """The fit that `wanted` serves, or the newest older one that is whole; and what was wrong, "" if nothing."""
    if wanted is None or wanted.learner is None:
        return None, ""
    problem = ""
    older = (number for number in store.versions.learners(wanted.project) if number < wanted.learner)
    for number in (wanted.learner, *older):
        try:
            found = load(store, wanted.project, number)
        except ApprenticeError as error:
            problem = problem or str(error)
            continue
        if found.lesson.space == space:
            return found, problem
        learnt = found.lesson.space
        how = f"encoded in another way since version {number} ({learnt}, now {space})"
        problem = problem or f"the tasks are {how}: learning anew"
    return None, problem

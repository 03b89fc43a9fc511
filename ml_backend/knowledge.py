"""What a project's learner knows: the fitted tensors together with the lesson that they were fitted on.

Both lie in one artifact, so that a version can be restored and the gate can compare what was known then with now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ml_backend import registry
from ml_backend.domain import ApprenticeError, Floats, Ints, ModelVersion, TaskSchema, Tensors
from ml_backend.store import ArtifactError, Store

_HEADER, _TASKS, _TEXTS, _TARGETS = "snapshot.header", "snapshot.tasks", "snapshot.texts", "snapshot.targets"


@dataclass(frozen=True, slots=True)
class Lesson:
    """All that a fit depends on: the learner `plugin`, the encoder `space`, and the answers.

    labels   the names of the c columns; `multiple`: whether several may hold at once
    tasks    (n,) int64 ascending
    texts    the content keys of their texts, one after the other
    targets  (n, c) float32
    """

    plugin: str
    space: str
    labels: tuple[str, ...]
    multiple: bool
    tasks: Ints
    texts: bytes
    targets: Floats

    def same(self, other: Lesson) -> bool:
        """Whether fitting on the other one would give the same learner again."""
        mine = (self.plugin, self.space, self.labels, self.multiple, self.texts)
        return (
            mine == (other.plugin, other.space, other.labels, other.multiple, other.texts)
            and np.array_equal(self.tasks, other.tasks)
            and np.array_equal(self.targets, other.targets)
        )

    def targets_for(self, new: Lesson) -> Floats | None:
        """(n of `new`, c) what was known of its tasks, NaN where nothing was; None if the kind of answer changed."""
        if set(new.labels) != set(self.labels) or new.multiple != self.multiple:
            return None
        out = np.full(new.targets.shape, np.nan, np.float32)
        _, row, mine = np.intersect1d(new.tasks, self.tasks, assume_unique=True, return_indices=True)
        out[row] = self.targets[mine][:, [self.labels.index(label) for label in new.labels]]
        return out


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The fit that version `number` made of a lesson."""

    number: int
    lesson: Lesson
    tensors: Tensors

    def predict(self, schema: TaskSchema, vectors: Floats) -> Floats:
        """(n, c) probabilities in the columns of `schema`; a label that the fit never saw gets 0."""
        labels = self.lesson.labels
        fitted = registry.learner(self.lesson.plugin).predict(self.tensors, vectors)
        if labels == schema.labels:
            return fitted
        out = np.zeros((len(fitted), len(schema.labels)), np.float32)
        for column, label in enumerate(schema.labels):
            if label in labels:
                out[:, column] = fitted[:, labels.index(label)]
        if not schema.multiple:
            out += 1e-6  # if none of the labels is left, all are equally likely
            out /= out.sum(axis=1, keepdims=True)
        return out


def save(store: Store, project: int, known: Knowledge) -> tuple[str, str]:
    """Writes the artifact; returns its file name and checksum. Raises StoreError."""
    lesson = known.lesson
    header = {"plugin": lesson.plugin, "space": lesson.space, "labels": lesson.labels, "multiple": lesson.multiple}
    snapshot: Tensors = {
        _HEADER: np.frombuffer(json.dumps(header).encode(), np.uint8),
        _TASKS: lesson.tasks,
        _TEXTS: np.frombuffer(lesson.texts, np.uint8),
        _TARGETS: lesson.targets,
    }
    return store.artifacts.write(project, known.number, {**known.tensors, **snapshot})


def load(store: Store, project: int, number: int) -> Knowledge:
    """Reads the fit that one version made. Raises ArtifactError if it is damaged or gone."""
    artifact = store.versions.artifact(project, number)
    if artifact is None:
        raise ArtifactError(f"version {number} of project {project} has no artifact: an older version serves")
    tensors = store.artifacts.read(*artifact)
    header = json.loads(tensors.pop(_HEADER).tobytes())
    lesson = Lesson(
        plugin=header["plugin"],
        space=header["space"],
        labels=tuple(header["labels"]),
        multiple=header["multiple"],
        tasks=tensors.pop(_TASKS).astype(np.int64),
        texts=tensors.pop(_TEXTS).tobytes(),
        targets=tensors.pop(_TARGETS).astype(np.float32),
    )
    return Knowledge(number, lesson, tensors)


def load_best(store: Store, wanted: ModelVersion | None, space: str) -> tuple[Knowledge | None, str]:
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
        problem = problem or f"version {number} was learnt over the encoder {learnt}, not {space}: learning anew"
    return None, problem

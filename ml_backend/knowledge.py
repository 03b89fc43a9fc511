"""What a project's learner knows: the fitted tensors together with the labels that they were fitted on.

Both lie in one artifact, so that a version can be restored and the gate can compare what was known then with now.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from ml_backend import registry
from ml_backend.domain import ApprenticeError, Floats, Ints, ModelVersion, TaskSchema, Tensors
from ml_backend.store import ArtifactError, Store

_HEADER, _TASKS, _TARGETS = "snapshot.header", "snapshot.tasks", "snapshot.targets"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """A fit made by version `number` with the learner `plugin` over vectors of the encoder `space`.

    tasks    (n,) int64 ascending, targets (n, c) float32: what it was fitted on
    labels   the names of the c columns
    tensors  what the learner learnt
    """

    number: int
    plugin: str
    space: str
    labels: tuple[str, ...]
    tasks: Ints
    targets: Floats
    tensors: Tensors

    def same_answers(self, labels: tuple[str, ...], tasks: Ints, targets: Floats) -> bool:
        """Whether fitting on these answers would be fitting on the same ones again."""
        return self.labels == labels and np.array_equal(self.tasks, tasks) and np.array_equal(self.targets, targets)

    def targets_for(self, labels: tuple[str, ...], tasks: Ints) -> Floats | None:
        """(len(tasks), c) what was known of these tasks, NaN where nothing was; None if the labels have changed."""
        if set(labels) != set(self.labels):
            return None
        out = np.full((len(tasks), len(labels)), np.nan, np.float32)
        _, mine, theirs = np.intersect1d(tasks, self.tasks, assume_unique=True, return_indices=True)
        out[mine] = self.targets[theirs][:, [self.labels.index(label) for label in labels]]
        return out

    def predict(self, schema: TaskSchema, vectors: Floats) -> Floats:
        """(n, c) probabilities in the columns of `schema`; a label that the fit never saw gets 0."""
        fitted = registry.learner(self.plugin).predict(self.tensors, vectors)
        if self.labels == schema.labels:
            return fitted
        out = np.zeros((len(fitted), len(schema.labels)), np.float32)
        for column, label in enumerate(schema.labels):
            if label in self.labels:
                out[:, column] = fitted[:, self.labels.index(label)]
        if not schema.multiple:
            out += 1e-6  # if none of the labels is left, all are equally likely
            out /= out.sum(axis=1, keepdims=True)
        return out


def save(store: Store, project: int, known: Knowledge) -> tuple[str, str]:
    """Writes the artifact; returns its file name and checksum. Raises StoreError."""
    header = json.dumps({"plugin": known.plugin, "space": known.space, "labels": known.labels}).encode()
    snapshot: Tensors = {_HEADER: np.frombuffer(header, np.uint8), _TASKS: known.tasks, _TARGETS: known.targets}
    return store.artifacts.write(project, known.number, {**known.tensors, **snapshot})


def load(store: Store, project: int, number: int) -> Knowledge:
    """Reads the fit that one version made. Raises ArtifactError if it is damaged or gone."""
    artifact = store.versions.artifact(project, number)
    if artifact is None:
        raise ArtifactError(f"version {number} of project {project} has no artifact: an older version serves")
    tensors = store.artifacts.read(*artifact)
    header = json.loads(tensors.pop(_HEADER).tobytes())
    tasks, targets = tensors.pop(_TASKS).astype(np.int64), tensors.pop(_TARGETS).astype(np.float32)
    return Knowledge(number, header["plugin"], header["space"], tuple(header["labels"]), tasks, targets, tensors)


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
        if found.space == space:
            return found, problem
        problem = problem or f"version {number} was learnt over the encoder {found.space}, not {space}: learning anew"
    return None, problem

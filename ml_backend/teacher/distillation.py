"""Distils priors, from which a learner's fit may start, out of the names and descriptions of the labels, and out of the
teacher's labels.

A learner has several priors, for example one from the teacher's labels and one from the descriptions; its fit chooses
one of them or none. The priors of a control are one artifact, called *the prior* of the control. A thread beside the
rounds makes the artifact, and each round loads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import (
    Attributions,
    DistillationData,
    Floats,
    Mask,
    PseudoLabels,
    Tensors,
    are_missing,
)
from ml_backend.core.exceptions import ArtifactError
from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.schema import ControlSchema
from ml_backend.core.texts import join_texts
from ml_backend.kinds.lookup import fit_properties, fitted_schema, kind_of, learner_name
from ml_backend.model.training_sample import pool_texts
from ml_backend.pool import feature_space
from ml_backend.pool.checked_encoder import encode_checked
from ml_backend.pool.pool_snapshot import PoolContents
from ml_backend.storage import ProjectRow, Store
from ml_backend.teacher.descriptions import feature_scores
from ml_backend.teacher.descriptions.label_descriptions import NO_PHRASES, LabelDescriptions, Phrases
from ml_backend.teacher.descriptions.label_descriptions import label_phrases as phrases_of
from ml_backend.teacher.loaded_project import LoadedProject
from ml_backend.teacher.project_snapshot import is_still_served
from ml_backend.teacher.teacher_labels import TeacherLabels

MIN_LABEL_GROWTH, MIN_POOL_GROWTH = 1.2, 2.0
"""Factors of growth from which the prior is made anew: of the number of pseudo-labels or of the number of teacher
labels whose tasks are annotated (MIN_LABEL_GROWTH), or of the number of vectors in the pool (MIN_POOL_GROWTH). Once the
teacher has no open question, a single new pseudo-label suffices. A prior is not made after each annotation, because
distilling takes seconds."""
MIN_TEACHER_LABELS = 5
"""Minimum number of the teacher's labels that are distilled; fewer of them are ignored."""
NAME_SEPARATOR = "/"
"""Separates the name of a prior from the name of its tensor in the artifact."""
TAUGHT_KEYS = "taught"
"""Name of the tensor with the prefixes of the content keys of the tasks whose teacher labels were distilled."""


@dataclass(frozen=True, slots=True)
class DistillationOrigin:
    """Describes the data that a prior was made of, and the learners that can use the prior: those with the same plugin
    and vector space, for a control with the same properties. The database stores an origin as JSON under the names of
    these fields.

    plugin    the name of the learner
    space     the name of the vector space
    properties  those of the control that a fit depends on, see `fit_properties`
    taught    number of pseudo-labels: teacher labels that were distilled, and texts that the teacher wrote
    cues      number of phrases that describe labels, and of columns of records with scores
    pool      number of vectors of the pool
    compared  number of teacher labels whose tasks the annotators have annotated
    wording   digest of the phrases and of the scores, which people may edit
    """

    plugin: str
    space: str
    properties: Mapping[str, Any]
    taught: int
    cues: int
    pool: int
    compared: int
    wording: str = ""

    def is_due(self, old: DistillationOrigin | None, idle: bool) -> bool:
        """Whether a prior should be made of the data that this origin describes, to replace the prior of origin `old`,
        None if there is none. `idle`: the teacher has no open question."""
        if old is None or not old.is_for(self.plugin, self.space, self.properties) or self.wording != old.wording:
            return True
        if old.taught and not self.taught and self.compared <= old.compared:
            return False  # the teacher was switched off: keeps the prior from its labels, which are still valid
        factors = {"taught": MIN_LABEL_GROWTH, "compared": MIN_LABEL_GROWTH, "pool": MIN_POOL_GROWTH}
        has_grown = any(getattr(self, name) >= factor * max(getattr(old, name), 1) for name, factor in factors.items())
        return has_grown or (idle and self.taught > old.taught)

    def is_for(self, plugin: str, space: str, properties: Mapping[str, Any]) -> bool:
        """Whether the learner of a control with these properties can use the prior."""
        return (self.plugin, self.space, self.properties) == (plugin, space, properties)


def origin_of(project_row: ProjectRow, control: ControlSchema) -> DistillationOrigin | None:
    """The origin of a control's prior, None if the control has no prior."""
    origin: dict[str, Any] | None = project_row.distillations.get(control.name, {}).get("made_of")
    return DistillationOrigin(**origin) if origin else None


def usable_origin(store: Store, project_row: ProjectRow, control: ControlSchema) -> DistillationOrigin | None:
    """The origin of a control's prior, None if there is no prior or its artifact is missing or damaged."""
    prior = project_row.distillations.get(control.name)
    return (
        origin_of(project_row, control) if prior and store.artifacts.is_intact(prior["file"], prior["sha256"]) else None
    )


def has_deleted_task(store: Store, project_row: ProjectRow, control: ControlSchema, pool: PoolContents) -> bool:
    """Whether a control's prior was made of the teacher's label of a task that was deleted, or whose text has changed:
    then the prior must be made anew, because it may contain words of the text. False if there is no prior that can be
    read."""
    row = project_row.distillations.get(control.name)
    if row is None:
        return False
    try:
        taught = _taught_keys(store.artifacts.read(row["file"], row["sha256"]))
    except ArtifactError:
        return False
    return not np.isin(taught, _key_prefixes(pool.keys_of(np.arange(len(pool.tasks))))).all()


@dataclass(frozen=True, slots=True)
class DistillationInput:
    """The data for the next prior. The vectors of `pool`, which may take much memory, are read only by `distil`.

    taught        the pseudo-labels: the teacher's labels of tasks, then its texts
    phrases       the phrases that describe the labels
    attributions  the scores of the columns of records, None for texts
    keys          the content keys of the tasks whose teacher labels are in `taught`, concatenated
    """

    origin: DistillationOrigin
    taught: PseudoLabels
    phrases: Phrases
    pool: PoolContents
    attributions: Attributions | None = None
    keys: bytes = b""


class Priors(NamedTuple):
    """The priors of a learner.

    tensors  the tensors of each prior, by the prior's name
    name     identifies the priors
    taught   (m,) prefixes of the content keys of the tasks whose teacher labels were distilled, see `_key_prefixes`
    """

    tensors: dict[str, Tensors]
    name: str
    taught: npt.NDArray[np.uint64]

    def is_distilled(self, texts: bytes) -> Mask:
        """(n,) bool: the texts whose teacher labels were distilled into the priors. `texts`: the content keys of n
        texts, concatenated. The annotators' labels of such a text must not decide whether the priors help, because the
        priors have learnt the text itself."""
        return np.isin(_key_prefixes(texts), self.taught)


def collect_distillation_input(
    project: LoadedProject, plugin: str, teacher_labels: TeacherLabels, generated: PseudoLabels
) -> DistillationInput:
    """Collects the current data for a prior: the teacher's labels of encoded tasks, the pseudo-labels of `generated`
    texts, the label descriptions, and the encoded part of the pool. The teacher's labels of tasks that the teacher
    wrote are left out, because annotators check these labels first. The scores of the fields of records replace the
    label descriptions or, if there are texts among the fields, are added to them.

    plugin     the name of the learner
    generated  pseudo-labels of texts that the teacher wrote and that are no tasks
    """
    pool, control, record_encoder = project.pool, project.control, project.record_encoder
    rows = pool.rows_of(teacher_labels.tasks)
    is_distilled = pool.encoded[rows] & ~pool.synthetic[rows] & teacher_labels.may_be_distilled
    is_distilled &= ~are_missing(teacher_labels.corrected)
    of_tasks = kind_of(control).distilled_targets(control, teacher_labels.corrected[is_distilled])
    texts, keys = pool.texts(teacher_labels.tasks[is_distilled]), pool.keys_of(rows[is_distilled])
    pseudo_labels = PseudoLabels(
        vectors=np.concatenate([pool.vectors_at(rows[is_distilled]), generated.vectors]),
        targets=np.concatenate([of_tasks, generated.targets]),
        weights=np.concatenate([np.ones(len(of_tasks), np.float32), generated.weights]),
        texts=texts if generated.texts is None else join_texts(texts, generated.texts),
        is_generated=np.arange(len(of_tasks) + len(generated.targets)) >= len(of_tasks),
    )
    if len(pseudo_labels.targets) < MIN_TEACHER_LABELS:
        pseudo_labels, keys = _empty_like(pseudo_labels), b""
    attributions = feature_scores.attributions(project.project_row, record_encoder, control) if record_encoder else None
    phrases = _phrases(project.label_descriptions or {}, control, record_encoder)
    scored_fields = int(attributions.scores.any(axis=1).sum()) if attributions else 0
    fields_digest = _digest(attributions) if attributions else ""
    phrases_digest = phrases.digest if phrases.texts or not attributions else ""
    origin = DistillationOrigin(
        plugin,
        pool.space,
        fit_properties(control),
        taught=len(pseudo_labels.targets),
        cues=len(phrases.texts) + scored_fields,
        pool=int(pool.encoded.sum()),
        compared=teacher_labels.compared,
        wording=fields_digest + phrases_digest,
    )
    return DistillationInput(origin, pseudo_labels, phrases, pool, attributions, keys)


def distil(data: DistillationInput, control: ControlSchema, encoder: Encoder, seed: int) -> dict[str, Tensors]:
    """Distils the priors of a control's learner; returns the tensors of each prior, by the prior's name. Takes
    seconds."""
    cues = _encoded(data.phrases, encoder) if data.phrases.texts else _empty_like(data.taught)
    vectors = data.pool.encoded_view().vectors
    distillation_data = DistillationData(
        data.taught, cues, vectors, fitted_schema(control), data.attributions, pool_texts(data.pool)
    )
    return kind_of(control).learner(control, data.origin.plugin).distil(distillation_data, seed)


def pseudo_labels_of_names(control: ControlSchema, encoder: Encoder) -> PseudoLabels:
    """The pseudo-labels that need no teacher: the names and hints of the labels, each encoded like a text that has this
    label. Empty for records without a text among their fields, and for comparisons."""
    phrases = _phrases({}, control, feature_space.as_record_encoder(encoder))
    if not phrases.texts:
        empty = np.empty((0, encoder.dim), np.float32)
        return PseudoLabels(empty, kind_of(control).as_targets(control, []), np.empty(0, np.float32))
    return _encoded(phrases, encoder)


def _phrases(cues: LabelDescriptions, control: ControlSchema, record_encoder: RecordEncoder | None) -> Phrases:
    """The phrases of the labels; none if phrases cannot describe them, and for records without a text among their
    fields."""
    if not kind_of(control).describes_labels(control) or (record_encoder and not record_encoder.texts):
        return NO_PHRASES
    return phrases_of(cues, control)


def distil_names(
    names: PseudoLabels, setting: str, vectors: Floats, control: ControlSchema, seed: int,
    attributions: Attributions | None = None,
) -> dict[str, Tensors]:  # fmt: skip
    """Distils the priors of a control without a teacher; returns the tensors of each prior, by the prior's name. Takes
    seconds.

    names         the result of `pseudo_labels_of_names`
    setting       the setting `learner`
    vectors       (n, d) the vectors of the pool
    attributions  the scores of the fields of records
    """
    data = DistillationData(_empty_like(names), names, vectors, fitted_schema(control), attributions)
    return kind_of(control).learner(control, learner_name(control, setting)).distil(data, seed)


def _empty_like(pseudo_labels: PseudoLabels) -> PseudoLabels:
    return PseudoLabels(pseudo_labels.vectors[:0], pseudo_labels.targets[:0], pseudo_labels.weights[:0])


def _digest(attributions: Attributions) -> str:
    return blake2b(attributions.scores.tobytes() + attributions.prior_scales.tobytes(), digest_size=16).hexdigest()


def _encoded(phrases: Phrases, encoder: Encoder) -> PseudoLabels:
    method = encoder.encode_phrases if isinstance(encoder, RecordEncoder) else encoder.encode
    vectors = encode_checked(method, phrases.texts, phrases.texts, encoder.name, "the cue")
    return PseudoLabels(vectors, phrases.targets, phrases.weights)


def update_prior(
    store: Store, project_row: ProjectRow, data: DistillationInput, control: ControlSchema, encoder: Encoder
) -> None:
    """Distils the priors, stores them as an artifact, and removes the previous artifact. Takes seconds. Stores nothing
    if, in these seconds, the project was removed or replaced, or another worker has stored a prior. Raises
    StoreError."""
    priors = distil(data, control, encoder, seed=project_row.id)
    tensors = {
        f"{prior}{NAME_SEPARATOR}{name}": tensor for prior, parts in priors.items() for name, tensor in parts.items()
    }
    tensors[TAUGHT_KEYS] = _key_prefixes(data.keys)
    if not is_still_served(store, project_row):
        return
    old = store.projects.ensure(project_row.id).distillations.get(control.name, {})
    old_number = int(old.get("number", 0))
    artifact = store.artifacts.write(project_row.id, f"prior-{old_number + 1}", tensors)
    is_stored = store.distillations.replace(project_row.id, control.name, old_number, artifact, asdict(data.origin))
    if not is_stored or old:
        store.artifacts.remove(old["file"] if is_stored else artifact[0])


def load_priors(store: Store, project_row: ProjectRow, plugin: str, space: str, control: ControlSchema) -> Priors:
    """Loads the priors of the learner `plugin` in a vector space. There are none if the project's prior was made for
    another learner, space or set of labels, or if its artifact cannot be read."""
    no_priors = Priors({}, "", _key_prefixes(b""))
    origin, row = origin_of(project_row, control), project_row.distillations.get(control.name, {})
    if origin is None or not origin.is_for(plugin, space, fit_properties(control)):
        return no_priors
    try:
        tensors = store.artifacts.read(row["file"], row["sha256"])
    except ArtifactError:  # damaged, so that a new one will be made; or just replaced by another process
        return no_priors
    taught = _taught_keys(tensors)
    tensors.pop(TAUGHT_KEYS, None)
    priors: dict[str, Tensors] = {}
    for key, tensor in tensors.items():
        prior, _, name = key.rpartition(NAME_SEPARATOR)
        priors.setdefault(prior, {})[name] = tensor
    return Priors(priors, str(row["sha256"]), taught)


def _taught_keys(tensors: Tensors) -> npt.NDArray[np.uint64]:
    """The tensor `TAUGHT_KEYS` of an artifact; earlier releases lack it."""
    return np.asarray(tensors.get(TAUGHT_KEYS, _key_prefixes(b"")), np.uint64)


def _key_prefixes(keys: bytes) -> npt.NDArray[np.uint64]:
    """(n,) the first 8 of the 16 bytes of each of n concatenated content keys; 8 bytes suffice to distinguish texts."""
    return np.frombuffer(keys, "<u8").reshape(-1, 2)[:, 0].copy()

"""What is known before any answer, from the labels' names and from the teacher: made beside the rounds, kept as an
artifact, and found again by each round."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ml_backend.core import registry
from ml_backend.core.exceptions import ArtifactError
from ml_backend.core.ports import Encoder, RecordEncoder
from ml_backend.core.types import Attributions, DistillationData, Floats, Mask, PseudoLabels, TaskSchema, Tensors
from ml_backend.pool.checked_encoder import encode
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import ProjectRecord, Store
from ml_backend.teacher.descriptions import feature_scores
from ml_backend.teacher.descriptions.label_descriptions import NO_PHRASES, Cues, Phrases, phrases
from ml_backend.teacher.project_snapshot import stands
from ml_backend.teacher.teacher_labels import TeacherLabels

GROWTH, POOL_GROWTH = 1.2, 2.0
"""A prior is made anew when what is taught, what of it has been answered, or the pool around it has grown by this
factor, and when nothing is left to be asked and more is taught. An answer alone is no reason: it takes seconds."""
FEWEST = 5
"""Labels of the teacher from which a prior is made of them."""
SEPARATOR = "/"
TAUGHT_KEYS = "taught"
"""In the artifact: the beginnings of the content keys of the tasks whose labels it was made from."""


@dataclass(frozen=True, slots=True)
class DistillationOrigin:
    """What a prior was made of, and for whom: for another plugin, space, list of labels or kind of choice it is of no
    use.

    taught, cues, pool  how many labels of the teacher, phrases, and vectors of the pool
    compared            how many of the teacher's labels the annotators have answered, too
    wording             names the phrases and what each is worth: somebody may edit them
    """

    plugin: str
    space: str
    labels: tuple[str, ...]
    taught: int
    cues: int
    pool: int
    compared: int
    wording: str = ""
    multiple: bool | None = None  # of none that was made before it was kept

    def due(self, old: DistillationOrigin | None, idle: bool) -> bool:
        """Whether it is time to make one of this origin, given that of the one that stands; `idle`: the teacher has
        answered everything for now."""
        if old is None or self.whom != old.whom or self.wording != old.wording:
            return True
        if old.taught and not self.taught and self.compared <= old.compared:
            return False  # whoever gave these labels is no longer asked: they are as good as they were
        factors = {"taught": GROWTH, "compared": GROWTH, "pool": POOL_GROWTH}
        grown = any(getattr(self, name) >= factor * max(getattr(old, name), 1) for name, factor in factors.items())
        return grown or (idle and self.taught > old.taught)

    @property
    def whom(self) -> tuple[object, ...]:
        """For whom it is: for nobody else."""
        return self.plugin, self.space, self.labels, self.multiple


def origin_of(record: ProjectRecord) -> DistillationOrigin | None:
    """What the project's prior was made of, None if it has none."""
    made_of: dict[str, Any] | None = (record.prior or {}).get("made_of")
    return DistillationOrigin(**{**made_of, "labels": tuple(made_of["labels"])}) if made_of else None


def standing(store: Store, record: ProjectRecord) -> DistillationOrigin | None:
    """What the project's prior was made of; None, too, if its artifact is gone or damaged: nobody starts from it."""
    kept = record.prior
    return origin_of(record) if kept and store.artifacts.sound(kept["file"], kept["sha256"]) else None


@dataclass(frozen=True, slots=True)
class DistillationInput:
    """What the next prior is made from. Of the pool, which may be large, the vectors are taken when they are needed.
    `keys`: the content keys of the tasks among what is taught, one after the other."""

    origin: DistillationOrigin
    taught: PseudoLabels
    phrases: Phrases
    pool: ProjectPool
    attributions: Attributions | None = None
    keys: bytes = b""


class Priors(NamedTuple):
    """The priors for a learner, by name, what names them all, and of what they were made: see `taught_among`."""

    tensors: dict[str, Tensors]
    name: str
    taught: npt.NDArray[np.uint64]

    def taught_among(self, texts: bytes) -> Mask:
        """(n,) bool: which of n texts, by their content keys, they were made from. The annotators' answers to those
        cannot tell whether the teacher was right of others."""
        return np.isin(_beginnings(texts), self.taught)


def gather(
    pool: ProjectPool,
    record: ProjectRecord,
    plugin: str,
    schema: TaskSchema,
    recalled: TeacherLabels,
    written: PseudoLabels,
    records: RecordEncoder | None = None,
) -> DistillationInput:
    """All that there is now: the teacher's labels of encoded tasks, the texts it `written` for this, the cues, and the
    encoded part of the pool. A task that it wrote is for the annotators to judge first. Of `records`, what is known of
    their fields stands in the place of cues, unless there are texts among them: then it stands beside these."""
    rows = pool.rows_of(recalled.tasks)
    there = pool.encoded[rows] & ~pool.synthetic[rows] & recalled.teaches
    targets = np.concatenate([recalled.corrected[there], written.targets])
    vectors = np.concatenate([pool.ensure(rows[there]), written.vectors])
    keys = pool.keys_of(rows[there])
    if len(targets) < FEWEST:
        targets, vectors, keys = targets[:0], vectors[:0], b""
    taught = PseudoLabels(vectors, targets, np.ones(len(targets), np.float32))
    known = feature_scores.attributions(record, records, schema) if records else None
    told = _told(record.cues or {}, schema, records)
    scored = int(known.scores.any(axis=1).sum()) if known else 0
    around = int(pool.encoded.sum())
    origin = DistillationOrigin(
        plugin,
        pool.space,
        schema.labels,
        len(targets),
        len(told.texts) + scored,
        around,
        recalled.compared,
        (_digest(known) if known else "") + (told.digest if told.texts or not known else ""),
        schema.multiple,
    )
    return DistillationInput(origin, taught, told, pool, known, keys)


def distil(given: DistillationInput, multiple: bool, encoder: Encoder, seed: int) -> dict[str, Tensors]:
    """The priors that the learner can be given, by name. Takes seconds."""
    cues = _encoded(given.phrases, encoder) if given.phrases.texts else _nothing(given.taught)
    material = DistillationData(given.taught, cues, given.pool.encoded_view().vectors, given.attributions)
    return registry.learner(given.origin.plugin).distil(material, multiple, seed)


def named(schema: TaskSchema, encoder: Encoder) -> PseudoLabels:
    """What everybody starts from, without any teacher: the labels' names, and the hints on them. Of records without a
    text among their fields, it is nothing."""
    told = _told({}, schema, encoder if isinstance(encoder, RecordEncoder) else None)
    if not told.texts:
        empty = np.empty((0, encoder.dim), np.float32)
        return PseudoLabels(empty, np.empty((0, len(schema.labels)), np.float32), np.empty(0, np.float32))
    return _encoded(told, encoder)


def _told(cues: Cues, schema: TaskSchema, records: RecordEncoder | None) -> Phrases:
    """Names and cues; of records without a text among their fields, nothing."""
    return phrases(cues, schema) if records is None or records.texts else NO_PHRASES


def of_names(
    names: PseudoLabels, plugin: str, vectors: Floats, multiple: bool, seed: int, known: Attributions | None = None
) -> dict[str, Tensors]:
    """The priors of a project without a teacher, from `named`, and of records from what is `known` of their fields, in
    a pool of `vectors` (n, d). Takes seconds."""
    return registry.learner(plugin).distil(DistillationData(_nothing(names), names, vectors, known), multiple, seed)


def _nothing(like: PseudoLabels) -> PseudoLabels:
    return PseudoLabels(like.vectors[:0], like.targets[:0], like.weights[:0])


def _digest(known: Attributions) -> str:
    return blake2b(known.scores.tobytes() + known.width.tobytes(), digest_size=16).hexdigest()


def _encoded(told: Phrases, encoder: Encoder) -> PseudoLabels:
    how = encoder.phrases if isinstance(encoder, RecordEncoder) else encoder.encode
    return PseudoLabels(encode(how, told.texts, told.texts, encoder.name, "the cue"), told.targets, told.weights)


def make(store: Store, record: ProjectRecord, given: DistillationInput, schema: TaskSchema, encoder: Encoder) -> None:
    """Distils and keeps it; the one before goes. Takes seconds, after which the project may be another one, that gets
    nothing of it, and another worker may have kept one. Raises StoreError."""
    made = distil(given, schema.multiple, encoder, seed=record.id)
    tensors = {f"{name}{SEPARATOR}{part}": array for name, parts in made.items() for part, array in parts.items()}
    tensors[TAUGHT_KEYS] = _beginnings(given.keys)
    if not stands(store, record):
        return
    old = store.projects.ensure(record.id).prior or {}
    before = int(old.get("number", 0))
    file, digest = store.artifacts.write(record.id, f"prior-{before + 1}", tensors)
    kept = store.distillations.replace(record.id, before, file, digest, asdict(given.origin))
    if not kept or old:
        store.artifacts.remove(old["file"] if kept else file)


def load(store: Store, record: ProjectRecord, plugin: str, space: str, schema: TaskSchema) -> Priors:
    """The priors for a learner; nothing if there are none for it."""
    nothing = Priors({}, "", _beginnings(b""))
    origin, kept = origin_of(record), record.prior or {}
    if origin is None or origin.whom != (plugin, space, schema.labels, schema.multiple):
        return nothing
    try:
        tensors = store.artifacts.read(kept["file"], kept["sha256"])
    except ArtifactError:  # it is made anew, or was replaced a moment ago
        return nothing
    taught = np.asarray(tensors.pop(TAUGHT_KEYS, nothing.taught), np.uint64)  # an older prior has none
    found: dict[str, Tensors] = {}
    for key, array in tensors.items():
        name, _, part = key.rpartition(SEPARATOR)
        found.setdefault(name, {})[part] = array
    return Priors(found, str(kept["sha256"]), taught)


def _beginnings(keys: bytes) -> npt.NDArray[np.uint64]:
    """(n,) the first half of each of n content keys of 16 bytes: enough to tell texts apart."""
    return np.frombuffer(keys, "<u8").reshape(-1, 2)[:, 0].copy()

"""What a worker remembers of one project between rounds: its tasks, their vectors, their clusters.

Vectors come at two speeds. At first the whole pool is sketched in seconds and the queue starts from that; the encoder
follows, a random chunk at a time. From `ENOUGH` encoded tasks on, and always once a learner serves, the queue is drawn
from the encoded ones alone: they are a random sample of the pool, so acquisition loses nothing but size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.ports import Clusterer, Encoder, RecordEncoder
from ml_backend.core.types import NO_TEXT, Clustering, Example, Floats, Ints, Mask, Nearest, content_key
from ml_backend.pool.checked_encoder import encode_usable
from ml_backend.pool.nearest_labelled import NearestLabelled
from ml_backend.pool.row_view import rows_of
from ml_backend.storage import Store
from ml_backend.storage.unusable_tasks import NOT_FINITE

ENCODED = "encoded"
ENOUGH = 500  # encoded tasks from which a queue is drawn
AT_ONCE, QUICKLY = 200, 5000  # missing vectors that a round makes itself, about a second of one core
SHARD = 1024  # vectors gathered in memory before they are written as one file
SKETCH_CHUNK = 20_000  # texts in memory while sketching
CLUSTERS = 30  # as many as a person can look through
SPARE = 1.5  # room for vectors, in parts of what the tasks of today need
RECUT = 0.1  # clusters are cut anew when more than this share of the pool has changed


@dataclass(frozen=True, slots=True)
class PoolView:
    """The rows that a queue is drawn from, (m,) int64 ascending into the pool, and their vectors (m, d) in one space,
    to be read by rows."""

    space: str
    rows: Ints
    vectors: Floats

    def of(self, places: Ints) -> PoolView:
        """Some of its rows."""
        return PoolView(self.space, self.rows[places], rows_of(self.vectors, places))


@dataclass(frozen=True, slots=True)
class EncodingBatch:
    """Tasks of a pool that are to be encoded, and their texts, as they were at a revision of the task list: a thread
    may encode them while the pool moves on."""

    encoder: Encoder
    revision: int
    tasks: Ints
    texts: list[str]

    def encode(self) -> tuple[Floats, Mask]:
        """As `encode_usable`."""
        return encode_usable(self.encoder.encode, self.texts)


class ProjectPool:
    """The tasks of one project. Row i of every array is about `tasks[i]` (ascending); rows change only in `refresh`.

    encoded    (n,) bool: the rows that have a vector
    set_aside  (n,) bool: those that the encoder gives none that is finite; they are neither drafted nor learnt from
    synthetic  (n,) bool: those that a teacher has written
    """

    def __init__(self, store: Store, project: int, encoder: Encoder) -> None:
        self._store = store
        self._project = project
        self._unwritten: dict[bytes, Floats] = {}
        self._random = np.random.default_rng(project)
        self._begin(encoder)

    def _begin(self, encoder: Encoder) -> None:
        self.space = encoder.name
        self._quick = bool(getattr(encoder, "quick", False))  # not every package says so
        self.at_once = QUICKLY if self._quick else AT_ONCE
        self._encoder = encoder
        self._cache = self._store.vectors(self._project, encoder.name)
        self._revision = -1
        self._keys: npt.NDArray[np.object_] = np.empty(0, np.object_)  # the content keys, as bytes
        self._matrix: Floats = np.empty((0, encoder.dim), np.float32)
        self._slots: Ints = np.empty(0, np.int64)
        self._used = 0
        self._nearest = NearestLabelled(0)
        self._sketch: Floats | None = None
        self._expected: dict[bytes, Floats] = {}  # content key -> sketch, until the pool is sketched
        self._clusters: dict[str, tuple[Clustering, Ints]] = {}
        self._groups: dict[str, Ints] = {}
        self.tasks: Ints = np.empty(0, np.int64)
        self.encoded: Mask = np.empty(0, np.bool_)
        self.set_aside: Mask = np.empty(0, np.bool_)
        self.synthetic: Mask = np.empty(0, np.bool_)
        self.without_text: Mask = np.empty(0, np.bool_)

    def use(self, encoder: Encoder) -> None:
        """Begins anew in another space, if it is another one: `refresh` comes next."""
        if encoder.name != self.space:
            self.flush()
            self._begin(encoder)

    def refresh(self, revision: int) -> None:
        """Reads what has changed in the task list if the store's revision of it has moved, and finds the vectors on
        disk."""
        moved = revision != self._revision
        if moved:
            self.flush()
            self._follow(*self._store.tasks.changed(self._project, self._revision))
            self._set_aside(first=self._revision < 0)
            self._groups = {}
            self._revision = revision
        if not self._cache.refresh() and not moved:
            return
        missing = np.flatnonzero(self.missing)  # another worker may have encoded some
        places = self._cache.find([self._keys[row] for row in missing])
        found = missing[places >= 0]
        if len(found):
            self._matrix[self._slots[found]] = self._cache.read(places[places >= 0])
            self.encoded[found] = True

    @property
    def revision(self) -> int:
        """The store's revision of the task list that this is, -1 before the first `refresh`."""
        return self._revision

    @property
    def unreadable(self) -> Mask:
        """(n,) bool: the rows that nothing can be learnt from: without a text, or set aside."""
        return self.without_text | self.set_aside

    @property
    def missing(self) -> Mask:
        """(n,) bool: the rows that the encoder has not come to yet."""
        return ~(self.encoded | self.set_aside)

    def _set_aside(self, first: bool) -> None:
        """Finds the rows that this process, or another one, could make nothing of, as far as their texts are still the
        same; when it comes `first` to a space, those of the space before are taken back."""
        if first:
            self._store.set_aside.remove_other_spaces(self._project, self.space)
        noted = self._store.set_aside.of(self._project, self.space)
        rows = self.rows_of(np.array(sorted(noted), np.int64))
        rows = rows[[self._keys[row] == noted[task] for row, task in zip(rows, self.tasks[rows].tolist(), strict=True)]]
        self.set_aside = np.zeros(len(self.tasks), np.bool_)
        self.set_aside[rows] = True
        self._matrix[self._slots[rows]] = 0
        self._store.set_aside.remove(self._project, noted.keys() - set(self.tasks[rows].tolist()))

    def _follow(self, tasks: Ints, keys: list[bytes], synthetic: Mask) -> None:
        """Takes over tasks that have come or changed, ascending, with their content keys, and drops those that went.
        A row whose text is the same keeps its vector, where it lies."""
        if self._sketch is not None:
            self._expected, self._sketch = dict(zip(self._keys, self._sketch, strict=True)), None
        everything = np.union1d(self.tasks, tasks)
        if len(everything) != self._store.tasks.count(self._project):
            everything = np.intersect1d(everything, self._store.tasks.numbers(self._project), assume_unique=True)
        stays, there = (np.isin(some, everything, assume_unique=True) for some in (self.tasks, tasks))
        kept, into = np.flatnonzero(stays), np.searchsorted(everything, self.tasks[stays])
        changed = np.searchsorted(everything, tasks[there])

        slots = np.full(len(everything), -1, np.int64)
        encoded, marked = np.zeros((2, len(everything)), np.bool_)
        texts = np.full(len(everything), b"", np.object_)
        slots[into], encoded[into] = self._slots[kept], self.encoded[kept]
        marked[into], texts[into] = self.synthetic[kept], self._keys[kept]
        now = np.array([*keys, b""], np.object_)[:-1][there]
        others = changed[texts[changed] != now]
        slots[others], encoded[others] = -1, False
        texts[changed], marked[changed] = now, synthetic[there]
        self.tasks, self._keys, self.encoded, self.synthetic = everything, texts, encoded, marked
        self.without_text = np.asarray(texts == NO_TEXT, np.bool_)
        self._slots = self._room(slots)

    def _room(self, slots: Ints) -> Ints:
        """The slots of all rows, new ones for those that have none. A slot is filled once and then stays as it is, for
        whoever holds a view; the matrix is made anew when it is full, with room that takes no memory until it is
        filled."""
        new = np.flatnonzero(slots < 0)
        if self._used + len(new) > len(self._matrix):
            old, moved = self._matrix, np.flatnonzero(self.encoded)
            self._matrix = np.empty((int(SPARE * len(slots)) + SHARD, self._encoder.dim), np.float32)
            for start in range(0, len(moved), SKETCH_CHUNK):
                rows = moved[start : start + SKETCH_CHUNK]
                self._matrix[rows] = old[slots[rows]]
            self._used, self._nearest = len(slots), NearestLabelled(len(self._matrix))
            return np.arange(len(slots))
        slots[new] = self._used + np.arange(len(new))
        self._used += len(new)
        return slots

    def expect(self, examples: Sequence[Example]) -> None:
        """Sketches tasks that the pool will soon have, while others are being listed; a handful is left for later."""
        if len(examples) >= ENOUGH > len(self._cache):
            vectors = self._sketch_of([example.text for example in examples])
            self._expected.update(zip((example.key for example in examples), vectors, strict=True))

    def rows_of(self, tasks: Ints) -> Ints:
        """The rows of those tasks that the pool has, in the order of `tasks`."""
        if not len(self.tasks):
            return np.empty(0, np.int64)
        at = np.minimum(np.searchsorted(self.tasks, tasks), len(self.tasks) - 1)
        return np.asarray(at[self.tasks[at] == tasks])

    def real(self, tasks: Ints) -> Mask:
        """(n,) bool: which of some tasks may judge a learner: those that no teacher has written."""
        return np.isin(tasks, self.tasks[self.synthetic], invert=True)

    def rows_with(self, keys: Sequence[bytes]) -> tuple[Ints, Ints]:
        """Every row whose text has one of these content keys, and the place in `keys` of that key; the last one, if it
        stands there twice."""
        place = {key: number for number, key in enumerate(keys)}
        found = [(row, place[key]) for row, key in enumerate(self._keys) if key in place] if place else []
        rows, places = np.array(found, np.int64).reshape(-1, 2).T
        return rows, places

    def keys_of(self, rows: Ints) -> bytes:
        """The content keys of some rows, one after the other."""
        return b"".join(self._keys[row] for row in rows)

    def groups(self, field: str) -> Ints:
        """(n,) the group of each task by a field of its data, numbered from 0; tasks without it are one more."""
        if field not in self._groups:
            _, codes = np.unique(self.names_of_groups(field, np.arange(len(self.tasks))), return_inverse=True)
            self._groups = {field: codes.astype(np.int64)}
        return self._groups[field]

    def names_of_groups(self, field: str, rows: Ints) -> list[str]:
        """The group of each of some rows: the value of a field of the task's data, or of its record; "" without one."""
        tasks = self.tasks[rows].tolist()
        values = self._store.tasks.values(self._project, field, tasks)
        if not values and isinstance(self._encoder, RecordEncoder):
            return self._encoder.groups(field, self._store.tasks.texts(self._project, tasks)) or [""] * len(tasks)
        return [values.get(task, "") for task in tasks]

    @property
    def left_out(self) -> dict[str, str]:
        """The fields of records that tell nothing apart, and why."""
        return self._encoder.left_out() if isinstance(self._encoder, RecordEncoder) else {}

    def ensure(self, rows: Ints) -> Floats:
        """The encoder's vectors (m, d) of some rows, made now where they are missing; zeros of those set aside."""
        self.encode_missing(rows, len(rows))
        return np.asarray(self.vectors_at(rows))

    def encode_missing(self, rows: Ints, at_most: int) -> None:
        """Encodes those of some rows that have no vector, the last so many."""
        missing = rows[self.missing[rows]]
        self._encode(missing[len(missing) - min(at_most, len(missing)) :])

    def vectors_at(self, rows: Ints) -> Floats:
        """The vectors (m, d) of some encoded rows, to be read by rows: they are not copied."""
        return rows_of(self._matrix, self._slots[rows])

    def encode_some(self, n: int, among: Mask | None = None) -> None:
        """Encodes up to n more tasks, drawn at random (of the rows `among`)."""
        self._encode(self._drawn(self.missing if among is None else self.missing & among, n))
        if not self.missing.any():
            self.flush()

    def draw(self, n: int) -> EncodingBatch:
        """Up to n tasks that have no vector, at random, to be encoded and then taken."""
        return self._portion(self._drawn(self.missing, n))

    def take(self, portion: EncodingBatch, vectors: Floats, usable: Mask) -> None:
        """Takes over the vectors (m, d) of a portion, of those of its tasks (m,) that are `usable`; those that have
        changed since it was drawn, or that a round has encoded meanwhile, are left as they are."""
        if portion.encoder is not self._encoder:
            return
        # by the text that was encoded: a task may have been changed or removed since `refresh` read its key
        keys = [content_key(text) for text in portion.texts]
        there = np.flatnonzero(np.isin(portion.tasks, self.tasks))
        rows = self.rows_of(portion.tasks[there])
        fits = self.missing[rows]
        if portion.revision != self._revision:
            same = [self._keys[row] == keys[place] for row, place in zip(rows, there, strict=True)]
            fits &= np.array(same, np.bool_)
        rows, places = rows[fits], there[fits]
        self._matrix[self._slots[rows]] = vectors[places]
        self.encoded[rows], self.set_aside[rows] = usable[places], ~usable[places]
        self._unwritten.update((keys[place], vectors[place]) for place in places[usable[places]])
        left_out = {int(portion.tasks[place]): keys[place] for place in places[~usable[places]]}
        self._store.set_aside.put(self._project, self.space, NOT_FINITE, left_out)
        if len(self._unwritten) >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes the vectors that are only in memory. Raises StoreError, and keeps them for the next try."""
        if self._unwritten:
            self._cache.add(list(self._unwritten), np.stack(list(self._unwritten.values())))
            self._unwritten = {}

    def view(self, free: Mask, with_learner: bool) -> PoolView:
        """What the next queue is drawn from; `with_learner`: probabilities are needed, so encoded tasks are.

        free  (n,) bool: the rows that may be served. Of them there must be enough, not of those with an answer
        """
        ready = int((self.encoded & free).sum())
        if int(self.missing.sum()) <= self.at_once:
            self.encode_some(self.at_once)
        elif (with_learner and ready < AT_ONCE) or (self._quick and ready < ENOUGH):
            self.encode_some(self.at_once, free)
        if with_learner or int((self.encoded & free).sum()) >= min(ENOUGH, int(free.sum())):
            self._sketch, self._expected = None, {}
            return self.encoded_view()
        rows = np.flatnonzero(~self.set_aside)
        return PoolView("sketch", rows, rows_of(self._sketched(), rows))

    def encoded_view(self) -> PoolView:
        """Everything that is encoded so far."""
        rows = np.flatnonzero(self.encoded)
        return PoolView(ENCODED, rows, self.vectors_at(rows))

    def nearest(self, view: PoolView, answered: Mask) -> Nearest | None:
        """How far the rows of a view are from its `answered` (m,) ones, remembered while they keep their vectors; None
        of sketches."""
        if view.space != ENCODED:
            return None
        slots = self._slots[view.rows]
        self._nearest.follow(slots[answered])
        return Nearest(answered, lambda rows: self._nearest.distances(self._matrix, slots[rows]))

    def clusters(self, view: PoolView, clusterer: Clusterer) -> Clustering | None:
        """The clusters of a view, each of its rows in one: those of an earlier round while the pool is nearly the
        same, else cut anew. None for a view without rows."""
        clustering, tasks = self._clusters.get(view.space, (None, self.tasks[:0]))
        mine = self.tasks[view.rows]
        kept = np.isin(mine, tasks, assume_unique=True)
        changed = len(mine) + len(tasks) - 2 * int(kept.sum())
        if not len(mine):
            return None
        if clustering is None or changed > RECUT * len(tasks):
            clustering = clusterer.cut(view.vectors, CLUSTERS, self._project)
            self._clusters[view.space] = (clustering, mine)
            return clustering
        assignment = np.full(len(mine), -1, np.int64)
        assignment[kept] = clustering.assignment[np.searchsorted(tasks, mine[kept])]
        return clusterer.extend(view.vectors, Clustering(clustering.centroids, assignment))

    def _encode(self, rows: Ints) -> None:
        if len(rows):
            portion = self._portion(rows)
            self.take(portion, *portion.encode())

    def _drawn(self, among: Mask, n: int) -> Ints:
        rows = np.flatnonzero(among)
        return self._random.choice(rows, min(n, len(rows)), replace=False) if len(rows) else rows

    def _portion(self, rows: Ints) -> EncodingBatch:
        tasks = self.tasks[rows]
        return EncodingBatch(
            self._encoder, self._revision, tasks, self._store.tasks.texts(self._project, tasks.tolist())
        )

    def _sketched(self) -> Floats:
        if self._sketch is None:
            ready, self._expected = self._expected, {}
            missing = [row for row, key in enumerate(self._keys) if key not in ready]
            for at in range(0, len(missing), SKETCH_CHUNK):
                rows = missing[at : at + SKETCH_CHUNK]
                tasks = self.tasks[rows].tolist()
                vectors = self._sketch_of(self._store.tasks.texts(self._project, tasks))
                ready.update(zip((self._keys[row] for row in rows), vectors, strict=True))
            self._sketch = np.stack([ready[key] for key in self._keys])
        return self._sketch

    def _sketch_of(self, texts: Sequence[str]) -> Floats:
        """One that is not finite becomes zeros: the encoder has the last word on whether the text is of use."""
        return encode_usable(self._encoder.sketch, texts)[0]

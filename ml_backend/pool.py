"""What a worker remembers of one project between rounds: its tasks, their vectors, their clusters.

Vectors come at two speeds. At first the whole pool is sketched in seconds and the queue starts from that; the encoder
follows, a random chunk at a time. From `ENOUGH` encoded tasks on, and always once a learner serves, the queue is drawn
from the encoded ones alone: they are a random sample of the pool, so acquisition loses nothing but size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.domain import NO_TEXT, Clustering, Example, Floats, Ints, Mask, content_key
from ml_backend.encoding import encode
from ml_backend.ports import Clusterer, Encoder, RecordEncoder
from ml_backend.store import Store

ENOUGH = 500  # encoded tasks from which a queue is drawn
AT_ONCE, QUICKLY = 200, 5000  # missing vectors that a round makes itself, about a second of one core
SHARD = 1024  # vectors gathered in memory before they are written as one file
SKETCH_CHUNK = 20_000  # texts in memory while sketching
CLUSTERS = 30  # as many as a person can look through
RECUT = 0.1  # clusters are cut anew when more than this share of the pool has changed


@dataclass(frozen=True, slots=True)
class View:
    """The rows that a queue is drawn from, (m,) int64 into the pool, and their vectors (m, d) in one space."""

    space: str
    rows: Ints
    vectors: Floats


class ProjectPool:
    """The tasks of one project. Row i of every array is about `tasks[i]` (ascending); rows change only in `refresh`."""

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
        self._keys: list[bytes] = []
        self._vectors: Floats = np.empty((0, encoder.dim), np.float32)
        self._sketch: Floats | None = None
        self._expected: dict[bytes, Floats] = {}  # content key -> sketch, until the pool is sketched
        self._clusters: dict[str, tuple[Clustering, Ints]] = {}
        self._groups: dict[str, Ints] = {}
        self.tasks: Ints = np.empty(0, np.int64)
        self.encoded: Mask = np.empty(0, np.bool_)
        self.synthetic: Mask = np.empty(0, np.bool_)
        self.without_text: Mask = np.empty(0, np.bool_)

    def use(self, encoder: Encoder) -> None:
        """Begins anew in another space, if it is another one: `refresh` comes next."""
        if encoder.name != self.space:
            self.flush()
            self._begin(encoder)

    def refresh(self, revision: int) -> None:
        """Reads the task list again if the store's revision of it has moved, and finds the vectors on disk."""
        moved = revision != self._revision
        if moved:
            self.flush()
            self.tasks, self._keys = self._store.tasks.index(self._project)
            self._vectors = np.zeros((len(self.tasks), self._encoder.dim), np.float32)
            self.encoded = np.zeros(len(self.tasks), np.bool_)
            self.synthetic = np.isin(self.tasks, self._store.tasks.synthetic(self._project))
            self.without_text = np.fromiter((key == NO_TEXT for key in self._keys), np.bool_, len(self._keys))
            self._sketch, self._groups = None, {}
            self._revision = revision
        if not self._cache.refresh() and not moved:
            return
        missing = np.flatnonzero(~self.encoded)  # another worker may have encoded some
        places = self._cache.find([self._keys[row] for row in missing])
        found = missing[places >= 0]
        if len(found):
            self._vectors[found] = self._cache.read(places[places >= 0])
            self.encoded[found] = True

    def expect(self, examples: Sequence[Example]) -> None:
        """Sketches tasks that the pool will soon have, while others are being listed; a handful is left for later."""
        if len(examples) >= ENOUGH > len(self._cache):
            vectors = self._sketch_of([example.text for example in examples], [example.task for example in examples])
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

    def ensure(self, rows: Ints, at_most: int | None = None) -> Floats:
        """The encoder's vectors (m, d) of some rows, made now where they are missing.

        With `at_most`, only so many are made, the last ones first, and rows that still have none are left out.
        """
        missing = rows[~self.encoded[rows]]
        self._encode(missing if at_most is None else missing[len(missing) - min(at_most, len(missing)) :])
        return self._vectors[rows[self.encoded[rows]]]

    def encode_some(self, n: int, among: Mask | None = None) -> int:
        """Encodes up to n more tasks, drawn at random (of the rows `among`); returns how many are still missing."""
        missing = np.flatnonzero(~self.encoded if among is None else ~self.encoded & among)
        if len(missing):
            self._encode(self._random.choice(missing, min(n, len(missing)), replace=False))
        left = int((~self.encoded).sum())
        if not left:
            self.flush()
        return left

    def flush(self) -> None:
        """Writes the vectors that are only in memory. Raises StoreError, and keeps them for the next try."""
        if self._unwritten:
            self._cache.add(list(self._unwritten), np.stack(list(self._unwritten.values())))
            self._unwritten = {}

    def view(self, free: Mask, with_learner: bool) -> View:
        """What the next queue is drawn from; `with_learner`: probabilities are needed, so encoded tasks are.

        free  (n,) bool: the rows that may be served. Of them there must be enough, not of those with an answer
        """
        ready = int((self.encoded & free).sum())
        if len(self.tasks) - int(self.encoded.sum()) <= self.at_once:
            self.encode_some(self.at_once)
        elif (with_learner and ready < AT_ONCE) or (self._quick and ready < ENOUGH):
            self.encode_some(self.at_once, free)
        if with_learner or int((self.encoded & free).sum()) >= min(ENOUGH, int(free.sum())):
            self._sketch, self._expected = None, {}
            return self.encoded_view()
        return View("sketch", np.arange(len(self.tasks)), self._sketched())

    def encoded_view(self) -> View:
        """Everything that is encoded so far."""
        rows = np.flatnonzero(self.encoded)
        return View("encoded", rows, self._vectors if len(rows) == len(self.tasks) else self._vectors[rows])

    def clusters(self, view: View, clusterer: Clusterer) -> Clustering | None:
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
        if not len(rows):
            return
        tasks = self.tasks[rows].tolist()
        texts = self._store.tasks.texts(self._project, tasks)
        vectors = encode(self._encoder.encode, texts, tasks, self.space)
        self._vectors[rows] = vectors
        self.encoded[rows] = True
        # by the text that was encoded: a task may have been changed or removed since `refresh` read its key
        self._unwritten.update(zip(map(content_key, texts), vectors, strict=True))
        if len(self._unwritten) >= SHARD:
            self.flush()

    def _sketched(self) -> Floats:
        if self._sketch is None:
            ready, self._expected = self._expected, {}
            missing = [row for row, key in enumerate(self._keys) if key not in ready]
            for at in range(0, len(missing), SKETCH_CHUNK):
                rows = missing[at : at + SKETCH_CHUNK]
                tasks = self.tasks[rows].tolist()
                vectors = self._sketch_of(self._store.tasks.texts(self._project, tasks), tasks)
                ready.update(zip((self._keys[row] for row in rows), vectors, strict=True))
            self._sketch = np.stack([ready[key] for key in self._keys])
        return self._sketch

    def _sketch_of(self, texts: Sequence[str], tasks: Sequence[int]) -> Floats:
        return encode(self._encoder.sketch, texts, tasks, self.space)

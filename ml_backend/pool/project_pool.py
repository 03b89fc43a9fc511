"""The tasks of one project, their vectors and their clusters, which a worker keeps between rounds.

A task has two vectors, in two vector spaces: a sketch, which takes the encoder little time (`Encoder.sketch`), and the
vector proper (`Encoder.encode`); a task with the latter is called *encoded*. First the encoder sketches the whole pool
in seconds, and the first queues are drawn from the sketches. Meanwhile it encodes the pool, a random batch at a time.
From `MIN_ENCODED_FOR_QUEUE` encoded tasks on, and always once a learner serves, the queue is drawn from the encoded
tasks alone. These are a random sample of the pool, so that the query strategy works on a smaller, but unbiased pool.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Clustering, Floats, Ints, LabelledDistances, Mask
from ml_backend.core.ports import Clusterer, Encoder, RecordEncoder
from ml_backend.core.types import EMPTY_TEXT_KEY, TaskContent, content_key
from ml_backend.pool.checked_encoder import encode_usable
from ml_backend.pool.nearest_labelled import NearestLabelled
from ml_backend.pool.row_view import view_rows
from ml_backend.storage import Store
from ml_backend.storage.unusable_tasks import NOT_FINITE

ENCODED = "encoded"
MIN_ENCODED_FOR_QUEUE = 500  # number of encoded tasks that may be served from which on no sketches are used
MAX_ENCODED_PER_ROUND, MAX_ENCODED_PER_ROUND_QUICK = 200, 5000
"""Number of tasks that are encoded in about a second on one core, by other encoders and by quick ones (see
`Encoder.quick`)."""
VECTORS_PER_SHARD = 1024  # vectors that are collected in memory before they are written as one file
ROWS_PER_CHUNK = 20_000  # rows whose texts or vectors are in memory at the same time
MAX_CLUSTERS = 30  # clusters of a pool: a person can still review them
MATRIX_CAPACITY = 1.5  # slots of a new matrix, as a multiple of the tasks
MAX_CHANGED_SHARE = 0.1  # share of changed tasks above which the pool is clustered again


@dataclass(frozen=True, slots=True)
class PoolView:
    """The rows of the pool that a queue is drawn from, (m,) int64 ascending, and their vectors (m, d) in one vector
    space, to be read by rows."""

    space: str
    rows: Ints
    vectors: Floats

    def subset(self, indices: Ints) -> PoolView:
        """The view of the rows at these indices."""
        return PoolView(self.space, self.rows[indices], view_rows(self.vectors, indices))


@dataclass(frozen=True, slots=True)
class EncodingBatch:
    """Tasks of a pool with their texts when the batch was drawn. A thread may encode the batch while the pool
    changes."""

    encoder: Encoder
    tasks: Ints
    texts: list[str]

    def encode(self) -> tuple[Floats, Mask]:
        """The vectors of the batch and the mask of the finite ones, as from `encode_usable`."""
        return encode_usable(self.encoder.encode, self.texts)


class ProjectPool:
    """The tasks of one project. Row i of every array is about `tasks[i]` (ascending); rows change only in `refresh`.

    The vector of a row is in a slot, a row of a matrix, that stays the same as long as the text of the task does.

    space         the name of the vector space
    at_once       maximum number of tasks that a round encodes itself, as it waits for them
    encoded       (n,) bool: rows that have a vector, sketches apart
    unusable      (n,) bool: rows to which the encoder gives no finite vector: no drafts, and no fit on them
    synthetic     (n,) bool: rows whose text a teacher wrote
    without_text  (n,) bool: rows that have neither a text nor a record
    """

    def __init__(self, store: Store, project: int, encoder: Encoder) -> None:
        self._store = store
        self._project = project
        self._unwritten: dict[bytes, Floats] = {}
        self._random = np.random.default_rng(project)
        self._start(encoder)

    def _start(self, encoder: Encoder) -> None:
        self.space = encoder.name
        self._is_quick = bool(getattr(encoder, "quick", False))  # encoders of other packages may lack the attribute
        self.at_once = MAX_ENCODED_PER_ROUND_QUICK if self._is_quick else MAX_ENCODED_PER_ROUND
        self._encoder = encoder
        self._cache = self._store.vectors(self._project, encoder.name)
        self._revision = -1
        self._keys: npt.NDArray[np.object_] = np.empty(0, np.object_)  # content keys (bytes)
        self._matrix: Floats = np.empty((0, encoder.dim), np.float32)
        self._slots: Ints = np.empty(0, np.int64)
        self._n_used_slots = 0
        self._nearest = NearestLabelled(0)
        self._sketches: Floats | None = None
        self._early_sketches: dict[bytes, Floats] = {}  # by content key: sketches from before the tasks were rows
        self._clusters: dict[str, tuple[Clustering, Ints]] = {}
        self._groups: dict[str, Ints] = {}
        self.tasks: Ints = np.empty(0, np.int64)
        self.encoded: Mask = np.empty(0, np.bool_)
        self.unusable: Mask = np.empty(0, np.bool_)
        self.synthetic: Mask = np.empty(0, np.bool_)
        self.without_text: Mask = np.empty(0, np.bool_)

    def use_encoder(self, encoder: Encoder) -> None:
        """Changes to another encoder and drops all tasks, so that `refresh` must follow. Does nothing if the vector
        space is the same."""
        if encoder.name != self.space:
            self.flush()
            self._start(encoder)

    def refresh(self, revision: int) -> None:
        """Reads the changes of the task list up to this revision, and the vectors that are on disk."""
        has_changed = revision != self._revision
        if has_changed:
            self.flush()
            self._update_tasks(*self._store.tasks.changed_since(self._project, self._revision))
            self._update_unusable(is_new_space=self._revision < 0)
            self._groups = {}
            self._revision = revision
        if not self._cache.refresh() and not has_changed:
            return
        missing = np.flatnonzero(self.missing)  # another worker may have encoded some of these rows
        positions = self._cache.find([self._keys[row] for row in missing])
        cached = missing[positions >= 0]
        if len(cached):
            self._matrix[self._slots[cached]] = self._cache.read(positions[positions >= 0])
            self.encoded[cached] = True

    @property
    def revision(self) -> int:
        """The revision of the task list that the pool has read, -1 before the first `refresh`."""
        return self._revision

    @property
    def unreadable(self) -> Mask:
        """(n,) bool: rows on which no learner can be fitted: rows without a text or record, and unusable rows."""
        return self.without_text | self.unusable

    @property
    def missing(self) -> Mask:
        """(n,) bool: rows that are not encoded yet."""
        return ~(self.encoded | self.unusable)

    def _update_unusable(self, is_new_space: bool) -> None:
        """Reads the unusable rows from the store. Removes the entries of rows whose text has changed, because the new
        text may be usable, and in a new vector space the entries of other vector spaces."""
        if is_new_space:
            self._store.unusable_tasks.remove_other_spaces(self._project, self.space)
        stored_keys = self._store.unusable_tasks.of(self._project, self.space)
        rows = self.rows_of(np.array(sorted(stored_keys), np.int64))
        is_same_text = [
            self._keys[row] == stored_keys[task] for row, task in zip(rows, self.tasks[rows].tolist(), strict=True)
        ]
        rows = rows[is_same_text]
        self.unusable = np.zeros(len(self.tasks), np.bool_)
        self.unusable[rows] = True
        self._matrix[self._slots[rows]] = 0
        self._store.unusable_tasks.remove(self._project, stored_keys.keys() - set(self.tasks[rows].tolist()))

    def _update_tasks(self, changed_tasks: Ints, changed_keys: list[bytes], changed_synthetic: Mask) -> None:
        """Adds new and changed tasks, ascending, with their content keys, and drops removed tasks. A row whose text has
        not changed keeps its slot, and with it its vector."""
        if self._sketches is not None:
            self._early_sketches, self._sketches = dict(zip(self._keys, self._sketches, strict=True)), None
        tasks = np.union1d(self.tasks, changed_tasks)
        if len(tasks) != self._store.tasks.count(self._project):
            tasks = np.intersect1d(tasks, self._store.tasks.ids(self._project), assume_unique=True)
        is_kept = np.isin(self.tasks, tasks, assume_unique=True)
        is_present = np.isin(changed_tasks, tasks, assume_unique=True)
        old_rows, new_rows = np.flatnonzero(is_kept), np.searchsorted(tasks, self.tasks[is_kept])
        changed_rows = np.searchsorted(tasks, changed_tasks[is_present])

        slots = np.full(len(tasks), -1, np.int64)
        encoded, synthetic = np.zeros((2, len(tasks)), np.bool_)
        keys = np.full(len(tasks), b"", np.object_)
        slots[new_rows], encoded[new_rows] = self._slots[old_rows], self.encoded[old_rows]
        synthetic[new_rows], keys[new_rows] = self.synthetic[old_rows], self._keys[old_rows]
        new_keys = np.array([*changed_keys, b""], np.object_)[:-1][is_present]
        rows_with_new_text = changed_rows[keys[changed_rows] != new_keys]
        slots[rows_with_new_text], encoded[rows_with_new_text] = -1, False
        keys[changed_rows], synthetic[changed_rows] = new_keys, changed_synthetic[is_present]
        self.tasks, self._keys, self.encoded, self.synthetic = tasks, keys, encoded, synthetic
        self.without_text = np.asarray(keys == EMPTY_TEXT_KEY, np.bool_)
        self._slots = self._assign_slots(slots)

    def _assign_slots(self, slots: Ints) -> Ints:
        """The slots of all rows, with new slots for rows without one (-1).

        The vector in a slot never changes, because views may share the matrix. When the matrix is full, it is replaced
        by a larger one without the slots of dropped rows; slots that were never filled take no memory.
        """
        without_slot = np.flatnonzero(slots < 0)
        if self._n_used_slots + len(without_slot) > len(self._matrix):
            old_matrix, filled = self._matrix, np.flatnonzero(self.encoded)
            n_slots = int(MATRIX_CAPACITY * len(slots)) + VECTORS_PER_SHARD
            self._matrix = np.empty((n_slots, self._encoder.dim), np.float32)
            for start in range(0, len(filled), ROWS_PER_CHUNK):
                rows = filled[start : start + ROWS_PER_CHUNK]
                self._matrix[rows] = old_matrix[slots[rows]]
            self._n_used_slots, self._nearest = len(slots), NearestLabelled(len(self._matrix))
            return np.arange(len(slots))
        slots[without_slot] = self._n_used_slots + np.arange(len(without_slot))
        self._n_used_slots += len(without_slot)
        return slots

    def sketch_ahead(self, contents: Sequence[TaskContent]) -> None:
        """Sketches tasks that the pool will have after the next `refresh`, unless they are few, or so many vectors are
        on disk that the queue needs no sketches."""
        if len(contents) >= MIN_ENCODED_FOR_QUEUE > len(self._cache):
            vectors = self._make_sketches([content.text for content in contents])
            self._early_sketches.update(zip((content.key for content in contents), vectors, strict=True))

    def rows_of(self, tasks: Ints) -> Ints:
        """The rows of `tasks`, in the order of `tasks`; tasks that the pool does not have are left out."""
        if not len(self.tasks):
            return np.empty(0, np.int64)
        rows = np.minimum(np.searchsorted(self.tasks, tasks), len(self.tasks) - 1)
        return np.asarray(rows[self.tasks[rows] == tasks])

    def is_not_generated(self, tasks: Ints) -> Mask:
        """(m,) bool for `tasks` (m,): the tasks whose text no teacher wrote. Only these may be used to evaluate a
        learner."""
        return np.isin(tasks, self.tasks[self.synthetic], invert=True)

    def rows_with(self, keys: Sequence[bytes]) -> tuple[Ints, Ints]:
        """The rows whose text has one of these content keys, and for each row the index of its key in `keys`, the last
        index of a repeated key."""
        index_of = {key: index for index, key in enumerate(keys)}
        pairs = [(row, index_of[key]) for row, key in enumerate(self._keys) if key in index_of] if index_of else []
        rows, indices = np.array(pairs, np.int64).reshape(-1, 2).T
        return rows, indices

    def keys_of(self, rows: Ints) -> bytes:
        """The content keys of rows, concatenated."""
        return b"".join(self._keys[row] for row in rows)

    def groups(self, field: str) -> Ints:
        """(n,) the group of each task by the values of a field, numbered from 0; tasks without the field are one
        group."""
        if field not in self._groups:
            _, codes = np.unique(self.group_names(field, np.arange(len(self.tasks))), return_inverse=True)
            self._groups = {field: codes.astype(np.int64)}
        return self._groups[field]

    def group_names(self, field: str, rows: Ints) -> list[str]:
        """The group of each row: the value of a field of the task's data, or of its record; "" without a value."""
        tasks = self.tasks[rows].tolist()
        values = self._store.tasks.values(self._project, field, tasks)
        if not values and isinstance(self._encoder, RecordEncoder):
            return self._encoder.groups(field, self._store.tasks.texts(self._project, tasks)) or [""] * len(tasks)
        return [values.get(task, "") for task in tasks]

    @property
    def left_out(self) -> dict[str, str]:
        """The fields of records that are not encoded: for each name, the reason."""
        return self._encoder.left_out() if isinstance(self._encoder, RecordEncoder) else {}

    def encoded_vectors(self, rows: Ints) -> Floats:
        """The vectors (m, d) of rows, which are encoded now if they have none; zeros for unusable rows."""
        self.encode_missing(rows, len(rows))
        return np.asarray(self.vectors_at(rows))

    def encode_missing(self, rows: Ints, max_rows: int) -> None:
        """Encodes at most `max_rows` of the rows that are not encoded yet: the last ones in the order of `rows`."""
        missing = rows[self.missing[rows]]
        self._encode(missing[len(missing) - min(max_rows, len(missing)) :])

    def vectors_at(self, rows: Ints) -> Floats:
        """The vectors (m, d) of encoded rows, to be read by rows: they are not copied."""
        return view_rows(self._matrix, self._slots[rows])

    def encode_some(self, n: int, among: Mask | None = None) -> None:
        """Encodes up to n more random tasks, of the rows `among` if it is given."""
        self._encode(self._random_rows(self.missing if among is None else self.missing & among, n))
        if not self.missing.any():
            self.flush()

    def draw(self, n: int) -> EncodingBatch:
        """A batch of up to n random tasks that are not encoded yet. The caller encodes the batch, perhaps in another
        thread, and passes the vectors to `store_vectors`."""
        return self._batch(self._random_rows(self.missing, n))

    def store_vectors(self, batch: EncodingBatch, vectors: Floats, usable: Mask) -> None:
        """Stores the vectors (m, d) of a batch; `usable` (m,) is the mask of the finite ones, and the other rows become
        unusable. Ignores the batch if it is of an earlier encoder, tasks whose encoded text is not the one that the
        last `refresh` read, and tasks that a round has encoded meanwhile."""
        if batch.encoder is not self._encoder:
            return
        # the keys are those of the encoded texts: a task may have been changed or removed since `refresh` read its key
        keys = [content_key(text) for text in batch.texts]
        indices = np.flatnonzero(np.isin(batch.tasks, self.tasks))
        rows = self.rows_of(batch.tasks[indices])
        is_same_text = [self._keys[row] == keys[index] for row, index in zip(rows, indices, strict=True)]
        is_accepted = self.missing[rows] & np.array(is_same_text, np.bool_)
        rows, indices = rows[is_accepted], indices[is_accepted]
        self._matrix[self._slots[rows]] = vectors[indices]
        self.encoded[rows], self.unusable[rows] = usable[indices], ~usable[indices]
        self._unwritten.update((keys[index], vectors[index]) for index in indices[usable[indices]])
        unusable_keys = {int(batch.tasks[index]): keys[index] for index in indices[~usable[indices]]}
        self._store.unusable_tasks.put(self._project, self.space, NOT_FINITE, unusable_keys)
        if len(self._unwritten) >= VECTORS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes the vectors that are not on disk yet. Raises StoreError if this fails; the vectors are kept for the
        next call."""
        if self._unwritten:
            self._cache.add(list(self._unwritten), np.stack(list(self._unwritten.values())))
            self._unwritten = {}

    def view(self, free: Mask, with_learner: bool) -> PoolView:
        """The rows that the next queue is drawn from: the encoded rows, or all usable rows with their sketches as long
        as too few are encoded. First encodes up to `at_once` rows, if no more rows are missing or if the view would
        have too few encoded rows.

        free          (n,) bool: rows that may be served, of which the view must have enough
        with_learner  whether the query strategy needs probabilities of the learner, which predicts encoded rows only
        """
        n_ready = int((self.encoded & free).sum())
        if int(self.missing.sum()) <= self.at_once:
            self.encode_some(self.at_once)
        elif (with_learner and n_ready < MAX_ENCODED_PER_ROUND) or (self._is_quick and n_ready < MIN_ENCODED_FOR_QUEUE):
            self.encode_some(self.at_once, free)
        if with_learner or int((self.encoded & free).sum()) >= min(MIN_ENCODED_FOR_QUEUE, int(free.sum())):
            self._sketches, self._early_sketches = None, {}
            return self.encoded_view()
        rows = np.flatnonzero(~self.unusable)
        return PoolView("sketch", rows, view_rows(self._all_sketches(), rows))

    def encoded_view(self) -> PoolView:
        """The rows that are encoded so far."""
        rows = np.flatnonzero(self.encoded)
        return PoolView(ENCODED, rows, self.vectors_at(rows))

    def nearest(self, view: PoolView, labelled: Mask) -> LabelledDistances | None:
        """Distances of the rows of a view to its `labelled` (m,) rows; None for sketches. The distances are cached from
        round to round, for rows that keep their slots."""
        if view.space != ENCODED:
            return None
        slots = self._slots[view.rows]
        self._nearest.follow(slots[labelled])
        return LabelledDistances(labelled, lambda rows: self._nearest.distances(self._matrix, slots[rows]))

    def clusters(self, view: PoolView, clusterer: Clusterer) -> Clustering | None:
        """The clusters of a view, with each row of the view in a cluster; None for a view without rows. The clusters
        are those of an earlier round until more than MAX_CHANGED_SHARE of the tasks were added or removed since."""
        clustering, clustered_tasks = self._clusters.get(view.space, (None, self.tasks[:0]))
        tasks = self.tasks[view.rows]
        is_clustered = np.isin(tasks, clustered_tasks, assume_unique=True)
        n_changed = len(tasks) + len(clustered_tasks) - 2 * int(is_clustered.sum())
        if not len(tasks):
            return None
        if clustering is None or n_changed > MAX_CHANGED_SHARE * len(clustered_tasks):
            clustering = clusterer.cut(view.vectors, MAX_CLUSTERS, self._project)
            self._clusters[view.space] = (clustering, tasks)
            return clustering
        assignment = np.full(len(tasks), -1, np.int64)
        assignment[is_clustered] = clustering.assignment[np.searchsorted(clustered_tasks, tasks[is_clustered])]
        return clusterer.extend(view.vectors, Clustering(clustering.centroids, assignment))

    def _encode(self, rows: Ints) -> None:
        if len(rows):
            batch = self._batch(rows)
            self.store_vectors(batch, *batch.encode())

    def _random_rows(self, among: Mask, n: int) -> Ints:
        rows = np.flatnonzero(among)
        return self._random.choice(rows, min(n, len(rows)), replace=False) if len(rows) else rows

    def _batch(self, rows: Ints) -> EncodingBatch:
        tasks = self.tasks[rows]
        return EncodingBatch(self._encoder, tasks, self._store.tasks.texts(self._project, tasks.tolist()))

    def _all_sketches(self) -> Floats:
        """(n, d') the sketches of all rows, made at the first call."""
        if self._sketches is None:
            by_key, self._early_sketches = self._early_sketches, {}
            missing = [row for row, key in enumerate(self._keys) if key not in by_key]
            for start in range(0, len(missing), ROWS_PER_CHUNK):
                rows = missing[start : start + ROWS_PER_CHUNK]
                tasks = self.tasks[rows].tolist()
                vectors = self._make_sketches(self._store.tasks.texts(self._project, tasks))
                by_key.update(zip((self._keys[row] for row in rows), vectors, strict=True))
            self._sketches = np.stack([by_key[key] for key in self._keys])
        return self._sketches

    def _make_sketches(self, texts: Sequence[str]) -> Floats:
        """The sketches of texts. A sketch that is not finite becomes zeros; its row stays usable, because only the
        encoder's vector decides whether a row is usable."""
        return encode_usable(self._encoder.sketch, texts)[0]

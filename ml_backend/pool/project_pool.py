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

from ml_backend.core.arrays import Floats, Ints, LabelledDistances, Mask
from ml_backend.core.ports import Encoder
from ml_backend.core.texts import WordVectors
from ml_backend.core.types import EMPTY_TEXT_KEY, TaskContent, content_key
from ml_backend.core.words import count_words
from ml_backend.pool.checked_encoder import encode_usable
from ml_backend.pool.encoded_texts import EncodedTexts, WordReader, encode_texts
from ml_backend.pool.nearest_labelled import NearestLabelled
from ml_backend.pool.pool_snapshot import ENCODED, PoolContents, PoolSnapshot, PoolView
from ml_backend.pool.row_view import view_rows
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import Store
from ml_backend.storage.unusable_tasks import NOT_FINITE

MIN_ENCODED_FOR_QUEUE = 500  # number of encoded tasks that may be served from which on no sketches are used
MAX_ENCODED_PER_ROUND, MAX_ENCODED_PER_ROUND_QUICK = 200, 5000
"""Number of tasks that are encoded in about a second on one core, by other encoders and by quick ones (see
`Encoder.quick`)."""
VECTORS_PER_SHARD = 1024  # vectors that are collected in memory before they are written as one file
WORDS_PER_SHARD = 50_000  # words whose vectors are collected in memory, about 40 MB
ROWS_PER_CHUNK = 20_000  # rows whose texts or vectors are in memory at the same time
MATRIX_CAPACITY = 1.5  # slots of a new matrix, as a multiple of the tasks


@dataclass(frozen=True, slots=True)
class EncodingBatch:
    """Tasks of a pool with their texts when the batch was drawn. A thread may encode the batch while the pool
    changes."""

    encoder: Encoder
    tasks: Ints
    texts: list[str]

    def encode(self) -> EncodedTexts:
        """The vectors of the batch."""
        return encode_texts(self.encoder, self.texts)


class ProjectPool(PoolContents):
    """The tasks of one project, whose rows change only in `refresh`.

    The vector of a row is in a slot, a row of a matrix, that stays the same as long as the text of the task does.

    at_once  maximum number of tasks that a round encodes itself, as it waits for them
    """

    def __init__(self, store: Store, project: int, encoder: Encoder) -> None:
        self._unwritten: dict[bytes, Floats] = {}
        self._unwritten_words: dict[bytes, WordVectors] = {}
        self._random = np.random.default_rng(project)
        self._start(store, project, encoder)

    def _start(self, store: Store, project: int, encoder: Encoder) -> None:
        super().__init__(store, project, encoder)
        self._is_quick = bool(getattr(encoder, "quick", False))  # encoders of other packages may lack the attribute
        self.at_once = MAX_ENCODED_PER_ROUND_QUICK if self._is_quick else MAX_ENCODED_PER_ROUND
        self._cache = store.vectors(project, encoder.name)
        self._cache_changes = self._cache.changes
        if isinstance(encoder, WordSpaceEncoder):
            self.words = WordReader(encoder, self._cache, self._unwritten_words)
        self._n_used_slots = 0
        self._word_counts: Ints = np.empty(0, np.int64)  # (n,) of the rows, -1 where the words are not counted yet
        self._nearest = NearestLabelled(0)
        self._sketches: Floats | None = None
        self._early_sketches: dict[bytes, Floats] = {}  # by content key: sketches from before the tasks were rows

    def snapshot(self) -> PoolSnapshot:
        """The pool as it is now, for another thread. Takes constant time, whatever the size of the vectors."""
        return PoolSnapshot(self)

    def use_encoder(self, encoder: Encoder) -> None:
        """Changes to another encoder and drops all tasks, so that `refresh` must follow. Does nothing if the vector
        space is the same."""
        if encoder.name != self.space:
            self.flush()
            self._start(self._store, self._project, encoder)

    def refresh(self, revision: int) -> None:
        """Reads the changes of the task list up to this revision, and the vectors that are on disk."""
        has_changed = revision != self._revision
        if has_changed:
            self.flush()
            self._update_tasks(*self._store.tasks.changed_since(self._project, self._revision))
            self._update_unusable(is_new_space=self._revision < 0)
            self._groups = {}
            self._revision = revision
        self._cache.refresh()
        if self._cache.changes != self._cache_changes:
            self._cache_changes = self._cache.changes
            self._forget_lost_vectors()
        elif not has_changed:
            return
        missing = np.flatnonzero(self.missing)  # another worker may have encoded some of these rows
        positions = self._cache.find([self._keys[row] for row in missing])
        cached = missing[positions >= 0]
        if len(cached):
            self._matrix[self._slots[cached]] = self._cache.read(positions[positions >= 0])
            self.encoded[cached] = True

    def _forget_lost_vectors(self) -> None:
        """Makes rows missing whose vectors another process has removed from the disk because they were damaged: words
        are read from there."""
        rows = np.flatnonzero(self.encoded)
        is_written = self._cache.find([self._keys[row] for row in rows]) >= 0
        self.encoded[rows] = is_written | np.array([self._keys[row] in self._unwritten for row in rows], np.bool_)

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
        self._unusable = np.zeros(len(self.tasks), np.bool_)
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
        keys, word_counts = np.full(len(tasks), b"", np.object_), np.full(len(tasks), -1, np.int64)
        slots[new_rows], encoded[new_rows] = self._slots[old_rows], self.encoded[old_rows]
        word_counts[new_rows] = self._word_counts[old_rows]
        synthetic[new_rows], keys[new_rows] = self.synthetic[old_rows], self._keys[old_rows]
        new_keys = np.array([*changed_keys, b""], np.object_)[:-1][is_present]
        rows_with_new_text = changed_rows[keys[changed_rows] != new_keys]
        slots[rows_with_new_text], encoded[rows_with_new_text] = -1, False
        word_counts[rows_with_new_text] = -1
        keys[changed_rows], synthetic[changed_rows] = new_keys, changed_synthetic[is_present]
        self._tasks, self._keys, self._encoded, self._synthetic = tasks, keys, encoded, synthetic
        self._without_text = np.asarray(keys == EMPTY_TEXT_KEY, np.bool_)
        self._word_counts = word_counts
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

    def word_counts(self, rows: Ints) -> Ints:
        """(m,) the number of words of the texts of rows, each of which is counted once."""
        missing = rows[self._word_counts[rows] < 0]
        for start in range(0, len(missing), ROWS_PER_CHUNK):
            chunk = missing[start : start + ROWS_PER_CHUNK]
            texts = self._store.tasks.texts(self._project, self.tasks[chunk].tolist())
            self._word_counts[chunk] = [count_words(text) for text in texts]
        return self._word_counts[rows]

    def encoded_vectors(self, rows: Ints) -> Floats:
        """The vectors (m, d) of rows, which are encoded now if they have none; zeros for unusable rows."""
        self.encode_missing(rows, len(rows))
        return np.asarray(self.vectors_at(rows))

    def encode_missing(self, rows: Ints, max_rows: int) -> None:
        """Encodes at most `max_rows` of the rows that are not encoded yet: the last ones in the order of `rows`."""
        missing = rows[self.missing[rows]]
        self._encode(missing[len(missing) - min(max_rows, len(missing)) :])

    def encode_some(self, n: int, among: Mask | None = None) -> None:
        """Encodes up to n more random tasks, of the rows `among` if it is given."""
        self._encode(self._random_rows(self.missing if among is None else self.missing & among, n))
        if not self.missing.any():
            self.flush()

    def draw(self, n: int) -> EncodingBatch:
        """A batch of up to n random tasks that are not encoded yet. The caller encodes the batch, perhaps in another
        thread, and passes the vectors to `store_vectors`."""
        return self._batch(self._random_rows(self.missing, n))

    def store_vectors(self, batch: EncodingBatch, encoded: EncodedTexts) -> None:
        """Stores the vectors of a batch; rows whose vectors are not finite become unusable. Ignores the batch if it is
        of an earlier encoder, tasks whose encoded text is not the one that the last `refresh` read, and tasks that a
        round has encoded meanwhile."""
        if batch.encoder is not self._encoder:
            return
        # the keys are those of the encoded texts: a task may have been changed or removed since `refresh` read its key
        keys = [content_key(text) for text in batch.texts]
        indices = np.flatnonzero(np.isin(batch.tasks, self.tasks))
        rows = self.rows_of(batch.tasks[indices])
        is_same_text = [self._keys[row] == keys[index] for row, index in zip(rows, indices, strict=True)]
        is_accepted = self.missing[rows] & np.array(is_same_text, np.bool_)
        rows, indices = rows[is_accepted], indices[is_accepted]
        vectors, usable, words = encoded.vectors, encoded.usable, encoded.words
        self._matrix[self._slots[rows]] = vectors[indices]
        self.encoded[rows], self.unusable[rows] = usable[indices], ~usable[indices]
        self._unwritten.update((keys[index], vectors[index]) for index in indices[usable[indices]])
        if words is not None:
            self._unwritten_words.update((keys[index], words[index]) for index in indices[usable[indices]])
        unusable_keys = {int(batch.tasks[index]): keys[index] for index in indices[~usable[indices]]}
        self._store.unusable_tasks.put(self._project, self.space, NOT_FINITE, unusable_keys)
        n_words = sum(map(len, self._unwritten_words.values()))
        if len(self._unwritten) >= VECTORS_PER_SHARD or n_words >= WORDS_PER_SHARD:
            self.flush()

    def flush(self) -> None:
        """Writes the vectors that are not on disk yet. Raises StoreError if this fails; the vectors are kept for the
        next call."""
        if self._unwritten:
            words = [self._unwritten_words[key] for key in self._unwritten] if self._unwritten_words else None
            self._cache.add(list(self._unwritten), np.stack(list(self._unwritten.values())), words)
            self._unwritten.clear()
            self._unwritten_words.clear()

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

    def nearest(self, view: PoolView, labelled: Mask) -> LabelledDistances | None:
        """Distances of the rows of a view to its `labelled` (m,) rows; None for sketches. The distances are cached from
        round to round, for rows that keep their slots."""
        if view.space != ENCODED:
            return None
        slots = self._slots[view.rows]
        self._nearest.follow(slots[labelled])
        return LabelledDistances(labelled, lambda rows: self._nearest.distances(self._matrix, slots[rows]))

    def _encode(self, rows: Ints) -> None:
        if len(rows):
            batch = self._batch(rows)
            self.store_vectors(batch, batch.encode())

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

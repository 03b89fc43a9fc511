"""What can be read of a pool: by the worker of the pool itself, and by other threads of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.core.arrays import Clustering, Floats, Ints, Mask
from ml_backend.core.ports import Clusterer, Encoder, LayeredWordEncoder, RecordEncoder
from ml_backend.core.texts import Texts
from ml_backend.pool.encoded_texts import WordReader
from ml_backend.pool.row_view import view_rows
from ml_backend.pool.word_space import WordSpaceEncoder
from ml_backend.storage import Store

ENCODED = "encoded"
MAX_CLUSTERS = 30  # clusters of a pool: a person can still review them
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


class PoolContents:
    """The tasks of one project with their vectors. Row i of every array is about `tasks[i]`. Nothing that this class
    offers changes the pool.

    words  reads the words of texts; None in a feature space without vectors of words
    """

    def __init__(self, store: Store, project: int, encoder: Encoder) -> None:
        """The contents of a pool without tasks."""
        self._store = store
        self._project = project
        self._encoder = encoder
        self.words: WordReader | None = None
        self._revision = -1
        self._tasks: Ints = np.empty(0, np.int64)
        self._keys: npt.NDArray[np.object_] = np.empty(0, np.object_)  # content keys (bytes)
        self._encoded: Mask = np.empty(0, np.bool_)
        self._unusable: Mask = np.empty(0, np.bool_)
        self._synthetic: Mask = np.empty(0, np.bool_)
        self._without_text: Mask = np.empty(0, np.bool_)
        self._matrix: Floats = np.empty((0, encoder.dim), np.float32)
        self._slots: Ints = np.empty(0, np.int64)
        self._clusters: dict[str, tuple[Clustering, Ints]] = {}  # by vector space
        self._groups: dict[str, Ints] = {}

    @property
    def space(self) -> str:
        """The name of the vector space."""
        return self._encoder.name

    @property
    def layered_encoder(self) -> LayeredWordEncoder | None:
        """The encoder, if words are read after one of several layers of it."""
        return self._encoder.layered if isinstance(self._encoder, WordSpaceEncoder) else None

    @property
    def tasks(self) -> Ints:
        """(n,) int64: the tasks, ascending."""
        return self._tasks

    @property
    def encoded(self) -> Mask:
        """(n,) bool: rows that have a vector, sketches apart."""
        return self._encoded

    @property
    def unusable(self) -> Mask:
        """(n,) bool: rows to which the encoder gives no finite vector: no drafts, and no fit on them."""
        return self._unusable

    @property
    def synthetic(self) -> Mask:
        """(n,) bool: rows whose text a teacher wrote."""
        return self._synthetic

    @property
    def without_text(self) -> Mask:
        """(n,) bool: rows that have neither a text nor a record."""
        return self._without_text

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

    def texts(self, tasks: Ints) -> Texts:
        """The texts of `tasks` (m,), with their words if the feature space has them. Each text is read from the store
        once: a learner asks for a text and then for its words, which are found by the text."""
        texts, words = self._store.tasks.texts_of(self._project, tasks).kept(), self.words
        return texts if words is None else words.add_words(texts)

    def count_words(self, rows: Ints) -> int | None:
        """The number of words in the texts of encoded rows, None in a feature space without vectors of words."""
        return None if (words := self.words) is None else words.count([self._keys[row] for row in rows])

    def vectors_at(self, rows: Ints) -> Floats:
        """The vectors (m, d) of encoded rows, to be read by rows: they are not copied."""
        return view_rows(self._matrix, self._slots[rows])

    def encoded_view(self) -> PoolView:
        """The rows that are encoded so far."""
        rows = np.flatnonzero(self.encoded)
        return PoolView(ENCODED, rows, self.vectors_at(rows))

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


class PoolSnapshot(PoolContents):
    """The contents of a pool at one moment, which another thread may read while the pool changes.

    A pool replaces its arrays when tasks change, apart from `encoded`, `unusable` and the matrix of the vectors. The
    snapshot has copies of the first two that cannot be written to. In the matrix, the pool writes only to rows that the
    snapshot treats as not encoded.
    """

    def __init__(self, pool: PoolContents) -> None:
        super().__init__(pool._store, pool._project, pool._encoder)
        self._revision = pool._revision
        self._tasks, self._keys = pool._tasks, pool._keys
        self._encoded, self._unusable = pool._encoded.copy(), pool._unusable.copy()
        for copied in (self._encoded, self._unusable):
            copied.setflags(write=False)
        self._synthetic, self._without_text = pool._synthetic, pool._without_text
        self._matrix, self._slots = pool._matrix, pool._slots
        self._clusters, self._groups = dict(pool._clusters), dict(pool._groups)
        self.words = pool.words and pool.words.snapshot()

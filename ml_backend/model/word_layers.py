"""Chooses the layers of an encoder that a project's words are read after, by cross-validation on the labelled texts.

The layers that serve a task best differ from model to model (Liu, Gardner, Belinkov, Peters and Smith, "Linguistic
Knowledge and Transferability of Contextual Representations", NAACL 2019). The choice is made again only after the
labels have quadrupled: all texts of the pool are encoded anew when it changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ml_backend.core.arrays import TrainingSet
from ml_backend.core.ports import LayeredWordEncoder, Learner
from ml_backend.core.texts import Layers, texts_at
from ml_backend.kinds.lookup import kind_of
from ml_backend.model.training_sample import random_rows
from ml_backend.pool.layer_choice import LayerChoice

MIN_TEXTS, MIN_MARKED_TEXTS = 50, 20
"""Labelled texts, and those of them in which something is marked, from which on layers are compared. With fewer, a fold
has hardly a span of each label, and the difference between two layers is noise."""
MAX_TEXTS = 300  # labelled texts on which layers are compared: half a minute of a slow encoder
GROWTH = 4  # factor by which the labelled texts have grown when layers are compared again
MIN_GAIN = 0.01
"""Held-out score by which layers must be better than those in use: encoding the pool anew is not free."""


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """What a comparison of layers needs, beside the labelled texts.

    in_use    the last choice, None if the encoder's own layers are in use
    now       in seconds since the epoch
    labelled  number of labelled texts
    """

    encoder: LayeredWordEncoder
    in_use: LayerChoice | None
    now: float
    labelled: int


def is_choice_due(choice: LayerChoice | None, labelled: int, marked: int) -> bool:
    """Whether layers are to be compared, by the number of labelled texts and of those in which something is marked."""
    if choice is not None:
        return labelled >= GROWTH * choice.labelled
    return labelled >= MIN_TEXTS and marked >= MIN_MARKED_TEXTS


def choose_layers(comparison: LayerComparison, learner: Learner, train: TrainingSet) -> LayerChoice:
    """Fits the learner on the labelled texts with the words of each candidate, and chooses the candidate with the best
    held-out drafts. Keeps the layers in use unless others are better by MIN_GAIN."""
    encoder, in_use = comparison.encoder, comparison.in_use
    candidates, current = encoder.layer_candidates(), in_use.layers if in_use else ()
    scores: dict[Layers, float] = {}
    if len(candidates) > 1 and train.texts is not None:
        rows = random_rows(np.arange(len(train.targets)), MAX_TEXTS)
        texts = train.texts(rows)
        train = train.take(rows)
        _, words = encoder.encode_with_layers(texts, candidates)
        for candidate, of_candidate in zip(candidates, words, strict=True):
            read = replace(train, texts=texts_at(texts, of_candidate), pool_texts=None, priors={})
            scores[candidate] = _held_out_score(learner, read)
    best = max(scores, key=lambda candidate: scores[candidate], default=candidates[0])
    kept = current or candidates[0]
    if scores.get(best, 0.0) < scores.get(kept, 0.0) + MIN_GAIN:
        best = kept
    layers = () if best == candidates[0] else best
    scored = tuple(scores.items())
    return LayerChoice(encoder.name, layers, current, comparison.now, comparison.labelled, scored)


def _held_out_score(learner: Learner, train: TrainingSet) -> float:
    """The score of cross-validated predictions over all texts; for spans, the strict F1 score."""
    of_kind, control = kind_of(train.control), train.control
    held_out = learner.fit(train, 0).held_out
    scores = of_kind.scores(control, held_out, train.targets)
    weights = of_kind.score_weights(control, held_out, train.targets)
    return float(np.average(scores, weights=weights) if weights is not None and weights.sum() > 0 else scores.mean())

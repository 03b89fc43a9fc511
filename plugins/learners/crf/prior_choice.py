"""Fits a model from the prior that the annotators' labels support, or from none.

Each candidate is judged by the labelled texts that its heads were not fitted on. This takes a fit for each of them, so
a choice holds until the labels have grown or the priors have changed: in between, a refit takes as long as without
priors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ml_backend.core.arrays import Floats, Tensors
from plugins.learners.crf.chain import Doubles
from plugins.learners.crf.fit import text_losses
from plugins.learners.crf.model import N_FOLDS, Model, PriorChoice, unpack
from plugins.learners.crf.prior import digest
from plugins.learners.crf.tags import Layers, allowed_tags, find_layers
from plugins.learners.crf.training import FittedModel, LabelledTexts, fit_model, tagged_words
from plugins.learners.crf.word_table import WordTable
from plugins.learners.priors import NO_PRIOR, best_guess

CHOICE_GROWTH = 1.25
"""The prior is chosen anew when the number of labelled words has grown by this factor."""


def fit_with_best_prior(
    texts: LabelledTexts,
    labels: Sequence[str],
    serving: Model | None,
    sample: WordTable | None,
    priors: Mapping[str, Tensors],
    selection_weights: Floats,
) -> FittedModel:
    """The fit with the prior that has the best held-out losses.

    labels             of the control
    serving, sample    as in `training.fit_model`
    priors             the tensors of each prior, by name
    selection_weights  (n,) of the texts in the choice of a prior, 0 for those that do not count
    """
    unpacked = {name: unpack(tensors) for name, tensors in priors.items()}
    usable = {name: prior for name, prior in unpacked.items() if prior.reads_like(texts.table)}
    layers = find_layers(texts.targets, labels, {label for prior in usable.values() for label in prior.labels})
    identity = digest([priors[name] for name in usable])
    choice = _standing_choice(serving, texts, identity)
    names = ["", *usable] if choice is None else [choice.name]
    candidates = {
        name: fit_model(texts, layers, _with_prior(serving, name, identity), sample, usable.get(name)) for name in names
    }
    if choice is None:
        choice = _choose(candidates, texts, layers, selection_weights)
        choice = replace(choice, digest=identity, words=len(texts.table.starts))
    fitted = candidates[choice.name]
    return replace(fitted, model=replace(fitted.model, choice=choice))


def _standing_choice(serving: Model | None, texts: LabelledTexts, identity: str) -> PriorChoice | None:
    """The serving model's choice, None if it is to be made anew."""
    if serving is None or serving.choice.digest != identity:
        return None
    return serving.choice if len(texts.table.starts) < CHOICE_GROWTH * serving.choice.words else None


def _with_prior(serving: Model | None, name: str, identity: str) -> Model | None:
    """The serving model if it is drawn to the same prior, else None."""
    if serving is None or serving.choice.name != name:
        return None
    return serving if not name or serving.choice.digest == identity else None


def _choose(
    candidates: Mapping[str, FittedModel], texts: LabelledTexts, layers: Layers, selection_weights: Floats
) -> PriorChoice:
    """The prior with the best held-out losses: it must be better than none by more than the standard error."""
    counted = np.flatnonzero(selection_weights > 0)
    priors = [name for name in candidates if name]
    if not priors or len({*texts.folds[counted].tolist()}) < 2:
        return PriorChoice()
    losses = np.stack([_held_out_losses(candidate, texts, layers)[counted] for candidate in candidates.values()])
    shares = selection_weights[counted] / selection_weights[counted].sum()
    names = [*candidates]
    best = best_guess(losses, shares, priors, names)
    scores = losses @ shares
    errors = {name or NO_PRIOR: float(score / max(scores[0], 1e-12)) for name, score in zip(names, scores, strict=True)}
    return PriorChoice(names[best], errors)


def _held_out_losses(fitted: FittedModel, texts: LabelledTexts, layers: Layers) -> Doubles:
    """(n,) the loss of each text by the head of its fold, summed over the layers."""
    losses = np.zeros(len(texts.targets))
    for number, layer in enumerate(layers):
        allowed = allowed_tags(texts.targets, texts.table, layer)
        for fold in range(N_FOLDS):
            rows, field = np.flatnonzero(texts.folds == fold), fitted.model.fields[fold][number]
            words = tagged_words(texts, allowed, rows)
            of_texts = rows[words.places.texts[: words.places.n_texts]]
            losses[of_texts] += text_losses(words, field.scores(fitted.features.take(words.words)), field.chain)
    return losses

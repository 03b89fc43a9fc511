"""Uses each plugin once before the first round, because its first use takes seconds: it imports libraries and loads
weights."""

from __future__ import annotations

import numpy as np
import structlog

from ml_backend.core import registry
from ml_backend.core.arrays import Floats, Pool, TrainingSet
from ml_backend.core.schema import ChoicesSchema
from ml_backend.core.settings import Settings
from ml_backend.kinds.lookup import kind_of

ROWS = 8  # of an example problem that is just large enough for every plugin

log = structlog.get_logger()


def warm(settings: Settings) -> None:
    """Uses the installation's encoder, learner and query strategy once. An error is only logged here, because the first
    round raises it again."""
    options = settings.defaults.with_form_defaults("text")
    try:
        encoder = registry.encoder(settings.encoder)
        texts = [f"text {row}" for row in range(ROWS)]
        encoder.sketch(texts)
        vectors: Floats = encoder.encode(texts)
        targets = np.eye(2, dtype=np.float32)[np.arange(ROWS) % 2]
        control = ChoicesSchema("", "", ("no", "yes"))
        of_kind = kind_of(control)
        learner = of_kind.learner(control, options.learner)
        fit = learner.fit(TrainingSet(vectors, targets, np.ones(ROWS, np.float32), control, targets), 0)
        all_rows = np.ones(ROWS, np.bool_)
        predictions = of_kind.predictions(control, learner.predict(fit.tensors, vectors))
        pool = Pool(vectors, predictions, ~all_rows, all_rows)
        registry.acquisition(options.acquisition).select(pool, 1, 0)
    except Exception as error:  # the worker runs without a warm-up, too
        log.warning("warm-up failed, the first round may be slow", error=type(error).__name__)

"""One round, top to bottom: reconcile -> encode -> fit -> assess -> rank -> publish.

Each stage takes the results of the stages before it.
"""

from __future__ import annotations

import uuid

from ml_backend.core.types import ModelVersion
from ml_backend.label_studio.sync import reconcile
from ml_backend.loop.context import RoundContext
from ml_backend.loop.preparation import has_changed, prepare
from ml_backend.loop.publication import propose_reviews, publish, store_version, update_stats, writable_queue
from ml_backend.loop.queue_builder import RankingContext, rank
from ml_backend.loop.training import assess, train
from ml_backend.storage import RoundRow


def run_round(context: RoundContext) -> RoundRow | None:
    """Fits a learner on all labels and publishes a new queue; returns None if nothing has changed since the last one.

    If it raises ApprenticeError, the earlier version goes on serving.
    """
    store, project = context.store, context.project
    started_at = store.clock.now()
    with context.stage("reconcile"):
        reconcile(
            context.client,
            store,
            project,
            context.settings.reconcile_seconds,
            context.check_lease,
            context.pool.sketch_ahead,
        )

    with context.stage("encode"):
        inputs = prepare(context)
        if not has_changed(inputs, context.pool):
            update_stats(context, inputs, inputs.serving)
            propose_reviews(context, inputs)
            return None

    number = store.versions.next_number(project)
    # the name is new to Label Studio, also if another store has published to the project
    name = f"apprentice-{number}-{uuid.uuid4().hex[:4]}"
    with context.stage("fit"):
        candidates = train(context, inputs, number)

    with context.stage("assess"):
        models = assess(context, inputs, candidates, number)

    with context.stage("rank"):
        ranking_context = RankingContext.of(context, inputs, models.model, number, name)
        queue, contents, left_out = writable_queue(context, inputs, rank(store, context.pool, ranking_context))

    with context.stage("publish"):
        version = ModelVersion(
            project=project,
            number=number,
            name=name,
            learner=models.model.number if models.model else None,
            labelled=len(inputs.labelled),
            controls=models.controls,
            created_at=store.clock.now(),
            remarks=(*inputs.remarks, *models.remarks, *left_out),
            acquisition=inputs.options.acquisition,
        )
        store_version(context, version, models.model if models.is_new else None, len(queue))
        publish(context, inputs, version, models.model, queue, contents)
    round_row = RoundRow(version.name, started_at, store.clock.now(), context.stages)
    propose_reviews(context, inputs)
    return round_row

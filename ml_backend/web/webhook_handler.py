"""Handles a webhook event in milliseconds: stores it and requests a round. It trains nothing."""

from __future__ import annotations

from ml_backend.label_studio.webhooks import Event
from ml_backend.storage import Store


def handle_event(store: Store, event: Event) -> bool:
    """Stores an event and returns whether it requested a round. Doubled, late and reordered events are harmless.

    An event of an unknown project is ignored: the project was forgotten, or `connect` has not stored it yet.
    """
    project = event.project
    record = store.projects.get(project)
    if record is None:
        return False
    config_changed = event.label_config is not None and event.label_config != record.label_config
    is_manual = event.action == "START_TRAINING"
    if event.counts is not None and event.counts != record.counts:
        store.synchronisation.set_counts(project, event.counts)
    if config_changed or event.incomplete or is_manual:  # the event may be late, so the round asks Label Studio
        store.synchronisation.request_reconciliation(project)
    if is_manual:
        store.publications.request(project)
    store.tasks.put(project, event.examples, only_new=True)  # a late event must not restore an old text
    store.tasks.remove(project, event.deleted_tasks)
    store.annotations.put(project, event.annotations)
    store.annotations.delete(project, event.deleted_annotations)
    needs_round = record.is_connected and (event.needs_round or config_changed)
    if needs_round:
        store.jobs.request(project, retry=is_manual)
    return needs_round

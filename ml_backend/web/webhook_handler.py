"""What a webhook event does: into the store, and a round is wanted. Milliseconds, nothing is learnt here."""

from __future__ import annotations

from ml_backend.label_studio.webhooks import Event
from ml_backend.storage import Store


def take(store: Store, event: Event) -> bool:
    """Stores an event; returns whether a round was asked for. Doubled, late and reordered events are harmless.

    One of a project that is not known here is ignored: it was forgotten, or `connect` has not begun yet.
    """
    project = event.project
    record = store.projects.get(project)
    if record is None:
        return False
    changed = event.label_config is not None and event.label_config != record.label_config
    by_hand = event.action == "START_TRAINING"
    if event.counts is not None and event.counts != record.counts:
        store.synchronisation.hear(project, event.counts)
    if changed or event.incomplete or by_hand:  # the event may be a late one: the round asks Label Studio
        store.synchronisation.look_again(project)
    if by_hand:
        store.publications.request(project)
    store.tasks.put(project, event.examples, only_new=True)  # a late event must not bring an old text back
    store.tasks.remove(project, event.deleted_tasks)
    store.labels.put(project, event.annotations)
    store.labels.delete(project, event.deleted_annotations)
    wanted = record.is_connected and (event.asks_for_round or changed)
    if wanted:
        store.jobs.request(project, retry=by_hand)
    return wanted

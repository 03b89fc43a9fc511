"""Connects a project of Label Studio with this backend, and disconnects it, which restores its earlier settings."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, NotFoundError, RequestRefusedError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings, project_params
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.label_review import delete_proposals, save_second_look_tab
from ml_backend.label_studio.serialization import read_timestamp
from ml_backend.label_studio.sync import check_identity
from ml_backend.storage import ProjectRow, Store

TITLE = "Apprentice"
SAMPLING = "Uncertainty sampling"
BASIC_AUTH_USER = "apprentice"
WILDCARD_ADDRESSES = ("0.0.0.0", "::")  # noqa: S104 (compared, not listened on)
DRAFT_COLUMN, DRAFT_COLUMN_PIXELS = "predictions_results", 700
HIDDEN_COLUMNS = (  # the tab shows the other columns: id, score, draft and data
    "inner_id", "completed_at", "total_annotations", "cancelled_annotations", "total_predictions", "annotators",
    "annotations_results", "annotations_ids", "predictions_model_versions", "file_upload",
    "storage_filename", "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists",
)  # fmt: skip
RESTORED_SETTINGS = ("sampling", "model_version", "show_collab_predictions")

# PROJECT_UPDATED is left out: Apprentice's own change of the model version would fire it, and at 100,000 tasks Label
# Studio needs 0.1 s for the counts in its body. Every other event carries the labelling configuration, and
# `worker/config_check.py` reads it at intervals.
WEBHOOK_ACTIONS = [
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED",
    "TASKS_DELETED",
]  # fmt: skip

CONNECTION_PARTS = (  # key in `ProjectRow.connection`, name in messages, path in the API
    ("webhook", "webhook", "api/webhooks/{}/"),
    ("ml", "ML backend", "api/ml/{}"),
    ("view", "tab", "api/dm/views/{}/"),
    ("second look", "tab of second looks", "api/dm/views/{}/"),
)
MAX_ROUND_WAIT_SECONDS = 60.0  # how long `disconnect` and `forget` wait for a running round

Notify = Callable[[str], None]
"""Is called with a message for the user."""


def connect(client: LabelStudioClient, store: Store, settings: Settings, project: int, notify: Notify) -> ProjectSchema:
    """Sets up a project: webhook, ML backend, sampling, tab, first round. A repeated call restores missing parts.
    Returns the schema that is learnt from now on.

    Raises ApprenticeError if Label Studio cannot call this backend's address, and UnsupportedConfigError, both before
    anything is changed in Label Studio. Raises LabelStudioError if Label Studio refuses a step.
    """
    if not settings.public_url and settings.host in WILDCARD_ADDRESSES:
        raise ApprenticeError(
            f"Label Studio cannot call {settings.host}: set APPRENTICE_PUBLIC_URL to this backend's address"
        )
    fields = client.project(project)
    project_row = store.projects.ensure(project)
    connection = project_row.connection or {}
    created_at = read_timestamp(fields.get("created_at"))
    is_other_project = project_row.made_at not in ("", created_at)
    read_schema(fields.get("label_config") or "", "" if is_other_project else project_row.choices)
    if is_other_project:
        remove_earlier_project(store, project)
        connection = {}
        notify("another project had this number before: its stored data is removed")
    earlier = connection.get("earlier") or {name: fields.get(name) for name in RESTORED_SETTINGS}
    # stored first, so that `disconnect` restores the earlier settings even if a later step fails
    config = fields.get("label_config") or ""
    store.connections.begin(project, earlier)
    store.projects.identify(project, created_at)
    store.projects.set_label_config(project, config)

    address, secret = settings.address, settings.secret.get_secret_value()
    # before the ML backend: without a webhook, the ML backend would create one that does not send the secret
    webhook = _save_webhook(client, project, f"{address}/webhook", secret, connection.get("webhook"))
    notify(f"webhook to {address}/webhook{' with the secret' if secret else ''}")
    ml_backend, extra_params = _save_ml_backend(client, project, address, secret, connection.get("ml"))
    notify(f"ML backend {address}")
    client.change_project(project, sampling=SAMPLING, show_collab_predictions=True)
    notify(f"sampling: {SAMPLING.lower()} (was: {str(earlier.get('sampling')).lower()})")
    tab = _save_queue_tab(client, project, connection.get("view"))
    notify("a tab in the order of the queue in the Data Manager")
    second_look_tab = (
        save_second_look_tab(client, project, connection["second look"]) if "second look" in connection else None
    )
    store.projects.set_extra_params(project, extra_params)
    store.connections.complete(project, webhook, ml_backend, tab, second_look_tab)
    store.publications.request(project)
    store.synchronisation.request_reconciliation(project)
    store.jobs.request(project, retry=True)
    return read_schema(config, ProjectRow(project, extra_params=extra_params).choices)


def remove_earlier_project(store: Store, project: int) -> None:
    """Removes the stored data of an earlier project with the same number, whose tasks and labels were different ones.
    The cost of its teacher stays on the ledger, because budgets are kept by the number of a project."""
    store.forget(project, ledger=False)
    store.projects.ensure(project)


def disconnect(client: LabelStudioClient, store: Store, project: int, notify: Notify) -> bool:
    """Removes what `connect` created and restores the earlier settings; False if the project is not connected.

    Labels, versions and vectors stay in the store, and the predictions stay in Label Studio. If the project was deleted
    in Label Studio, only the connection is removed from the store. Raises LabelStudioError, after which the project is
    still connected, and ApprenticeError if Label Studio has another project with this number.
    """
    project_row = store.projects.get(project)
    if project_row is None or not project_row.connection:
        return False
    with suppress(NotFoundError):
        check_identity(client, project_row, client.project(project))
    try:
        stop_rounds(store, project)
        _restore(client, project, project_row.connection, notify)
    except NotFoundError:
        notify("the project is gone from Label Studio")
    except BaseException:  # the caller can try again
        if project_row.is_connected:
            store.connections.resume(project)
        raise
    store.publications.withdraw(project)
    store.projects.unpin(project)
    store.reviews.forget(project)
    store.connections.forget(project)
    return True


def stop_rounds(store: Store, project: int) -> None:
    """Suspends a project's rounds and waits for a running one, so that no round publishes after this call. The wait
    ends after `MAX_ROUND_WAIT_SECONDS`."""
    store.connections.suspend(project)
    deadline = store.clock.monotonic() + MAX_ROUND_WAIT_SECONDS
    while store.jobs.state(project).running and store.clock.monotonic() < deadline:
        store.clock.sleep(0.1)


def _restore(client: LabelStudioClient, project: int, connection: dict[str, Any], notify: Notify) -> None:
    """Removes the parts of a connection from Label Studio and restores the project's earlier settings."""
    for key, name, path in CONNECTION_PARTS:
        if connection.get(key):
            _delete(client, path.format(connection[key]))
            notify(f"removed the {name}")
    if connection.get("second look"):
        with suppress(NotFoundError, RequestRefusedError):
            delete_proposals(client, project)
    earlier = connection["earlier"].items()
    client.change_project(
        project, **{name: value for name, value in earlier if value is not None and name != "model_version"}
    )
    restore_model_version(client, project, connection)
    notify("restored the earlier sampling and model version")


def restore_model_version(client: LabelStudioClient, project: int, connection: Mapping[str, Any]) -> None:
    """Restores the model version that the project had before `connect`.

    connection  see `ProjectRow.connection`
    """
    version = connection.get("earlier", {}).get("model_version") or ""
    try:
        client.change_project(project, model_version=version)
    except RequestRefusedError:  # no prediction has that version any more
        client.change_project(project, model_version="")


def auth_headers(secret: str) -> dict[str, str]:
    """The HTTP headers with which Label Studio's webhook must authenticate; none if the secret is ""."""
    if not secret:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{BASIC_AUTH_USER}:{secret}".encode()).decode()}


def _save_webhook(client: LabelStudioClient, project: int, url: str, secret: str, stored_id: int | None) -> int:
    """Updates or creates the webhook, deletes its duplicates, and returns its id."""
    body = {
        "project": project, "url": url, "headers": auth_headers(secret), "send_payload": True,
        "send_for_all_actions": False, "actions": WEBHOOK_ACTIONS, "is_active": True,
    }  # fmt: skip
    ids = _matching_ids(client.call("GET", "api/webhooks/", params={"project": project}), url, stored_id)
    if not ids:
        return int(client.call("POST", "api/webhooks/", body=body)["id"])
    for duplicate in ids[1:]:
        _delete(client, f"api/webhooks/{duplicate}/")
    client.call("PATCH", f"api/webhooks/{ids[0]}/", body=body)
    return ids[0]


def _save_ml_backend(
    client: LabelStudioClient, project: int, url: str, secret: str, stored_id: int | None
) -> tuple[int, dict[str, Any]]:
    """Updates or creates the ML backend in Label Studio, deletes its duplicates, and returns its id and its extra
    params. Raises RequestRefusedError if Label Studio cannot use the backend."""
    body: dict[str, Any] = {"project": project, "url": url, "title": TITLE, "is_interactive": False}
    if secret:
        body |= {"auth_method": "BASIC_AUTH", "basic_auth_user": BASIC_AUTH_USER, "basic_auth_pass": secret}
    ids = _matching_ids(client.call("GET", "api/ml", params={"project": project}), url, stored_id)
    for duplicate in ids[1:]:
        _delete(client, f"api/ml/{duplicate}")
    try:
        if ids:
            backend = client.call("PATCH", f"api/ml/{ids[0]}", body=body)
        else:
            backend = client.call("POST", "api/ml", body=body)
    except RequestRefusedError as error:  # during this request, Label Studio calls /health and /setup
        raise RequestRefusedError(
            f"{error}. Check that Label Studio reaches {url} and that `apprentice serve` runs there"
        ) from error
    return int(backend["id"]), project_params(backend.get("extra_params"))


def _matching_ids(objects: list[Any], url: str, stored_id: int | None) -> list[int]:
    """The ids of the objects that have this URL, or the id that `connect` stored, which comes first."""
    ids = [int(item["id"]) for item in objects if item["id"] == stored_id or item["url"].rstrip("/") == url]
    return sorted(ids, key=lambda object_id: object_id != stored_id)


def _save_queue_tab(client: LabelStudioClient, project: int, stored_id: int | None) -> int:
    """Updates or creates the tab in the order of the queue, and returns its id. The tab shows each draft with its
    confidence, cluster, uncertainty and explanation, which the labelling screen cannot show."""
    hidden = [f"tasks:{column}" for column in HIDDEN_COLUMNS]
    data = {
        "title": "Apprentice queue",
        "type": "list",
        "target": "tasks",
        "ordering": ["tasks:predictions_score"],
        "hiddenColumns": {"explore": hidden, "labeling": hidden},
        "columnsWidth": {f"tasks:{DRAFT_COLUMN}": DRAFT_COLUMN_PIXELS},
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}],
        },
    }
    return client.save_tab(project, data, stored_id)


def _delete(client: LabelStudioClient, path: str) -> None:
    with suppress(NotFoundError):
        client.call("DELETE", path)

"""Connects a project with this backend, and takes it apart again, leaving it as it was."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from ml_backend.core.exceptions import ApprenticeError, NotFoundError, RequestRefusedError
from ml_backend.core.settings import Settings, own_params
from ml_backend.core.types import TaskSchema
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.label_review import make_tab, withdraw
from ml_backend.label_studio.serialization import read_moment
from ml_backend.label_studio.sync import check_identity
from ml_backend.storage import ProjectRecord, Store

TITLE = "Apprentice"
SAMPLING = "Uncertainty sampling"
USER = "apprentice"
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 (compared, not listened on)
RESULTS, WIDE = "predictions_results", 700  # pixels
HIDDEN_COLUMNS = (  # of the tab: what is left are the number, the place in the queue, the draft and the data
    "inner_id", "completed_at", "total_annotations", "cancelled_annotations", "total_predictions", "annotators",
    "annotations_results", "annotations_ids", "predictions_model_versions", "file_upload",
    "storage_filename", "created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists",
)  # fmt: skip
REMEMBERED = ("sampling", "model_version", "show_collab_predictions")

# Without PROJECT_UPDATED: our own switch of the model version fires it, and at 100,000 tasks Label Studio counts for
# 0.1 s to say so. Every other event carries the labelling configuration, and `jobs/config_check.py` asks for it.
ACTIONS = [
    "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_CREATED",
    "TASKS_DELETED",
]  # fmt: skip

PARTS = (
    ("webhook", "webhook", "api/webhooks/{}/"),
    ("ml", "ML backend", "api/ml/{}"),
    ("view", "tab", "api/dm/views/{}/"),
    ("second look", "tab of second looks", "api/dm/views/{}/"),
)
ROUND_SECONDS = 60.0  # that `disconnect` and `forget` wait for a running round

Say = Callable[[str], None]


def connect(client: LabelStudioClient, store: Store, settings: Settings, project: int, say: Say) -> TaskSchema:
    """Sets a project up: webhook, ML backend, sampling, tab, first round. Repeating it repairs what is missing. Returns
    what is learnt of the project from now on.

    Raises UnsupportedConfigError before anything is changed, LabelStudioError where Label Studio refuses a step.
    """
    if not settings.public_url and settings.host in WILDCARDS:
        raise ApprenticeError(
            f"Label Studio cannot call {settings.host}: set APPRENTICE_PUBLIC_URL to this backend's address"
        )
    found = client.project(project)
    record = store.projects.ensure(project)
    read_schema(found.get("label_config") or "", record.choices)
    made = record.connection or {}
    made_at = read_moment(found.get("created_at"))
    if record.made_at not in ("", made_at):
        _forget(store, project)
        made = {}
        say("another project had this number before: what was known of that one is forgotten")
    earlier = made.get("earlier") or {name: found.get(name) for name in REMEMBERED}
    # remembered first: if a later step fails, `disconnect` still restores what was there
    config = found.get("label_config") or ""
    store.connections.begin(project, earlier)
    store.projects.identify(project, made_at)
    store.projects.set_label_config(project, config)

    address, secret = settings.address, settings.secret.get_secret_value()
    # before the ML backend, which would otherwise make a webhook of its own without the secret
    webhook = _webhook(client, project, f"{address}/webhook", secret, made.get("webhook"))
    say(f"webhook to {address}/webhook{' with the secret' if secret else ''}")
    ml_backend, extra_params = _ml_backend(client, project, address, secret, made.get("ml"))
    say(f"ML backend {address}")
    client.change_project(project, sampling=SAMPLING, show_collab_predictions=True)
    say(f"sampling: {SAMPLING.lower()} (was: {str(earlier.get('sampling')).lower()})")
    tab = _view(client, project, made.get("view"))
    say("a tab in the order of the queue in the Data Manager")
    second_look_tab = make_tab(client, project, made["second look"]) if "second look" in made else None
    store.projects.set_extra_params(project, extra_params)
    store.connections.complete(project, webhook, ml_backend, tab, second_look_tab)
    store.publications.request(project)
    store.synchronisation.look_again(project)
    store.jobs.request(project, retry=True)
    return read_schema(config, ProjectRecord(project, extra_params=extra_params).choices)


def _forget(store: Store, project: int) -> None:
    """Another project's numbers mean other tasks, and its labels other things. What its teacher has cost stays on the
    ledger: budgets are of an installation's projects by their numbers."""
    store.forget(project, ledger=False)
    store.projects.ensure(project)


def disconnect(client: LabelStudioClient, store: Store, project: int, say: Say) -> bool:
    """Removes what `connect` made and restores the settings of before; False if the project is not connected.

    Labels, versions and vectors stay in the store, and the predictions in Label Studio. A project that was deleted
    there is just forgotten. Raises ApprenticeError for another project of the same number.
    """
    record = store.projects.get(project)
    if record is None or not record.connection:
        return False
    with suppress(NotFoundError):
        check_identity(client, record, client.project(project))
    try:
        stop_rounds(store, project)
        _restore(client, project, record.connection, say)
    except NotFoundError:
        say("the project is gone from Label Studio")
    except BaseException:  # to be tried again
        if record.is_connected:
            store.connections.resume(project)
        raise
    store.publications.withdraw(project)
    store.projects.pin(project, None)
    store.reviews.forget(project)
    store.connections.forget(project)
    return True


def stop_rounds(store: Store, project: int) -> None:
    """Takes a project from the workers; then a running round is waited for, so that it publishes nothing behind our
    back."""
    store.connections.suspend(project)
    deadline = time.monotonic() + ROUND_SECONDS
    while store.jobs.state(project).running and time.monotonic() < deadline:
        time.sleep(0.1)


def _restore(client: LabelStudioClient, project: int, connection: dict[str, Any], say: Say) -> None:
    for kind, name, path in PARTS:
        if connection.get(kind):
            _delete(client, path.format(connection[kind]))
            say(f"removed the {name}")
    if connection.get("second look"):
        with suppress(NotFoundError, RequestRefusedError):
            withdraw(client, project)
    earlier = connection["earlier"].items()
    client.change_project(
        project, **{name: value for name, value in earlier if value is not None and name != "model_version"}
    )
    restore_model_version(client, project, connection)
    say("restored the earlier sampling and model version")


def restore_model_version(client: LabelStudioClient, project: int, connection: Mapping[str, Any]) -> None:
    """Makes Label Studio serve what it served before `connect`. `connection`: as `ProjectRecord.connection`."""
    version = connection.get("earlier", {}).get("model_version") or ""
    try:
        client.change_project(project, model_version=version)
    except RequestRefusedError:  # where no prediction carries that version any more
        client.change_project(project, model_version="")


def headers(secret: str) -> dict[str, str]:
    """What Label Studio's webhook must send to be let in."""
    if not secret:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{USER}:{secret}".encode()).decode()}


def _webhook(client: LabelStudioClient, project: int, url: str, secret: str, known: int | None) -> int:
    wanted = {
        "project": project, "url": url, "headers": headers(secret), "send_payload": True,
        "send_for_all_actions": False, "actions": ACTIONS, "is_active": True,
    }  # fmt: skip
    ours = _ours(client.call("GET", "api/webhooks/", params={"project": project}), url, known)
    if not ours:
        return int(client.call("POST", "api/webhooks/", body=wanted)["id"])
    for extra in ours[1:]:
        _delete(client, f"api/webhooks/{extra}/")
    client.call("PATCH", f"api/webhooks/{ours[0]}/", body=wanted)
    return ours[0]


def _ml_backend(
    client: LabelStudioClient, project: int, url: str, secret: str, known: int | None
) -> tuple[int, dict[str, Any]]:
    """Number of the connection and its extra params."""
    wanted: dict[str, Any] = {"project": project, "url": url, "title": TITLE, "is_interactive": False}
    if secret:
        wanted |= {"auth_method": "BASIC_AUTH", "basic_auth_user": USER, "basic_auth_pass": secret}
    ours = _ours(client.call("GET", "api/ml", params={"project": project}), url, known)
    for extra in ours[1:]:
        _delete(client, f"api/ml/{extra}")
    try:
        if ours:
            made = client.call("PATCH", f"api/ml/{ours[0]}", body=wanted)
        else:
            made = client.call("POST", "api/ml", body=wanted)
    except RequestRefusedError as error:  # Label Studio has just called /health and /setup
        raise RequestRefusedError(f"{error}. Does it reach {url}, and is `apprentice serve` running there?") from error
    return int(made["id"]), own_params(made.get("extra_params"))


def _ours(found: list[Any], url: str, known: int | None) -> list[int]:
    """The numbers of what points at this backend or was made for it under another address, the recorded one first."""
    ours = [int(each["id"]) for each in found if each["id"] == known or each["url"].rstrip("/") == url]
    return sorted(ours, key=lambda number: number != known)


def _view(client: LabelStudioClient, project: int, known: int | None) -> int:
    """The drafts are shown there with confidence, cluster, uncertainty and what speaks for them: the labelling screen
    has no place for that."""
    hidden = [f"tasks:{column}" for column in HIDDEN_COLUMNS]
    data = {
        "title": "Apprentice queue",
        "type": "list",
        "target": "tasks",
        "ordering": ["tasks:predictions_score"],
        "hiddenColumns": {"explore": hidden, "labeling": hidden},
        "columnsWidth": {f"tasks:{RESULTS}": WIDE},
        "filters": {
            "conjunction": "and",
            "items": [{"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}],
        },
    }
    return client.save_tab(project, data, known)


def _delete(client: LabelStudioClient, path: str) -> None:
    with suppress(NotFoundError):
        client.call("DELETE", path)

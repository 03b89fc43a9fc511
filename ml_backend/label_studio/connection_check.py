"""Reads the state of a project's connection from Label Studio, for `apprentice doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core.settings import Settings
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import SAMPLING, auth_headers
from ml_backend.storage import ProjectRow


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """One project's connection, as stored in Label Studio.

    other_address           the address in the project's webhook or ML backend if it is not this backend's address, else
                            ""
    webhooks                number of active webhooks that call this backend
    authenticated_webhooks  number of these webhooks that send the secret
    ml_state                state of the ML backend: "connected", "missing" or "failed"
    ml_error                Label Studio's error message about the ML backend, "" if there is none
    """

    other_address: str
    label_config: str
    model_version: str
    sampling: str
    webhooks: int
    authenticated_webhooks: int
    ml_state: str
    ml_error: str

    @property
    def is_sampling_set(self) -> bool:
        """Whether the project has the sampling that `connect` sets."""
        return self.sampling == SAMPLING


def check_connection(client: LabelStudioClient, settings: Settings, project_row: ProjectRow) -> ConnectionReport:
    """Reads the connection of one project. Label Studio in turn calls this backend's /health and /setup.

    Raises LabelStudioError.
    """
    project, connection = project_row.id, project_row.connection or {}
    fields = client.project(project)
    address = settings.address
    expected_headers = auth_headers(settings.secret.get_secret_value())
    all_hooks = client.call("GET", "api/webhooks/", params={"project": project})
    all_backends = client.call("GET", "api/ml", params={"project": project}, timeout=30)
    hooks = [hook for hook in all_hooks if hook["url"] == f"{address}/webhook" and hook.get("is_active")]
    backends = [backend for backend in all_backends if backend["url"].rstrip("/") == address]
    urls = [hook["url"].removesuffix("/webhook") for hook in all_hooks if hook["id"] == connection.get("webhook")]
    urls += [backend["url"].rstrip("/") for backend in all_backends if backend["id"] == connection.get("ml")]
    state = "missing" if not backends else "connected" if backends[0].get("state") == "CO" else "failed"
    return ConnectionReport(
        other_address=next((url for url in urls if url != address), ""),
        label_config=str(fields.get("label_config") or ""),
        model_version=str(fields.get("model_version") or ""),
        sampling=str(fields.get("sampling") or ""),
        webhooks=len(hooks),
        authenticated_webhooks=sum(expected_headers.items() <= (hook.get("headers") or {}).items() for hook in hooks),
        ml_state=state,
        ml_error=str((backends[0].get("error_message") if backends else "") or "")[:200],
    )

"""What Label Studio itself says about a connection, for `apprentice doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.connect import SAMPLING, headers
from ml_backend.settings import Settings


@dataclass(frozen=True, slots=True)
class Connection:
    """One project's connection as Label Studio has it.

    webhooks        how many active webhooks point here; `authenticated`: how many of them present the secret
    ml_state        "connected", "missing" or "failed"; `ml_error`: what Label Studio said of it
    """

    label_config: str
    model_version: str
    sampling: str
    webhooks: int
    authenticated: int
    ml_state: str
    ml_error: str

    @property
    def sampling_is_ours(self) -> bool:
        return self.sampling == SAMPLING


def inspect(client: LabelStudioClient, settings: Settings, project: int) -> Connection:
    """Asks Label Studio, which in turn calls this backend's /health and /setup. Raises LabelStudioError."""
    found = client.project(project)
    address = settings.address
    wanted = headers(settings.secret.get_secret_value())
    hooks = [
        hook
        for hook in client.call("GET", "api/webhooks/", params={"project": project})
        if hook["url"] == f"{address}/webhook" and hook.get("is_active")
    ]
    backends = [
        each
        for each in client.call("GET", "api/ml", params={"project": project}, timeout=30)
        if each["url"].rstrip("/") == address
    ]
    state = "missing" if not backends else "connected" if backends[0].get("state") == "CO" else "failed"
    return Connection(
        label_config=str(found.get("label_config") or ""),
        model_version=str(found.get("model_version") or ""),
        sampling=str(found.get("sampling") or ""),
        webhooks=len(hooks),
        authenticated=sum(wanted.items() <= (hook.get("headers") or {}).items() for hook in hooks),
        ml_state=state,
        ml_error=str((backends[0].get("error_message") if backends else "") or "")[:200],
    )

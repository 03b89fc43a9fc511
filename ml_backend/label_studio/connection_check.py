"""What Label Studio itself says about a connection, for `apprentice doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from ml_backend.core.settings import Settings
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import SAMPLING, headers
from ml_backend.storage import ProjectRecord


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """One project's connection as Label Studio has it.

    elsewhere       the address that its webhook or ML backend points to, "" if that is this one
    webhooks        how many active webhooks point here; `authenticated`: how many of them present the secret
    ml_state        "connected", "missing" or "failed"; `ml_error`: what Label Studio said of it
    """

    elsewhere: str
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


def inspect(client: LabelStudioClient, settings: Settings, record: ProjectRecord) -> ConnectionReport:
    """Asks Label Studio, which in turn calls this backend's /health and /setup. Raises LabelStudioError."""
    project, made = record.id, record.connection or {}
    found = client.project(project)
    address = settings.address
    wanted = headers(settings.secret.get_secret_value())
    all_hooks = client.call("GET", "api/webhooks/", params={"project": project})
    all_backends = client.call("GET", "api/ml", params={"project": project}, timeout=30)
    hooks = [hook for hook in all_hooks if hook["url"] == f"{address}/webhook" and hook.get("is_active")]
    backends = [each for each in all_backends if each["url"].rstrip("/") == address]
    ours = [hook["url"].removesuffix("/webhook") for hook in all_hooks if hook["id"] == made.get("webhook")]
    ours += [each["url"].rstrip("/") for each in all_backends if each["id"] == made.get("ml")]
    state = "missing" if not backends else "connected" if backends[0].get("state") == "CO" else "failed"
    return ConnectionReport(
        elsewhere=next((url for url in ours if url != address), ""),
        label_config=str(found.get("label_config") or ""),
        model_version=str(found.get("model_version") or ""),
        sampling=str(found.get("sampling") or ""),
        webhooks=len(hooks),
        authenticated=sum(wanted.items() <= (hook.get("headers") or {}).items() for hook in hooks),
        ml_state=state,
        ml_error=str((backends[0].get("error_message") if backends else "") or "")[:200],
    )

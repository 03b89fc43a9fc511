"""Checks that the backend which the settings describe answers, before Label Studio gets its address."""

from __future__ import annotations

from ml_backend.core.clock import SYSTEM_CLOCK, Clock
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings

WAIT_SECONDS = 20.0  # the backend may have been started a moment ago
RETRY_SECONDS = 0.5


def wait_for_backend(settings: Settings, clock: Clock = SYSTEM_CLOCK) -> None:
    """Waits until the backend answers. At a public URL, it need not answer: Label Studio may reach an address that this
    machine does not reach.

    Raises ApprenticeError if the backend does not answer within `WAIT_SECONDS`, rejects the secret, or fails.
    """
    deadline = clock.monotonic() + WAIT_SECONDS
    while not is_answering(settings) and not settings.public_url:
        if clock.monotonic() >= deadline:
            raise ApprenticeError(
                f"Nothing answers at {settings.address}: start `apprentice serve`, or set APPRENTICE_PORT to the port "
                "that it listens on"
            )
        clock.sleep(RETRY_SECONDS)


def is_answering(settings: Settings) -> bool:
    """Calls the backend at its address as Label Studio will; False if nothing answers the call from this machine.

    Raises ApprenticeError if the backend rejects the secret of these settings, or fails.
    """
    import httpx

    secret = settings.secret.get_secret_value()
    auth = {"Authorization": f"Bearer {secret}"} if secret else {}
    try:
        status = httpx.get(f"{settings.address}/versions", headers=auth, timeout=5).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ApprenticeError(
            f"{settings.address} has another APPRENTICE_SECRET than this command, or is another backend: set the same "
            "secret here, or set APPRENTICE_PORT to the port that `apprentice serve` listens on"
        )
    if status >= httpx.codes.BAD_REQUEST:
        raise ApprenticeError(f"{settings.address} answers with HTTP status {status}: is it this backend? See its log")
    return True

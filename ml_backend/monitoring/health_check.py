"""Whether the backend that these settings describe answers, before anybody else is told of it."""

from __future__ import annotations

import time

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings

PATIENCE, PAUSE = 20.0, 0.5  # seconds: it may have been started a moment ago


def check_backend(settings: Settings) -> None:
    """Raises ApprenticeError unless the backend that Label Studio is about to be told of answers, as far as seen from
    here: a public address may be one that only Label Studio reaches."""
    deadline = time.monotonic() + PATIENCE
    while not knock(settings) and not settings.public_url:
        if time.monotonic() >= deadline:
            raise ApprenticeError(
                f"Nothing answers at {settings.address}: start `apprentice serve`, or set APPRENTICE_PORT as it has it"
            )
        time.sleep(PAUSE)


def knock(settings: Settings) -> bool:
    """Calls the running backend as Label Studio will; False if nothing answers there, as seen from here.

    Raises ApprenticeError if it turns this secret away, or fails.
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
            f"{settings.address} has another APPRENTICE_SECRET than this one, or is another backend: set the same "
            "secret here, or APPRENTICE_PORT as `serve` has it"
        )
    if status >= httpx.codes.BAD_REQUEST:
        raise ApprenticeError(f"{settings.address} answers {status}: is it this backend? See its log")
    return True

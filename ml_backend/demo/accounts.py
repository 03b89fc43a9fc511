"""Creates users of a local Label Studio and their keys by its web forms: Label Studio has no API for this."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from ml_backend.core.exceptions import ApprenticeError


@dataclass(frozen=True, slots=True)
class Account:
    """A user of Label Studio. `token` is the legacy API token (header `Authorization: Token …`)."""

    username: str
    password: str = field(repr=False)
    token: str = field(repr=False)


def load_or_make(path: Path, username: str) -> Account:
    """Reads the account from the file, or writes a new one to it (mode 0600) if the file does not exist."""
    if path.is_file():
        return Account(**json.loads(path.read_text()))
    account = Account(username.lower(), secrets.token_urlsafe(16), secrets.token_hex(20))
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(account), file)
    return account


def personal_access_token(url: str, account: Account) -> str:
    """Creates a personal access token of this user. Raises ApprenticeError if the server refuses."""
    with _session(url, "/user/login/", account.username, account.password) as session:
        csrf = {"X-CSRFToken": session.cookies["csrftoken"], "Referer": url}
        return str(_checked(session.post("/api/token/", headers=csrf)).json()["token"])


def sign_up(url: str, username: str) -> Account:
    """Creates a user with a random password. Raises ApprenticeError if the e-mail address is taken or invalid."""
    password = secrets.token_urlsafe(16)
    with _session(url, "/user/signup/", username, password) as session:
        token = _checked(session.get("/api/current-user/token")).json()["token"]
    return Account(username.lower(), password, str(token))


@contextmanager
def _session(url: str, page: str, username: str, password: str) -> Iterator[httpx.Client]:
    """Yields an HTTP session that is signed in by the form on this page. Raises ApprenticeError if Label Studio refuses
    the form."""
    with httpx.Client(base_url=url, timeout=60.0, trust_env=False) as session:
        _checked(session.get(page))
        form = {"email": username, "password": password, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
        reply = _checked(session.post(page, data=form, headers={"Referer": url}))
        if reply.status_code != httpx.codes.FOUND:  # the form is shown again instead of a redirect
            raise ApprenticeError(f"Label Studio's {page} refused {username}: taken, unknown, or not an address.")
        yield session


def _checked(reply: httpx.Response) -> httpx.Response:
    if reply.is_error:
        raise ApprenticeError(f"Label Studio answered {reply.status_code} to {reply.request.method} {reply.url}.")
    return reply

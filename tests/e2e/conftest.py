"""Fixtures: one real Label Studio for the session; projects and backends on demand. All are removed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from running_backend import Backend, Project, label_config, running_backend
from texts import LABELS, messages

from ml_backend.core.exceptions import ApprenticeError
from ml_backend.demo.accounts import Account
from ml_backend.demo.server import LocalLabelStudio
from ml_backend.label_studio.client import LabelStudioClient
from ml_backend.label_studio.setup import disconnect

_numbers = count(1)


@pytest.fixture(scope="session")
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of a stopped server, kept in pytest's cache, because the first start migrates for a minute."""
    server = LocalLabelStudio(tmp_path_factory.mktemp("template"), deadline=280)
    (installed,) = server._program.parents[1].glob("lib/python*/site-packages/label_studio-*.dist-info")
    cached_template = Path(request.config.cache.mkdir("apprentice-e2e")) / installed.stem
    if not cached_template.is_dir():
        with server:
            pass
        try:
            server.data_dir.rename(cached_template)
        except OSError:  # another file system, or another session was faster
            return server.data_dir
    return cached_template


@pytest.fixture(scope="session")
def label_studio(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalLabelStudio]:
    with LocalLabelStudio(tmp_path_factory.mktemp("label-studio") / "data", template=template, deadline=280) as server:
        yield server


@pytest.fixture(scope="session")
def admin(label_studio: LocalLabelStudio) -> Iterator[LabelStudioClient]:
    client = LabelStudioClient(label_studio.url, label_studio.token, timeout=60)
    yield client
    client.close()


@pytest.fixture(scope="session")
def make_account(label_studio: LocalLabelStudio) -> Callable[[], Account]:
    """Signs up one more user of Label Studio."""
    return lambda: label_studio.create_user(f"annotator{next(_numbers)}@example.com")


@pytest.fixture(scope="session")
def annotators(
    label_studio: LocalLabelStudio, make_account: Callable[[], Account]
) -> Iterator[list[LabelStudioClient]]:
    """Two people with tokens of their own."""
    clients = [LabelStudioClient(label_studio.url, make_account().token, timeout=60) for _ in range(2)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def make_project(admin: LabelStudioClient, request: pytest.FixtureRequest) -> Callable[..., Project]:
    """Makes projects with n short texts out of so many classes."""

    def make(n: int = 60, classes: int = 3, *, multiple: bool = False, seed: int = 0, **settings: Any) -> Project:
        labels = LABELS[:classes]
        title = f"{request.node.name[:40]} {next(_numbers)}"
        return Project.create(
            admin, title, label_config(labels, multiple=multiple), messages(n, labels, seed), settings
        )

    return make


@pytest.fixture(scope="session")
def _shared(label_studio: LocalLabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with running_backend(label_studio, tmp_path_factory.mktemp("shared")) as backend:
        yield backend


@pytest.fixture
def backend(_shared: Backend) -> Iterator[Backend]:
    """The backend that tests without failures share. Projects that a test connected are disconnected after it."""
    yield _shared
    while _shared.connected:
        try:
            disconnect(_shared.client, _shared.store, _shared.connected.pop(), lambda _: None)
        except ApprenticeError:
            continue


@pytest.fixture
def make_backend(label_studio: LocalLabelStudio, tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """Makes backends for one test, which may kill them. Asserts that their logs contain no secrets."""
    with ExitStack() as stack:
        made: list[Backend] = []

        def make(**settings: Any) -> Backend:
            folder = tmp_path / f"backend{len(made)}"
            made.append(stack.enter_context(running_backend(label_studio, folder, **settings)))
            return made[-1]

        yield make
    texts = [text for label in LABELS for text in messages(60, [label])]
    assert [backend.leaked(texts) for backend in made] == [[] for _ in made]

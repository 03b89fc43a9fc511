"""The encoding runner: the order of the projects, and an encoder that fails."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fake_encoder import FakeEncoder

from ml_backend.core.arrays import Floats
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskContent, content_key
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.storage import Store
from ml_backend.worker.encoding_runner import EncodingRunner


class FailingEncoder(FakeEncoder):
    def encode(self, texts: Sequence[str]) -> Floats:
        raise ApprenticeError("the weights are missing")


def test_other_projects_are_encoded_after_an_encoder_has_failed(
    settings: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    pools = {}
    for project, encoder in ((1, FailingEncoder("failing")), (2, FakeEncoder())):
        store.projects.ensure(project)
        store.tasks.put(
            project, [TaskContent(task, f"text {task}", content_key(f"text {task}")) for task in range(1, 21)]
        )
        pools[project] = ProjectPool(store, project, encoder)
        pools[project].refresh(1)
        store.progress.set_encoded(project, "worker", 0, 20)
    encoding = EncodingRunner(settings, store, "worker")
    for _ in range(10):
        encoding.step(pools, 1)
        encoding.wait()
    encoding.stop()
    output = capsys.readouterr().out
    assert output.count("encoding failed") == output.count("the weights are missing") == 1
    assert not pools[2].missing.any() and pools[1].missing.all()


def test_a_project_that_another_worker_encodes_is_not_encoded(settings: Settings, store: Store) -> None:
    store.projects.ensure(1)
    store.tasks.put(1, [TaskContent(1, "text", content_key("text"))])
    pool = ProjectPool(store, 1, FakeEncoder())
    pool.refresh(1)
    store.progress.set_encoded(1, "another", 0, 1)
    encoding = EncodingRunner(settings, store, "worker")
    encoding.step({1: pool})
    encoding.wait()
    encoding.step({1: pool})
    encoding.stop()
    assert not pool.encoded.any()
    with pytest.raises(RuntimeError):
        encoding.warm()

"""What a worker does when nobody asks for a round: it encodes the rest of the pool and tidies up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from fake_label_studio import fill, flood
from projects import set_up
from workers import Bench

from ml_backend.domain import ModelVersion, TaskSchema
from ml_backend.jobs import upkeep
from ml_backend.label_studio.client import Unreachable


def test_a_quiet_worker_encodes_the_rest_and_the_queue_improves(bench: Bench) -> None:
    fill(bench.server, 1300)
    bench.round()
    pool = bench.worker._pools[5]
    assert not pool.encoded.all()
    for _ in range(200):
        bench.step()
    assert pool.encoded.all()
    assert (bench.store.projects.ensure(5).progress or {})["encoded"] == 1300
    assert bench.active().number > 1
    assert len(bench.store.vectors(5, "fake")) == 1300


def with_versions(bench: Bench, n: int) -> None:
    """n published versions of three rows each, the last one active."""
    fill(bench.server, 20)
    bench.round()
    for number in range(2, n + 1):
        name = f"apprentice-{number}-x"
        bench.store.versions.add(ModelVersion(5, number, name, None, 0, None, 0.0), None, rows=3)
        bench.store.versions.activate(5, number)
        bench.server.predictions += [
            {"task": task, "score": 0.1, "model_version": name, "result": []} for task in (1, 2, 3)
        ]
    set_up(bench.store, 5, published=f"apprentice-{n}-x")
    bench.server.settings["model_version"] = f"apprentice-{n}-x"


def deletions(bench: Bench) -> int:
    return sum(method == "DELETE" for method, _, _ in bench.client.calls)


def test_stale_versions_are_pruned_one_at_a_time_and_only_when_it_is_quiet(bench: Bench) -> None:
    with_versions(bench, upkeep.STALE_KEPT + 4)
    bench.step()
    assert deletions(bench) == 0, "a round has just run"
    bench.time += upkeep.QUIET_SECONDS + 1
    bench.step()
    bench.step()
    assert deletions(bench) == 1, "one, and then a pause"
    for _ in range(10):
        bench.time += upkeep.PORTION_SECONDS + 1
        bench.step()
    assert deletions(bench) == 3
    left = [name for _, name, _ in bench.store.versions.stale(5)]
    assert len(left) == upkeep.STALE_KEPT
    standing = {row["model_version"] for row in bench.server.predictions}
    assert standing == {*left, bench.server.settings["model_version"]}


def test_nothing_is_pruned_while_rounds_run(bench: Bench) -> None:
    with_versions(bench, upkeep.STALE_KEPT + 4)
    for _ in range(5):
        bench.time += upkeep.QUIET_SECONDS + 1
        bench.round()
    assert deletions(bench) == 0


def test_a_pruning_that_fails_is_no_more_than_a_warning(bench: Bench) -> None:
    with_versions(bench, upkeep.STALE_KEPT + 3)

    def refuse(method: str, *_: Any) -> None:
        if method == "DELETE":
            raise Unreachable("busy")

    bench.client.before = refuse
    bench.time += upkeep.QUIET_SECONDS + 1
    bench.step()
    assert bench.store.versions.last_rounds(5, failed=True) == []
    assert len(bench.store.versions.stale(5)) == upkeep.STALE_KEPT + 2


def five_learners(bench: Bench, schema: TaskSchema) -> list[int]:
    """The numbers of the learners of five rounds with six more answers each, newest first."""
    truth = fill(bench.server, 60)
    bench.round()
    for at in range(0, 30, 6):
        flood(bench.server, truth, schema, list(truth)[at : at + 6])
        set_up(bench.store, 5, reconciled_at=0.0)
        bench.round()
    return bench.store.versions.learners(5)


def test_of_learners_with_as_many_answers_the_earlier_ones_are_forgotten_first(
    bench: Bench, single: TaskSchema
) -> None:
    kept = five_learners(bench, single)
    last = bench.store.versions.get(5, kept[0])
    assert last is not None
    artifact = bench.store.versions.artifact(5, kept[0])
    for number in (last.number + 1, last.number + 2):  # as when the teacher has said more
        bench.store.versions.add(replace(last, number=number, name=f"v{number}", learner=number), artifact, rows=0)
    bench.store.versions.activate(5, last.number + 2)
    bench.time += upkeep.QUIET_SECONDS + 1
    bench.step()
    assert bench.store.versions.learners(5) == [last.number + 2, last.number + 1, *kept[1:]]
    bench.time += upkeep.QUIET_SECONDS + 1
    bench.step()
    assert bench.store.versions.learners(5) == [last.number + 2, *kept[1:]]


def test_the_oldest_learners_are_forgotten_but_never_one_that_serves_or_is_held(
    bench: Bench, single: TaskSchema
) -> None:
    kept = five_learners(bench, single)
    assert len(kept) == 5
    set_up(bench.store, 5, pinned=kept[-1])
    for _ in range(10):
        bench.time += upkeep.QUIET_SECONDS + 1
        bench.step()
    assert set(bench.store.versions.learners(5)) == {kept[0], kept[1], kept[-1]}
    files = sorted(bench.worker._settings.data_dir.glob("artifacts/5/0*"))
    assert len(files) == 3
    assert np.isfinite([path.stat().st_size for path in files]).all()

"""What a worker does when nobody asks for a round: it encodes the rest of the pool and tidies up."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_label_studio import fill, flood
from projects import set_up
from workers import Bench

from ml_backend.core.exceptions import UnreachableError
from ml_backend.core.types import ModelVersion, TaskSchema, content_key
from ml_backend.worker import maintenance


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
    with_versions(bench, maintenance.MIN_STALE_VERSIONS + 4)
    bench.step()
    assert deletions(bench) == 0, "a round has just run"
    bench.time += maintenance.QUIET_SECONDS + 1
    bench.step()
    bench.step()
    assert deletions(bench) == 1, "one, and then a pause"
    for _ in range(10):
        bench.time += maintenance.PORTION_PAUSE_SECONDS + 1
        bench.step()
    assert deletions(bench) == 3
    left = [name for _, name, _ in bench.store.versions.stale(5)]
    assert len(left) == maintenance.MIN_STALE_VERSIONS
    standing = {row["model_version"] for row in bench.server.predictions}
    assert standing == {*left, bench.server.settings["model_version"]}


def test_below_the_ceiling_nothing_is_pruned_while_rounds_run(bench: Bench) -> None:
    with_versions(bench, maintenance.MIN_STALE_VERSIONS + 4)
    for _ in range(5):
        bench.time += maintenance.QUIET_SECONDS + 1
        bench.round()
    assert deletions(bench) == 0


def test_however_busy_it_is_no_more_versions_stand_than_the_ceiling(bench: Bench) -> None:
    with_versions(bench, maintenance.MAX_STALE_VERSIONS + 4)
    for number in range(5):
        bench.round()
        assert deletions(bench) == min(number + 1, 3), "one after each round, and none below the ceiling"
    assert len(bench.store.versions.stale(5)) == maintenance.MAX_STALE_VERSIONS


def test_it_is_tidied_up_while_the_pool_is_encoded_too(bench: Bench) -> None:
    with_versions(bench, maintenance.MIN_STALE_VERSIONS + 4)
    fill(bench.server, 1300)
    set_up(bench.store, 5, reconciled_at=0.0)
    bench.round()
    assert not bench.worker._pools[5].encoded.all()
    bench.time += maintenance.QUIET_SECONDS + 1
    bench.step()
    assert deletions(bench) == 1
    assert not bench.worker._pools[5].encoded.all()


def test_a_pruning_that_fails_is_no_more_than_a_warning(bench: Bench) -> None:
    with_versions(bench, maintenance.MIN_STALE_VERSIONS + 3)

    def refuse(method: str, *_: Any) -> None:
        if method == "DELETE":
            raise UnreachableError("busy")

    bench.client.before = refuse
    bench.time += maintenance.QUIET_SECONDS + 1
    bench.step()
    assert bench.store.versions.last_rounds(5, failed=True) == []
    assert len(bench.store.versions.stale(5)) == maintenance.MIN_STALE_VERSIONS + 2


def learn_again(bench: Bench, truth: dict[int, str], schema: TaskSchema, at: int) -> None:
    """A round after one more answer."""
    flood(bench.server, truth, schema, [list(truth)[at]])
    set_up(bench.store, 5, reconciled_at=0.0)
    bench.round()


def artifacts(bench: Bench) -> set[str]:
    folder = bench.worker._settings.data_dir / "artifacts"
    return {str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")}


def test_after_27_rounds_in_a_row_no_more_learners_are_kept_than_are_wanted(bench: Bench, single: TaskSchema) -> None:
    truth = fill(bench.server, 60)
    flood(bench.server, truth, single, list(truth)[:6])
    for at in range(6, 33):
        learn_again(bench, truth, single, at)
        kept = bench.store.versions.learners(5)
        assert len(kept) <= bench.worker._settings.keep_versions, "at the end of the very round"
    assert bench.active().number == 27
    assert kept == [27, 26]
    assert artifacts(bench) == {bench.store.versions.artifact(5, number)[0] for number in kept}  # type: ignore[index]
    assert len(bench.store.versions.stale(5)) <= maintenance.MAX_STALE_VERSIONS


def test_rounds_that_fail_after_they_have_learnt_leave_no_learners_either(bench: Bench, single: TaskSchema) -> None:
    truth = fill(bench.server, 60)
    flood(bench.server, truth, single, list(truth)[:6])
    learn_again(bench, truth, single, 6)
    serving = bench.active()

    def refuse(method: str, path: str, _: Any) -> None:
        if method == "POST" and "predictions" in path:
            raise UnreachableError("down")

    bench.client.before = refuse
    for at in range(7, 15):
        bench.store.jobs.request(5)
        learn_again(bench, truth, single, at)
    assert bench.active() == serving
    assert len(artifacts(bench)) <= bench.worker._settings.keep_versions + 1
    assert serving.learner in bench.store.versions.learners(5), "what serves is needed, old as it is"


@pytest.mark.parametrize(("keep", "kept"), [(3, [5, 2, 1]), (4, [5, 4, 2, 1]), (5, [5, 4, 3, 2, 1])])
def test_of_learners_with_as_many_answers_the_earlier_ones_are_forgotten_first_but_for_the_newest_half(
    bench: Bench, single: TaskSchema, keep: int, kept: list[int]
) -> None:
    bench.worker._settings.keep_versions = keep
    truth = fill(bench.server, 60)
    flood(bench.server, truth, single, list(truth)[:6])
    for at in range(6, 9):
        learn_again(bench, truth, single, at)
    newest = bench.active()
    artifact = bench.store.versions.artifact(5, newest.number)
    for number in (4, 5):  # as when the teacher has said more
        bench.store.versions.add(replace(newest, number=number, name=f"v{number}", learner=number), artifact, rows=0)
    bench.store.versions.activate(5, 5)
    set_up(bench.store, 5, published="v5")
    bench.worker._maintenance.after_round(None, 5)
    assert bench.store.versions.learners(5) == kept


def test_a_learner_that_serves_or_is_held_is_never_forgotten(bench: Bench, single: TaskSchema) -> None:
    truth = fill(bench.server, 60)
    flood(bench.server, truth, single, list(truth)[:6])
    learn_again(bench, truth, single, 6)
    held = bench.active().number
    bench.worker._settings.keep_versions = 100
    for at in range(7, 12):
        learn_again(bench, truth, single, at)
    bench.worker._settings.keep_versions = 2
    set_up(bench.store, 5, pinned=held)
    bench.round()
    assert bench.store.versions.learners(5) == [6, 5, held]
    bench.store.versions.activate(5, held)
    set_up(bench.store, 5, pinned=None)
    learn_again(bench, truth, single, 12)
    assert held not in bench.store.versions.learners(5), "as soon as nobody needs it"
    files = [bench.worker._settings.data_dir / "artifacts" / name for name in artifacts(bench)]
    assert np.isfinite([path.stat().st_size for path in files]).all() and len(files) == 2


def quiet(bench: Bench, steps: int) -> None:
    for _ in range(steps):
        bench.time += maintenance.QUIET_SECONDS + 1
        bench.step()


def test_a_deleted_task_leaves_no_text_and_no_vector_behind(bench: Bench, single: TaskSchema) -> None:
    truth = fill(bench.server, 40)
    flood(bench.server, truth, single, list(truth)[:6])
    bench.round()
    task, folder = next(iter(truth)), bench.worker._settings.data_dir
    [text] = bench.store.tasks.texts(5, [task])
    assert holding(folder, text.encode()), "it was in the store"
    assert bench.store.vectors(5, "fake").find([content_key(text)])[0] >= 0
    bench.tell(bench.server.delete_task(task))
    bench.step()
    for _ in range(50):  # the log of the database is emptied when nobody reads from it at that moment
        quiet(bench, 1)
        if not holding(folder, text.encode()):
            break
    assert holding(folder, text.encode()) == []
    assert bench.store.vectors(5, "fake").find([content_key(text)])[0] == -1
    assert len(bench.store.vectors(5, "fake")) == 39
    assert task not in {annotation.task for annotation in bench.store.labels.of(5)}


def holding(folder: Path, content: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_nothing_is_looked_for_again_while_no_task_changes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(bench.server, 20)
    bench.round()
    looks: list[int] = []
    sweep = bench.store.sweep_vectors
    monkeypatch.setattr(bench.store, "sweep_vectors", lambda project: looks.append(project) or sweep(project))
    quiet(bench, 6)
    assert looks == [5]
    bench.tell(bench.server.add_tasks(["a new one"]))
    quiet(bench, 6)
    assert looks == [5], "not so soon"
    bench.time += maintenance.SWEEP_SECONDS
    quiet(bench, 6)
    assert len(looks) == 2
    bench.tell(bench.server.delete_task(1))
    quiet(bench, 6)
    assert len(looks) == 4, "at once where a task was deleted: one look that drops, one that finds no more"
    bench.time += maintenance.UNCHANGED_SWEEP_SECONDS
    quiet(bench, 3)
    assert len(looks) == 5, "another worker may have written late"


def test_rounds_that_find_nothing_new_do_not_disturb_the_quiet(bench: Bench) -> None:
    with_versions(bench, maintenance.MIN_STALE_VERSIONS + 4)
    bench.round()
    for _ in range(3):
        bench.time += maintenance.QUIET_SECONDS - 1
        bench.round()
        bench.step()
    assert deletions(bench) >= 1


def test_where_it_is_never_quiet_deleted_tasks_are_swept_up_after_a_round(bench: Bench) -> None:
    truth = fill(bench.server, 20)
    bench.round()
    bench.worker._pools[5].flush()
    assert len(bench.store.vectors(5, "fake")) == 20
    bench.tell(bench.server.delete_task(next(iter(truth))))
    bench.step()
    assert len(bench.store.vectors(5, "fake")) == 20
    bench.time += maintenance.SWEEP_SECONDS + 1
    bench.round()
    bench.round()
    assert len(bench.store.vectors(5, "fake")) == 19, "a portion after each round"


def test_vectors_of_an_earlier_encoder_go_when_a_round_with_the_new_one_has_come_to_its_end(bench: Bench) -> None:
    fill(bench.server, 20)
    for project, space in ((5, "earlier"), (5, "earliest"), (6, "earlier")):
        bench.store.vectors(project, space).add([b"k" * 16], np.ones((1, 4), np.float32))

    def down(*_: Any) -> None:
        raise UnreachableError("down")

    bench.client.before = down
    bench.round()
    assert len(bench.store.vectors(5, "earlier")) == 1, "it may be needed: nothing else serves yet"
    bench.client.before = lambda *_: None
    bench.round()
    kept = {str(path.relative_to(bench.worker._settings.data_dir)) for path in spaces(bench)}
    assert kept == {"vectors/fake/5", "vectors/earlier/6"}


def spaces(bench: Bench) -> list[Path]:
    bench.worker._pools[5].flush()
    return list((bench.worker._settings.data_dir / "vectors").glob("*/*"))


def test_an_artifact_that_a_killed_worker_left_goes_and_what_is_needed_or_new_stays(
    bench: Bench, single: TaskSchema
) -> None:
    truth = fill(bench.server, 40)
    flood(bench.server, truth, single, list(truth)[:6])
    bench.round()
    names = {}
    for what in ("prior", "stray", "new"):
        names[what], digest = bench.store.artifacts.write(5, what, {"a": np.arange(3)})
    set_up(bench.store, 5, prior={"file": names["prior"], "sha256": digest})
    learners = artifacts(bench) - set(names.values())
    for name in artifacts(bench) - {names["new"]}:
        os.utime(bench.worker._settings.data_dir / "artifacts" / name, (0, 0))
    for _ in range(3):  # without the teaching beside it, which would make another prior at a moment of its own
        bench.time += maintenance.QUIET_SECONDS + 1
        bench.worker._maintenance.step(bench.client, bench.worker._pools)
    assert artifacts(bench) == {*learners, names["prior"], names["new"]}

"""Work without requested rounds: encoding the rest of the pool, and maintenance."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_label_studio import add_labelled_tasks, submit_labels
from projects import set_up
from two_controls import LABEL, MOOD, TWO_CONTROLS
from worker_harness import WorkerHarness

from ml_backend.core.exceptions import UnreachableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.types import ModelVersion, content_key
from ml_backend.worker import maintenance


def test_an_idle_worker_encodes_all_tasks_and_publishes_another_queue(harness: WorkerHarness) -> None:
    add_labelled_tasks(harness.server, 1300)
    harness.round()
    pool = harness.worker.pools[5]
    assert not pool.encoded.all()
    for _ in range(200):
        harness.step()
    assert pool.encoded.all()
    assert (harness.store.projects.ensure(5).progress or {})["encoded"] == 1300
    assert harness.active().number > 1
    assert len(harness.store.vectors(5, "fake")) == 1300


def with_versions(harness: WorkerHarness, n: int) -> None:
    """Stores n published versions of three rows each. The last one is active."""
    add_labelled_tasks(harness.server, 20)
    harness.round()
    for number in range(2, n + 1):
        name = f"apprentice-{number}-x"
        harness.store.versions.add(ModelVersion(5, number, name, None, 0, {}, 0.0), None, rows=3)
        harness.store.versions.activate(5, number)
        harness.server.predictions += [
            {"task": task, "score": 0.1, "model_version": name, "result": []} for task in (1, 2, 3)
        ]
    set_up(harness.store, 5, published=f"apprentice-{n}-x")
    harness.server.settings["model_version"] = f"apprentice-{n}-x"


def deletions(harness: WorkerHarness) -> int:
    return sum(method == "DELETE" for method, _, _ in harness.client.calls)


def test_in_quiet_periods_predictions_are_deleted_one_version_at_a_time(harness: WorkerHarness) -> None:
    with_versions(harness, maintenance.MIN_STALE_VERSIONS + 4)
    harness.step()
    assert deletions(harness) == 0, "a round has just run"
    harness.clock.seconds += maintenance.QUIET_SECONDS + 1
    harness.step()
    harness.step()
    assert deletions(harness) == 1, "one, and then a pause"
    for _ in range(10):
        harness.clock.seconds += maintenance.PORTION_PAUSE_SECONDS + 1
        harness.step()
    assert deletions(harness) == 3
    names = [name for _, name, _ in harness.store.versions.stale(5)]
    assert len(names) == maintenance.MIN_STALE_VERSIONS
    standing = {row["model_version"] for row in harness.server.predictions}
    assert standing == {*names, harness.server.settings["model_version"]}


def test_below_the_limit_no_predictions_are_deleted_while_rounds_run(harness: WorkerHarness) -> None:
    with_versions(harness, maintenance.MIN_STALE_VERSIONS + 4)
    for _ in range(5):
        harness.clock.seconds += maintenance.QUIET_SECONDS + 1
        harness.round()
    assert deletions(harness) == 0


def test_a_busy_worker_keeps_the_predictions_of_no_more_versions_than_the_limit(harness: WorkerHarness) -> None:
    with_versions(harness, maintenance.MAX_STALE_VERSIONS + 4)
    for number in range(5):
        harness.round()
        assert deletions(harness) == min(number + 1, 3), "one after each round, and none below the ceiling"
    assert len(harness.store.versions.stale(5)) == maintenance.MAX_STALE_VERSIONS


def test_predictions_are_deleted_while_the_pool_is_being_encoded(harness: WorkerHarness) -> None:
    with_versions(harness, maintenance.MIN_STALE_VERSIONS + 4)
    add_labelled_tasks(harness.server, 1300)
    set_up(harness.store, 5, reconciled_at=0.0)
    harness.round()
    assert not harness.worker.pools[5].encoded.all()
    harness.clock.seconds += maintenance.QUIET_SECONDS + 1
    harness.step()
    assert deletions(harness) == 1
    assert not harness.worker.pools[5].encoded.all()


def test_a_failed_deletion_of_predictions_does_not_fail_a_round(harness: WorkerHarness) -> None:
    with_versions(harness, maintenance.MIN_STALE_VERSIONS + 3)

    def refuse(method: str, *_: Any) -> None:
        if method == "DELETE":
            raise UnreachableError("busy")

    harness.client.before = refuse
    harness.clock.seconds += maintenance.QUIET_SECONDS + 1
    harness.step()
    assert harness.store.versions.last_rounds(5, failed=True) == []
    assert len(harness.store.versions.stale(5)) == maintenance.MIN_STALE_VERSIONS + 2


def learn_again(harness: WorkerHarness, truth: dict[int, str], schema: ProjectSchema, at: int) -> None:
    """Runs a round after one more annotation."""
    submit_labels(harness.server, truth, schema, [list(truth)[at]])
    set_up(harness.store, 5, reconciled_at=0.0)
    harness.round()


def artifacts(harness: WorkerHarness) -> set[str]:
    folder = harness.settings.data_dir / "artifacts"
    return {str(path.relative_to(folder)) for path in folder.rglob("*.safetensors")}


def test_after_27_rounds_no_more_learners_than_keep_versions_are_stored(
    harness: WorkerHarness, single: ProjectSchema
) -> None:
    truth = add_labelled_tasks(harness.server, 60)
    submit_labels(harness.server, truth, single, list(truth)[:6])
    for at in range(6, 33):
        learn_again(harness, truth, single, at)
        learners = harness.store.versions.learners(5)
        assert len(learners) <= harness.settings.keep_versions, "at the end of the very round"
    assert harness.active().number == 27
    assert learners == [27, 26]
    assert artifacts(harness) == {harness.store.versions.artifact(5, number)[0] for number in learners}  # type: ignore[index]
    assert len(harness.store.versions.stale(5)) <= maintenance.MAX_STALE_VERSIONS


def test_after_rounds_that_fail_in_publishing_no_more_learners_than_keep_versions_are_stored(
    harness: WorkerHarness, single: ProjectSchema
) -> None:
    truth = add_labelled_tasks(harness.server, 60)
    submit_labels(harness.server, truth, single, list(truth)[:6])
    learn_again(harness, truth, single, 6)
    serving = harness.active()

    def refuse(method: str, path: str, _: Any) -> None:
        if method == "POST" and "predictions" in path:
            raise UnreachableError("down")

    harness.client.before = refuse
    for at in range(7, 15):
        harness.store.jobs.request(5)
        learn_again(harness, truth, single, at)
    assert harness.active() == serving
    assert len(artifacts(harness)) <= harness.settings.keep_versions + 1
    assert serving.learner in harness.store.versions.learners(5), "what serves is needed, old as it is"


@pytest.mark.parametrize(("keep", "kept"), [(3, [5, 2, 1]), (4, [5, 4, 2, 1]), (5, [5, 4, 3, 2, 1])])
def test_in_the_older_half_learners_with_as_many_labels_as_a_later_one_are_removed_first(
    harness: WorkerHarness, single: ProjectSchema, keep: int, kept: list[int]
) -> None:
    harness.settings.keep_versions = keep
    truth = add_labelled_tasks(harness.server, 60)
    submit_labels(harness.server, truth, single, list(truth)[:6])
    for at in range(6, 9):
        learn_again(harness, truth, single, at)
    newest = harness.active()
    artifact = harness.store.versions.artifact(5, newest.number)
    for number in (4, 5):  # as when the teacher has said more
        harness.store.versions.add(replace(newest, number=number, name=f"v{number}", learner=number), artifact, rows=0)
    harness.store.versions.activate(5, 5)
    set_up(harness.store, 5, published="v5")
    harness.worker._maintenance.after_round(None, 5)
    assert harness.store.versions.learners(5) == kept


def test_a_learner_that_serves_or_is_held_by_a_rollback_is_never_removed(
    harness: WorkerHarness, single: ProjectSchema
) -> None:
    truth = add_labelled_tasks(harness.server, 60)
    submit_labels(harness.server, truth, single, list(truth)[:6])
    learn_again(harness, truth, single, 6)
    held = harness.active().number
    harness.settings.keep_versions = 100
    for at in range(7, 12):
        learn_again(harness, truth, single, at)
    harness.settings.keep_versions = 2
    set_up(harness.store, 5, pinned=held)
    harness.round()
    assert harness.store.versions.learners(5) == [6, 5, held]
    harness.store.versions.activate(5, held)
    set_up(harness.store, 5, pinned=None)
    learn_again(harness, truth, single, 12)
    assert held not in harness.store.versions.learners(5), "as soon as nobody needs it"
    files = [harness.settings.data_dir / "artifacts" / name for name in artifacts(harness)]
    assert np.isfinite([path.stat().st_size for path in files]).all() and len(files) == 2


def quiet(harness: WorkerHarness, steps: int) -> None:
    for _ in range(steps):
        harness.clock.seconds += maintenance.QUIET_SECONDS + 1
        harness.step()


def test_a_deleted_task_leaves_no_text_and_no_vector_behind(harness: WorkerHarness, single: ProjectSchema) -> None:
    truth = add_labelled_tasks(harness.server, 40)
    submit_labels(harness.server, truth, single, list(truth)[:6])
    harness.round()
    task, folder = next(iter(truth)), harness.settings.data_dir
    [text] = harness.store.tasks.texts(5, [task])
    assert holding(folder, text.encode()), "it was in the store"
    assert harness.store.vectors(5, "fake").find([content_key(text)])[0] >= 0
    harness.receive_event(harness.server.delete_task(task))
    harness.step()
    for _ in range(50):  # the log of the database is emptied when nobody reads from it at that moment
        quiet(harness, 1)
        if not holding(folder, text.encode()):
            break
    assert holding(folder, text.encode()) == []
    assert harness.store.vectors(5, "fake").find([content_key(text)])[0] == -1
    assert len(harness.store.vectors(5, "fake")) == 39
    assert task not in {annotation.task for annotation in harness.store.annotations.of(5)}


def holding(folder: Path, content: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and content in path.read_bytes()]


def test_there_is_no_second_sweep_while_no_task_changes(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.round()
    looks: list[int] = []
    sweep = harness.store.remove_unused_vectors
    monkeypatch.setattr(harness.store, "remove_unused_vectors", lambda project: looks.append(project) or sweep(project))
    quiet(harness, 6)
    assert looks == [5]
    harness.receive_event(harness.server.add_tasks(["a new one"]))
    quiet(harness, 6)
    assert looks == [5], "not so soon"
    harness.clock.seconds += maintenance.SWEEP_SECONDS
    quiet(harness, 6)
    assert len(looks) == 2
    harness.receive_event(harness.server.delete_task(1))
    quiet(harness, 12)  # the search for quotes takes one step or a few
    # one look that drops, one that finds no more, and one more if the deleted text is forgotten after these
    assert len(looks) in (4, 5), "at once where a task was deleted"
    before = len(looks)
    harness.clock.seconds += maintenance.UNCHANGED_SWEEP_SECONDS
    quiet(harness, 3)
    assert len(looks) == before + 1, "another worker may have written late"


def test_vectors_of_a_task_that_is_deleted_while_the_wipe_of_the_log_is_pending_are_removed_at_once(
    harness: WorkerHarness,
) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.round()
    text = harness.store.tasks.texts(5, [1])[0]
    path = harness.store.database.file
    assert path is not None
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM task").fetchall()  # a reader of an old state of the log prevents the wipe
        quiet(harness, 6)
        harness.receive_event(harness.server.delete_task(1))
    quiet(harness, 12)
    assert harness.store.vectors(5, "fake").find([content_key(text)]).tolist() == [-1]


def test_rounds_without_changes_do_not_end_a_quiet_period(harness: WorkerHarness) -> None:
    with_versions(harness, maintenance.MIN_STALE_VERSIONS + 4)
    harness.round()
    for _ in range(3):
        harness.clock.seconds += maintenance.QUIET_SECONDS - 1
        harness.round()
        harness.step()
    assert deletions(harness) >= 1


def test_without_quiet_periods_vectors_of_deleted_tasks_are_removed_after_a_round(harness: WorkerHarness) -> None:
    truth = add_labelled_tasks(harness.server, 20)
    harness.round()
    harness.worker.pools[5].flush()
    assert len(harness.store.vectors(5, "fake")) == 20
    harness.receive_event(harness.server.delete_task(next(iter(truth))))
    harness.step()
    assert len(harness.store.vectors(5, "fake")) == 20
    harness.clock.seconds += maintenance.SWEEP_SECONDS + 1
    harness.round()
    harness.round()
    assert len(harness.store.vectors(5, "fake")) == 19, "a portion after each round"


def test_vectors_of_an_earlier_encoder_are_removed_after_a_complete_round_with_the_new_one(
    harness: WorkerHarness,
) -> None:
    add_labelled_tasks(harness.server, 20)
    for project, space in ((5, "earlier"), (5, "earliest"), (6, "earlier")):
        harness.store.vectors(project, space).add([b"k" * 16], np.ones((1, 4), np.float32))

    def down(*_: Any) -> None:
        raise UnreachableError("down")

    harness.client.before = down
    harness.round()
    assert len(harness.store.vectors(5, "earlier")) == 1, "it may be needed: nothing else serves yet"
    harness.client.before = lambda *_: None
    harness.round()
    space_paths = {str(path.relative_to(harness.settings.data_dir)) for path in spaces(harness)}
    assert space_paths == {"vectors/fake/5", "vectors/earlier/6"}


def spaces(harness: WorkerHarness) -> list[Path]:
    harness.worker.pools[5].flush()
    return list((harness.settings.data_dir / "vectors").glob("*/*"))


def test_old_artifacts_that_no_row_names_are_removed_and_other_ones_stay(
    harness: WorkerHarness, single: ProjectSchema
) -> None:
    truth = add_labelled_tasks(harness.server, 40)
    submit_labels(harness.server, truth, single, list(truth)[:6])
    harness.round()
    names = {}
    for content in ("prior", "stray", "new"):
        names[content], digest = harness.store.artifacts.write(5, content, {"a": np.arange(3)})
    set_up(harness.store, 5, distillation={"file": names["prior"], "sha256": digest})
    learners = artifacts(harness) - set(names.values())
    for name in artifacts(harness) - {names["new"]}:
        os.utime(harness.settings.data_dir / "artifacts" / name, (0, 0))
    for _ in range(3):  # without the teaching beside it, which would make another prior at a moment of its own
        harness.clock.seconds += maintenance.QUIET_SECONDS + 1
        harness.worker._maintenance.step(harness.client, harness.worker.pools)
    assert artifacts(harness) == {*learners, names["prior"], names["new"]}


def test_results_and_rollbacks_of_removed_controls_are_deleted_and_edits_stay(
    harness: WorkerHarness,
) -> None:
    add_labelled_tasks(harness.server, 20)
    harness.round()
    store, made_of = harness.store, {"space": "fake"}
    for control in ("label", "removed"):
        store.monitor.put(5, control, {"version": 1})
        store.distillations.replace(5, control, 0, ("file", "0" * 64), made_of)
        store.feature_scores.put(5, control, {"region": 1})
        store.projects.pin(5, {control: 1})
    for _ in range(3):
        harness.clock.seconds += maintenance.QUIET_SECONDS + 1
        harness.worker._maintenance.step(harness.client, harness.worker.pools)
    project = store.projects.require(5)
    assert [*project.monitor_results] == [*project.distillations] == [*project.pinned] == ["label"]
    assert [*project.feature_scores] == ["label", "removed"]


def test_a_rollback_of_a_control_that_the_setting_choices_leaves_out_stays(harness: WorkerHarness) -> None:
    harness.server.label_config = TWO_CONTROLS
    set_up(harness.store, 5, extra_params={"choices": LABEL})
    add_labelled_tasks(harness.server, 20)
    harness.round()
    assert [*harness.active().controls] == [LABEL]
    harness.store.projects.pin(5, {LABEL: 1, MOOD: 1, "removed": 1})
    for _ in range(3):
        harness.clock.seconds += maintenance.QUIET_SECONDS + 1
        harness.worker._maintenance.step(harness.client, harness.worker.pools)
    assert harness.store.projects.require(5).pinned == {LABEL: 1, MOOD: 1}

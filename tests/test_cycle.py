"""One round from top to bottom, against a Label Studio in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import FakeClient, FakeLabelStudio, config_with, fill, flood, text_about

from ml_backend import cycle, registry
from ml_backend.consensus import consensus
from ml_backend.cycle import Round, run_round
from ml_backend.domain import ApprenticeError, Example, ModelVersion, TaskSchema, content_key
from ml_backend.label_studio.client import Refused, Unreachable
from ml_backend.label_studio.config import read_schema
from ml_backend.pool import ProjectPool
from ml_backend.ranking import RANKED, Basis, rank
from ml_backend.rollback import LATEST, UnknownVersion, roll_back
from ml_backend.settings import Settings
from ml_backend.store import Store, StoreError

MakeRound = Callable[..., Round]


@pytest.fixture
def options(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_options(**values: Any) -> None:
        settings.defaults = settings.defaults.model_copy(update=values)

    set_options(queue_size=12, audit_share=0.0)
    return set_options


def active(store: Store) -> ModelVersion:
    found = store.versions.active(5)
    assert found is not None
    return found


def queue(server: FakeLabelStudio) -> list[int]:
    """The tasks that Label Studio would serve, first one first."""
    return [each["task"] for each in sorted(server.current_predictions(), key=lambda each: each["score"])]


def learn(server: FakeLabelStudio, truth: dict[int, str], schema: TaskSchema, n: int) -> list[int]:
    """Answers n tasks that have no answer, rightly."""
    tasks = [task for task in truth if not server.tasks[task]["annotations"]][:n]
    flood(server, truth, schema, tasks)
    return tasks


@pytest.fixture
def taught(
    server: FakeLabelStudio, make_round: MakeRound, options: object, single: TaskSchema, store: Store
) -> dict[int, str]:
    """A project of 90 tasks whose second version has a learner of 30 right answers."""
    truth = fill(server, 90)
    run_round(make_round(server))
    learn(server, truth, single, 30)
    run_round(make_round(server))
    assert active(store).learner == 2
    return truth


def test_the_first_round_serves_drafts_of_the_teacher(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    truth = fill(server, 60)
    record = run_round(make_round(server))
    version = active(store)
    assert record is not None
    assert (version.number, version.learner, version.labelled, version.accuracy) == (1, None, 0, None)
    assert record.version == version.name == server.settings["model_version"] == store.projects.ensure(5).published
    rows = server.current_predictions()
    assert len(rows) == 12
    assert len({row["task"] for row in rows}) == 12
    assert {row["task"] for row in rows} <= set(truth)
    assert all(row["result"][0]["value"]["choices"][0] in ("fruit", "metal", "animal") for row in rows)
    assert all(0 <= row["score"] < RANKED for row in rows)
    assert set(record.stages) == {"reconcile", "encode", "fit", "assess", "rank", "publish"}


def test_later_rounds_serve_drafts_of_the_learner_for_tasks_without_an_answer(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    version = active(store)
    assert (version.number, version.learner, version.labelled) == (2, 2, 30)
    assert version.accuracy is not None
    assert version.accuracy.n == 30
    rows = server.current_predictions()
    assert all(not server.tasks[row["task"]]["annotations"] for row in rows)
    right = sum(row["result"][0]["value"]["choices"] == [truth] for row in rows for truth in [taught[row["task"]]])
    assert right >= 10, "these words are easy to learn"
    assert all(version.name in row["result"][0]["meta"]["text"][0] for row in rows)


def test_nothing_changed_is_no_round_and_writes_nothing(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, settings: Settings
) -> None:
    checked = make_round(server)
    assert run_round(checked) is None
    assert FakeClient(server).calls == []
    assert checked.client.writes() == []  # type: ignore[attr-defined]
    unasked = make_round(server, settings=settings.model_copy(update={"reconcile_seconds": 3600.0}))
    assert run_round(unasked) is None
    assert unasked.client.calls == []  # type: ignore[attr-defined]
    assert active(store).number == 2


def test_a_skip_takes_the_task_out_of_the_queue_but_teaches_nothing(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    first = queue(server)[0]
    server.annotate(first, skip=True)
    assert run_round(make_round(server)) is not None
    assert first not in queue(server)
    assert (active(store).learner, active(store).labelled) == (2, 30)


def test_one_class_alone_teaches_nothing(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    truth = fill(server, 30)
    for task in [task for task, label in truth.items() if label == "fruit"][:5]:
        server.annotate(task, "fruit")
    run_round(make_round(server))
    assert (active(store).learner, active(store).labelled) == (None, 5)


def test_a_flood_of_wrong_answers_does_not_replace_the_learner(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    """40 fruits and 40 metals are learnt; then somebody calls a dozen fruits animals, which no word explains."""
    server.add_tasks([text_about(label, n) for label in ("fruit", "metal") for n in range(40)])
    for task, label in zip(server.tasks, ["fruit"] * 40 + ["metal"] * 40, strict=True):
        server.annotate(task, label)
    server.add_tasks([text_about("fruit", n) for n in range(100, 130)])
    run_round(make_round(server))
    assert active(store).learner == 1
    for task in sorted(server.tasks)[80:92]:
        server.annotate(task, "animal", by=2)
    run_round(make_round(server))
    version = active(store)
    assert (version.number, version.learner, version.labelled) == (2, 1, 92)
    assert "kept the earlier learner" in version.note
    assert store.versions.learners(5) == [1], "a rejected fit is not kept"
    drafts = [row["result"][0]["value"]["choices"] for row in server.current_predictions()]
    assert ["animal"] not in drafts
    assert server.settings["model_version"] == version.name


def test_the_gate_keeps_the_learner_that_answers_more_right(
    server: FakeLabelStudio,
    make_round: MakeRound,
    taught: dict[int, str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A learner that has unlearnt everything must be rejected, whatever the plugin, and the earlier one serve on."""
    from plugins.learners.logistic import Logistic

    learnt = Logistic.fit

    def unlearnt(self: Logistic, train: Any, seed: int) -> Any:
        from dataclasses import replace

        fit = learnt(self, train, seed)
        return replace(fit, held_out=np.roll(train.targets, 1, axis=1), held_out_earlier=train.targets)

    monkeypatch.setattr(Logistic, "fit", unlearnt)
    server.annotate(queue(server)[0], "fruit")
    run_round(make_round(server))
    version = active(store)
    assert (version.number, version.learner) == (3, 2)
    assert "kept the earlier learner" in version.note
    assert version.accuracy is not None
    assert version.accuracy.value == 1.0, "measured on the learner that serves"
    assert store.versions.learners(5) == [2], "a rejected fit is not kept"
    monkeypatch.undo()


def test_changed_minds_replace_the_learner(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: TaskSchema
) -> None:
    learn(server, taught, single, 20)
    run_round(make_round(server))
    assert (active(store).learner, active(store).labelled) == (3, 50)


def test_a_rollback_holds_and_latest_releases_it(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: TaskSchema
) -> None:
    store.projects.update(5, connection={"ml": 1})
    measured = active(store).accuracy
    learn(server, taught, single, 20)
    run_round(make_round(server))
    assert active(store).learner == 3

    assert "is held until" in roll_back(store, 5)
    assert store.jobs.claim("worker") is not None
    run_round(make_round(server))
    assert (active(store).number, active(store).learner) == (4, 2)
    assert active(store).accuracy == measured, "of the learner that serves, not of the one before"
    learn(server, taught, single, 5)
    run_round(make_round(server))
    assert (active(store).learner, active(store).labelled) == (2, 55)

    assert "learning goes on" in roll_back(store, 5, LATEST)
    run_round(make_round(server))
    assert active(store).learner == active(store).number == 6


def test_a_rollback_finds_a_version_by_name_and_by_number(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: TaskSchema
) -> None:
    store.projects.update(5, connection={"ml": 1})
    name = active(store).name
    learn(server, taught, single, 20)
    run_round(make_round(server))
    for wanted in (name, "2", "apprentice-2"):
        store.projects.update(5, pinned=None)
        roll_back(store, 5, wanted)
        assert store.projects.ensure(5).pinned == 2


@pytest.mark.parametrize("wanted", ["1", "99", "", "nonsense", "apprentice-", "٣", "9" * 40, "-1"])
def test_what_has_no_learner_cannot_be_rolled_back_to(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, wanted: str
) -> None:
    store.projects.update(5, connection={"ml": 1})
    with pytest.raises(UnknownVersion):
        roll_back(store, 5, wanted)
    with pytest.raises(UnknownVersion, match="no earlier learner"):
        roll_back(store, 5)
    with pytest.raises(UnknownVersion, match="not connected"):
        roll_back(store, 6, "2")
    assert store.projects.ensure(5).pinned is None


def test_a_label_that_is_added_can_be_drafted_once_it_has_answers(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    server.label_config = config_with("fruit", "metal", "animal", "other")
    run_round(make_round(server))
    assert active(store).number == 3
    assert active(store).accuracy is not None
    for task in queue(server)[:8]:
        server.annotate(task, "other")
    run_round(make_round(server))
    assert active(store).learner == active(store).number == 4
    assert read_schema(store.projects.ensure(5).label_config).labels[-1] == "other"


def test_a_label_that_is_renamed_is_never_drafted_by_its_old_name(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    server.label_config = config_with("fruit", "metal", "beast")
    assert run_round(make_round(server)) is not None
    drafted = {row["result"][0]["value"]["choices"][0] for row in server.current_predictions()}
    assert drafted
    assert drafted <= {"fruit", "metal", "beast"}
    assert active(store).labelled == 20, "answers with the old name do not count"


def test_when_all_labels_are_replaced_the_queue_goes_on(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    server.label_config = config_with("yes", "no")
    assert run_round(make_round(server)) is not None
    assert len(server.current_predictions()) == 12
    assert active(store).labelled == 0


def test_a_damaged_artifact_is_replaced_by_the_older_learner_and_the_note_says_so(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: TaskSchema,
    settings: Settings,
) -> None:  # fmt: skip
    learn(server, taught, single, 10)
    run_round(make_round(server))
    assert active(store).learner == 3
    artifact = settings.data_dir / "artifacts" / "5" / "000003.safetensors"
    content = bytearray(artifact.read_bytes())
    content[-1] ^= 1
    artifact.write_bytes(content)
    store.projects.update(5, pinned=3)
    run_round(make_round(server))
    assert active(store).learner == 2
    assert "damaged" in active(store).note


def test_a_lost_artifact_is_learnt_again(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, settings: Settings
) -> None:
    (settings.data_dir / "artifacts" / "5" / "000002.safetensors").unlink()
    server.annotate(queue(server)[0], "fruit")
    run_round(make_round(server))
    assert active(store).learner == active(store).number == 3
    assert "cannot be read" in active(store).note


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def unchanged(server: FakeLabelStudio, store: Store, name: str, rows: list[int]) -> bool:
    return (active(store).name, store.projects.ensure(5).published, server.settings["model_version"]) == (
        name, name, name,
    ) and queue(server) == rows  # fmt: skip


def test_a_full_disk_keeps_the_earlier_version_serving(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: TaskSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    name, rows = active(store).name, queue(server)
    learn(server, taught, single, 5)
    with monkeypatch.context() as patch:
        full_disk(patch)
        with pytest.raises(StoreError, match="No space left"):
            run_round(make_round(server))
    assert unchanged(server, store, name, rows)
    assert run_round(make_round(server)) is not None
    assert active(store).labelled == 35


@pytest.mark.parametrize("error", [Unreachable("down"), Refused("500")])
@pytest.mark.parametrize("path", ["api/predictions/", "import/predictions", "api/projects/5"])
def test_a_failing_label_studio_keeps_the_earlier_version_serving(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: TaskSchema,
    error: ApprenticeError, path: str,
) -> None:  # fmt: skip
    name, rows = active(store).name, queue(server)
    learn(server, taught, single, 5)
    work = make_round(server)

    def fail(method: str, called: str, _body: Any) -> None:
        if method != "GET" and called.endswith(path):
            raise error

    work.client.before = fail  # type: ignore[attr-defined]
    fast_bulk = path == "import/predictions"  # so that the call is made before the switch
    store.projects.update(5, pace={"bulk": 0.0001 if fast_bulk else 9.0, "single": 1.0 if fast_bulk else 0.1})
    with pytest.raises(ApprenticeError):
        run_round(work)
    assert unchanged(server, store, name, rows)
    assert run_round(make_round(server)) is not None
    assert active(store).name == server.settings["model_version"] != name


def test_a_dropped_row_keeps_the_earlier_version_serving(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    name, rows = active(store).name, queue(server)
    store.projects.update(5, pace={"bulk": 0.0001, "single": 1.0})
    server.annotate(rows[0], "fruit")
    server.drops_rows = True
    with pytest.raises(Refused, match="kept 11 of 12"):
        run_round(make_round(server))
    assert (active(store).name, server.settings["model_version"]) == (name, name)


def test_when_everything_is_labelled_the_learner_serves_and_nothing_is_published(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, single: TaskSchema
) -> None:
    truth = fill(server, 12)
    run_round(make_round(server))
    published = store.projects.ensure(5).published
    learn(server, truth, single, 12)
    work = make_round(server)
    assert run_round(work) is not None
    assert work.client.writes() == []  # type: ignore[attr-defined]
    assert (active(store).number, active(store).learner) == (2, 2)
    assert store.projects.ensure(5).published == published == server.settings["model_version"]
    assert run_round(make_round(server)) is None
    server.add_tasks(["apple pear plum"])
    run_round(make_round(server))
    assert len(queue(server)) == 1


def test_an_empty_project_is_no_error(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    run_round(make_round(server))
    assert store.projects.ensure(5).published is None
    server.add_tasks(["apple", "iron"])
    run_round(make_round(server))
    assert len(queue(server)) == 2


def test_the_switch_comes_after_the_head_and_before_the_rest(
    server: FakeLabelStudio, make_round: MakeRound, options: object
) -> None:
    fill(server, 40)
    work = make_round(server)
    run_round(work)
    calls = work.client.writes()  # type: ignore[attr-defined]
    switch = next(n for n, (method, path, _) in enumerate(calls) if (method, path) == ("PATCH", "api/projects/5"))
    assert [path for _, path, _ in calls[:switch]] == ["api/predictions/"] * 4
    assert calls[switch][2] == {"model_version": server.settings["model_version"]}
    assert [path for _, path, _ in calls[switch + 1 :]] == ["api/projects/5/import/predictions"]
    heads = [body["score"] for _, path, body in calls[:switch]]
    assert heads == sorted(heads)
    assert max(heads) < min(row["score"] for row in calls[-1][2])


def test_when_bulk_import_is_fast_the_switch_is_the_very_last_call(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    fill(server, 40)
    store.projects.update(5, pace={"bulk": 0.0001, "single": 1.0})
    work = make_round(server)
    run_round(work)
    assert [(method, path) for method, path, _ in work.client.writes()] == [  # type: ignore[attr-defined]
        ("POST", "api/projects/5/import/predictions"),
        ("PATCH", "api/projects/5"),
    ]


def test_the_guard_is_asked_before_every_write(server: FakeLabelStudio, make_round: MakeRound, options: object) -> None:
    fill(server, 40)
    log: list[str] = []
    work = make_round(server, guard=lambda: log.append("guard"))
    work.client.before = lambda method, *_: log.append("write" if method != "GET" else "read")  # type: ignore[attr-defined]
    run_round(work)
    assert log.count("write") >= 6
    assert all(log[n - 1] == "guard" for n, each in enumerate(log) if each == "write")


class Lost(ApprenticeError):
    pass


@pytest.mark.parametrize("good", range(6))
def test_a_lease_that_is_lost_before_the_switch_switches_nothing(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, good: int
) -> None:
    name = active(store).name
    store.projects.update(5, pace={"bulk": 9.0, "single": 0.1})
    server.annotate(queue(server)[0], "fruit")
    left = iter(range(good))

    def guard() -> None:
        if next(left, None) is None:
            raise Lost

    work = make_round(server, guard=guard)
    switched = False
    try:
        run_round(work)
    except Lost:
        switched = any(method == "PATCH" for method, _, _ in work.client.writes())  # type: ignore[attr-defined]
    assert not switched
    assert (active(store).name, store.projects.ensure(5).published, server.settings["model_version"]) == (name,) * 3


def test_a_round_that_lost_its_lease_leaves_the_newer_version_alone(
    server: FakeLabelStudio,
    make_round: MakeRound,
    taught: dict[int, str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen worker wakes up after another one has published: same number, same artifact name."""
    assert active(store).number == 2
    server.annotate(queue(server)[0], "fruit")
    newer: list[ModelVersion] = []

    def guard() -> None:
        if newer:
            raise Lost

    def freeze(*args: Any) -> Any:
        if not newer:
            newer.append(active(store))  # so that the round within does not freeze, too
            run_round(make_round(server))
            newer[0] = active(store)
        return rank(*args)

    monkeypatch.setattr(cycle, "rank", freeze)
    with pytest.raises(Lost):
        run_round(make_round(server, guard=guard))
    assert active(store) == newer[0]
    assert server.settings["model_version"] == newer[0].name
    found = store.versions.artifact(5, newer[0].number)
    assert found is not None
    store.artifacts.read(*found)


def test_a_superseded_round_writes_its_head_and_no_more(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    fill(server, 40)
    run_round(make_round(server, superseded=lambda: True))
    assert len(server.current_predictions()) == 4
    assert store.projects.ensure(5).published == server.settings["model_version"]


def test_a_version_that_something_else_switched_off_is_published_again(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    server.settings["model_version"] = ""
    assert run_round(make_round(server)) is not None
    assert server.settings["model_version"] == active(store).name


def test_names_are_never_used_twice_even_by_another_store(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    names = {version.name for version in store.versions.all(5)}
    assert len(names) == 2
    assert all(name.count("-") == 2 for name in names)


def test_bad_project_settings_are_named_in_the_note(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    fill(server, 10)
    store.projects.update(5, extra_params={"queue_size": "many", "audit_share": 0})
    run_round(make_round(server))
    assert "queue_size" in active(store).note


def test_several_choices_may_hold_at_once(
    make_round: MakeRound, options: object, store: Store, multiple: TaskSchema
) -> None:
    server = FakeLabelStudio(label_config=config_with("fruit", "metal", "animal", multiple=True))
    texts = ["apple pear iron", "dog cat", "plum zinc dog", "nothing here", "copper tin", "cherry mango"]
    server.add_tasks([f"{text} n{n}" for n in range(10) for text in texts])
    run_round(make_round(server))
    words = {"fruit": "apple pear plum cherry mango", "metal": "iron zinc copper tin", "animal": "dog cat"}
    for task in list(server.tasks)[:36]:
        text = server.tasks[task]["data"]["text"].split()
        server.annotate(task, *(label for label, own in words.items() if set(own.split()) & set(text)))
    run_round(make_round(server))
    assert active(store).learner == 2
    assert active(store).labelled == 36, "an empty answer says: none of them"
    drafts = [row["result"][0]["value"]["choices"] if row["result"] else [] for row in server.current_predictions()]
    assert any(len(draft) == 2 for draft in drafts) or any(draft == [] for draft in drafts)


def test_an_encoder_change_learns_anew_over_the_new_vectors(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = FakeEncoder("other", 24)
    monkeypatch.setattr(registry, "encoder", lambda _setting: other)
    run_round(make_round(server, pool=ProjectPool(store, 5, other)))
    assert active(store).learner == active(store).number == 3
    assert "learnt over the encoder fake, not other" in active(store).note


def test_the_audit_slice_is_served_without_drafts_and_nowhere_else(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    options(queue_size=20, audit_share=0.3)
    fill(server, 120)
    for answers in range(8):
        for task in queue(server)[:2]:
            server.annotate(task, "fruit" if task % 2 else "metal")
        run_round(make_round(server))
        slice_ = set(store.versions.audited(5))
        rows = server.current_predictions()
        assert {row["task"] for row in rows if not row["result"]} == {row["task"] for row in rows} & slice_, answers
        assert len(rows) == 20
    assert slice_


def test_the_last_tasks_are_served_even_if_all_of_them_wait_in_the_audit_slice(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    options(queue_size=20, audit_share=0.05)
    truth = fill(server, 3)
    run_round(make_round(server))
    store.versions.draw_audit(5, list(truth))
    server.add_tasks(["gold silver"])
    run_round(make_round(server))
    assert len(queue(server)) == 4
    assert sum(not row["result"] for row in server.current_predictions()) == 3


def test_the_share_of_audit_places_is_right_on_average(
    settings: Settings, store: Store, single: TaskSchema, fake_encoder: FakeEncoder, server: FakeLabelStudio
) -> None:
    blind = served = 0
    options = settings.defaults.model_copy(update={"queue_size": 50, "audit_share": 0.1, "acquisition": "random"})
    texts = [f"apple {n}" for n in range(100)]
    for project in range(1, 41):
        store.projects.ensure(project)
        store.tasks.put(project, [Example(n + 1, text, content_key(text)) for n, text in enumerate(texts)])
        pool = ProjectPool(store, project, fake_encoder)
        pool.refresh(1)
        basis = Basis(settings, options, single, consensus(single, []), None, project, 1, "v")
        predictions = rank(store, pool, basis)
        served += len(predictions)
        blind += sum(each.draft is None for each in predictions)
    assert served == 40 * 50
    # 2000 places at 10 %: four standard deviations are 54
    assert abs(blind - 0.1 * served) < 54

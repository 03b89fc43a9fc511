"""A round in which something breaks: the last good version goes on serving."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks
from projects import set_up
from round_fixtures import MakeRound, active, learn, queue

from ml_backend.core.exceptions import ApprenticeError, RequestRefusedError, StoreError, UnreachableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import ModelVersion
from ml_backend.loop import round as round_module
from ml_backend.loop.queue_builder import rank
from ml_backend.loop.round import run_round
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Store


def artifact_of(store: Store, settings: Settings, number: int) -> Path:
    artifact = store.versions.artifact(5, number)
    assert artifact is not None
    return settings.data_dir / "artifacts" / artifact[0]


def test_a_damaged_artifact_is_replaced_by_the_older_learner_and_the_note_says_so(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: ProjectSchema,
    settings: Settings,
) -> None:  # fmt: skip
    learn(server, taught, single, 10)
    run_round(make_round(server))
    assert active(store).learner == 3
    artifact = artifact_of(store, settings, 3)
    content = bytearray(artifact.read_bytes())
    content[-1] ^= 1
    artifact.write_bytes(content)
    set_up(store, 5, pinned=3)
    run_round(make_round(server))
    assert active(store).learner == 2
    assert "damaged" in remarks_text(active(store).remarks)


def test_a_learner_whose_artifact_is_missing_is_fitted_again(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, settings: Settings
) -> None:
    artifact_of(store, settings, 2).unlink()
    server.annotate(queue(server)[0], "fruit")
    run_round(make_round(server))
    assert active(store).learner == active(store).number == 3
    assert "cannot be read" in remarks_text(active(store).remarks)


def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def unchanged(server: FakeLabelStudio, store: Store, name: str, rows: list[int]) -> bool:
    return (active(store).name, store.projects.ensure(5).published, server.settings["model_version"]) == (
        name, name, name,
    ) and queue(server) == rows  # fmt: skip


def test_a_full_disk_keeps_the_earlier_version_serving(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: ProjectSchema,
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


@pytest.mark.parametrize("error", [UnreachableError("down"), RequestRefusedError("500")])
@pytest.mark.parametrize("path", ["api/predictions/", "import/predictions", "api/projects/5"])
def test_a_failing_label_studio_keeps_the_earlier_version_serving(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: ProjectSchema,
    error: ApprenticeError, path: str,
) -> None:  # fmt: skip
    name, rows = active(store).name, queue(server)
    learn(server, taught, single, 5)
    context = make_round(server)

    def fail(method: str, called: str, _body: Any) -> None:
        if method != "GET" and called.endswith(path):
            raise error

    context.client.before = fail  # type: ignore[attr-defined]
    fast_bulk = path == "import/predictions"  # so that the call is made before the switch
    set_up(store, 5, publish_timings={"bulk": 0.0001 if fast_bulk else 9.0, "single": 1.0 if fast_bulk else 0.1})
    with pytest.raises(ApprenticeError):
        run_round(context)
    assert unchanged(server, store, name, rows)
    stale = [number for number, _, _ in store.versions.stale(5)]
    assert 3 in stale, "rows that it wrote before it failed are removed later"
    assert run_round(make_round(server)) is not None
    assert active(store).name == server.settings["model_version"] != name


def test_a_dropped_row_keeps_the_earlier_version_serving(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    name, rows, shown = active(store).name, queue(server), store.published_drafts.of(5)
    set_up(store, 5, publish_timings={"bulk": 0.0001, "single": 1.0})
    server.annotate(rows[0], "fruit")
    server.drops_rows = True
    with pytest.raises(RequestRefusedError, match="kept 11 of 12"):
        run_round(make_round(server))
    assert (active(store).name, server.settings["model_version"]) == (name, name)
    assert store.published_drafts.of(5) == shown, "no other drafts were served"


def test_the_lease_is_checked_before_every_write(
    server: FakeLabelStudio, make_round: MakeRound, options: object
) -> None:
    add_labelled_tasks(server, 40)
    log: list[str] = []
    context = make_round(server, check_lease=lambda: log.append("guard"))
    context.client.before = lambda method, *_: log.append("write" if method != "GET" else "read")  # type: ignore[attr-defined]
    run_round(context)
    assert log.count("write") >= 6
    assert all(log[n - 1] == "guard" for n, call in enumerate(log) if call == "write")


class LostError(ApprenticeError):
    pass


@pytest.mark.parametrize("good", range(6))
def test_a_lease_that_is_lost_before_the_switch_switches_nothing(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, good: int
) -> None:
    name = active(store).name
    set_up(store, 5, publish_timings={"bulk": 9.0, "single": 0.1})
    server.annotate(queue(server)[0], "fruit")
    left = iter(range(good))

    def guard() -> None:
        if next(left, None) is None:
            raise LostError

    context = make_round(server, check_lease=guard)
    switched = False
    try:
        run_round(context)
    except LostError:
        switched = any(method == "PATCH" for method, _, _ in context.client.writes())  # type: ignore[attr-defined]
    assert not switched
    assert (active(store).name, store.projects.ensure(5).published, server.settings["model_version"]) == (name,) * 3


def test_a_round_that_lost_its_lease_leaves_the_newer_version_alone(
    server: FakeLabelStudio,
    make_round: MakeRound,
    taught: dict[int, str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A suspended worker goes on after another worker has published a version with the same number."""
    assert active(store).number == 2
    server.annotate(queue(server)[0], "fruit")
    newer: list[ModelVersion] = []

    def guard() -> None:
        if newer:
            raise LostError

    def freeze(*args: Any) -> Any:
        if not newer:
            newer.append(active(store))  # so that the round within does not freeze, too
            run_round(make_round(server))
            newer[0] = active(store)
        return rank(*args)

    monkeypatch.setattr(round_module, "rank", freeze)
    with pytest.raises(LostError):
        run_round(make_round(server, check_lease=guard))
    assert active(store) == newer[0]
    assert server.settings["model_version"] == newer[0].name
    artifact = store.versions.artifact(5, newer[0].number)
    assert artifact is not None
    store.artifacts.read(*artifact)


def test_the_statistics_of_a_round_are_stored_before_the_rest_of_its_queue(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    add_labelled_tasks(server, 40)
    statistics = []

    def look(_seconds: float) -> bool:
        statistics.append(store.stats.document(5))
        return True

    run_round(make_round(server, newer_round_requested=look))
    assert [document["tasks"] for document in statistics] == [40]


def test_a_superseded_round_writes_its_head_and_no_more(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    add_labelled_tasks(server, 40)
    run_round(make_round(server, newer_round_requested=lambda _: True))
    assert len(server.current_predictions()) == 4
    assert store.projects.ensure(5).published == server.settings["model_version"]
    assert len(store.published_drafts.of(5, active(store).name)) == 12, "the teacher labels all of it in advance"

"""One round from top to bottom, against a Label Studio in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fake_encoder import FakeEncoder, bag_of_words
from fake_label_studio import FakeClient, FakeLabelStudio, add_labelled_tasks, config_with
from plugin_overrides import OverridePlugins
from projects import set_up
from round_fixtures import MakeRound, active, learn, queue
from schemas import first_of
from stored_models import load_best_learner

from ml_backend.core import registry
from ml_backend.core.arrays import Pool, Selection
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.core.types import TaskContent, content_key
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop import queue_builder
from ml_backend.loop.queue_builder import MAX_QUEUE_SCORE, RankingContext, rank
from ml_backend.loop.round import run_round
from ml_backend.monitoring.status import read_status
from ml_backend.pool.project_pool import ProjectPool
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store
from ml_backend.storage.unusable_tasks import NOT_FINITE


def test_the_first_round_serves_drafts_of_the_teacher(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    truth = add_labelled_tasks(server, 60)
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
    assert all(0 <= row["score"] < MAX_QUEUE_SCORE for row in rows)
    assert set(record.stages) == {"reconcile", "encode", "fit", "assess", "rank", "publish"}


def test_later_rounds_serve_drafts_of_the_learner_for_tasks_without_an_annotation(
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


def test_without_a_change_no_round_runs_and_nothing_is_written(
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


def test_a_skip_removes_the_task_from_the_queue_and_is_not_learnt_from(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    first = queue(server)[0]
    server.annotate(first, skip=True)
    assert run_round(make_round(server)) is not None
    assert first not in queue(server)
    assert (active(store).learner, active(store).labelled) == (2, 30)


def test_no_learner_is_fitted_on_a_single_class(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    truth = add_labelled_tasks(server, 30)
    for task in [task for task, label in truth.items() if label == "fruit"][:5]:
        server.annotate(task, "fruit")
    run_round(make_round(server))
    assert (active(store).learner, active(store).labelled) == (None, 5)


def test_an_added_label_can_be_drafted_once_it_has_annotations(
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
    assert read_schema(store.projects.ensure(5).label_config).controls[0].labels[-1] == "other"


def test_a_label_that_is_renamed_is_never_drafted_by_its_old_name(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    server.label_config = config_with("fruit", "metal", "beast")
    assert run_round(make_round(server)) is not None
    drafted = {row["result"][0]["value"]["choices"][0] for row in server.current_predictions()}
    assert drafted
    assert drafted <= {"fruit", "metal", "beast"}
    assert active(store).labelled == 20, "answers with the old name do not count"


def test_a_queue_is_published_after_all_labels_were_replaced(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    server.label_config = config_with("yes", "no")
    assert run_round(make_round(server)) is not None
    assert len(server.current_predictions()) == 12
    assert active(store).labelled == 0


def test_when_everything_is_labelled_the_learner_serves_and_nothing_is_published(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, single: ProjectSchema
) -> None:
    truth = add_labelled_tasks(server, 12)
    run_round(make_round(server))
    published = store.projects.ensure(5).published
    learn(server, truth, single, 12)
    context = make_round(server)
    assert run_round(context) is not None
    assert context.client.writes() == []  # type: ignore[attr-defined]
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
    add_labelled_tasks(server, 40)
    context = make_round(server)
    run_round(context)
    calls = context.client.writes()  # type: ignore[attr-defined]
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
    add_labelled_tasks(server, 40)
    set_up(store, 5, publish_timings={"bulk": 0.0001, "single": 1.0})
    context = make_round(server)
    run_round(context)
    assert [(method, path) for method, path, _ in context.client.writes()] == [  # type: ignore[attr-defined]
        ("POST", "api/projects/5/import/predictions"),
        ("PATCH", "api/projects/5"),
    ]


def test_a_version_that_was_switched_off_in_label_studio_is_published_again(
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


def test_bad_project_settings_are_named_and_the_round_goes_on(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, settings: Settings
) -> None:
    add_labelled_tasks(server, 10)
    set_up(store, 5, extra_params={"queue_size": "many", "audit_share": 0})
    run_round(make_round(server))
    assert active(store).number == 1
    assert "queue_size" in dict(status_lines(read_status(store, 5, settings)))["settings"]


def test_several_choices_may_hold_at_once(
    make_round: MakeRound, options: object, store: Store, multiple: ProjectSchema
) -> None:
    server = FakeLabelStudio(label_config=config_with("fruit", "metal", "animal", multiple=True))
    texts = ["apple pear iron", "dog cat", "plum zinc dog", "nothing here", "copper tin", "cherry mango"]
    server.add_tasks([f"{text} n{n}" for n in range(10) for text in texts])
    run_round(make_round(server))
    words = {"fruit": "apple pear plum cherry mango", "metal": "iron zinc copper tin", "animal": "dog cat"}
    for task in list(server.tasks)[:36]:
        text = server.tasks[task]["data"]["text"].split()
        server.annotate(task, *(label for label, label_words in words.items() if set(label_words.split()) & set(text)))
    run_round(make_round(server))
    assert active(store).learner == 2
    assert active(store).labelled == 36, "an empty annotation means that no label applies"
    drafts = [row["result"][0]["value"]["choices"] if row["result"] else [] for row in server.current_predictions()]
    assert any(len(draft) == 2 for draft in drafts) or any(draft == [] for draft in drafts)


def test_after_a_change_of_the_encoder_the_learner_is_fitted_on_the_new_vectors(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store,
    override_plugins: OverridePlugins,
) -> None:  # fmt: skip
    other = FakeEncoder("other", 24)
    override_plugins({"encoder.minilm": lambda: other})
    run_round(make_round(server, pool=ProjectPool(store, 5, other)))
    assert active(store).learner == active(store).number == 3
    assert "encoded in another way since version 2 (fake, now other): the learner is fitted again" in remarks_text(
        active(store).remarks
    )


def test_the_audit_sample_alone_is_served_without_drafts(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    options(queue_size=20, audit_share=0.3)
    add_labelled_tasks(server, 120)
    for answers in range(8):
        for task in queue(server)[:2]:
            server.annotate(task, "fruit" if task % 2 else "metal")
        run_round(make_round(server))
        slice_ = set(store.versions.audited(5))
        rows = server.current_predictions()
        assert {row["task"] for row in rows if not row["result"]} == {row["task"] for row in rows} & slice_, answers
        assert len(rows) == 20
    assert slice_


def test_the_last_tasks_are_served_even_if_all_of_them_are_in_the_audit_sample(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None], store: Store
) -> None:
    options(queue_size=20, audit_share=0.05)
    truth = add_labelled_tasks(server, 3)
    run_round(make_round(server))
    store.versions.draw_audit(5, list(truth))
    server.add_tasks(["gold silver"])
    run_round(make_round(server))
    assert len(queue(server)) == 4
    assert sum(not row["result"] for row in server.current_predictions()) == 3


def test_the_share_of_audit_places_is_right_on_average(
    settings: Settings, store: Store, single: ProjectSchema, fake_encoder: FakeEncoder, server: FakeLabelStudio
) -> None:
    blind = served = 0
    options = settings.defaults.model_copy(update={"queue_size": 50, "audit_share": 0.1, "acquisition": "random"})
    texts = [f"apple {n}" for n in range(100)]
    for project in range(1, 41):
        store.projects.ensure(project)
        store.tasks.put(project, [TaskContent(n + 1, text, content_key(text)) for n, text in enumerate(texts)])
        pool = ProjectPool(store, project, fake_encoder)
        pool.refresh(1)
        ranking_context = RankingContext(
            settings, options, single, pool.tasks[:0], pool.tasks[:0], None, project, 1, "v"
        )
        predictions = rank(store, pool, ranking_context)
        served += len(predictions)
        blind += sum(first_of(prediction.drafts) is None for prediction in predictions)
    assert served == 40 * 50
    # 2000 places at 10 %: four standard deviations are 54
    assert abs(blind - 0.1 * served) < 54


def test_in_a_large_pool_a_random_sample_is_compared_with_all_labelled_tasks(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store,
    single: ProjectSchema, monkeypatch: pytest.MonkeyPatch, override_plugins: OverridePlugins,
) -> None:  # fmt: skip
    monkeypatch.setattr(queue_builder, "MAX_COMPARED_TASKS", 20)
    shown: list[tuple[Pool, Selection]] = []
    strategy = registry.acquisition("cluster-uncertainty")

    class RecordingStrategy:
        def select(self, pool: Pool, k: int, seed: int) -> Selection:
            shown.append((pool, strategy.select(pool, k, seed)))
            return shown[-1][1]

    override_plugins({"acquisition.cluster-uncertainty": RecordingStrategy})
    for _ in range(2):
        store.publications.request(5)
        learn(server, taught, single, 1)
        run_round(make_round(server))
    for pool, chosen in shown:
        assert pool.available.sum() == 20
        assert pool.labelled.sum() == len(pool.vectors) - 20
        assert pool.available[chosen.rows].all()
        assert pool.clustering is not None and len(pool.clustering.assignment) == len(pool.vectors)
    published = queue(server)
    texts = bag_of_words([server.tasks[task]["data"]["text"] for task in published], 32)
    vectors = np.asarray(shown[-1][0].vectors)[shown[-1][1].rows]
    assert np.allclose(texts, vectors), "the rows of the sample are those tasks"
    first, second = (np.asarray(pool.vectors)[pool.available] for pool, _ in shown)
    assert not np.array_equal(first, second), "another sample after each annotation"


def test_a_prior_is_no_reason_for_a_round_before_there_is_anything_to_learn(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, single: ProjectSchema
) -> None:
    truth = add_labelled_tasks(server, 30)
    run_round(make_round(server))
    set_up(store, 5, distillation={"file": "gone", "sha256": "another", "made_of": None})
    assert run_round(make_round(server)) is None
    learn(server, truth, single, 2)
    set_up(store, 5, reconciled_at=0.0)
    assert run_round(make_round(server)) is not None
    set_up(store, 5, distillation={"file": "gone", "sha256": "a third", "made_of": None})
    assert run_round(make_round(server)) is not None


def test_an_unusable_text_stops_no_round_and_is_named(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, single: ProjectSchema,
    fake_encoder: FakeEncoder,
) -> None:  # fmt: skip
    truth = add_labelled_tasks(server, 60)
    answered, waiting = next(iter(truth)), list(truth)[40]
    fake_encoder.useless = {server.tasks[task]["data"]["text"] for task in (answered, waiting)}
    assert run_round(make_round(server)) is not None
    assert waiting not in queue(server)
    learn(server, truth, single, 30)
    context = make_round(server)
    assert run_round(context) is not None
    learner, _ = load_best_learner(store, active(store), context.pool.space)
    assert learner is not None and len(learner.snapshot.tasks) == 29
    assert not {answered, waiting} & {*learner.snapshot.tasks.tolist(), *queue(server)}
    status = read_status(store, 5)
    assert status.set_aside == {answered: NOT_FINITE, waiting: NOT_FINITE}
    line = dict(status_lines(status))["set aside"]
    assert f"task {answered}, {waiting} ({NOT_FINITE})" in line

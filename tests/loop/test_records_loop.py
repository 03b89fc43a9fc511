"""Tables in the loop: records are encoded, learnt, ranked and drafted as texts are, and drafts have explanations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio, submit_labels
from patient_records import MIXED, SCORES, TABLE, add_patients
from projects import set_up
from round_fixtures import MakeRound, active, queue
from schemas import ONE_CHOICE, first_of, only
from stored_models import load_best_learner

from ml_backend.core.arrays import DistillationData, PseudoLabels, TrainingSet
from ml_backend.core.exceptions import ApprenticeError, UnreachableError
from ml_backend.core.schema import ProjectSchema
from ml_backend.core.settings import Settings
from ml_backend.label_studio.label_config import read_schema
from ml_backend.loop.context import RoundContext
from ml_backend.loop.round import run_round
from ml_backend.model import fitted_model
from ml_backend.pool import feature_space
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.storage import Store
from ml_backend.teacher import distillation
from ml_backend.web.predictor import Predictor
from plugins.learners.laat import Laat

SCHEMA = read_schema(TABLE)


@pytest.fixture
def clinic(server: FakeLabelStudio, options: Callable[..., None]) -> dict[int, str]:
    server.label_config = TABLE
    return add_patients(server, 120)


def teach(
    server: FakeLabelStudio, make_round: MakeRound, truth: dict[int, str], schema: ProjectSchema, n: int
) -> RoundContext:
    free = [task for task in truth if not server.tasks[task]["annotations"]][:n]
    submit_labels(server, truth, schema, free)
    context = make_round(server)
    run_round(context)
    return context


def learner(store: Store) -> fitted_model.FittedModel:
    version = active(store)
    encoder = feature_space.project_encoder(Settings(), store.projects.ensure(5))
    model, _ = load_best_learner(store, version, encoder.name)
    assert model is not None
    return model


def test_records_are_learnt_from_and_their_drafts_say_why(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    run_round(make_round(server))
    assert len(queue(server)) == 12 and active(store).learner is None
    assert all(not row["result"] for row in server.current_predictions()), "there is no learner yet"
    teach(server, make_round, clinic, SCHEMA, 60)
    model = learner(store)
    assert model.snapshot.plugin == "tabular" and model.snapshot.space.startswith("records-")
    is_right = [row["result"][0]["value"]["choices"] == [clinic[row["task"]]] for row in server.current_predictions()]
    assert np.mean(is_right) > 0.6, "the queue has the hardest records"
    reasons = [row["result"][0]["meta"]["text"][0] for row in server.current_predictions()]
    assert sum("because of age " in reason or " and age " in reason for reason in reasons) > 8
    assert sum("noise" in reason for reason in reasons) < 6


def test_the_predictor_uses_the_vector_space_of_the_round(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    predictor = Predictor(settings, store)
    text = '{"age": 88, "city": "Bergen", "noise": 0, "smoker": "yes"}'
    (before,) = predictor.predict(5, TABLE, [1], [text])
    assert first_of(before.drafts) is None, "the project of records has no vector space yet"
    run_round(make_round(server))
    teach(server, make_round, clinic, SCHEMA, 60)
    (prediction,) = predictor.predict(5, TABLE, [999], [text])
    assert only(prediction.drafts).value == ("yes",) and only(prediction.drafts).explanation[0] == "age 88"
    assert "learner because of age 88" in prediction.reason


def test_a_text_beside_a_record_is_one_more_field(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None]
) -> None:
    server.label_config = MIXED
    truth, schema = add_patients(server, 80), read_schema(MIXED)
    assert schema.input.is_record and schema.input.fields == ("note",)
    run_round(make_round(server))
    teach(server, make_round, truth, schema, 40)
    reasons = [row["result"][0]["meta"]["text"][0] for row in server.current_predictions()]
    assert sum("note " in reason for reason in reasons) > 8, "the text determines the label"
    project_row = store.projects.ensure(5)
    encoder = feature_space.project_record_encoder(Settings(), project_row) if project_row.record_profile else None
    assert (
        encoder is not None and {field["name"]: field["kind"] for field in encoder.field_summaries()}["note"] == "text"
    )


def test_fields_in_separate_tags_make_a_record(server: FakeLabelStudio, make_round: MakeRound, store: Store) -> None:
    server.label_config = (
        '<View><Text name="who" value="Age: $record.age, from $record.city"/><HyperText name="note" value="$note"/>'
        '<Choices name="label" toName="who"><Choice value="no"/><Choice value="yes"/></Choices></View>'
    )
    truth, schema = add_patients(server, 80), read_schema(server.label_config)
    for task in truth:
        data = server.tasks[task]["data"]
        data["note"] = f"<p>{data['note']}, file {task}</p>"
    server.add_tasks([""], record="no record")
    run_round(make_round(server))
    teach(server, make_round, truth, schema, 40)
    project_row = store.projects.ensure(5)
    encoder = feature_space.project_record_encoder(Settings(), project_row)
    assert encoder is not None
    kinds = {field["name"]: field["kind"] for field in encoder.field_summaries()}
    assert kinds == {"record.age": "numeric", "record.city": "categorical", "note": "text"}
    assert feature_space.task_form(encoder) == "record with text" and active(store).acquisition == "cluster-uncertainty"
    drafts = [
        row["result"][0] for row in server.current_predictions() if row["result"]
    ]  # tasks of the audit sample have no draft
    reasons = [draft["meta"]["text"][0] for draft in drafts]
    assert sum("note " in reason for reason in reasons) > 8 and not any("<p>" in reason for reason in reasons)
    assert {draft["to_name"] for draft in drafts} == {"who"}


def test_records_with_a_text_have_pseudo_labels_from_label_names_and_other_records_have_none(
    server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    add_patients(server, 60)
    for config, named in ((MIXED, 2), (TABLE, 0)):
        server.label_config, schema = config, read_schema(config)
        for number, task in enumerate(server.tasks.values()):
            task["data"]["note"] = f"cough and fever on day {number} of this year"
        run_round(make_round(server))
        encoder = feature_space.project_encoder(Settings(), store.projects.ensure(5))
        pseudo_labels = distillation.pseudo_labels_of_names(schema.controls[0], encoder)
        assert pseudo_labels.vectors.shape == (named, encoder.dim) and pseudo_labels.targets.shape == (named, 2)
        assert active(store).acquisition == ("cluster-uncertainty" if named else "near-and-far")


def test_a_title_of_few_words_is_a_text_if_the_question_is_about_it(
    server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    server.label_config = TABLE.replace(
        '<Table name="record" value="$record"/>', '<Text name="record" value="$title"/>'
    )
    server.label_config = server.label_config.replace("<Choices", '<Text name="code" value="$code"/><Choices')
    for number in range(30):
        server.add_tasks([""], title=f"blue shoe {number}", code=f"C{number}")
    run_round(make_round(server))
    encoder = feature_space.project_record_encoder(Settings(), store.projects.ensure(5))
    assert encoder is not None and encoder.texts == ("title",)


def test_tasks_are_read_again_when_a_text_tag_is_corrected_to_a_table_tag(
    server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    server.label_config = TABLE.replace("<Table", "<Text")
    add_patients(server, 30)
    run_round(make_round(server))
    server.label_config = TABLE
    run_round(make_round(server))
    tasks, _ = store.tasks.index(5)
    assert all(store.tasks.texts(5, tasks.tolist())) and remarks_text(active(store).remarks) == ""


def test_without_a_value_in_any_tag_the_error_names_what_a_task_needs(
    server: FakeLabelStudio, make_round: MakeRound
) -> None:
    server.label_config = MIXED.replace('<Table name="record" value="$record"/>', '<Text name="record" value="$age"/>')
    server.add_tasks(["a text", "another"])
    with pytest.raises(ApprenticeError, match="No task has a record in 'age', 'note': each needs a value in one"):
        run_round(make_round(server))


def test_tasks_without_a_record_are_reported_and_the_others_are_learnt_from(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    odd_records: tuple[Any, ...] = ("no record", 7, None, [1, 2], {})
    for odd in odd_records:
        server.add_tasks([""], record=odd)
    server.add_tasks([""], record='{"age": 30, "city": "Oslo"}', note="as JSON, as from an import of CSV")
    server.add_tasks(
        [""], record={"age": "n/a", "city": "Atlantis", "new": 1, "smoker": {"nested": [1]}, "noise": 1e300}
    )
    run_round(make_round(server))
    teach(server, make_round, clinic, SCHEMA, 30)
    assert "5 tasks have no record in 'record', for example task 121" in remarks_text(active(store).remarks)
    assert active(store).learner is not None and len(queue(server)) == 12


def test_without_any_record_the_error_names_what_a_task_needs(
    server: FakeLabelStudio, make_round: MakeRound, options: Callable[..., None]
) -> None:
    server.label_config = TABLE
    server.add_tasks(["a text", "another"])
    with pytest.raises(ApprenticeError, match="No task has a record in 'record': each needs an object"):
        run_round(make_round(server))


def test_field_types_of_the_extra_params_apply_and_wrong_ones_are_reported(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None]
) -> None:
    def kinds() -> dict[str, Any]:
        run_round(make_round(server))
        encoder = feature_space.project_record_encoder(Settings(), store.projects.ensure(5))
        assert encoder is not None
        return {field["name"]: field["kind"] for field in encoder.field_summaries()}

    assert kinds() == {"age": "numeric", "city": "categorical", "noise": "numeric", "smoker": "boolean"}
    before = store.projects.ensure(5).record_profile
    options(
        fields={"noise": "left out", "city": ["Oslo", "Bergen"], "age": {"kind": "numeric", "description": "years"}}
    )
    assert kinds() == {"age": "numeric", "city": "ordinal", "smoker": "boolean"}
    assert store.projects.ensure(5).record_profile != before
    options(fields={"age": "colourful", "noise": "left out", "shoes": "numeric"})
    assert kinds() == {"age": "numeric", "city": "categorical", "smoker": "boolean"}, "the other overrides hold"
    assert "Field 'age' cannot be 'colourful'" in remarks_text(
        active(store).remarks
    ) and "no record has a field 'shoes'" in remarks_text(active(store).remarks)


def test_a_pool_that_doubles_gets_a_new_profile_and_a_new_learner(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    run_round(make_round(server))
    teach(server, make_round, clinic, SCHEMA, 30)
    first = learner(store)
    add_patients(server, 30, seed=1)
    run_round(make_round(server))
    assert learner(store).snapshot.space == first.snapshot.space
    add_patients(server, 100, seed=2)
    run_round(make_round(server))
    assert learner(store).snapshot.space != first.snapshot.space
    np.testing.assert_array_equal(learner(store).snapshot.tasks, first.snapshot.tasks)


def test_a_group_is_a_value_of_a_field_or_a_quarter_of_its_numbers(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound
) -> None:
    context = make_round(server)
    run_round(context)
    rows = np.arange(120)
    cities = context.pool.group_names("city", rows)
    assert cities == [server.tasks[task]["data"]["record"]["city"] for task in context.pool.tasks.tolist()]
    ages = context.pool.group_names("age", rows)
    assert len(set(ages)) == 4 and min(map(ages.count, set(ages))) > 20
    assert set(context.pool.group_names("nothing", rows)) == {""}


def test_a_project_that_becomes_one_of_texts_loses_its_record_profile(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    context = make_round(server)
    run_round(context)
    assert store.projects.ensure(5).record_profile and context.pool.space.startswith("records-")
    server.label_config = TABLE.replace('<Table name="record" value="$record"/>', '<Text name="record" value="$note"/>')
    set_up(store, 5, reconciled_at=0.0)
    context = make_round(server)
    run_round(context)
    assert store.projects.ensure(5).record_profile is None and context.pool.space == "fake"


def test_another_record_field_gets_a_new_profile(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    run_round(make_round(server))
    for task in server.tasks.values():
        task["data"]["customer"] = {"income": task["id"] * 7, "member": ["yes", "no"][task["id"] % 2]}
    server.label_config = TABLE.replace('value="$record"', 'value="$customer"')
    set_up(store, 5, reconciled_at=0.0)
    run_round(make_round(server))
    encoder = feature_space.project_record_encoder(Settings(), store.projects.ensure(5))
    assert encoder is not None and {field["name"] for field in encoder.field_summaries()} == {"income", "member"}


def test_replaced_records_get_a_new_profile(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    run_round(make_round(server))
    before = {path.parent.name for path in settings.data_dir.glob("vectors/records-*/5")}
    for task in list(server.tasks):
        server.delete_task(task)
    for n in range(100):
        server.add_tasks([""], record={"income": n * 7, "member": ["yes", "no"][n % 2]})
    set_up(store, 5, reconciled_at=0.0)
    run_round(make_round(server))
    encoder = feature_space.project_record_encoder(Settings(), store.projects.ensure(5))
    assert encoder is not None and {field["name"] for field in encoder.field_summaries()} == {"income", "member"}
    for n in range(2):  # vector spaces that are not needed any more are removed
        for added in list(server.tasks.values()):
            added["data"]["record"] = {f"other {n}": added["id"] * 7, f"kind {n}": added["id"] % 3}
            added["updated_at"] = server._now()
        set_up(store, 5, reconciled_at=0.0)
        run_round(make_round(server))
    left = {path.parent.name for path in settings.data_dir.glob("vectors/records-*/5")}
    assert len(left) <= 2 and not left & before


def test_a_rollback_keeps_the_vector_space_of_its_learner(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store
) -> None:
    run_round(make_round(server))
    teach(server, make_round, clinic, SCHEMA, 30)
    held, held_space = active(store).learner, learner(store).snapshot.space
    set_up(store, 5, pinned=active(store).number)
    add_patients(server, 200, seed=2)
    run_round(make_round(server))
    assert active(store).learner == held and all(row["result"] for row in server.current_predictions())
    set_up(store, 5, pinned=None)
    run_round(make_round(server))
    assert learner(store).snapshot.space != held_space and active(store).learner == active(store).number


def test_the_previous_vector_space_serves_until_the_round_completes(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    run_round(make_round(server))
    teach(server, make_round, clinic, SCHEMA, 30)
    text = '{"age": 88, "city": "Bergen", "noise": 0, "smoker": "yes"}'
    predictor = Predictor(settings, store)
    (before,) = predictor.predict(5, TABLE, [999], [text])
    add_patients(server, 200, seed=2)
    context = make_round(server)
    context.client.before = lambda method, path, *_: _busy(method, path)  # type: ignore[attr-defined]
    with pytest.raises(ApprenticeError):
        run_round(context)
    (prediction,) = predictor.predict(5, TABLE, [999], [text])
    assert (
        first_of(prediction.drafts) is not None
        and first_of(before.drafts) is not None
        and first_of(prediction.drafts) == first_of(before.drafts)
    )
    run_round(make_round(server))
    (after,) = predictor.predict(5, TABLE, [999], [text])
    assert only(after.drafts).author == "learner"


def _busy(method: str, path: str) -> None:
    if method == "POST" and "prediction" in path:
        raise UnreachableError("busy")


def test_texts_get_no_draft_from_the_vector_space_of_earlier_records(
    clinic: dict[int, str], server: FakeLabelStudio, make_round: MakeRound, store: Store, settings: Settings
) -> None:
    run_round(make_round(server))
    teach(server, make_round, clinic, SCHEMA, 30)
    texts = TABLE.replace('<Table name="record" value="$record"/>', '<Text name="record" value="$note"/>')
    one, other = Predictor(settings, store).predict(5, texts, [998, 999], ["cough", "all well"])
    assert first_of(one.drafts) is None and first_of(other.drafts) is None


def test_trust_in_scores_of_some_labels_depends_on_these_labels_alone(
    server: FakeLabelStudio, make_round: MakeRound, store: Store, options: Callable[..., None], settings: Settings
) -> None:
    server.label_config = TABLE.replace('<Choice value="yes"/>', '<Choice value="yes"/><Choice value="maybe"/>')
    truth, schema = add_patients(server, 120), read_schema(server.label_config)
    run_round(make_round(server))
    project_row = store.projects.ensure(5)
    encoder = feature_space.project_record_encoder(settings, project_row)
    assert encoder is not None
    attributions = encoder.attributions([SCORES], schema.controls[0].labels)
    context = make_round(server)
    run_round(context)
    no_labels = PseudoLabels(
        context.pool.encoded_view().vectors[:0], np.empty((0, 3), np.float32), np.empty(0, np.float32)
    )
    priors = Laat().distil(
        DistillationData(no_labels, no_labels, context.pool.encoded_view().vectors, ONE_CHOICE, attributions), 0
    )
    rows = np.arange(60)
    targets = np.eye(3, dtype=np.float32)[
        [schema.controls[0].labels.index(truth[task]) for task in context.pool.tasks[rows].tolist()]
    ]
    fit = Laat().fit(
        TrainingSet(context.pool.encoded_vectors(rows), targets, np.ones(60, np.float32), ONE_CHOICE, priors=priors), 0
    )
    assert fit.trust is not None and fit.trust > 0.8 and fit.prior == "fields"


def test_records_cost_as_much_as_each_other(
    clinic: dict[int, str],
    server: FakeLabelStudio,
    make_round: MakeRound,
    options: Callable[..., None],
    store: Store,
) -> None:
    options(cost="words")
    run_round(make_round(server))
    assert "cost: sentences, because words are counted in texts only" in remarks_text(active(store).remarks)
    assert queue(server)

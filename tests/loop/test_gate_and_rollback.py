"""Promotion and rollback: a worse learner does not replace a better one, and an earlier learner can be held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_label_studio import FakeLabelStudio, add_labelled_tasks, submit_labels, text_about
from projects import set_up
from round_fixtures import MakeRound, active, learn, queue
from schemas import by_control

from ml_backend.core.exceptions import UnknownVersionError
from ml_backend.core.schema import ProjectSchema
from ml_backend.evaluation.promotion_gate import GateDecision
from ml_backend.loop import training
from ml_backend.loop.rollback import LATEST, roll_back
from ml_backend.loop.round import run_round
from ml_backend.rendering.remarks_text import remarks_text
from ml_backend.rendering.rollback_text import rollback_sentence
from ml_backend.storage import Store


def test_a_learner_of_many_wrong_annotations_does_not_replace_the_serving_one(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store
) -> None:
    """After 40 fruits and 40 metals, an annotator labels a dozen fruits as animals, which no word explains."""
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
    assert "kept the earlier learner" in remarks_text(version.remarks)
    assert store.versions.learners(5) == [1], "a rejected fit is not kept"
    drafts = [row["result"][0]["value"]["choices"] for row in server.current_predictions()]
    assert ["animal"] not in drafts
    assert server.settings["model_version"] == version.name


def test_the_gate_keeps_the_learner_that_is_right_more_often(
    server: FakeLabelStudio,
    make_round: MakeRound,
    taught: dict[int, str],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gate must reject a learner whose held-out labels are all wrong, and the earlier learner goes on serving."""
    from plugins.learners.logistic import Logistic

    original_fit = Logistic.fit

    def wrong_fit(self: Logistic, train: Any, seed: int) -> Any:
        from dataclasses import replace

        fit = original_fit(self, train, seed)
        return replace(fit, held_out=np.roll(train.targets, 1, axis=1), held_out_earlier=train.targets)

    monkeypatch.setattr(Logistic, "fit", wrong_fit)
    server.annotate(queue(server)[0], "fruit")
    run_round(make_round(server))
    version = active(store)
    assert (version.number, version.learner) == (3, 2)
    assert "kept the earlier learner" in remarks_text(version.remarks)
    fitting_version = store.versions.get(5, 2)
    assert fitting_version is not None and fitting_version.accuracy is not None
    assert version.accuracy == fitting_version.accuracy, "the accuracy of the learner that serves"
    assert store.versions.learners(5) == [2], "a rejected fit is not kept"
    monkeypatch.undo()


def test_a_learner_that_is_kept_has_the_accuracy_of_the_version_that_fitted_it(
    server: FakeLabelStudio, make_round: MakeRound, options: object, store: Store, single: ProjectSchema,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    truth = add_labelled_tasks(server, 90)
    tasks = list(truth)[:30]
    submit_labels(server, truth, single, tasks[:24])
    submit_labels(server, truth, single, tasks[24:], by=-1)
    run_round(make_round(server))
    first = active(store)
    assert first.learner == first.number == 1 and first.accuracy is not None and first.accuracy.value < 1.0
    monkeypatch.setattr(training, "decide_promotion", lambda *_: GateDecision(False))
    for number, pinned in ((2, None), (3, None), (4, 1)):
        server.annotate(max(truth) - number, "metal")
        set_up(store, 5, pinned=pinned)
        run_round(make_round(server))
        version = active(store)
        assert (version.number, version.learner, version.accuracy) == (number, 1, first.accuracy)


def test_more_annotations_replace_the_learner(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: ProjectSchema
) -> None:
    learn(server, taught, single, 20)
    run_round(make_round(server))
    assert (active(store).learner, active(store).labelled) == (3, 50)


def test_a_rollback_holds_and_latest_releases_it(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: ProjectSchema
) -> None:
    set_up(store, 5, connection={"ml": 1})
    measured = active(store).accuracy
    learn(server, taught, single, 20)
    run_round(make_round(server))
    assert active(store).learner == 3

    held = roll_back(store, 5)
    assert held is not None
    assert f"the learner of {held.name} serves again" in rollback_sentence(5, held)
    assert store.jobs.claim("worker") is not None
    run_round(make_round(server))
    assert (active(store).number, active(store).learner) == (4, 2)
    assert active(store).accuracy == measured, "the accuracy of the learner that serves, not of the previous one"
    learn(server, taught, single, 5)
    run_round(make_round(server))
    assert (active(store).learner, active(store).labelled) == (2, 55)

    assert roll_back(store, 5, LATEST) is None
    run_round(make_round(server))
    assert active(store).learner == active(store).number == 6


def test_a_control_that_is_renamed_during_a_rollback_causes_one_new_version(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store
) -> None:
    set_up(store, 5, connection={"ml": 1}, pinned=2)
    run_round(make_round(server))
    server.label_config = server.label_config.replace('name="label"', 'name="topic"')
    assert run_round(make_round(server)) is not None
    assert active(store).learner is None, "the held version has no learner of the new control"
    assert run_round(make_round(server)) is None, "nothing has changed since"


def test_a_rollback_finds_a_version_by_name_and_by_number(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, single: ProjectSchema
) -> None:
    set_up(store, 5, connection={"ml": 1})
    name = active(store).name
    learn(server, taught, single, 20)
    run_round(make_round(server))
    for target in (name, "2", "apprentice-2"):
        set_up(store, 5, pinned=None)
        roll_back(store, 5, target)
        assert store.projects.ensure(5).pinned == by_control(2)


@pytest.mark.parametrize("target", ["1", "99", "", "nonsense", "apprentice-", "٣", "9" * 40, "-1"])
def test_a_rollback_to_a_version_without_a_learner_is_refused(
    server: FakeLabelStudio, make_round: MakeRound, taught: dict[int, str], store: Store, target: str
) -> None:
    set_up(store, 5, connection={"ml": 1})
    with pytest.raises(UnknownVersionError):
        roll_back(store, 5, target)
    with pytest.raises(UnknownVersionError, match="no earlier learner"):
        roll_back(store, 5)
    with pytest.raises(UnknownVersionError, match="not connected"):
        roll_back(store, 6, "2")
    assert store.projects.ensure(5).pinned == {}

"""A project of texts with a regulated attribute: drafts are judged, and the queue is ordered by the judgement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_label_studio import FakeLabelStudio
from round_fixtures import MakeRound, active, queue
from text_project import CONTROL, RUDE, annotate, drafts, learnt, not_annotated, server, source
from typer.testing import CliRunner

from ml_backend.cli.main import app
from ml_backend.core.draft_checks import COPY, WORSE
from ml_backend.core.settings import Settings
from ml_backend.kinds.text.attribute import judge_in
from ml_backend.kinds.text.kind import TEXT
from ml_backend.kinds.text.schema import TextSchema
from ml_backend.kinds.text.values import failure_of, problem_of
from ml_backend.loop.round import run_round
from ml_backend.model import project_model
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor

__all__ = ["learnt", "server"]  # fixtures
SetOptions = Callable[..., None]


@pytest.fixture
def words(tmp_path: Path) -> str:
    file = tmp_path / "words.txt"
    file.write_text("idiot\nfool\nclown\ncrook\n")
    return f"words:{file}"


def _learn(server: FakeLabelStudio, make_round: MakeRound) -> None:
    annotate(server, not_annotated(server)[:3])
    run_round(make_round(server))


def test_the_attribute_model_is_fitted_with_the_learner_and_judges_its_drafts(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, options: SetOptions, store: Store
) -> None:
    options(queue_size=12, audit_share=0.0, attribute="pairs", acquisition="inclusive")
    _learn(server, make_round)
    version = active(store)
    assert version.acquisition == "inclusive" and version.controls[CONTROL].learner == version.number
    model = project_model.load(store, 5, version.number).by_control[CONTROL]
    judge = judge_in(model.tensors)
    assert judge is not None and judge.auc.n == len(learnt) + 3 and judge.auc.value >= 0.95
    assert all(failure_of(row) is not None for row in model.held_out)
    assert len(drafts(server)) == 12


def test_a_model_from_almost_as_many_pairs_is_kept(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, options: SetOptions, store: Store
) -> None:
    options(attribute="pairs")
    _learn(server, make_round)
    measured = []
    for _ in range(3):
        _learn(server, make_round)
        version = active(store)
        judge = judge_in(project_model.load(store, 5, version.number).by_control[CONTROL].tensors)
        measured.append(judge and judge.auc.n)
    assert measured == [27, 27, 36]


def test_few_pairs_or_a_poor_model_judge_nothing_unless_forced(
    learnt: Sequence[int],
    server: FakeLabelStudio,
    make_round: MakeRound,
    options: SetOptions,
    store: Store,
    tmp_path: Path,
) -> None:
    (tmp_path / "poor.txt").write_text("room\n")  # in sources and accepted texts alike
    for selection in ("measured", "forced"):
        options(attribute=f"words:{tmp_path / 'poor.txt'}", attribute_selection=selection)
        _learn(server, make_round)
        model = project_model.load(store, 5, active(store).number).by_control[CONTROL]
        judge = judge_in(model.tensors)
        assert judge is not None and judge.auc.value == 0.5
        assert {failure_of(row) is not None for row in model.held_out} == {selection == "forced"}


def test_flagged_copies_and_drafts_that_are_worse_are_not_shown(
    learnt: Sequence[int],
    server: FakeLabelStudio,
    make_round: MakeRound,
    options: SetOptions,
    store: Store,
    settings: Settings,
    words: str,
) -> None:
    options(attribute=words, attribute_selection="forced")
    _learn(server, make_round)
    model = project_model.load(store, 5, active(store).number).by_control[CONTROL]
    sources = ["you idiot , go", "please go", "please go", "you idiot , go", "you idiot , go"]
    texts = ["you idiot , go", "please go", "you fool , go", "please go", "gone for good now"]
    rows = [(text, 1.0, 0.0, text == source) for text, source in zip(texts, sources, strict=True)]
    control = TextSchema(name=CONTROL, source="text")
    judged = TEXT.checked(control, TEXT.as_targets(control, rows), sources, model.tensors)
    assert [problem_of(row) for row in judged] == [COPY, "", WORSE, "", ""]
    assert [failure_of(row) for row in judged] == [1.0, 0.0, 1.0, 0.0, 1.0], "a text without a word of its source fails"
    withheld = TEXT.withheld_drafts(control, judged)
    assert withheld == {
        "it is a copy of the source, in which the attribute fails": 1,
        "the attribute fails in it more probably than in the source": 1,
    }
    task = queue(server)[0]
    [made] = Predictor(settings, store).predict(5, server.label_config, [task], [server.tasks[task]["data"]["text"]])
    assert made.drafts[CONTROL].value == (drafts(server)[task],)


def test_inclusive_serves_the_drafts_in_which_the_attribute_fails(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, options: SetOptions, words: str
) -> None:
    """No annotator has met a crook, so that drafts keep the word."""
    server.add_tasks([source(row).replace(RUDE[row % len(RUDE)], "you crook") for row in range(60, 84)])
    options(queue_size=6, audit_share=0.0, attribute=words, attribute_selection="forced", acquisition="inclusive")
    _learn(server, make_round)
    served, left = queue(server), not_annotated(server)
    shares = [
        sum("crook" in server.tasks[task]["data"]["text"] for task in tasks) / len(tasks) for tasks in (served, left)
    ]
    assert shares[0] > 2 * shares[1]


@pytest.mark.parametrize("attribute", ["pairs", ""])
def test_a_command_shows_the_attribute_model(
    learnt: Sequence[int], server: FakeLabelStudio, make_round: MakeRound, options: SetOptions, settings: Settings,
    monkeypatch: pytest.MonkeyPatch, attribute: str,
) -> None:  # fmt: skip
    options(attribute=attribute)
    _learn(server, make_round)
    monkeypatch.setenv("APPRENTICE_DATA_DIR", str(settings.data_dir))
    printed = CliRunner().invoke(app, ["attribute", "--project", "5"])
    assert printed.exit_code == 0, printed.output
    if attribute:
        assert "pairs: AUC 1.000 (95 %: " in printed.output and "27 accepted pairs" in printed.output
        assert "It judges drafts." in printed.output and "holds in 100% of the accepted texts" in printed.output
    else:
        assert "No attribute model is fitted yet: name one by the setting `attribute`." in printed.output

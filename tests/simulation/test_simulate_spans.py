"""`apprentice simulate` on exports with spans: learning curves by tasks, words and spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_word_encoder import FakeWordEncoder
from plugin_overrides import OverridePlugins
from scripted_teacher import ScriptedTeacher
from simulations import FewClusters, NearestMeanLearner, SimulationFolder

from ml_backend.core import registry
from ml_backend.core.arrays import TrainingSet
from ml_backend.core.exceptions import ApprenticeError
from ml_backend.core.settings import ProjectSettings, Settings
from ml_backend.core.teacher_types import Answer, Call, Question
from ml_backend.core.words import count_words, word_offsets
from ml_backend.kinds.lookup import kind_of
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_tasks
from ml_backend.model import fitted_model
from ml_backend.model.fitted_model import FittedModel, TrainingSnapshot
from ml_backend.rendering.simulation_report import write_report
from ml_backend.storage.vectors import Vectors

Body = dict[str, Any]
LABELS = '<Label value="Person"/><Label value="Place"/>'
TEXT = '<Text name="text" value="$text"/>'
CONFIGS = {
    "Labels": f'<View><Labels name="ner" toName="text">{LABELS}</Labels>{TEXT}</View>',
    "HyperTextLabels": f'<View><HyperTextLabels name="ner" toName="text">{LABELS}</HyperTextLabels>'
    '<HyperText name="text" value="$text"/></View>',
    "ParagraphLabels": f'<View><ParagraphLabels name="ner" toName="text">{LABELS}</ParagraphLabels>'
    '<Paragraphs name="text" value="$text" nameKey="who" textKey="says"/></View>',
}
TOPIC = '<Choices name="topic" toName="text"><Choice value="travel"/><Choice value="weather"/></Choices>'
WITH_CHOICES = f'<View><Labels name="ner" toName="text">{LABELS}</Labels>{TOPIC}{TEXT}</View>'
TWO_SCHEMES = (
    '<View><Labels name="ner" toName="text"><Label value="Person"/></Labels>'
    f'<Labels name="places" toName="text"><Label value="Place"/></Labels>{TEXT}</View>'
)
NAMES, PLACES = ("Ann", "Bob", "Carla", "Dan"), ("Paris", "Rome", "Oslo")


def sentence(n: int) -> str:
    name, place = NAMES[n % 4], PLACES[n // 3 % 3]
    return (
        f"{name} went to {place} on day {n}",
        f"nobody, {n}",
        f"in {place} it rained for {n} days, again and again",
    )[n % 3]


def value_of(n: int, tag: str) -> Any:
    """The value of the field that the object tag displays."""
    text = sentence(n)
    if tag == "HyperTextLabels":
        return f"<p>{text[:5]}<b>{text[5:]}</b></p>"
    return [{"who": "me", "says": text}] if tag == "ParagraphLabels" else text


def labelled(n: int, config: str = CONFIGS["Labels"], tag: str = "Labels") -> list[Body]:
    """n tasks whose names and places are marked; a topic is chosen where there is such a control."""
    schema = read_schema(config)
    tasks = [{"id": i, "data": {"text": value_of(i, tag), "half": "even" if i % 2 else "odd"}} for i in range(1, n + 1)]
    contents, _ = read_tasks(tasks, schema)
    for task, content in zip(tasks, contents, strict=True):
        result: list[Body] = []
        for control in schema.controls:
            if control.name == "topic":
                choice = "weather" if "rained" in content.text else "travel"
                regions = [{"type": "choices", "value": {"choices": [choice]}}]
            else:
                words = {"Person": NAMES, "Place": PLACES}
                spans = [
                    (content.text.index(word), content.text.index(word) + len(word), label)
                    for label in control.labels
                    for word in words[label]
                    if word in content.text
                ]
                regions = kind_of(control).write_regions(tuple(sorted(spans)), control, content)
            result += [{**region, "from_name": control.name, "to_name": "text"} for region in regions]
        task["annotations"] = [{"id": task["id"], "completed_by": 1, "was_cancelled": False, "result": result}]
    return tasks


@pytest.fixture
def encoder(override_plugins: OverridePlugins) -> FakeWordEncoder:
    clusterer, encoder = registry.clusterer(), FakeWordEncoder()
    override_plugins({"encoder.minilm": lambda: encoder, "learner.logistic": NearestMeanLearner})
    override_plugins({"clusterer.bisecting": lambda: FewClusters(clusterer)})
    return encoder


@pytest.fixture
def simulation(tmp_path: Path, settings: Settings, encoder: FakeWordEncoder) -> SimulationFolder:
    """60 tasks with spans."""
    folder = SimulationFolder(tmp_path, settings)
    configure(folder)
    return folder


def configure(folder: SimulationFolder, config: str = CONFIGS["Labels"], tag: str = "Labels", n: int = 60) -> None:
    (folder.folder / "config.xml").write_text(config)
    folder.write(labelled(n, config, tag))


def values(folder: SimulationFolder, metric: str) -> dict[tuple[str, int, int], float]:
    return {
        (row.strategy, row.seed, row.labelled): row.value
        for row in folder.numbers()
        if row.metric == metric and not row.group
    }


class Writer(ScriptedTeacher):
    """Writes and marks sentences about names and places."""

    def answer(self, questions: Sequence[Question]) -> Iterator[Answer]:
        for question in questions:
            self.asked.append(question)
            content: dict[str, Any] = {"summary": "weak", "patterns": []}
            if question.purpose == "write":
                content = {
                    "hard": ["Dan flew to Oslo in week 7"],
                    "easy": ["in Rome, week 8, it snowed all day"],
                }
            if question.purpose == "label":
                words = {word: label for label, names in (("Person", NAMES), ("Place", PLACES)) for word in names}
                spans = [
                    {"text": word, "label": label, "occurrence": 1, "before": "", "p": 1.0}
                    for word, label in words.items()
                    if word in question.text
                ]
                content = {"ner": {"spans": spans, "ambiguous": False}}
            yield Answer(question.id, content, None, (Call("m", 0.1, 100, 10, "answered"),))


@pytest.mark.parametrize("arm", ["evolve", "weak-slices", "teach"])
def test_a_teacher_is_asked_about_spans(
    simulation: SimulationFolder, override_plugins: OverridePlugins, arm: str
) -> None:
    writer = Writer()
    override_plugins({"teacher.openai": lambda _options: writer})
    simulation.settings.teacher_url = "http://127.0.0.1:9/v1"
    simulation.settings.defaults = ProjectSettings(teacher="openai", teacher_budget=0.0, teacher_daily_budget=0.0)
    simulation.run(strategies=["entropy"], budget=24, batch=8, seeds=1, arms=[arm], rounds=1, per_round=2)
    calls = [row.value for row in simulation.numbers() if row.metric == "teacher_calls"]
    assert calls[-1] == len(writer.asked) > 0
    assert {question.purpose for question in writer.asked} >= {"label"}
    assert any(name == f"entropy + {arm} (1 x 2)" for name, _ in simulation.runs())


@pytest.mark.parametrize("tag", CONFIGS)
def test_spans_of_each_tag_are_learnt_and_measured(simulation: SimulationFolder, tag: str) -> None:
    configure(simulation, CONFIGS[tag], tag)
    result = simulation.run(strategies=["entropy"], budget=24, batch=8).conclude()
    f1 = values(simulation, "strict F1")
    assert f1["entropy", 0, 24] > 0.6
    assert {row.metric for row in simulation.numbers()} >= {"precision", "recall", "wrong label", "wrong boundary"}
    assert "accuracy" not in {row.metric for row in simulation.numbers()}
    protocol = result.summary["protocol"]
    assert (protocol["metric"], protocol["x"], protocol["learner"]) == ("strict F1", "words", "crf")


def test_words_and_spans_of_the_labelled_tasks_are_counted(
    simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots: list[TrainingSnapshot] = []
    fit = fitted_model.fit_model

    def spy(snapshot: TrainingSnapshot, *arguments: Any) -> Any:
        snapshots.append(snapshot)
        return fit(snapshot, *arguments)

    monkeypatch.setattr(fitted_model, "fit_model", spy)
    simulator = simulation.run(strategies=["random"], seeds=1)
    _, pool, _ = simulator._begin_repetition(0)
    words, spans = values(simulation, "words"), values(simulation, "spans")
    assert len(words) == len(snapshots) == 3
    for snapshot in snapshots:
        texts = [pool.texts[row] for row in snapshot.tasks]
        assert words["random", 0, len(texts)] == sum(map(count_words, texts))
        assert spans["random", 0, len(texts)] == sum(word in text for text in texts for word in (*NAMES, *PLACES))


def test_learners_get_the_words_and_the_texts_of_the_pool(
    simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[TrainingSnapshot, TrainingSet]] = []
    fit = fitted_model.fit_model

    def spy(snapshot: TrainingSnapshot, train: TrainingSet, *arguments: Any) -> Any:
        seen.append((snapshot, train))
        return fit(snapshot, train, *arguments)

    monkeypatch.setattr(fitted_model, "fit_model", spy)
    _, pool, _ = simulation.run(strategies=["random"], seeds=1)._begin_repetition(0)
    for snapshot, train in seen:
        assert train.texts is not None and train.pool_texts is not None
        rows = np.arange(len(train.texts))
        texts = train.texts(rows)
        assert texts == [pool.texts[row] for row in snapshot.tasks]
        for text, of_text in zip(texts, train.texts.words(rows), strict=True):
            assert of_text.starts.tolist() == word_offsets(text)[0].tolist() and of_text.vectors.any()
        assert {*train.pool_texts(np.arange(len(train.pool_texts)))} == {*pool.texts}


def test_words_are_cached_in_the_folder(simulation: SimulationFolder, encoder: FakeWordEncoder) -> None:
    simulation.run(seeds=1)
    assert len(Vectors(simulation.out / "vectors" / "words-fake").read_words(np.arange(60))) == 60
    encoder.encoded.clear()
    simulation.run(seeds=2)
    assert not {*encoder.encoded} & {sentence(n) for n in range(1, 61)}


def test_the_axis_of_comparison_can_be_changed_for_finished_runs(simulation: SimulationFolder) -> None:
    summaries = {}
    for x in ("", "tasks", "words", "spans"):
        result = simulation.run(strategies=["entropy"], x=x).conclude()
        summaries[x] = result.summary
        assert result.summary["protocol"]["x"] == (x or "words")
        assert [*result.summary["strategies"]["entropy"]["effort"]] == ["tasks", "words", "spans"]
    assert len(simulation.runs()) == 4
    assert summaries[""]["strategies"] == summaries["words"]["strategies"]
    assert summaries["tasks"]["protocol"]["compared_range"] == [4, 12]
    assert summaries["words"]["protocol"]["compared_range"] != [4, 12]


def test_the_report_has_a_chart_for_each_axis_and_speaks_of_no_accuracy(simulation: SimulationFolder) -> None:
    result = simulation.run(strategies=["entropy"], group="half").conclude()
    advice = write_report(result, simulation.out)
    page = (simulation.out / "report.html").read_text()
    text = page[page.rindex("</script>") :] + advice
    for heading in ("words read", "tasks", "spans marked"):
        assert f"<h2>Strict F1 by {heading}</h2>" in page
    for heading in ("Precision", "Recall", "Wrong label", "Wrong boundary", "Words needed", "Effort", "Groups"):
        assert f"<h2>{heading}</h2>" in page
    assert "<th>words needed</th>" in page and "<th>final strict F1</th>" in page
    assert "accuracy" not in text.lower() and "Strict F1 with 12 tasks" in page
    assert result.summary["strategies"]["random"]["groups"].keys() == {"worst", "worst_strict F1", "gap"}
    assert any("Up to 12 tasks, 4 at a time" in message for message in simulation.messages)


def test_spans_beside_choices_have_one_main_metric(simulation: SimulationFolder) -> None:
    configure(simulation, WITH_CHOICES)
    result = simulation.run(strategies=["entropy"], budget=24, batch=8).conclude()
    protocol, by_control = result.summary["protocol"], result.by_control
    assert protocol["metric"] == "main metric"
    assert protocol["over_metrics"] == {"topic": "macro_f1", "ner": "strict F1"}
    finals = {name: of_control.summary["strategies"]["random"]["final"] for name, of_control in by_control.items()}
    mean = (finals["topic"]["macro_f1"] + finals["ner"]["strict F1"]) / 2
    assert result.summary["strategies"]["random"]["final"]["main metric"] == pytest.approx(mean)
    assert {of_control.summary["protocol"]["x"] for of_control in by_control.values()} == {"words"}
    write_report(result, simulation.out)
    page = (simulation.out / "report.html").read_text()
    assert "The main metric is the mean of macro-F1 of topic and strict F1 of ner." in page
    assert page.count("<h3>Main metric by words read</h3>") == page.count("<h3>Macro-F1 by words read</h3>") == 1


def test_choices_of_such_a_project_are_compared_by_labels_if_they_are_replayed_alone(
    simulation: SimulationFolder,
) -> None:
    configure(simulation, WITH_CHOICES)
    protocol = simulation.run(control="topic", seeds=1).conclude().summary["protocol"]
    assert protocol["metric"] == "macro_f1" and "x" not in protocol


def test_tasks_whose_regions_do_not_fit_the_text_are_left_out_and_named(simulation: SimulationFolder) -> None:
    tasks = labelled(40)
    tasks[4]["annotations"][0]["result"] = [
        {
            "from_name": "ner", "to_name": "text", "type": "labels",
            "value": {"start": 500, "end": 510, "text": "elsewhere!", "labels": ["Person"]},
        }
    ]  # fmt: skip
    tasks[6]["annotations"] = []
    simulation.write(tasks)
    simulation()
    assert any(
        "1 not labelled (task 7), 1 without a readable label for 'ner' (task 5)" in message
        for message in simulation.messages
    )


def test_texts_without_spans_are_learnt_from(simulation: SimulationFolder) -> None:
    tasks = labelled(40)
    assert sum(not task["annotations"][0]["result"] for task in tasks) > 10
    simulation.write(tasks)
    simulation()
    assert not any("left out" in message for message in simulation.messages)


def test_the_spans_of_all_controls_are_counted_together(simulation: SimulationFolder) -> None:
    configure(simulation, CONFIGS["Labels"])
    simulation.run(seeds=1)
    configure(simulation, TWO_SCHEMES)
    result = simulation.run(seeds=1, out=simulation.folder / "two").conclude()
    assert result.summary["protocol"]["metric"] == "strict F1"
    of_two = {
        (m.strategy, m.labelled): m.value for m in simulation.numbers(simulation.folder / "two") if m.metric == "spans"
    }
    for (strategy, _, n), spans in values(simulation, "spans").items():
        assert strategy != "random" or of_two[strategy, n] == spans


def with_defaults(folder: SimulationFolder, **defaults: Any) -> None:
    folder.settings = folder.settings.model_copy(update={"defaults": ProjectSettings(**defaults)})


def test_with_a_cost_in_words_strategies_choose_shorter_texts_and_random_order_stays(
    simulation: SimulationFolder,
) -> None:
    simulation.run(strategies=["coverage"])
    plain = values(simulation, "words")
    with_defaults(simulation, cost="words")
    with pytest.raises(ApprenticeError, match="holds another simulation"):
        simulation.run(strategies=["coverage"])
    simulation.out = simulation.folder / "words"
    result = simulation.run(strategies=["coverage"]).conclude()
    assert result.summary["protocol"]["cost"] == "words"
    words = values(simulation, "words")
    ratios = defaultdict(list)
    for key, n_words in words.items():
        ratios[key[0]].append(n_words / plain[key])
    assert {*ratios["random"]} == {1.0} and min(ratios["coverage"]) < 0.9


@pytest.mark.parametrize(
    ("defaults", "change"),
    [({}, {"strategies": ["badge"]}), ({"teacher_acquisition": "badge"}, {"arms": ["teach"]})],
)
def test_a_strategy_that_needs_class_probabilities_is_refused_for_spans(
    simulation: SimulationFolder, defaults: Body, change: Body
) -> None:
    with_defaults(simulation, **defaults)
    message = "badge needs class probabilities, which the predictions for ner do not have: choose"
    with pytest.raises(ApprenticeError, match=message):
        simulation(**change)
    assert not simulation.out.exists()


def test_a_strategy_for_choices_is_refused_beside_spans_unless_the_spans_do_not_count(
    simulation: SimulationFolder,
) -> None:
    configure(simulation, WITH_CHOICES)
    with pytest.raises(ApprenticeError, match="the predictions for ner do not have"):
        simulation(strategies=["badge"])
    with_defaults(simulation, control_weights={"ner": 0})
    simulation.run(strategies=["badge"], seeds=1)


def test_a_simulation_of_choices_is_compared_by_words_only_if_asked_to(simulation: SimulationFolder) -> None:
    config = f"<View>{TOPIC}{TEXT}</View>"
    configure(simulation, config)
    summary = simulation.run().conclude().summary
    assert "x" not in summary["protocol"] and not values(simulation, "words")
    with pytest.raises(ApprenticeError, match="No control marks spans"):
        simulation(x="spans")
    with pytest.raises(ApprenticeError, match="words of these runs were not counted"):
        simulation(x="words").conclude()
    result = simulation.run(x="words", out=simulation.folder / "words").conclude()
    assert [*result.summary["strategies"]["margin"]["effort"]] == ["tasks", "words"]
    page = write_report(result, simulation.folder / "words")
    assert "words read, its macro-F1" in page


def test_words_of_records_are_not_counted(simulation: SimulationFolder) -> None:
    (simulation.folder / "config.xml").write_text(
        '<View><Choices name="topic" toName="t"><Choice value="a"/><Choice value="b"/></Choices>'
        '<Table name="t" value="$t"/></View>'
    )
    tasks: list[Body] = []
    for n in range(1, 41):
        region = {"from_name": "topic", "to_name": "t", "type": "choices", "value": {"choices": ["ab"[n % 2]]}}
        annotation = {"id": n, "completed_by": 1, "was_cancelled": False, "result": [region]}
        tasks.append({"id": n, "data": {"t": {"size": n, "kind": "xy"[n % 2]}}, "annotations": [annotation]})
    simulation.write(tasks)
    with pytest.raises(ApprenticeError, match=r"Words are counted in texts only.*leave out --x"):
        simulation(x="words")
    with_defaults(simulation, cost="words")
    with pytest.raises(ApprenticeError, match=r"Words are counted in texts only.*leave `cost` out"):
        simulation()


def test_all_predictions_read_the_words(simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []
    predict = FittedModel.predict

    def spy(model: FittedModel, control: Any, vectors: Any, texts: Any) -> Any:
        lengths.append((len(vectors), texts.words(np.arange(1))[0].vectors.shape[1]))
        return predict(model, control, vectors, texts)

    monkeypatch.setattr(FittedModel, "predict", spy)
    simulation.run(seeds=1)
    assert {*lengths} == {(42, 12), (18, 12)}

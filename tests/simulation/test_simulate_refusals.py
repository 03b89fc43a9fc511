"""`apprentice simulate`: errors in one sentence; the folder of another simulation is left unchanged."""

from __future__ import annotations

import errno
import json
import tempfile
from collections.abc import Callable
from typing import Any

import pytest
from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE, config_with, text_about
from simulations import LABELS, Body, SimulationFolder, answer, export

from ml_backend.core.exceptions import ApprenticeError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 3}, "labels at the start: 4, now 3; batch: 4, now 3"),
        ({"budget": 13}, "budget: 12, now 13"),
        ({"initial": 2}, "labels at the start: 4, now 2"),
        ({"group": "topic"}, 'group: "", now "topic"'),
    ],
)
def test_another_request_in_the_same_folder_is_refused(
    simulation: SimulationFolder, change: Body, message: str
) -> None:
    simulation.run(seeds=1)
    before = (simulation.out / "curves.csv").read_bytes()
    with pytest.raises(ApprenticeError) as error:
        simulation(**change)
    assert f"{simulation.out} holds another simulation ({message}" in str(error.value)
    assert str(error.value).endswith("): choose another folder with --out, or delete it")
    assert (simulation.out / "curves.csv").read_bytes() == before


def test_a_folder_with_the_descriptions_of_an_earlier_version_is_continued(simulation: SimulationFolder) -> None:
    simulation.run(seeds=1)
    file = simulation.out / "protocol.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "intervals_cover": "which labels come first", "starts_from": "nothing"}))
    simulation.run(seeds=2)
    assert len(simulation.runs()) == 4
    assert json.loads(file.read_text()) == stored


def test_other_tasks_labels_or_settings_in_the_same_folder_are_refused(simulation: SimulationFolder) -> None:
    simulation.run(seeds=1)
    changed = export(30)
    changed[4]["annotations"] = [answer(5, "fruit")]
    simulation.write(changed)
    with pytest.raises(ApprenticeError, match="digest of the tasks"):
        simulation()
    simulation.write(export(31))
    with pytest.raises(ApprenticeError, match="tasks: 30, now 31"):
        simulation()
    simulation.write(export(30))
    (simulation.folder / "config.xml").write_text(config_with(*LABELS, "wood"))
    with pytest.raises(ApprenticeError, match="labels: 3, now 4"):
        simulation()
    (simulation.folder / "config.xml").write_text(SINGLE)
    simulation.settings.defaults = simulation.settings.defaults.model_copy(update={"balance": 0.5})
    with pytest.raises(ApprenticeError, match=r"balance: 0\.0, now 0\.5"):
        simulation()


@pytest.mark.parametrize("protocol", [None, b"", b"[1]", b"{}"])
def test_curves_of_nobody_knows_what_are_not_gone_on_with(simulation: SimulationFolder, protocol: bytes | None) -> None:
    simulation.run(seeds=1)
    file = simulation.out / "protocol.json"
    file.unlink() if protocol is None else file.write_bytes(protocol)
    with pytest.raises(ApprenticeError, match=r"protocol\.json does not say which"):
        simulation()


@pytest.mark.parametrize("values", [{"batch": 25, "budget": 500}, {"initial": 12}, {"initial": 99}, {"batch": 12}])
def test_where_no_strategy_has_a_choice_there_is_nothing_to_simulate(
    simulation: SimulationFolder, values: Body
) -> None:
    with pytest.raises(
        ApprenticeError, match=r"held out for the test\..* no strategy has a choice\. Take a smaller --initial"
    ):
        simulation(**values)
    assert not simulation.out.exists()


def spoilt(row: int, **values: Any) -> list[Body]:
    tasks = export(30)
    tasks[row] |= values
    return tasks


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "empty list"),
        ({}, "not a list of tasks"),
        ([{"id": 1, "text": "a", "label": "fruit"}], "JSON-MIN"),
        ([{**task, "annotations": []} for task in export(30)], "30 not labelled (task 1, 2"),
        (export(30, labels=["metal"]), "All answers in {tasks} are 'metal'"),
        (export(1), "too few tasks with a text and an answer, 1 of 1"),
        (export(5), "no strategy has a choice"),
        (spoilt(7, id=3), "the id 3"),
        (export(30, labels=[*LABELS, "plastic"]), "task 3 is labelled 'plastic' for 'label'"),
        ([{**task, "data": {"body": "x"}} for task in export(30)], "30 without a text in 'text' (task 1, 2, 3, 4, 5"),
        ([{**task, "id": None} for task in export(30)], "30 without an id"),
    ],
)
def test_bad_tasks_are_one_sentence_and_exit_code_1(
    main: Callable[..., Any], simulation: SimulationFolder, tasks: Any, message: str
) -> None:
    file = simulation.write(tasks)
    code, _, err = main()
    assert code == 1
    assert message.format(tasks=file) in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert not simulation.out.exists()


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([{**task, "annotations": []} for task in export(9, first=101)], "0 of 9: label some first"),
        (export(9, labels=["plastic"]), "task 1 is labelled 'plastic'"),
        (export(1, first=101), "1 of 1: label some first"),
    ],
)
def test_bad_test_tasks_are_one_sentence_and_exit_code_1(
    main: Callable[..., Any], simulation: SimulationFolder, tasks: Any, message: str
) -> None:
    code, _, err = main(test=str(simulation.write(tasks, "test.json")))
    assert (code, err.count("\n")) == (1, 1)
    assert f"{simulation.folder / 'test.json'}" in err
    assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": "nowhere.json"}, "nowhere.json cannot be read: No such file"),
        ({"label_config": "nowhere.xml"}, "nowhere.xml cannot be read: No such file"),
        ({"test": "nowhere.json"}, "nowhere.json cannot be read: No such file"),
        ({"strategy": "clairvoyance"}, "There is no acquisition named 'clairvoyance': installed are badge, "),
        ({"group": "colour"}, "has a field 'colour'"),
        ({"out": "/dev/null"}, "The folder /dev/null cannot be used: "),
        ({"out": "/dev/null/report"}, "The folder /dev/null/report cannot be used: Not a directory"),
        ({"initial": "12"}, "no strategy has a choice"),
    ],
)
def test_a_bad_option_is_one_sentence_and_exit_code_1(main: Callable[..., Any], options: Any, message: str) -> None:
    code, _, err = main(**options)
    assert (code, err.count("\n")) == (1, 1)
    assert message in err


def test_a_configuration_that_is_not_served_is_one_sentence(
    main: Callable[..., Any], simulation: SimulationFolder
) -> None:
    for config, message in (("<View/>", "over a <Text>"), ("no xml", "cannot be read")):
        (simulation.folder / "config.xml").write_text(config)
        code, _, err = main()
        assert (code, err.count("\n")) == (1, 1)
        assert message in err


def test_a_vector_that_is_not_finite_names_its_task(
    main: Callable[..., Any], simulation: SimulationFolder, quick_encoder: FakeEncoder
) -> None:
    quick_encoder.useless.add(text_about(LABELS[17 % 3], 17))
    code, _, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert "gives task 17 a vector that is not finite" in err


def test_a_folder_that_may_not_be_written_to_is_named_with_what_to_do(
    main: Callable[..., Any], simulation: SimulationFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    simulation.out.mkdir()
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    code, _, err = main()
    remedy = "choose another with --out, or make this one writable"
    assert (code, err) == (1, f"error: The folder {simulation.out} cannot be used: Permission denied; {remedy}\n")


def test_a_damaged_line_is_told_once(main: Callable[..., Any], simulation: SimulationFolder) -> None:
    main()
    file = simulation.out / "curves.csv"
    lines = file.read_text().split("\n")
    lines[2] = "nonsense"
    file.write_text("\n".join(lines))
    code, out, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert f"{file} is damaged in line 3: mend that line" in err
    assert "damaged" not in out


def test_texts_of_which_nothing_can_be_held_out_are_refused(simulation: SimulationFolder) -> None:
    tasks = export(30)
    for row, task in enumerate(tasks):
        task["data"]["text"] = f"one of two: {row % 2}"
    simulation.write(tasks)
    with pytest.raises(ApprenticeError, match="Only 2 of the texts of 30 tasks are different"):
        simulation()
    assert not simulation.out.exists()


def test_a_report_that_cannot_be_written_is_one_sentence(
    main: Callable[..., Any], simulation: SimulationFolder
) -> None:
    (simulation.out / "report.html").mkdir(parents=True)
    code, _, err = main()
    assert (code, err.count("\n")) == (1, 1)
    assert f"The folder {simulation.out} cannot be used: Is a directory" in err
    assert len(simulation.runs()) == 4

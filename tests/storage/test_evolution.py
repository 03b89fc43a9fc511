"""Rounds of evolution: one command at a time writes them, and a migration keeps those of older stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from manual_clock import ManualClock
from projects import set_up

from ml_backend.core.exceptions import StoreError
from ml_backend.core.settings import Settings
from ml_backend.core.teacher_types import Answer, Call, LabelField, Question
from ml_backend.storage import EvolutionRow, Spending, Store
from ml_backend.storage.database import MIGRATIONS
from ml_backend.teacher.evolution import generated_texts
from ml_backend.teacher.evolution.generated_texts import HARD, TAUGHT, EvolutionRound, GeneratedText

HOLD = """
import sys, time
from ml_backend.core.settings import Settings
from ml_backend.storage import Store
store = Store(Settings(_env_file=None))
with store.evolution_rounds.lock(5):
    print("held", flush=True)
    time.sleep(600)
"""


def row(number: int, *, done: bool = True, teacher: str = "t" * 300) -> EvolutionRow:
    return EvolutionRow(number, "label", "taught", teacher, done, {"n": 6, "texts": [{"text": f"apple {number}"}]})


def test_updating_a_round_leaves_other_rounds_alone(any_store: Store) -> None:
    any_store.evolution_rounds.save(5, row(1))
    any_store.evolution_rounds.save(5, row(2, done=False))
    assert any_store.evolution_rounds.finished(5) == 1
    any_store.evolution_rounds.save(5, row(2))
    any_store.evolution_rounds.save(5, row(3, teacher="another"))
    any_store.evolution_rounds.save(6, row(1))
    assert any_store.evolution_rounds.rounds(5) == [row(1), row(2), row(3, teacher="another")]
    assert any_store.evolution_rounds.rounds(5, teacher="another", done=True, way="taught") == [
        row(3, teacher="another")
    ]
    assert (any_store.evolution_rounds.finished(5), any_store.evolution_rounds.rounds(5, done=False)) == (3, [])
    any_store.forget(5)
    assert (any_store.evolution_rounds.rounds(5), any_store.evolution_rounds.rounds(6)) == ([], [row(1)])


def test_one_command_at_a_time_evolves_a_project_and_another_project_meanwhile(
    any_store: Store, any_settings: Settings
) -> None:
    other = Store(any_settings)
    with any_store.evolution_rounds.lock(5):
        with other.evolution_rounds.lock(6):
            pass
        with pytest.raises(StoreError, match="Another `apprentice evolve` is running on project 5: wait"):
            other.evolution_rounds.lock(5).__enter__()
    with other.evolution_rounds.lock(5):
        pass
    other.close()


def test_the_lock_of_a_killed_process_is_released(any_store: Store, any_settings: Settings) -> None:
    environment = {
        **os.environ,
        "APPRENTICE_DATA_DIR": str(any_settings.data_dir),
        "APPRENTICE_STORE_URL": any_settings.store_url,
    }
    with subprocess.Popen([sys.executable, "-c", HOLD], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            with pytest.raises(StoreError):
                any_store.evolution_rounds.lock(5).__enter__()
        finally:
            process.send_signal(signal.SIGKILL)
    for _ in range(100):  # PostgreSQL finds out when it next looks at the connection
        try:
            with any_store.evolution_rounds.lock(5):
                return
        except StoreError:
            time.sleep(0.1)
    pytest.fail("the lock outlived its process")


def test_an_older_store_keeps_its_rounds_its_totals_and_whether_examples_were_shown(
    any_store: Store, clock: ManualClock
) -> None:
    rounds = (
        EvolutionRound(
            1,
            "label",
            TAUGHT,
            "t",
            6,
            "2026-11-22",
            {"label": ["q1"]},
            "weak",
            2,
            {"empty": 1},
            {"empty": ""},
            shown=(7, 9),
            texts=(GeneratedText("apple", HARD),),
            done=True,
        ),
        EvolutionRound(2, "label", "tasks", "t", 6, "2026-11-23", left=2),
    )
    set_up(any_store, 5)
    for evolution_round in rounds:
        generated_texts.save_round(any_store, 5, evolution_round)
    for number, examples in enumerate(((), (("an apple", "{}"),))):
        question = Question(
            f"q{number}", "label", "Label it.", "apple", {}, examples, (LabelField("label", ("fruit",)),)
        )
        any_store.questions.add(5, "t", [(question, bytes(16))])
        clock.set_now(86_400.0 * number + 86_399.9)
        calls = (Call("m", 0.5, 10, 2, "answered"),) * 2
        any_store.questions.store_answer(5, Answer(question.id, {"label": "fruit"}, None, calls), [0.5, 0.5])
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with any_store.database.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0005")
        assert "evolution" in {column["name"] for column in sa.inspect(connection).get_columns("project")}
    any_store.database.upgrade()
    assert generated_texts.read_rounds(any_store, 5) == rounds
    assert any_store.ledger.spent(5) == {"": Spending(4, 40, 8, 2.0, 2.0), "label": Spending(4, 40, 8, 2.0, 2.0)}
    assert any_store.ledger.spent(5, since=86_400.0)[""].calls == 2
    with any_store.database.read() as connection:
        rows = connection.execute(sa.text("SELECT id, alone FROM question ORDER BY id")).all()
    assert [(number, bool(alone)) for number, alone in rows] == [("q0", True), ("q1", False)]

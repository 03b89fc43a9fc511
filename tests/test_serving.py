"""What the web process predicts with: projects do not wait for each other."""

from __future__ import annotations

import threading

from fake_encoder import FakeEncoder
from fake_label_studio import SINGLE

from ml_backend.serving import Predictor
from ml_backend.settings import Settings
from ml_backend.store import Store, Vectors

WAIT_SECONDS = 20


class SlowStore(Store):
    """Opens the vectors of project 5 only when it may go on."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.opening, self.may_go_on = threading.Event(), threading.Event()

    def vectors(self, project: int, space: str) -> Vectors:
        if project == 5:
            self.opening.set()
            self.may_go_on.wait(WAIT_SECONDS)
        return super().vectors(project, space)


def test_a_project_that_takes_long_keeps_no_other_waiting(settings: Settings, fake_encoder: FakeEncoder) -> None:
    store = SlowStore(settings)
    predictor = Predictor(settings, store)
    threads = {
        project: threading.Thread(target=predictor.predict, args=(project, SINGLE, [1], ["apple"]))
        for project in (5, 6)
    }
    threads[5].start()
    assert store.opening.wait(WAIT_SECONDS)
    threads[6].start()
    threads[6].join(WAIT_SECONDS)
    waited = threads[6].is_alive()
    store.may_go_on.set()
    for thread in threads.values():
        thread.join(WAIT_SECONDS)
    store.close()
    assert not waited


def test_a_text_that_the_encoder_makes_nothing_of_gets_no_draft_and_the_others_do(
    settings: Settings, store: Store, fake_encoder: FakeEncoder
) -> None:
    fake_encoder.useless = {"iron"}
    found = Predictor(settings, store).predict(5, SINGLE, [1, 2, 3], ["apple", "iron", "cow"])
    assert [bool(each.draft) for each in found] == [True, False, True]

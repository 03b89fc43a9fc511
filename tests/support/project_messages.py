"""What users read of a project: the lines of `status` and the messages of `connect`."""

from __future__ import annotations

from fake_label_studio import FakeClient, FakeLabelStudio

from ml_backend.core.settings import Settings
from ml_backend.label_studio.setup import connect
from ml_backend.monitoring.status import read_status
from ml_backend.monitoring.text_sample import check_first_tasks
from ml_backend.rendering.project_text import question_and_text_sentences
from ml_backend.rendering.status_text import status_lines
from ml_backend.storage import Store


def lines_by_name(store: Store) -> dict[str, str]:
    return dict(status_lines(read_status(store, 5)))


def connect_messages(server: FakeLabelStudio, store: Store, settings: Settings) -> list[str]:
    messages: list[str] = []
    client = FakeClient(server)
    schema = connect(client, store, settings, 5, messages.append)
    return [*messages, *question_and_text_sentences(schema, check_first_tasks(client, 5, schema))]

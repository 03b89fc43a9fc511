"""The contract of label-studio-ml: one class that 1.0.9 (PyPI) and 2.x both take, thin over the working parts."""

from __future__ import annotations

import inspect
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from ml_backend.core.exceptions import InvalidEventError, UnsupportedConfigError
from ml_backend.core.settings import Settings, load_settings, own_params
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import read_id, read_text, write_predictions
from ml_backend.label_studio.webhooks import read_event
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor
from ml_backend.web.webhook_handler import take

TAKES_PROJECT = "project_id" in inspect.signature(LabelStudioMLBase.__init__).parameters
"""True for label-studio-ml 2.x, whose constructor is (project_id, label_config) and which then calls setup()."""


class ActiveLearningBackend(LabelStudioMLBase):
    """One project, as label-studio-ml sees it. Without state of its own: all share one store and predictor."""

    store: Store
    predictor: Predictor

    @classmethod
    def share(cls, settings: Settings | None = None, store: Store | None = None) -> None:
        """Sets what all instances share. A foreign server (label-studio-ml's own) may leave it out."""
        settings = settings or load_settings()
        cls.store = store or Store(settings)
        cls.predictor = Predictor(settings, cls.store)

    def __init__(
        self,
        project_id: int | str | None = None,
        label_config: str | None = None,
        train_output: Any = None,
        **rest: Any,
    ) -> None:
        # first, as 2.x calls setup() from its constructor
        self.project = int(str(project_id or 0).split(".", 1)[0])
        self.config = label_config or ""
        if not hasattr(type(self), "store"):
            self.share()
        if TAKES_PROJECT:
            super().__init__(project_id=project_id, label_config=label_config)
        else:
            super().__init__(label_config=None, train_output=train_output, **rest)

    def setup(self, extra_params: Any = None) -> dict[str, str]:
        """What /setup answers: the version that predictions carry. Constant time, no weights."""
        record = self.store.projects.ensure(self.project)
        other_config = bool(self.config) and self.config != record.label_config
        own = record.extra_params if extra_params is None else own_params(extra_params)
        if other_config:
            self.store.projects.set_label_config(self.project, self.config)
        if own is not None and own != record.extra_params:
            self.store.projects.set_extra_params(self.project, own)
        if record.is_connected and (other_config or own != record.extra_params):
            self.store.jobs.request(self.project, retry=True)
        version = self.predictor.version(self.project)
        if TAKES_PROJECT:  # whose own server asks for it there
            self.set("model_version", version)
        return {"model_version": version}

    def predict(self, tasks: list[Any], context: Any = None, **_: Any) -> list[dict[str, Any]]:
        """One result a task, always; an empty one where the task has nothing that could be read."""
        version = self.predictor.version(self.project)
        empty = {"result": [], "score": 1.0, "model_version": version}
        try:
            record = self.store.projects.ensure(self.project)
            schema = read_schema(self.config or record.label_config, record.choices)
        except UnsupportedConfigError:
            return [dict(empty) for _ in tasks]
        texts = [read_text(task, schema) for task in tasks]
        rows = [row for row, text in enumerate(texts) if text.strip()]
        ids = [(read_id(tasks[row].get("id")) or 0) for row in rows]
        found = self.predictor.predict(self.project, self.config, ids, [texts[row] for row in rows])
        results = [dict(empty) for _ in tasks]
        for row, written in zip(rows, write_predictions(found, schema, version), strict=True):
            results[row] = {name: written[name] for name in ("result", "score", "model_version")}
        return results

    def fit(self, *given: Any, event: str | None = None, data: Any = None, **_: Any) -> dict[str, Any]:
        """Takes one event and asks for a round; a worker learns. Never trains here.

        1.0.9 hands over tasks, a folder and the event by keyword, 2.x the event and its data by position.
        """
        if event is None and len(given) >= 2 and isinstance(given[0], str):
            event, data = given[:2]
        try:
            found = read_event(
                {"action": event, **data} if event and isinstance(data, dict) else data, self.store.projects.choices
            )
        except InvalidEventError as problem:
            return {"status": "ignored", "reason": str(problem)}
        return {"status": "taken", "round": take(self.store, found)}

"""The backend class that label-studio-ml expects. It works with releases 1.0.9 (PyPI) and 2.x."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from ml_backend.core.exceptions import InvalidEventError, UnsupportedConfigError
from ml_backend.core.settings import Settings, load_settings, project_params
from ml_backend.label_studio.label_config import read_schema
from ml_backend.label_studio.serialization import content_of_task, read_id, write_predictions
from ml_backend.label_studio.webhooks import read_event, store_event
from ml_backend.storage import Store
from ml_backend.web.predictor import Predictor

TAKES_PROJECT = "project_id" in inspect.signature(LabelStudioMLBase.__init__).parameters
"""True for label-studio-ml 2.x, whose constructor takes (project_id, label_config) and calls setup()."""


@dataclass(frozen=True, slots=True)
class BackendServices:
    """The store and the predictor that all instances of a backend class use."""

    store: Store
    predictor: Predictor


@cache
def services_from_environment() -> BackendServices:
    """Builds the services of this process from environment variables, once."""
    settings = load_settings()
    store = Store(settings)
    return BackendServices(store, Predictor(settings, store))


def bind_backend(settings: Settings, store: Store) -> type[ActiveLearningBackend]:
    """Returns a subclass of the backend whose instances use this store and one shared predictor."""
    services = BackendServices(store, Predictor(settings, store))

    class BoundBackend(ActiveLearningBackend):
        def services(self) -> BackendServices:
            return services

    return BoundBackend


class ActiveLearningBackend(LabelStudioMLBase):
    """One project, as label-studio-ml sees it. An instance serves one request and keeps no state for the next one.

    The Flask application uses the subclass that `bind_backend` returns. A server that instantiates this class itself,
    such as that of label-studio-ml, gets the services from environment variables.
    """

    def services(self) -> BackendServices:
        """Returns the store and the predictor of this class."""
        return services_from_environment()

    def __init__(
        self,
        project_id: int | str | None = None,
        label_config: str | None = None,
        train_output: Any = None,
        **rest: Any,
    ) -> None:
        # these come first, because the constructor of 2.x calls setup()
        self.project = int(str(project_id or 0).split(".", 1)[0])
        self.config = label_config or ""
        if TAKES_PROJECT:
            super().__init__(project_id=project_id, label_config=label_config)
        else:
            super().__init__(label_config=None, train_output=train_output, **rest)

    def setup(self, extra_params: Any = None) -> dict[str, str]:
        """Stores the labelling configuration and the extra params, and requests a round if they have changed in a
        connected project. Returns the model version that predictions carry. Takes constant time, loads no weights."""
        store, predictor = self.services().store, self.services().predictor
        project_row = store.projects.ensure(self.project)
        config_changed = bool(self.config) and self.config != project_row.label_config
        params = project_row.extra_params if extra_params is None else project_params(extra_params)
        if config_changed:
            store.projects.set_label_config(self.project, self.config)
        if params is not None and params != project_row.extra_params:
            store.projects.set_extra_params(self.project, params)
        if project_row.is_connected and (config_changed or params != project_row.extra_params):
            store.jobs.request(self.project, retry=True)
        version = predictor.version(self.project)
        if TAKES_PROJECT:  # the server of 2.x reads the version from there
            self.set("model_version", version)
        return {"model_version": version}

    def predict(self, tasks: list[Any], context: Any = None, **_: Any) -> list[dict[str, Any]]:
        """Returns one result per task, an empty one for a task without readable text."""
        store, predictor = self.services().store, self.services().predictor
        version = predictor.version(self.project)
        empty = {"result": [], "score": 1.0, "model_version": version}
        try:
            project_row = store.projects.ensure(self.project)
            schema = read_schema(self.config or project_row.label_config, project_row.choices)
        except UnsupportedConfigError:
            return [dict(empty) for _ in tasks]
        content_of_row = {
            row: content
            for row, task in enumerate(tasks)
            if isinstance(task, dict)
            and (content := content_of_task(read_id(task.get("id")) or 0, task, schema.input)).text.strip()
        }
        contents = [*content_of_row.values()]
        task_ids, texts = [content.task for content in contents], [content.text for content in contents]
        predictions = predictor.predict(self.project, self.config, task_ids, texts)
        results = [dict(empty) for _ in tasks]
        predictions_json = write_predictions(predictions, schema, version, contents)
        for row, prediction in zip(content_of_row, predictions_json, strict=True):
            results[row] = {name: prediction[name] for name in ("result", "score", "model_version")}
        return results

    def fit(self, *arguments: Any, event: str | None = None, data: Any = None, **_: Any) -> dict[str, Any]:
        """Stores one webhook event and requests a round, in which a worker trains. Never trains in this process.

        Release 1.0.9 passes tasks and a folder by position, and the event by keyword. Release 2.x passes the event and
        its data by position.
        """
        if event is None and len(arguments) >= 2 and isinstance(arguments[0], str):
            event, data = arguments[:2]
        store = self.services().store
        body = {"action": event, **data} if event and isinstance(data, dict) else data
        try:
            webhook_event = read_event(body, store.projects.choices)
        except InvalidEventError as error:
            return {"status": "ignored", "reason": str(error)}
        return {"status": "taken", "round": store_event(store, webhook_event)}

"""The objects that the routes of one Flask application share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

from flask import Flask, current_app

from ml_backend.core.settings import Settings
from ml_backend.monitoring.prometheus import Metrics
from ml_backend.storage import Store

if TYPE_CHECKING:
    from ml_backend.web.backend import ActiveLearningBackend

EXTENSION = "apprentice"  # key in `Flask.extensions`


@dataclass
class AppState:
    """The settings, the store, the metrics and the backend class of one installation."""

    settings: Settings
    store: Store
    metrics: Metrics

    @cached_property
    def backend_class(self) -> type[ActiveLearningBackend]:
        """The backend class with this store. The first access imports label-studio-ml, which takes long."""
        from ml_backend.web.backend import bind_backend

        return bind_backend(self.settings, self.store)


def attach_state(app: Flask, state: AppState) -> None:
    """Stores the state in an application, for `app_state`."""
    app.extensions[EXTENSION] = state


def app_state(app: Flask | None = None) -> AppState:
    """Returns the state of an application; without an argument, of the one that answers the current request."""
    return cast(AppState, (app or current_app).extensions[EXTENSION])

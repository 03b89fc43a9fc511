"""Puts plugins of a test in the place of installed ones until the test ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from ml_backend.core import registry
from ml_backend.core.ports import Teacher
from ml_backend.core.settings import Settings

OverridePlugins = Callable[[Mapping[str, Callable[..., Any]]], None]
UseTeacher = Callable[[Teacher], None]


@pytest.fixture
def override_plugins() -> Iterator[OverridePlugins]:
    """Takes plugins as `registry.overridden` does. A later call replaces plugins of an earlier one."""
    with ExitStack() as blocks:
        yield lambda plugins: blocks.enter_context(registry.overridden(plugins))


@pytest.fixture
def use_teacher(settings: Settings, override_plugins: OverridePlugins) -> UseTeacher:
    """Makes a teacher the one that all projects may ask."""

    def use(teacher: Teacher) -> None:
        override_plugins({"teacher.openai": lambda _options: teacher})
        settings.defaults = settings.defaults.model_copy(update={"teacher": "openai", "teacher_model": "m"})

    return use

"""Finds plugins, also the built-in ones, by their entry point `<kind>.<name>` in the group `apprentice.plugins`.

`overridden` puts other plugins in the place of installed ones, for tests and for programs that embed Apprentice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ml_backend.core.exceptions import UnknownPluginError
from ml_backend.core.lru_cache import LruCache
from ml_backend.core.ports import (
    Acquisition,
    AttributeModel,
    BatchFormat,
    Clusterer,
    Drafter,
    Encoder,
    Learner,
    RecordEncoder,
    RecordEncoderClass,
    Teacher,
    Writer,
)
from ml_backend.core.teacher_types import TeacherOptions

ENTRY_POINT_GROUP = "apprentice.plugins"
MAX_PROFILE_CHARACTERS = 64 * 2**20
"""The total length of the profiles whose encoders are cached: an encoder takes about as much memory as its profile."""
EMBEDDED_TEACHER = "similarity"  # the embedded teacher, a Drafter: it needs no key and no network
RANDOM_ORDER = "random"  # the query strategy with which others are compared
BATCH_TEACHER = "batch"  # the teacher that is asked by files: its class is a BatchFormat

MAX_INSTANCES_PER_KIND = 8


class _Plugins:
    """The plugins of this process, and the instances made of them."""

    def __init__(self, overrides: Mapping[str, Any]) -> None:
        self.overrides = overrides
        # not functools.lru_cache, which makes two instances if two threads ask for one at the same time
        self.encoders: LruCache[str, Encoder] = LruCache(MAX_INSTANCES_PER_KIND)
        self.drafters: LruCache[Encoder, Drafter] = LruCache(MAX_INSTANCES_PER_KIND)
        self.teachers: LruCache[tuple[str, TeacherOptions], Teacher] = LruCache(MAX_INSTANCES_PER_KIND)
        self.record_encoders: LruCache[tuple[str, str], RecordEncoder] = LruCache(MAX_PROFILE_CHARACTERS)
        self.kinds: dict[str, Any | UnknownPluginError] | None = None

    def names(self, kind: str) -> frozenset[str]:
        prefix = f"{kind}."
        overrides = (name.removeprefix(prefix) for name in self.overrides if name.startswith(prefix))
        hidden = {name.removeprefix(prefix) for name, plugin in self.overrides.items() if plugin is None}
        return frozenset([*_entry_points(kind), *overrides]) - hidden

    def load(self, kind: str, name: str) -> Any:
        if self.overrides.get(f"{kind}.{name}") is not None:
            return self.overrides[f"{kind}.{name}"]
        if name not in self.names(kind):
            raise UnknownPluginError(
                f"There is no {kind} named {name!r}: installed are {', '.join(sorted(self.names(kind))) or 'none'}"
            )
        return _entry_points(kind)[name].load()


@cache  # searching all packages takes milliseconds, and a /predict must take less than twenty
def _entry_points(kind: str) -> dict[str, EntryPoint]:
    """The entry points of the installed plugins of one kind, by name."""
    prefix = f"{kind}."
    return {
        point.name.removeprefix(prefix): point
        for point in entry_points(group=ENTRY_POINT_GROUP)
        if point.name.startswith(prefix)
    }


_plugins = [_Plugins({})]  # the last one is used


@contextmanager
def overridden(plugins: Mapping[str, Any]) -> Iterator[None]:
    """Inside the `with` block, all threads of the process get these plugins in the place of the installed ones with the
    same names, or beside the installed ones. Blocks may be nested.

    No instance of a plugin is shared between the inside and the outside of the block.

    plugins  by `<kind>.<name>`, such as `teacher.openai`: what an entry point names, a class or any other callable that
             takes what the classes of the kind take; or an instance, of a kind of labels; None hides the plugin
    """
    _plugins.append(_Plugins({**_plugins[-1].overrides, **plugins}))
    try:
        yield
    finally:
        _plugins.pop()


def installed(kind: str) -> frozenset[str]:
    """The names of the plugins of one kind. Imports no plugin."""
    return _plugins[-1].names(kind)


def _load(kind: str, name: str) -> Any:
    return _plugins[-1].load(kind, name)


def encoder(setting: str) -> Encoder:
    """The encoder of a setting `name` or `name:model`. A process has one instance of it, so weights are loaded once."""

    def make() -> Encoder:
        name, _, model = setting.partition(":")
        factory = _load("encoder", name)
        encoder: Encoder = factory(model) if model else factory()
        return encoder

    return _plugins[-1].encoders.get(setting, make, 1)


def record_encoder(profile: str, text_encoder: str) -> RecordEncoder:
    """The encoder of records with a pool's profile. `text_encoder` is the setting of the encoder for text fields.

    The most recently used encoders are cached, up to MAX_PROFILE_CHARACTERS: a project has one or two of them.
    """

    def make() -> RecordEncoder:
        return _record_encoder_class()(profile, encoder(text_encoder))

    return _plugins[-1].record_encoders.get((profile, text_encoder), make, len(profile))


def _record_encoder_class() -> RecordEncoderClass:
    loaded: RecordEncoderClass = _load("records", "standardised")
    return loaded


def profile(
    records: Sequence[Mapping[str, Any]], field_types: Mapping[str, object], text_encoder: str, question_field: str = ""
) -> str:
    """The profile of a pool's records, from which `record_encoder` makes their encoder.

    field_types     overrides of inferred types, by field: a type, or a list of the values in their order
    text_encoder    the setting of the encoder for text fields
    question_field  the field that the question is about, "" for none

    Raises ApprenticeError if no field tells records apart.
    """
    return _record_encoder_class().profile(records, field_types, encoder(text_encoder), question_field)


def record_field_types() -> tuple[str, ...]:
    """The types that a field of a record may have."""
    return _record_encoder_class().field_kinds()


def kinds() -> Mapping[str, Any | UnknownPluginError]:
    """The installed kinds of labels by name, see `ml_backend.kinds.base.Kind`; an error in place of one that cannot be
    loaded. The same mapping is returned until the plugins are overridden."""
    plugins = _plugins[-1]
    if plugins.kinds is None:
        plugins.kinds = {name: _load_kind(name) for name in sorted(plugins.names("kind"))}
    return plugins.kinds


def _load_kind(name: str) -> Any | UnknownPluginError:
    try:
        return _load("kind", name)
    except Exception as error:  # a package of somebody else
        return UnknownPluginError(f"The kind of label {name!r} cannot be loaded: {type(error).__name__}: {error}")


def kind(name: str) -> Any:
    """One of `kinds`. Raises UnknownPluginError if it is not installed or cannot be loaded."""
    loaded = kinds().get(name)
    if isinstance(loaded, UnknownPluginError):
        raise loaded
    if loaded is None:
        raise UnknownPluginError(f"There is no kind of label named {name!r}: installed are {', '.join(kinds())}")
    return loaded


def learner(name: str) -> Learner:
    make = _load("learner", name)
    learner: Learner = make(writers()) if getattr(make, "uses_writers", False) else make()
    return learner


def writers() -> dict[str, Writer]:
    """The installed writers by name, in alphabetical order."""
    return {name: _load("writer", name)() for name in sorted(installed("writer"))}


def drafter(encoder: Encoder) -> Drafter:
    """The embedded teacher, which caches the vectors of the labels' names. There is one instance for each encoder."""

    def make() -> Drafter:
        drafter: Drafter = _load("teacher", EMBEDDED_TEACHER)(encoder.encode)
        return drafter

    return _plugins[-1].drafters.get(encoder, make, 1)


def teacher(name: str, options: TeacherOptions) -> Teacher | None:
    """The teacher of a name and its options; None for the embedded teacher, which drafts and answers no questions.

    A process has one instance of it, because a teacher caches what its server refuses, or the model that it has loaded.
    """
    if name == EMBEDDED_TEACHER:
        return None

    def make() -> Teacher:
        teacher: Teacher = _load("teacher", name)(options)
        return teacher

    return _plugins[-1].teachers.get((name, options), make, 1)


def batch_format() -> BatchFormat:
    """The format of the files in which a batch teacher gets its questions and gives its answers."""
    loaded: BatchFormat = _load("teacher", BATCH_TEACHER)
    return loaded


def attribute_model(setting: str) -> AttributeModel:
    """The attribute model of a setting `name` or `name:argument`."""
    name, _, argument = setting.partition(":")
    model: AttributeModel = _load("attribute", name)(argument)
    return model


def acquisition(name: str) -> Acquisition:
    strategy: Acquisition = _load("acquisition", name)()
    return strategy


def clusterer(name: str = "bisecting") -> Clusterer:
    clusterer: Clusterer = _load("clusterer", name)()
    return clusterer

"""Finds plugins by their entry point `<kind>.<name>` in the group `apprentice.plugins`, the built-in ones included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ml_backend.core.exceptions import UnknownPluginError
from ml_backend.core.lru_cache import LruCache
from ml_backend.core.ports import (
    Acquisition,
    BatchFormat,
    Clusterer,
    Drafter,
    Encoder,
    Learner,
    RecordEncoder,
    RecordEncoderClass,
    Teacher,
)
from ml_backend.core.teacher_types import TeacherOptions

GROUP = "apprentice.plugins"
PROFILE_CHARACTERS = 64 * 2**20
"""Of all profiles whose encoders are kept: an encoder takes memory about as its profile does."""
EMBEDDED = "similarity"  # the teacher that needs no key, no network and no time: a Drafter
BY_FILE = "batch"  # the teacher that is asked by file: its class is a BatchFormat


KEPT = 8  # instances of each kind: of what holds weights, label vectors, or what a server refuses

# not lru_cache: it makes two instances where two threads ask at once
_encoders: LruCache[str, Encoder] = LruCache(KEPT)
_drafters: LruCache[Encoder, Drafter] = LruCache(KEPT)
_teachers: LruCache[tuple[str, TeacherOptions], Teacher] = LruCache(KEPT)
_record_encoders: LruCache[tuple[str, str], RecordEncoder] = LruCache(PROFILE_CHARACTERS)


@cache  # looking through all packages takes milliseconds, and a /predict has twenty
def installed(kind: str) -> dict[str, EntryPoint]:
    """The plugins of one kind by name. Nothing is imported."""
    prefix = f"{kind}."
    return {
        point.name.removeprefix(prefix): point for point in entry_points(group=GROUP) if point.name.startswith(prefix)
    }


def _load(kind: str, name: str) -> Any:
    found = installed(kind)
    if name not in found:
        raise UnknownPluginError(
            f"There is no {kind} named {name!r}: installed are {', '.join(sorted(found)) or 'none'}"
        )
    return found[name].load()


def encoder(setting: str) -> Encoder:
    """The encoder of a setting `name` or `name:model`; one instance a process, so weights are loaded once."""

    def make() -> Encoder:
        name, _, model = setting.partition(":")
        made: Encoder = _load("encoder", name)(model) if model else _load("encoder", name)()
        return made

    return _encoders.get(setting, make, 1)


def record_encoder(profile: str, text: str) -> RecordEncoder:
    """Of records, from the profile of a pool, and with the encoder of the setting `text` for texts among the fields.
    Those used last are kept, as many as their profiles leave room for: each project has one of its own, or two."""

    def make() -> RecordEncoder:
        return _record_encoder_class()(profile, encoder(text))

    return _record_encoders.get((profile, text), make, len(profile))


def _record_encoder_class() -> RecordEncoderClass:
    loaded: RecordEncoderClass = _load("records", "standardised")
    return loaded


def profile(records: Sequence[Mapping[str, Any]], wanted: Mapping[str, object], text: str, asked: str = "") -> str:
    """What `record_encoder` makes the encoder of a pool's records from. `wanted`: the kinds, or orders of values, of
    fields that are not what they seem; `asked`: the field that the question is about, "" for none of them. Raises
    ApprenticeError if one of `wanted` is no kind, or no field is of use."""
    return _record_encoder_class().profile(records, wanted, encoder(text), asked)


def kinds_of_fields() -> tuple[str, ...]:
    """What a field of a record may be."""
    return _record_encoder_class().field_kinds()


def learner(name: str) -> Learner:
    made: Learner = _load("learner", name)()
    return made


def drafter(encoder: Encoder) -> Drafter:
    """The embedded teacher, which remembers the vectors of the label names; one instance for each encoder."""

    def make() -> Drafter:
        made: Drafter = _load("teacher", EMBEDDED)(encoder.encode)
        return made

    return _drafters.get(encoder, make, 1)


def teacher(name: str, options: TeacherOptions) -> Teacher | None:
    """One instance a process: it remembers what its server refuses, or the model that it has loaded. None for the
    embedded one: it drafts, and cannot be asked anything."""
    if name == EMBEDDED:
        return None

    def make() -> Teacher:
        made: Teacher = _load("teacher", name)(options)
        return made

    return _teachers.get((name, options), make, 1)


def batch_format() -> BatchFormat:
    """How questions and answers stand in the files of a batch."""
    loaded: BatchFormat = _load("teacher", BY_FILE)
    return loaded


def acquisition(name: str) -> Acquisition:
    made: Acquisition = _load("acquisition", name)()
    return made


def clusterer(name: str = "bisecting") -> Clusterer:
    made: Clusterer = _load("clusterer", name)()
    return made

"""Whether the tasks of a project have the texts that are to be learnt, in numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.types import Example, TaskSchema
from ml_backend.storage import Store

SAMPLE = 100  # tasks that are looked at for addresses, and for the names of the fields that they have
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://\S+"  # s3://bucket/key, https://host/page
    r"|/(?:[^/\n]+/)*[^/\n]+\.\w{1,5}(?:\?\S*)?"  # /data/upload/1/page one.txt
    r"|(?:[\w.-]+/)+[\w.-]+\.\w{1,5}|[a-z]:\\\S.*"  # texts/1.txt, C:\texts\1.txt
    r"|[\w.-]+\.(?:txt|html?|xml|json|csv|tsv|md|pdf|docx?|eml)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TextCheck:
    """tasks            that were looked at; `whole`: whether these are all
    without_text        how many of them have no text or record; `example`: one of these, None if there is none
    fields              names of the data that such tasks have instead
    sample              texts that were looked at for addresses; `addresses`: how many are one, instead of a text;
                        `address_in`: one of these tasks
    """

    tasks: int
    whole: bool
    without_text: int
    example: int | None
    fields: tuple[str, ...]
    sample: int
    addresses: int
    address_in: int | None

    @property
    def has_addresses(self) -> bool:
        """Whether there are more addresses than chance puts among texts."""
        return self.addresses * 10 > self.sample


def read(document: Mapping[str, Any]) -> TextCheck:
    """What `dataclasses.asdict` made a document of, and JSON lists."""
    return TextCheck(**{**document, "fields": tuple(document["fields"])})


def check_counted(store: Store, project: int, schema: TaskSchema, tasks: int, without_text: int) -> TextCheck:
    """Looks at the stored `tasks` of a project, so many of them `without_text`."""
    some = store.tasks.examples(project, SAMPLE, with_text=False) if without_text else []
    with_text = store.tasks.examples(project, SAMPLE, with_text=True)
    return _check(tasks, True, without_text, some, with_text, schema)


def check_examples(examples: Sequence[Example], total: int, schema: TaskSchema) -> TextCheck:
    """Looks at some tasks of a project that has `total`."""
    empty = [example for example in examples if not example.text]
    with_text = [example for example in examples if example.text]
    return _check(len(examples), len(examples) >= total, len(empty), empty, with_text, schema)


def _check(
    tasks: int, whole: bool, without: int, empty: Sequence[Example], with_text: Sequence[Example], schema: TaskSchema
) -> TextCheck:
    names = dict.fromkeys(name for example in empty for name in example.fields if name not in schema.data)
    sample = [] if schema.is_record else with_text
    addresses = [example.task for example in sample if _ADDRESS.fullmatch(example.text.strip())]
    return TextCheck(
        tasks=tasks,
        whole=whole,
        without_text=without,
        example=empty[0].task if empty else None,
        fields=tuple(names),
        sample=len(sample),
        addresses=len(addresses),
        address_in=addresses[0] if addresses else None,
    )

"""Counts the tasks of a project that have no text, and the texts that are an address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_backend.core.schema import InputSpec
from ml_backend.core.types import TaskContent
from ml_backend.storage import Store

SAMPLE_TASKS = 100
"""Bound of the tasks with a text that are searched for addresses, and of those without one whose fields are named."""
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]*://\S+"  # s3://bucket/key, https://host/page
    r"|/(?:[^/\n]+/)*[^/\n]+\.\w{1,5}(?:\?\S*)?"  # /data/upload/1/page one.txt
    r"|(?:[\w.-]+/)+[\w.-]+\.\w{1,5}|[a-z]:\\\S.*"  # texts/1.txt, C:\texts\1.txt
    r"|[\w.-]+\.(?:txt|html?|xml|json|csv|tsv|md|pdf|docx?|eml)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TextCheck:
    """Counts over the checked tasks of a project.

    tasks         the number of checked tasks
    whole         whether these are all tasks of the project
    without_text  how many of them have no text or record
    example       the id of one of these, None if there is none
    fields        the names of the other data fields that these have
    sample        the number of texts that were searched for addresses
    addresses     how many of these texts are an address
    address_in    the id of one of these tasks, None if there is none
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
    def has_problems(self) -> bool:
        """Whether there is no task, a task without a text, or a text that is an address."""
        return not self.tasks or self.without_text > 0 or self.has_addresses

    @property
    def has_addresses(self) -> bool:
        """Whether more than a tenth of the texts are addresses: fewer occur among real texts by chance."""
        return self.addresses * 10 > self.sample


def text_check_from_document(document: Mapping[str, Any]) -> TextCheck:
    """The inverse of `dataclasses.asdict` after a round trip through JSON, which turns tuples into lists."""
    return TextCheck(**{**document, "fields": tuple(document["fields"])})


def check_stored_tasks(
    store: Store, project: int, input_spec: InputSpec, n_tasks: int, n_without_text: int
) -> TextCheck:
    """Checks a sample of a project's stored tasks; the counts of all tasks are arguments."""
    without_text = store.tasks.first_contents(project, SAMPLE_TASKS, with_text=False) if n_without_text else []
    with_text = store.tasks.first_contents(project, SAMPLE_TASKS, with_text=True)
    return _check(n_tasks, True, n_without_text, without_text, with_text, input_spec)


def check_examples(examples: Sequence[TaskContent], n_tasks: int, input_spec: InputSpec) -> TextCheck:
    """Checks these examples of a project that has `n_tasks`."""
    without_text = [example for example in examples if not example.text]
    with_text = [example for example in examples if example.text]
    return _check(len(examples), len(examples) >= n_tasks, len(without_text), without_text, with_text, input_spec)


def _check(
    n_tasks: int,
    whole: bool,
    n_without_text: int,
    without_text: Sequence[TaskContent],
    with_text: Sequence[TaskContent],
    input_spec: InputSpec,
) -> TextCheck:
    fields = dict.fromkeys(name for example in without_text for name in example.fields if name not in input_spec.data)
    sample = [] if input_spec.is_record else with_text
    tasks_with_address = [example.task for example in sample if _ADDRESS.fullmatch(example.text.strip())]
    return TextCheck(
        tasks=n_tasks,
        whole=whole,
        without_text=n_without_text,
        example=without_text[0].task if without_text else None,
        fields=tuple(fields),
        sample=len(sample),
        addresses=len(tasks_with_address),
        address_in=tasks_with_address[0] if tasks_with_address else None,
    )

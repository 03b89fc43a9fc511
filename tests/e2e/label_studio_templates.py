"""The labelling configurations that come with Label Studio, and the page that lists what is learnt of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "controls.md"
ENVIRONMENT = ROOT / ".venv-label-studio"
OTHER_MEDIA = re.compile(r"<(Image|Audio|AudioPlus|Video|TimeSeries|Pdf)\b")


def templates() -> Iterator[tuple[str, str]]:
    """The title and the labelling configuration of each template over texts, dialogues or tables."""
    files = sorted(ENVIRONMENT.glob("lib/python*/site-packages/label_studio/annotation_templates/*/*/config.yml"))
    assert files, f"{ENVIRONMENT} has no Label Studio: run `make setup`"
    for file in files:
        template = yaml.safe_load(file.read_text())
        config = template.get("config") or ""
        if config and not OTHER_MEDIA.search(config):
            yield template["title"], config


def listed_rows() -> list[str]:
    """The rows of the templates in the page."""
    table = re.search(r"<!-- templates.*?-->\n(.*?)\n<!-- /templates -->", PAGE.read_text(), re.DOTALL)
    assert table is not None
    return table.group(1).splitlines()[2:]


def learnt_titles() -> list[str]:
    """The titles of the templates of which at least one control is learnt, as the page lists them: to know them, no
    Label Studio is needed."""
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in listed_rows()]
    return [title for title, learnt, _ in cells if learnt]

"""The README and the pages of docs/ say what is true: names exist, tables equal the code, links lead somewhere."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from packaging.requirements import Requirement
from pools import make_pool

from ml_backend.cli.main import app
from ml_backend.core.schema import REASONS_NOT_LEARNT
from ml_backend.core.settings import ProjectSettings, Settings, settings_table
from ml_backend.kinds.base import Kind

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?<![\w./-]apprentice )\bapprentice (?!apprentice\b)(\w+)([^\n`#]*)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def text(page: Path) -> str:
    return page.read_text()


def fenced(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page, of all languages if none is named."""
    return [code for language, code in FENCED.findall(text(page)) if not languages or language in languages]


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCED.sub("", text(page))


def code(page: Path) -> str:
    """The code blocks and the inline code of a page, continued lines joined."""
    return "\n".join([*fenced(page), *INLINE.findall(prose(page))]).replace("\\\n", " ")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as MkDocs makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@cache
def options() -> dict[str, set[str]]:
    """The options of each command; under "" those of `apprentice` itself."""
    group: Any = typer.main.get_command(app)
    commands = {"": group, **group.commands}
    return {
        name: {"--help"} | {option for parameter in command.params for option in parameter.opts}
        for name, command in commands.items()
    }


def test_the_settings_table_is_the_one_of_the_settings_class() -> None:
    shown = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- /settings -->", text(DOCS / "settings.md"), re.DOTALL)
    assert shown is not None
    assert shown.group(1) == settings_table(), "copy what settings_table() returns between the markers"


def test_the_reasons_why_a_control_is_not_learnt_are_those_that_users_see() -> None:
    section = text(DOCS / "controls.md").partition("## Why a control is not learnt")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (.*?) \|", section, re.MULTILINE)[1:] == [*REASONS_NOT_LEARNT.values()]


def test_every_command_is_explained_and_every_explained_command_exists() -> None:
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    hidden = {command.callback.__name__ for command in app.registered_commands if command.callback and command.hidden}
    explained = re.findall(r"^\| `apprentice (\w+)", text(DOCS / "commands.md"), re.MULTILINE)
    assert len(set(explained)) == len(explained)
    assert set(explained) == commands - hidden


@each_page
def test_every_command_and_its_options_exist(page: Path) -> None:
    for name, rest in COMMAND.findall(code(page)):
        assert name in options(), f"apprentice {name}"
        used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest))
        assert used <= options()[name], f"apprentice {name}: {used - options()[name]}"
    for option in re.findall(r"\bapprentice (--[a-z-]+)", code(page)):
        assert option in options()[""], option


@each_page
def test_an_option_without_its_command_is_one_of_some_command(page: Path) -> None:
    existing = set().union(*options().values()) | {"--no-deps"}  # that of pip
    used = {option for span in INLINE.findall(prose(page)) for option in re.findall(r"^--[a-z][a-z-]*", span)}
    assert used <= existing, used - existing


@each_page
def test_every_setting_of_the_installation_exists(page: Path) -> None:
    existing = {f"APPRENTICE_{name.upper()}" for name in Settings.model_fields}
    used = set(re.findall(r"\bAPPRENTICE_[A-Z_]+\b", code(page)))
    assert used <= existing, used - existing


@each_page
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    used = set(re.findall(r"(?:^|\n)make ([\w-]+)", code(page)))
    assert used <= targets, used - targets


@each_page
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in LINK.findall(INLINE.sub("", prose(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert page.parent == ROOT or target.is_relative_to(DOCS), f"{link} is no file of the site"
        assert not anchor or anchor in anchors(target), link


@each_page
def test_every_example_can_be_read(page: Path) -> None:
    for block in fenced(page, "python"):
        compile(block, str(page), "exec")
    for block in fenced(page, "json"):
        json.loads(block)
    for block in fenced(page, "toml"):
        tomllib.loads(block)
    for span in INLINE.findall(prose(page)):
        if span.startswith('{"'):
            json.loads(span)


def test_project_settings_in_examples_exist() -> None:
    shown = [json.loads(span) for span in INLINE.findall(prose(DOCS / "teacher.md")) if span.startswith('{"')]
    assert shown
    assert {name for example in shown for name in example} <= ProjectSettings.model_fields.keys()


def test_the_example_of_a_strategy_selects() -> None:
    names: dict[str, Any] = {}
    (block,) = fenced(DOCS / "reference.md", "python")
    exec(compile(block, "reference.md", "exec"), names)
    pool = make_pool(30)
    selection = names["FarFromTheMean"]().select(pool, 5, seed=0)
    assert len(set(selection.rows.tolist())) == 5
    assert pool.available[selection.rows].all()


def module_paths() -> Iterator[Path]:
    """The paths that the marked block of the architecture page names. Indentation says in which folder a line's names
    stand. A line begins with a folder, whose files its description may name, or with files and folders side by side,
    whose description may name more of these."""
    block = re.search(
        r"<!-- modules:.*?-->\n```text\n(.*?)```\n<!-- /modules -->", text(DOCS / "architecture.md"), re.S
    )
    assert block is not None
    folders: list[tuple[int, Path]] = []
    for line in block.group(1).splitlines():
        indentation = len(line) - len(line.lstrip())
        while folders and folders[-1][0] >= indentation:
            folders.pop()
        parent = folders[-1][1] if folders else ROOT
        first, *others = line.split()
        assert first.endswith((".py", "/")), line
        yield parent / first
        if first.endswith("/"):
            parent /= first
            folders.append((indentation, parent))
        yield from (parent / name for name in others if name.endswith("/"))
        yield from (parent / name for name in re.findall(r"\b\w+\.py\b", " ".join(others)))


def test_the_architecture_names_only_files_that_exist() -> None:
    missing = [str(path.relative_to(ROOT)) for path in module_paths() if not path.exists()]
    assert not missing


def test_the_architecture_names_every_folder_of_both_packages() -> None:
    folders = {init.parent for package in ("ml_backend", "plugins") for init in (ROOT / package).glob("*/__init__.py")}
    assert folders <= set(module_paths())


def test_the_reference_names_modules_that_exist() -> None:
    modules = re.findall(r"^::: (\S+)$", text(DOCS / "reference.md"), re.MULTILINE)
    assert modules
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), module


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r"[\w/-]+\.md", text(ROOT / "mkdocs.yml").split("\nnav:\n")[1])
    assert sorted(listed) == [str(page.relative_to(DOCS)) for page in PAGES if page.is_relative_to(DOCS)]


def test_every_image_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in LINK.findall(prose(page))}
    assert set(DOCS.rglob("*.png")) <= shown


def test_what_builds_the_site_is_pinned() -> None:
    lines = text(ROOT / "constraints-docs.txt").split()
    pinned = {name.lower().replace("_", "-"): version for name, _, version in (line.partition("==") for line in lines)}
    wanted = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]["docs"]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[requirement.name]), requirement


def test_the_methods_of_a_kind_are_listed_and_those_that_must_be_there_are_bold() -> None:
    rows = [line for line in text(DOCS / "kinds.md").splitlines() if line.startswith("| ") and line.count("`") > 4]
    listed = set(re.findall(r"`(\w+)`", "\n".join(rows)))
    bold = set(re.findall(r"\*\*`(\w+)`\*\*", "\n".join(rows)))
    methods = {name for name, member in vars(Kind).items() if callable(member) and not name.startswith("_")}
    assert (listed, frozenset(bold)) == (methods, Kind.__abstractmethods__)

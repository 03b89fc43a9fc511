"""The README tells the truth."""

import re
from pathlib import Path

from ml_backend.cli.main import app
from ml_backend.core.settings import settings_table

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_settings_table_is_the_one_of_the_settings_class() -> None:
    shown = re.search(r"<!-- settings:.*?-->\n(.*?)\n<!-- /settings -->", README, re.DOTALL)
    assert shown is not None
    assert shown.group(1) == settings_table()


def test_every_command_is_explained_and_every_explained_command_exists() -> None:
    commands = {command.callback.__name__ for command in app.registered_commands if command.callback}
    hidden = {command.callback.__name__ for command in app.registered_commands if command.callback and command.hidden}
    explained = set(re.findall(r"^\| `apprentice (\w+)", README, re.MULTILINE))
    assert explained <= commands
    assert commands - hidden - explained == {"demo"}, "`make demo` stands for it"


def test_the_architecture_names_only_what_exists() -> None:
    block = README.split("## Architecture")[1]
    root = Path(__file__).parent.parent
    for name in re.findall(r"\b(\w+\.py)\b", block):
        assert list((root / "ml_backend").rglob(name)), name
    for name in re.findall(r"^  (\w+)/ ", block, re.MULTILINE):
        assert (root / "ml_backend" / name).is_dir(), name

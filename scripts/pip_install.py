"""Runs `pip install` and shows a count of packages instead of pip's lines, which go to a log, without addresses.

    .venv/bin/python scripts/pip_install.py .venv/setup.log --editable '.[dev]'

Ends with pip's exit status. If pip fails, the end of its output is printed, from the first error on.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

LINES_ON_FAILURE = 40  # lowest number of printed lines; lines about single packages do not count
PACKAGES_PER_LINE = 20  # between two printed counts where a line cannot be updated
REWRITE = "\r\033[K"  # goes back to the beginning of a terminal's line and empties it
INTERRUPTED = 130  # exit status of a shell command that Ctrl-C ended

PACKAGE = re.compile(r"\s*(?:Collecting|Requirement already satisfied:) ([\w.-]+)")
ROUTINE = re.compile(
    r"\s*(Collecting|Requirement already|Obtaining dependency|Using cached|Downloading|Looking in|WARNING: Location)"
)
ERROR = re.compile(r"\s*(error\b|Traceback|WARNING: Retrying)", re.IGNORECASE)
URL = re.compile(r"[a-z][a-z+]*://([^\s/'\"<>)]*)([^\s'\"<>)]*)")
HOST = re.compile(r"(?:host=|Failed to resolve |Host |located at )'?([\w.-]+\w)")
FOLDERS = re.compile(r"(?<![\w.])(?:\.{0,2}/)(?:[^\s/'\"]+/)+")


class Redaction:
    """Removes host names, URLs and folders from lines. A host that one line names is removed from later lines, too."""

    def __init__(self) -> None:
        self._hosts: set[str] = set()

    def redacted(self, line: str) -> str:
        self._hosts.update(host.rpartition("@")[2] for host, _ in URL.findall(line) if host)
        self._hosts.update(HOST.findall(line))
        line = URL.sub(lambda url: url[2].rstrip("/:,.;").rpartition("/")[2] or "an address", line)
        line = FOLDERS.sub("", line)
        for host in self._hosts:
            line = line.replace(host, "an address")
        return line


class Progress:
    """Prints how many different packages pip has named: in one line of a terminal that is updated, else in a new line
    for every `PACKAGES_PER_LINE` packages."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._in_place = sys.stdout.isatty()
        self._open_line = False

    def read(self, line: str) -> None:
        if package := PACKAGE.match(line):
            name = package[1].lower().replace("_", "-")
            if name not in self._names:
                self._names.add(name)
                self._show_count(name)
        elif line.startswith("Installing collected packages: "):
            self._show(f"  installing {_packages(line.count(',') + 1)} ...")
        elif line.startswith("Successfully installed "):
            self._show(f"  installed {_packages(len(line.split()) - 2)}")

    def end(self) -> None:
        """Ends the line that was updated in place."""
        if self._open_line:
            print(flush=True)

    def _show_count(self, name: str) -> None:
        if self._in_place:
            print(f"{REWRITE}  found {_packages(len(self._names))}: {name}", end="", flush=True)
            self._open_line = True
        elif len(self._names) % PACKAGES_PER_LINE == 0:
            self._show(f"  found {_packages(len(self._names))}")

    def _show(self, text: str) -> None:
        print(f"{REWRITE if self._open_line else ''}{text}", flush=True)
        self._open_line = False


def _packages(n: int) -> str:
    return f"{n} package{'' if n == 1 else 's'}"


def end_of(lines: list[str]) -> list[str]:
    """Returns the lines that say why pip failed: those from the first error on, and at least the last LINES_ON_FAILURE
    lines."""
    relevant = [line for line in lines if not ROUTINE.match(line)]
    first_error = next((i for i, line in enumerate(relevant) if ERROR.match(line)), len(relevant))
    return relevant[min(first_error, max(len(relevant) - LINES_ON_FAILURE, 0)) :]


def main(log: str, *arguments: str) -> int:
    options = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "install", *options, *arguments]
    redaction, progress, lines = Redaction(), Progress(), []
    with (
        Path(log).open("a", encoding="utf-8") as file,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            encoding="utf-8", errors="replace",
        ) as pip,
    ):  # fmt: skip
        for line in pip.stdout or ():
            lines.append(redaction.redacted(line.rstrip("\n")))
            file.write(lines[-1] + "\n")
            progress.read(lines[-1])
    progress.end()
    status = pip.returncode if pip.returncode >= 0 else 128 - pip.returncode
    if status:
        print(f"\npip failed (exit status {status}). The end of its output; all of it is in {log}:\n", file=sys.stderr)
        print(*end_of(lines), sep="\n", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

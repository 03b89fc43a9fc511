"""Logs: one line for each event, from the configured level on."""

from __future__ import annotations

import pytest
import structlog

from ml_backend.core.logs import set_up_logs


def test_an_event_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info")
    structlog.get_logger().info("round", project=5, note="two\nlines", seconds=0.5)
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.strip().split("\n")
    assert "level=info event=round" in line
    assert "project=5" in line


@pytest.mark.parametrize(
    ("level", "logged"),
    [("debug", "debug info warning error"), ("INFO", "info warning error"), ("error", "error")],
)  # fmt: skip
def test_lower_levels_are_not_logged(level: str, logged: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs(level)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert [line.split("event=")[1] for line in capsys.readouterr().err.strip().split("\n")] == logged.split()

"""Labelling as a person does it: a browser, Label Studio's own screens, the draft that is already filled in.

With APPRENTICE_SCREENSHOTS=<folder> the screens are saved there as labelling.png and data-manager.png.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from world import Backend, Project, until

from ml_backend.demo.server import LocalLabelStudio

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = os.environ.get("APPRENTICE_SCREENSHOTS")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 60_000  # milliseconds

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]


@contextmanager
def browser_page(server: LocalLabelStudio) -> Iterator[Page]:
    """A page of a fresh browser in which the administrator is logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            context = browser.new_context(viewport={"width": 1400, "height": 860})
            context.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            page = context.new_page()
            page.goto(f"{server.url}/user/login/")
            page.locator("input[name=email]").fill(server.username)
            page.locator("input[name=password]").fill(server.password)
            page.locator("input[name=password]").press("Enter")
            page.wait_for_url(lambda url: "/login" not in url)
            yield page
        finally:
            browser.close()


def open_data_manager(page: Page, server: LocalLabelStudio, project: Project) -> None:
    page.goto(f"{server.url}/projects/{project.number}/data")


def shown_text(page: Page, project: Project) -> str:
    """The text of the task on the labelling screen."""
    found: list[str] = until(
        lambda: [text for text in project.truth if page.get_by_text(text, exact=True).count()], "a task on the screen"
    )
    return found[0]


def choice(page: Page, label: str) -> Locator:
    return page.get_by_role("checkbox", name=label).or_(page.get_by_role("radio", name=label)).first


def drafted(page: Page, project: Project) -> list[str]:
    return [label for label in project.schema.labels if choice(page, label).is_checked()]

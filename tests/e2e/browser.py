"""A browser, and what a person does with Label Studio's own screens."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright
from running_backend import Project, until

from ml_backend.demo.server import LocalLabelStudio

CHROMIUM = shutil.which("chromium")
SCREENSHOTS = os.environ.get("APPRENTICE_SCREENSHOTS")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MILLISECONDS = 60_000


@contextmanager
def browser_page(server: LocalLabelStudio) -> Iterator[Page]:
    """A page of a fresh browser in which the administrator is logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            context = browser.new_context(viewport={"width": 1200, "height": 640})
            context.set_default_timeout(WAIT_MILLISECONDS)
            expect.set_options(timeout=WAIT_MILLISECONDS)
            page = context.new_page()
            page.goto(f"{server.url}/user/login/")
            page.locator("input[name=email]").fill(server.username)
            page.locator("input[name=password]").fill(server.password)
            page.locator("input[name=password]").press("Enter")
            page.wait_for_url(lambda url: "/login" not in url)
            yield page
        finally:
            browser.close()


def save_screenshot(page: Page, name: str) -> None:
    """Saves the screen in the folder that APPRENTICE_SCREENSHOTS names, if it is set."""
    if SCREENSHOTS:
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / name)


def open_data_manager(page: Page, server: LocalLabelStudio, project: Project) -> None:
    page.goto(f"{server.url}/projects/{project.number}/data")
    expect(page.get_by_text("Apprentice queue")).to_be_visible()


def start_labelling(page: Page) -> None:
    page.get_by_text("Label All Tasks").first.click()


def shown_text(page: Page, project: Project, other_than: str = "") -> str:
    """Waits for a task on the labelling screen, and returns its text."""

    def look() -> str | None:
        page_text = page.locator("body").inner_text()
        on_screen = [text for text in project.truth if text in page_text]
        ready = on_screen and on_screen != [other_than] and submit_button(page).is_enabled()
        return on_screen[0] if ready else None

    task_text: str = until(look, "a task on the screen")
    return task_text


def submit_button(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("^submit", re.IGNORECASE)).first


def choice(page: Page, label: str) -> Locator:
    return page.locator(f"input[name='{label}']")


def drafted(page: Page, project: Project) -> list[str]:
    return [label for label in project.schema.controls[0].labels if choice(page, label).is_checked()]


def answer(page: Page, project: Project, text: str) -> None:
    """Ticks the right label, which in most cases is ticked already, and submits."""
    if drafted(page, project) != [project.truth[text]]:
        choice(page, project.truth[text]).check(force=True)
    submit_button(page).click()

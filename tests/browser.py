"""A real Chromium for tests of pages: Debian's, and strict about what a page complains of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from tests.debian import need

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str:
    """Path of a Chromium; on a machine like the CI's it is installed first."""
    if found := next(filter(None, map(shutil.which, _NAMES)), None):
        return found
    need(["chromium"], ["chromium"])
    return str(shutil.which("chromium"))


@contextmanager
def open_browser() -> Iterator[Browser]:
    """One process for many pages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        yield browser
        browser.close()


def watch(page: Page, allowed: str = "") -> list[str]:
    """What a page complains of, as it comes: errors on the console, exceptions, and breaches of its policy.

    Args:
        page: to listen to.
        allowed: words of complaints that a test expects.
    """
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))

    def note(message: Any) -> None:
        where = str(message.location.get("url"))
        # How Airflow frames every plugin's page, and what its own pages ask its own API.
        is_airflows = "both allow-scripts and allow-same-origin" in message.text or "/ratchet/" not in where
        is_expected = bool(allowed) and allowed in message.text
        if message.type in ("error", "warning") and not is_airflows and not is_expected:
            complaints.append(f"{message.type}: {message.text} ({where})")

    page.on("console", note)
    return complaints


FAULTS = """() => {
  const found = [];
  const say = (what, element) => found.push(`${what}: ${element.outerHTML.slice(0, 120)}`);
  if (document.querySelectorAll("h1").length !== 1) found.push("not one h1");
  if (!document.documentElement.lang) found.push("no language");
  if (!document.querySelector("main")) found.push("no main landmark");
  for (const one of document.querySelectorAll("input:not([type=hidden]), select, textarea"))
    if (!one.labels?.length && !one.getAttribute("aria-label")) say("no label", one);
  for (const one of document.querySelectorAll("button, a[href]"))
    if (!one.textContent.trim() && !one.getAttribute("aria-label") && !one.title && !one.closest(".js-plotly-plot"))
      say("no name", one);
  for (const one of document.querySelectorAll("table"))
    if (!one.caption && !one.getAttribute("aria-label")) say("no caption", one);
  for (const one of document.querySelectorAll("th:not([scope])")) say("no scope", one);
  for (const one of document.querySelectorAll("img:not([alt])")) say("no alternative", one);
  for (const one of document.querySelectorAll("[id]"))
    if (document.querySelectorAll(`#${CSS.escape(one.id)}`).length > 1 && !one.closest("svg")) say("id twice", one);
  if (document.documentElement.scrollWidth > window.innerWidth + 1)
    found.push(`wider than the window: ${document.documentElement.scrollWidth} > ${window.innerWidth}`);
  return found;
}"""
"""What is amiss for people who cannot see the page, or see it on a phone."""

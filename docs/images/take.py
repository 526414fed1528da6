"""Takes the screenshots of README.md from a running stack, after `./ratchet demo`.

Needs a Chromium: `apt-get install -y --no-install-recommends chromium`. Then
`.venv/bin/python docs/images/take.py`, with RATCHET_HOME set if the stack is not in `.ratchet`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
)  # fmt: skip
MODEL = "flight_delay"
LIMIT_KB = 300
REGISTERED = "a[href*='/runs/'][href$='/tasks/judge.register']:has(svg)"
SETTLE_MS = 3000
"""Charts are drawn by and by."""


def take(chromium: str = "/usr/bin/chromium") -> list[Path]:
    """Log in as a person would and photograph the pages."""
    home = Path(os.environ.get("RATCHET_HOME", PROJECT / ".ratchet"))
    port = json.loads((home / "ports.json").read_text())["airflow"]
    name, password = next(iter(json.loads((home / "passwords.json").read_text()).items()))
    url = f"http://127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1400, "height": 860})
        page.goto(f"{url}/")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda found: "login" not in found)
        made = [_grid(page, url), _task(page), _card(page, url), *_models(page, url)]
        browser.close()
    return made


def _grid(page: Page, url: str) -> Path:
    """Airflow's grid of the training DAG, with every task of its newest runs."""
    page.goto(f"{url}/dags/train_{MODEL}")
    page.get_by_test_id("expand-all-button").click()
    page.locator(REGISTERED).last.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    return _shoot(page, "grid.png")


def _task(page: Page) -> Path:
    """The task that registered the newest version, with its links."""
    page.locator(REGISTERED).first.click()
    page.wait_for_url("**/tasks/judge.register**")
    page.get_by_role("link", name="Details").click()
    page.get_by_role("link", name="Model card").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    return _shoot(page, "task.png")


def _card(page: Page, url: str) -> Path:
    """The first version's card."""
    page.goto(f"{url}/ratchet/cards/{MODEL}/1/")
    return _shoot(page, "card.png")


def _models(page: Page, url: str) -> list[Path]:
    """The Models pages in Airflow's frame."""
    page.goto(f"{url}/plugin/models/ratchet/models")
    frame = page.frame_locator("iframe[title=Models]")
    frame.get_by_role("link", name=MODEL, exact=True).wait_for()
    made = [_shoot(page, "models.png")]
    page.goto(f"{url}/plugin/models/ratchet/model?name={MODEL}#metric")
    frame.locator("#metric .js-plotly-plot").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    return [*made, _shoot(page, "model.png")]


def _shoot(page: Page, name: str) -> Path:
    path = HERE / name
    page.screenshot(path=path)
    size = path.stat().st_size / 1000
    if size > LIMIT_KB:
        message = f"{path} has {size:.0f} kB, more than the {LIMIT_KB} a page should load; take a smaller part"
        raise SystemExit(message)
    return path


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in take())

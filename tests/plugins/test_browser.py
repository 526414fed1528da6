"""The Models pages in a real Chromium, on Airflow's real server: no model and a thousand, hostile names, themes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from urllib.parse import quote

import pytest
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from playwright.sync_api import expect
from sqlalchemy import update

from include.ratchet.monitoring import notes, store
from include.ratchet.registry import ledger
from include.ratchet.registry.database import engine_of, upgrade
from include.ratchet.registry.ledger import Entry
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.spec.scaffold import make_model
from tests.browser import FAULTS, open_browser, watch
from tests.include.ratchet.views.filled import BEGIN, DAY, fill, hand_over, incident, look, open_incidents
from tests.plugins.conftest import headers_of, wait_for
from tests.ports import free_port

NAME = "orders"
KEY = ModelKey(NAME)
HOSTILE = "<img src=x onerror=hacked()>\"'</script><b>&amp;🦊 \u202eright" + "x" * 60
WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with open_browser() as found:
        yield found


@pytest.fixture
def visit(server, browser, models):
    """Opens pages as somebody; at the end no page may have complained of anything."""
    opened = []

    def open_page(path, role="admin", size=WIDE, theme="light", allowed=""):
        context = browser.new_context(viewport=size, base_url=str(server.base_url))
        token = headers_of("ada", role)["Authorization"].removeprefix("Bearer ")
        context.add_cookies([{"name": "_token", "value": token, "url": str(server.base_url)}])
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        opened.append((context, watch(page, allowed)))
        page.goto(path)
        page.wait_for_load_state("networkidle")
        return page

    yield open_page
    for context, complaints in opened:
        context.close()
        assert complaints == []


@pytest.fixture
def models(settings, monkeypatch):
    """A folder of models and their database; Airflow has no DAGs of them, and has dropped those of other tests."""
    with create_session() as session:
        session.execute(update(DagModel).values(is_stale=True))
    monkeypatch.setenv("RATCHET_MODELS_DIR", str(settings.home / "models"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    upgrade(settings.database_url)
    yield read_settings(os.environ)
    engine_of(settings.database_url).dispose()


@pytest.fixture
def orders(models):
    """One model, watched for five days, handed over, and in trouble."""
    make_model(models.models_dir, NAME)
    fill(models, [KEY, ModelKey(NAME, "web")], days=5)
    store.write_looks([look(KEY, 4, drift=0.8, fired=True)], models)
    open_incidents(models, incident(KEY))
    hand_over(models, KEY, numbers={"champion": {"version": 3, "rows": 900, "loss": {"rows": 800, "mean": 0.4}}})
    return models


def test_empty_fleet_says_what_to_do_first(visit, models):
    page = visit("/ratchet/models")
    expect(page.get_by_role("heading", name="There is no model yet")).to_be_visible()
    expect(page.get_by_text("./ratchet new NAME")).to_be_visible()
    assert page.evaluate(FAULTS) == []


def test_thousand_models_are_searched_sorted_and_turned_by_links(visit, models):
    names = [f"model_{number:04d}" for number in range(1000)]
    for name in names:
        (models.models_dir / name).mkdir(parents=True)
        (models.models_dir / name / "model.yaml").write_text("")
    fill(models, [ModelKey(name) for name in names], days=1)
    page = visit("/ratchet/models?sort=model")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(page.get_by_text("of 1,000")).to_be_visible()
    expect(rows.first).to_contain_text("model_0000")
    page.get_by_role("link", name="Next", exact=False).last.click()
    expect(rows.first).to_contain_text("model_0050")
    assert "offset=50" in page.url
    page.get_by_role("link", name=re.compile("^Metric now")).click()
    expect(rows.first).to_contain_text("model_0999")
    expect(page.locator("th[aria-sort=ascending]")).to_contain_text("Metric now")
    page.get_by_label("Search by name").fill("0123")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    page.go_back()
    expect(rows).to_have_count(50)
    page.goto("/ratchet/models?search=nothing-like-it")
    expect(page.get_by_text("Nothing matches")).to_be_visible()


def test_model_shows_its_state_and_draws_what_was_seen(visit, orders):
    page = visit(f"/ratchet/model?name={NAME}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(NAME)
    # Airflow has no DAG of it, which is worse than an incident.
    expect(page.get_by_text("broken").first).to_be_visible()
    for words in ("canary 25 %", "Incident 1", "price moved", "version 5: promote", "version 4"):
        expect(page.get_by_text(words).first).to_be_visible()
    page.locator("#metric").scroll_into_view_if_needed()
    expect(page.locator("#metric .js-plotly-plot .scatterlayer .trace").first).to_be_attached()
    page.locator("#drift").scroll_into_view_if_needed()
    expect(page.locator("#drift .js-plotly-plot").first).to_be_visible()
    page.locator("#metric").get_by_text("Show as table").click()
    expect(page.locator("#metric table")).to_contain_text("2026-03-05")
    assert page.evaluate(FAULTS) == []


@pytest.mark.parametrize("path", ["models", f"model?name={NAME}", f"requests?name={NAME}", f"models?model={NAME}"])
@pytest.mark.parametrize(("size", "theme"), [(PHONE, "light"), (PHONE, "dark"), (WIDE, "dark")])
def test_pages_fit_a_phone_and_follow_the_theme(visit, orders, path, size, theme):
    page = visit(f"/ratchet/{path}", size=size, theme=theme)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    assert page.evaluate(FAULTS) == []
    ground, ink = page.evaluate("""() => {
      const light = (color) => { const [r, g, b] = color.match(/[0-9.]+/g).map(Number); return (r + g + b) / 765; };
      const style = getComputedStyle(document.body);
      return [light(style.backgroundColor), light(style.color)];
    }""")
    assert (ground < 0.3 < 0.7 < ink) if theme == "dark" else (ink < 0.3 < 0.7 < ground)


def test_page_changes_with_airflows_theme_inside_its_frame(visit, orders):
    page = visit("/plugin/models/ratchet/models")
    frame = page.frame_locator("iframe[title=Models]")
    expect(frame.get_by_role("link", name=NAME)).to_be_visible()
    expect(frame.locator("html")).to_have_attribute("data-theme", "light")
    page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")


def test_airflows_navigation_leads_to_the_models_and_a_model_has_an_address(visit, orders):
    page = visit("/")
    page.get_by_role("link", name="Models").click()
    frame = page.frame_locator("iframe[title=Models]")
    frame.get_by_role("link", name=NAME).click()
    expect(frame.get_by_role("heading", level=1)).to_contain_text(NAME)
    page.wait_for_url(f"**/plugin/models/ratchet/model?name={NAME}")
    page.reload()
    expect(frame.get_by_role("heading", level=1)).to_contain_text(NAME)


def test_whatever_people_and_data_are_called_is_text(visit, orders):
    key = ModelKey(NAME, HOSTILE)
    fill_hostile(orders, key)
    for path in (f"models?model={NAME}", "models", f"requests?name={NAME}"):
        page = visit(f"/ratchet/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
    page = visit(f"/ratchet/models?model={NAME}")
    page.locator("tbody a.name").filter(has_text="<img src=x").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x onerror=hacked()>")
    for section in ("metric", "drift", "candidates", "timeline"):
        page.locator(f"#{section}").scroll_into_view_if_needed()
    expect(page.locator("#drift .js-plotly-plot").first).to_be_visible()
    expect(page.locator("#timeline").get_by_text("<img src=x onerror=hacked()>").first).to_be_visible()
    page.get_by_role("button", name="Acknowledge").click()
    page.get_by_role("dialog").get_by_role("textbox").fill(HOSTILE)
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("dialog")).to_contain_text("is acknowledged")
    page.reload()
    expect(page.get_by_text("<img src=x onerror=hacked()>").first).to_be_visible()
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img[src=x], b:text-is('&')").count() == 0
    assert notes.read_acknowledged(NAME, orders)[key].reason == HOSTILE


@pytest.mark.parametrize("page", ["model", "requests"])
def test_model_of_a_hostile_name_is_not_found_and_is_text(visit, orders, page):
    found = visit(f"/ratchet/{page}?name={quote(HOSTILE, safe='')}", allowed="status of 404")
    expect(found.get_by_text("<img src=x onerror=hacked()>").first).to_be_visible()
    assert found.locator("img[src=x]").count() == 0
    assert found.evaluate("typeof window.hacked") == "undefined"


def fill_hostile(settings, key):
    fill_one = replace(look(key, 4, drift=0.9, fired=True))
    numbers = {**fill_one.numbers, "drift": {HOSTILE: {"effect": 0.9, "p": 1e-9, "is_drifted": True}}}
    signals = tuple(replace(one, subject=HOSTILE, words=HOSTILE) for one in fill_one.signals)
    store.write_looks([replace(fill_one, numbers=numbers, signals=signals)], settings)
    row = Entry(key, "promotion", "promotion:hostile", HOSTILE, HOSTILE, BEGIN + DAY, 1, BEGIN)
    ledger.move_champion(row, None, settings)
    open_incidents(settings, replace(incident(key), words=HOSTILE, kinds=(HOSTILE,), cause=HOSTILE))


def test_viewer_sees_no_orders_and_is_refused_them(visit, orders):
    page = visit(f"/ratchet/model?name={NAME}", role="viewer", allowed="status of 403")
    expect(page.get_by_text("Incident 1", exact=True)).to_be_visible()
    for name in ("Retrain", "Advance", "Pause", "Revert", "Acknowledge", "Silence"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    status = page.evaluate("""async () => (await fetch("api/v1/models/orders/silence", {
      method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({reason: "be quiet", once: "0123456789", hours: 8}),
    })).status""")
    assert status == 403
    page = visit(f"/ratchet/model?name={NAME}")
    for name in ("Retrain", "Advance", "Pause", "Revert", "Acknowledge", "Silence"):
        expect(page.get_by_role("button", name=name).first).to_be_visible()


def test_silence_is_confirmed_with_a_reason_and_ends(visit, orders):
    page = visit(f"/ratchet/model?name={NAME}")
    page.get_by_role("button", name="Silence").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Silence")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate(FAULTS) == []
    dialog.get_by_role("button", name="Silence").click()
    assert ledger.history(KEY, orders)[-1].kind == "verdict"
    dialog.get_by_label("Reason").fill("the source is being moved")
    dialog.get_by_role("button", name="Silence").click()
    expect(dialog).to_contain_text("silent until", ignore_case=True)
    row = ledger.history(KEY, orders)[-1]
    assert (row.kind, row.actor, row.reason) == ("silence", "ada", "the source is being moved")
    page.reload()
    expect(page.get_by_text("the source is being moved").first).to_be_visible()
    page.get_by_role("button", name="End silence").click()
    dialog.get_by_label("Reason").fill("it is done")
    dialog.get_by_role("button", name="End").click()
    expect(dialog).to_contain_text("not silent any more", ignore_case=True)


def test_first_key_leads_to_the_content(visit, orders):
    page = visit("/ratchet/models")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_broken_spec_is_shown_with_what_to_do(visit, orders):
    path = orders.models_dir / NAME / "model.yaml"
    path.write_text(path.read_text().replace("task: binary", "task: <b>guess</b>"))
    page = visit(f"/ratchet/model?name={NAME}", allowed="status of 422")
    expect(page.get_by_text("task: found '<b>guess</b>'").first).to_be_visible()


def test_everything_is_found_below_a_prefix(browser, orders, tmp_path):
    """As behind a proxy that gives Airflow a part of a host."""
    url = f"http://127.0.0.1:{(port := free_port())}/airflow"
    environ = {**os.environ, "AIRFLOW__API__BASE_URL": url}
    command = [sys.executable, "-m", "uvicorn", "airflow.api_fastapi.main:app", "--port", str(port)]
    log = tmp_path / "server.log"
    with log.open("w") as out, subprocess.Popen(command, env=environ, stdout=out, stderr=out) as process:
        try:
            wait_for(f"{url}/api/v2/version", process, log)
            context = browser.new_context(viewport=WIDE)
            page = context.new_page()
            complaints = watch(page)
            # Who is not logged in comes to Airflow's login, and from there to where they wanted to go.
            page.goto(f"{url}/ratchet/model?name={NAME}")
            expect(page).to_have_url(re.compile("/airflow/auth/login.*next="))
            token = headers_of("ada", "admin")["Authorization"].removeprefix("Bearer ")
            context.add_cookies([{"name": "_token", "value": token, "url": url}])
            page.goto(f"{url}/")
            page.get_by_role("link", name="Models").click()
            frame = page.frame_locator("iframe[title=Models]")
            frame.get_by_role("link", name=NAME, exact=True).click()
            expect(frame.get_by_text("Incident 1", exact=True)).to_be_visible(timeout=20_000)
            frame.locator("#metric").scroll_into_view_if_needed()
            expect(frame.locator("#metric .js-plotly-plot").first).to_be_visible(timeout=20_000)
            frame.get_by_role("button", name="Silence").click()
            frame.get_by_label("Reason").fill("behind a proxy")
            frame.get_by_role("dialog").get_by_role("button", name="Silence").click()
            expect(frame.get_by_role("dialog")).to_contain_text("silent until", ignore_case=True)
            context.close()
            assert complaints == []
        finally:
            process.terminate()

"""Model cards in the browser, out of a real MLflow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def test_card_and_its_plots_are_served(server, login, carded):
    card = server.get(carded, headers=login)
    assert (card.status_code, card.text) == (200, "<h1>card</h1>")
    assert "default-src 'none'" in card.headers["content-security-policy"]
    assert "img-src 'self'" in card.headers["content-security-policy"]
    plot = server.get(f"{carded}plots/slices.png", headers=login)
    assert (plot.status_code, plot.headers["content-type"]) == (200, "image/png")


def test_registry_prints_nothing_where_scripts_read(capfd, carded):
    # The server of the test before, a thread of this process, may still be saying what it was asked.
    said = [line for line in capfd.readouterr().out.splitlines() if "[http.access]" not in line]
    assert said == []


def test_plots_are_found_from_the_address_that_people_copy(server, login, carded):
    answer = server.get(carded.rstrip("/"), headers=login)
    assert answer.status_code == 307
    assert answer.headers["location"].endswith(carded)


def test_card_needs_a_login(server, carded):
    assert server.get(carded).status_code == 401
    assert server.get(f"{carded}plots/slices.png").status_code == 401


@pytest.mark.parametrize("name", ["model.pkl", "..%2fcard.html", "%2e%2e", ".png", "..%2f..%2fslices.png"])
def test_only_plots_are_plots(server, login, carded, name):
    answer = server.get(f"{carded}plots/{name}", headers=login)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_missing_version_is_said(server, login, carded):
    answer = server.get(carded.replace("/1/", "/7/"), headers=login)
    assert answer.status_code == 404
    assert "has no version 7" in answer.json()["detail"]


def test_missing_file_is_said(server, login, carded):
    answer = server.get(f"{carded}plots/other.png", headers=login)
    assert answer.status_code == 404
    assert "has no file plots/other.png" in answer.json()["detail"]


def test_silent_registry_is_said(server, login, settings, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    answer = server.get("/ratchet/cards/orders/1/", headers=login)
    assert answer.status_code == 502
    assert "http://127.0.0.1:9 does not answer" in answer.json()["detail"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    answer = server.get("/ratchet/cards/orders/1/", headers=login)
    assert answer.status_code == 502
    assert "expected a server" in answer.json()["detail"]


def test_loading_the_plugin_loads_nothing_heavy():
    program = (
        "import sys; sys.path.insert(0, 'plugins'); import ratchet_plugin\n"
        "unwanted = {'pandas', 'numpy', 'pyarrow', 'mlflow', 'include.ratchet.orchestration.pages.app'}\n"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_serving_pages_loads_nothing_heavy():
    program = (
        "import sys; import include.ratchet.orchestration.pages.app\n"
        "print(sorted({'pandas', 'numpy', 'pyarrow', 'mlflow', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.splitlines()[-1] == "[]"

"""Pages that were drawn of a model: the newest of each kind, from a folder as from a bucket."""

from __future__ import annotations

import pytest

from include.ratchet.data.blobs import MemoryBlobs, open_blobs
from include.ratchet.settings import read_settings
from include.ratchet.spec import ModelKey
from include.ratchet.views import reports

KEY = ModelKey("orders", "a b")


@pytest.fixture(params=["folder", "memory"])
def blobs(request, tmp_path, monkeypatch):
    """The files of a store, and its settings."""
    settings = read_settings({"RATCHET_HOME": str(tmp_path)})
    found = MemoryBlobs() if request.param == "memory" else open_blobs(settings)
    monkeypatch.setattr(reports, "open_blobs", lambda _: found)
    return found, settings


def test_newest_come_first_and_only_a_models_own(blobs, monkeypatch):
    store, settings = blobs
    for day in ("2026-03-01", "2026-03-03", "2026-03-02"):
        store.put(f"monitoring/{KEY.slug}/reports/{day}/report.html", b"")
    store.put("monitoring/orders/reports/2026-04-01/report.html", b"")
    for run in ("2026-03-01/a", "2026-03-02/b", "2026-03-02/c"):
        store.put(f"validation/orders/orders/{run}/index.html", b"")
    found = reports.read_reports(settings, KEY, ["orders", "weather"])
    assert [one.subject for one in found.drift] == ["2026-03-03", "2026-03-02", "2026-03-01"]
    assert found.drift[0].path == f"drift/{KEY.slug}/2026-03-03/"
    assert [(one.subject, one.path) for one in found.docs] == [
        ("orders 2026-03-02", "reports/orders/orders/2026-03-02/c/index.html")
    ]
    assert found.backtest is None
    monkeypatch.setattr(reports, "NEWEST", 2)
    assert len(reports.read_reports(settings, KEY, []).drift) == 2


def test_nothing_drawn_is_nothing_shown(blobs):
    found = reports.read_reports(blobs[1], KEY, ["orders"])
    assert (found.drift, found.docs, found.backtest) == ((), (), None)

"""The audit of locked packages, against a database of weaknesses on this machine that speaks as OSV does."""

from __future__ import annotations

import json
import threading
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from include.ratchet.cli import packages
from include.ratchet.settings import PROJECT

TODAY = date(2026, 11, 26)
HASH = "0137fb05990d35f1275a587e9aee6d56da821fc83491a0fb838183be43f66d6d"
LOCK = f"jinja2==3.1.6 \\\n    --hash=sha256:{HASH}\n    # via x\n"


@pytest.fixture
def osv():
    """Answers with the weaknesses that a test puts into it, by package."""
    known = {"jinja2": {"2.4.1": ["GHSA-old"]}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = asked["package"]["name"], asked["version"]
            found = [
                {"id": one, "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z", "summary": "bad",
                 "affected": [{"package": {"name": name, "ecosystem": "PyPI"},
                               "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.9"}]}]}]}
                for one in known.get(name, {}).get(version, [])
            ]  # fmt: skip
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield known, f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path):
    for name in packages.LOCKS:
        (tmp_path / name).write_text(LOCK)
    (tmp_path / packages.POLICY).write_text("[]\n")
    return tmp_path


def audit(project, url, **environ):
    return packages.main(project, {"RATCHET_OSV_URL": url, **environ}, TODAY)


def test_locks_without_weakness_pass_and_leave_a_bill_of_materials(project, osv, capsys):
    assert audit(project, osv[1]) == 0
    assert "requirements.txt: audited, 0 known weaknesses" in capsys.readouterr().err
    bill = json.loads((project / "build/requirements.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert [(one["name"], one["version"]) for one in bill["components"]] == [("jinja2", "3.1.6")]


def test_weakness_fails_until_it_is_accepted_and_again_after_its_day(project, osv, capsys):
    osv[0]["jinja2"]["3.1.6"] = ["GHSA-new"]
    assert audit(project, osv[1]) == 1
    told = capsys.readouterr().err
    assert "requirements.txt: jinja2 3.1.6: GHSA-new, fixed in 9.9: lock another version, or accept it" in told
    entry = "- {id: GHSA-new, package: jinja2, reason: it renders nothing of strangers, until: %s}\n"
    (project / packages.POLICY).write_text(entry % "2026-11-26")
    assert audit(project, osv[1]) == 0
    (project / packages.POLICY).write_text(entry % "2026-11-25")
    assert audit(project, osv[1]) == 1
    assert "was accepted until 2026-11-25, it renders nothing of strangers; decide again" in capsys.readouterr().err


def test_database_that_is_away_or_knows_nothing_is_no_clean_bill(project, osv, capsys):
    osv[0]["jinja2"].clear()
    assert audit(project, osv[1]) == 0
    assert "not audited, the database of weaknesses cannot be asked: it knows of none in" in capsys.readouterr().err
    assert audit(project, osv[1], RATCHET_AUDIT="required") == 1
    assert audit(project, "http://127.0.0.1:9/v1/query", RATCHET_AUDIT="required") == 1
    assert "cannot be asked" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["jinja2==3.1.6\n", "jinja2>=3 \\\n    --hash=sha256:aa\n", "a @ git+https://x/y\n"])
def test_package_that_could_be_another_file_tomorrow_fails(project, osv, capsys, line):
    (project / packages.LOCKS[0]).write_text(LOCK + line)
    assert packages.find_unpinned(LOCK + line) == (line.split()[0],)
    assert packages.find_unpinned(LOCK) == ()


def test_own_locks_are_pinned():
    for lock in packages.LOCKS:
        assert packages.find_unpinned((PROJECT / lock).read_text()) == ()

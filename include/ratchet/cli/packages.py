"""The audit of locked packages: known weaknesses against the policy in advisories.yaml, and what images consist of.

Run as `python -m include.ratchet.cli.packages`, which `./ratchet test` does. Where the database of weaknesses cannot be
reached it says so and goes on, unless RATCHET_AUDIT=required.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import yaml

from include.ratchet.settings import PROJECT

LOCKS = ("requirements.txt", "requirements-serving.txt")
"""One for each image."""
POLICY = "advisories.yaml"
KNOWN = "jinja2==2.4.1"
"""Asked first: a database that knows no weakness of it is none."""
_BIN = Path(sys.executable).parent
_UNREACHED = ("ConnectionError", "ServiceError", "Max retries", "timed out", "NameResolution")


@dataclass(frozen=True)
class Weakness:
    """A known weakness of a locked package."""

    id: str
    aliases: tuple[str, ...]
    package: str
    version: str
    fixed_in: tuple[str, ...]


class UnreachedError(Exception):
    """The database of weaknesses does not answer."""


def main(project: Path = PROJECT, environ: Mapping[str, str] = os.environ, today: date | None = None) -> int:
    """Audit the locks and write a bill of materials of each; the exit status."""
    today, faults = today or datetime.now(UTC).date(), 0
    for lock in LOCKS:
        unpinned = find_unpinned((project / lock).read_text())
        faults += _say(f"{lock}: {name} is not pinned to one version with a hash" for name in unpinned)
        _write_bill(project, lock)
        try:
            found = find_weaknesses(project / lock, environ.get("RATCHET_OSV_URL"))
        except UnreachedError as error:
            _say([f"{lock}: not audited, the database of weaknesses cannot be asked: {error}"])
            faults += environ.get("RATCHET_AUDIT") == "required"
            continue
        faults += _say(hold_policy(found, (project / POLICY).read_text(), today, lock))
        _say([f"{lock}: audited, {len(found)} known weaknesses"])
    return 1 if faults else 0


def find_unpinned(lock: str) -> tuple[str, ...]:
    """Packages of a lock that could be another file tomorrow."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", lock))
    return tuple(
        block.split()[0] for block in blocks if block.strip() and not re.match(r"[\w.\-\[\],]+==\S+ .*--hash=sha256:",
                                                                             block, re.DOTALL)
    )  # fmt: skip


def find_weaknesses(lock: Path, osv_url: str | None = None) -> tuple[Weakness, ...]:
    """What pip-audit knows of a lock's packages.

    Args:
        lock: with hashes.
        osv_url: of a database of the OSV kind; absent: PyPI's.

    Raises:
        UnreachedError: it does not answer, or knows nothing: mirrors of PyPI often leave weaknesses out.
    """
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text(f"{KNOWN}\n")
        if not _ask(["--no-deps", "-r", str(known)], osv_url):
            message = f"it knows of none in {KNOWN}, which has several"
            raise UnreachedError(message)
    return _ask(["--require-hashes", "-r", str(lock)], osv_url)


def _ask(what: Sequence[str], osv_url: str | None) -> tuple[Weakness, ...]:
    line = [str(_BIN / "pip-audit"), "--disable-pip", "--progress-spinner", "off", "--timeout", "10", "--format",
            "json", *what, *(["-s", "osv", "--osv-url", osv_url] if osv_url else [])]  # fmt: skip
    done = subprocess.run(line, check=False, capture_output=True, text=True)  # noqa: S603
    if not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        if not any(word in done.stderr for word in _UNREACHED):
            message = f"pip-audit ended with status {done.returncode}: {last}"
            raise RuntimeError(message)
        raise UnreachedError(last[:200])
    return tuple(
        Weakness(one["id"], tuple(one["aliases"]), package["name"], package["version"], tuple(one["fix_versions"]))
        for package in json.loads(done.stdout)["dependencies"]
        for one in package.get("vulns", ())
    )


def hold_policy(found: Sequence[Weakness], policy: str, today: date, lock: str) -> tuple[str, ...]:
    """What the policy does not accept, in words."""
    accepted = {one["id"]: one for one in yaml.safe_load(policy) or ()}
    told = []
    for weakness in found:
        entry = next((accepted[name] for name in (weakness.id, *weakness.aliases) if name in accepted), None)
        what = f"{lock}: {weakness.package} {weakness.version}: {weakness.id}"
        remedy = f"fixed in {', '.join(weakness.fixed_in)}" if weakness.fixed_in else "no version mends it yet"
        if entry is None:
            told.append(f"{what}, {remedy}: lock another version, or accept it in {POLICY} with a reason and a day")
        elif entry["until"] < today:
            told.append(f"{what}, {remedy}: was accepted until {entry['until']}, {entry['reason']}; decide again")
    return tuple(told)


def _write_bill(project: Path, lock: str) -> None:
    """What an image consists of, in CycloneDX, beside what is built."""
    target = project / "build" / f"{Path(lock).stem}.cdx.json"
    target.parent.mkdir(exist_ok=True)
    line = [str(_BIN / "cyclonedx-py"), "requirements", str(project / lock), "--output-reproducible", "--of", "JSON",
            "-o", str(target)]  # fmt: skip
    subprocess.run(line, check=True, capture_output=True)  # noqa: S603


def _say(lines: Iterable[str]) -> int:
    """Tell each line; how many there were."""
    told = list(lines)
    sys.stderr.write("".join(f"{line}\n" for line in told))
    return len(told)


if __name__ == "__main__":
    raise SystemExit(main())

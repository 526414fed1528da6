"""What a team runs, read as a file: nothing without a limit, a check and a version."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from include.ratchet.serving.metrics import Metrics
from include.ratchet.settings import PROJECT

COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())
SERVICES = COMPOSE["services"]
ONCE = {"prepare", "configure"}
METRICS = {sample.name for family in Metrics().registry.collect() for sample in family.samples} | {
    f"{family.name}{suffix}" for family in Metrics().registry.collect() for suffix in ("", "_total", "_bucket", "_sum",
    "_count")
}  # fmt: skip


@pytest.mark.parametrize("name", SERVICES)
def test_every_part_is_confined_and_bounded(name):
    part = SERVICES[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert part["mem_limit"]
    assert part["restart"] == ("on-failure" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in part) == (name not in {*ONCE, "serving"})  # its image has one
    assert all("127.0.0.1" in port for port in part.get("ports", ()))


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_a_variable_with_a_version(name):
    variable, image = re.fullmatch(r"\$\{(\w+_IMAGE):-(.+)\}", SERVICES[name]["image"]).groups()
    assert variable
    assert re.search(r":(v?\d+(\.\d+)+|local)$", image)


def test_every_volume_is_named_and_used():
    used = {volume.split(":")[0] for part in SERVICES.values() for volume in part.get("volumes", ())}
    assert {name for name in used if "/" not in name} == set(COMPOSE["volumes"])
    assert all((PROJECT / name).exists() for name in used if "/" in name)


def test_dashboard_and_alerts_ask_for_metrics_that_there_are():
    board = json.loads((PROJECT / "docker/grafana/dashboards/predictions.json").read_text())
    rules = yaml.safe_load((PROJECT / "docker/prometheus/rules.yml").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    names = {name for expression in asked for name in re.findall(r"\bratchet_\w+", expression)}
    assert len(names) >= 10
    assert names <= METRICS

"""The sizes that containers and pods are given, and what the worker says when one ends badly."""

from __future__ import annotations

import pytest

from include.ratchet.errors import ContainerError, OutOfMemoryError
from include.ratchet.orchestration.containers import _check, in_own_pod
from include.ratchet.spec import get_model
from include.ratchet.spec.scaffold import make_model
from include.ratchet.spec.training import ResourcesSpec


def make(tmp_path, training):
    path = make_model(tmp_path, "orders") / "model.yaml"
    path.write_text(path.read_text().replace("training:\n", f"training:\n{training}"))
    return get_model(tmp_path, "orders").spec


def test_pod_has_the_size_of_the_spec(tmp_path):
    spec = make(tmp_path, "  isolation: kubernetes\n  resources: {cpus: 1.5, memory: 3GB}\n")
    pod = in_own_pod(spec)["executor_config"]["pod_override"]
    (container,) = pod.spec.containers
    assert container.name == "base"
    assert container.resources.requests == container.resources.limits == {"cpu": "1.5", "memory": "3G"}
    assert pod.metadata.labels == {"ratchet/network": "none"}


def test_network_is_asked_for(tmp_path):
    spec = make(tmp_path, "  isolation: kubernetes\n  resources: {network: true}\n")
    assert in_own_pod(spec)["executor_config"]["pod_override"].metadata.labels == {"ratchet/network": "any"}


@pytest.mark.parametrize("isolation", ["none", "docker"])
def test_others_have_no_pod(tmp_path, isolation):
    assert in_own_pod(make(tmp_path, f"  isolation: {isolation}\n")) == {}


def test_pod_is_what_the_executor_of_kubernetes_takes(tmp_path):
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    spec = make(tmp_path, "  isolation: kubernetes\n  resources: {cpus: 2, memory: 512MB}\n")
    config = in_own_pod(spec)["executor_config"]
    pod = PodGenerator.from_obj(config)
    assert pod.spec.containers[0].resources.limits == {"cpu": "2", "memory": "512M"}


@pytest.mark.parametrize(("status", "is_full", "error", "words"), [
    (137, True, OutOfMemoryError, "more than 512MB of memory; expected at most that. Raise training.resources.memory"),
    (137, False, ContainerError, "was killed"),
    (1, False, ContainerError, "ended with status 1"),
])  # fmt: skip
def test_bad_end_is_explained(status, is_full, error, words):
    with pytest.raises(error, match=words):
        _check("fit", status, {"OOMKilled": is_full}, ResourcesSpec(memory="512MB"))

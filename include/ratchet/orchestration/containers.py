"""Trials and fits in a container of their own, where an estimator sees no worker, no secret and no network.

The worker reads from the store, hands over what the step needs, and writes back what it leaves; so the container needs
no credentials. The engine is the one of `DOCKER_HOST`, the image that of `RATCHET_TRAINING_IMAGE`.
"""

from __future__ import annotations

import io
import logging
import os
import tarfile
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from include.ratchet.errors import ContainerError, OutOfMemoryError

if TYPE_CHECKING:
    from include.ratchet.pipeline.requests import TrainingRequest
    from include.ratchet.pipeline.workspace import Workspace
    from include.ratchet.spec import ModelSpec
    from include.ratchet.spec.training import ResourcesSpec

HOME = "/var/lib/ratchet"
IMAGE = "ratchet:local"
LABEL = "ratchet.task"
_USER = 10001
_KILLED = 137
_log = logging.getLogger(__name__)


def run_contained(workspace: Workspace, request: TrainingRequest, step: str) -> Any:
    """Run a step of a training in a container, and return what it returned.

    Raises:
        OutOfMemoryError: it took more memory than the spec gives it.
        ContainerError: it could not be started, or was ended from outside.
        RatchetError: what the step itself raised.
    """
    from docker.errors import APIError, DockerException

    from include.ratchet.stack.contained import pack, unpack

    task = get_current_context()["ti"]
    owner = f"{task.dag_id}/{task.run_id}/{task.task_id}/{task.map_index}"
    resources = workspace.model(request.key.model).spec.training.resources
    try:
        files = _run(step, owner, resources, pack(workspace, request))
    except APIError as error:
        message = f"{step}: the Docker engine refuses: {error.explanation or error}; see RATCHET_TRAINING_IMAGE"
        raise ContainerError(message) from error
    except DockerException as error:
        message = f"{step}: no Docker engine answers at {_address()}: {error}; see DOCKER_HOST"
        raise ContainerError(message) from error
    return unpack(workspace, request, files)


def in_own_pod(spec: ModelSpec) -> dict[str, Any]:
    """What a task's decorator is told where the Kubernetes executor gives it a pod of the spec's size.

    A pod that may reach nothing beyond the cluster has the label `ratchet/network: none`, for a network policy.
    """
    if spec.training.isolation != "kubernetes":
        return {}
    from kubernetes.client import models as k8s

    resources = spec.training.resources
    size = {"cpu": f"{resources.cpus:g}", "memory": resources.memory.removesuffix("B")}
    base = k8s.V1Container(name="base", resources=k8s.V1ResourceRequirements(requests=size, limits=size))
    labels = {"ratchet/network": "any" if resources.network else "none"}
    pod = k8s.V1Pod(metadata=k8s.V1ObjectMeta(labels=labels), spec=k8s.V1PodSpec(containers=[base]))
    return {"executor_config": {"pod_override": pod}}


def _address() -> str:
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


def _run(step: str, owner: str, resources: ResourcesSpec, files: Mapping[str, bytes]) -> dict[str, bytes]:
    from airflow.providers.docker.hooks.docker import DockerHook

    from include.ratchet.stack.contained import environment

    client = DockerHook(docker_conn_id=None, base_url=_address()).api_client
    # Of a try whose worker died.
    for left in client.containers(all=True, filters={"label": f"{LABEL}={owner}"}):
        client.remove_container(left["Id"], v=True, force=True)
    memory = resources.memory.removesuffix("B").lower()
    limits = client.create_host_config(
        network_mode="bridge" if resources.network else "none",
        mem_limit=memory,
        memswap_limit=memory,
        nano_cpus=int(resources.cpus * 1e9),
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        read_only=True,
        tmpfs={"/tmp": ""},  # noqa: S108 - the container's own
        pids_limit=512,
    )
    container = client.create_container(
        os.environ.get("RATCHET_TRAINING_IMAGE", IMAGE),
        ["python", "-m", "include.ratchet.stack.contained", step],
        environment=environment(HOME, os.environ),
        user=str(_USER),
        volumes=[HOME],
        labels={LABEL: owner},
        host_config=limits,
    )["Id"]
    try:
        client.put_archive(container, HOME, _tar(files))
        client.start(container)
        for line in client.logs(container, stream=True, follow=True):
            _log.info("%s", line.decode(errors="replace").rstrip())
        status = client.wait(container)["StatusCode"]
        _check(step, status, client.inspect_container(container)["State"], resources)
        return _fetch(client, container)
    finally:
        client.remove_container(container, v=True, force=True)


def _check(step: str, status: int, state: Mapping[str, Any], resources: ResourcesSpec) -> None:
    if state["OOMKilled"]:
        message = (
            f"{step}: found more than {resources.memory} of memory; expected at most that. Raise "
            "training.resources.memory in model.yaml, or take fewer rows, trees or threads"
        )
        raise OutOfMemoryError(message)
    if status:
        how = "was killed" if status == _KILLED else f"ended with status {status}"
        message = f"{step}: the container {how} before it was done; what it printed is above"
        raise ContainerError(message)


def _tar(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        # Folders too: what unpacks them would make them root's, and the step writes beside what it is given.
        folders = {"/".join(path.split("/")[:depth]) for path in files for depth in range(1, path.count("/") + 1)}
        for name in sorted(folders):
            archive.addfile(_member(name, tarfile.DIRTYPE, 0o755))
        for name, content in files.items():
            member = _member(name, tarfile.REGTYPE, 0o644)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.gid = kind, mode, _USER, _USER
    return member


def _fetch(client: Any, container: str) -> dict[str, bytes]:
    from docker.errors import NotFound

    from include.ratchet.stack.contained import RESULT, RUNS, STUDY

    found: dict[str, bytes] = {}
    for path in (RESULT, STUDY, RUNS):
        with suppress(NotFound):
            stream, _ = client.get_archive(container, f"{HOME}/{path}")
            above = path.rpartition("/")[0]
            with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
                for member in archive.getmembers():
                    if (file := archive.extractfile(member)) is not None:
                        found[f"{above}/{member.name}".lstrip("/")] = file.read()
    return found

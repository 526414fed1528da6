"""A real Docker engine and the images of the Compose file: pulled where that is possible, else made of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from include.ratchet.settings import PROJECT

STANDINS = Path(__file__).parent / "standins"
OFFICIAL = {
    "PYTHON_IMAGE": "python:3.11-slim-bookworm", "POSTGRES_IMAGE": "postgres:18.6", "REDIS_IMAGE": "redis:8.8.0",
    "STORE_IMAGE": "chrislusf/seaweedfs:4.47",
}  # fmt: skip
_PACKAGES = ("ca-certificates", "python3.11", "python3.11-venv", "python3-distutils", "python3-lib2to3")
_CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))


def run(*command: str | Path, timeout_s: float = 900, environ: Mapping[str, str] | None = None) -> str:
    """Run a command; its output, or an error with its last words."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout_s,
                          env={**os.environ, "DOCKER_BUILDKIT": "1", **(environ or {})})  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def docker(*words: str | Path, **options: float) -> str:
    """Debian's own client: another one on the path may want plugins that are not there."""
    found = "/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"
    return run(found, *words, **options)


@contextmanager
def engine() -> Iterator[None]:
    """An engine that runs: the machine's, or one that is installed, started here and ended with everything in it."""
    missing = [package for program, package in (("dockerd", "docker.io"), ("docker-compose", "docker-compose"),
               ("debootstrap", "debootstrap")) if not shutil.which(program)]  # fmt: skip
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        run("apt-get", "-q", "update")
        run("apt-get", "-q", "install", "-y", "--no-install-recommends", *missing)
    if _answers():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="ratchet-docker-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        places = [f"--{option}={folder / option}" for option in ("data-root", "exec-root", "pidfile")]
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(["dockerd", *places], stdout=log, stderr=log) as daemon,
        ):
            try:
                deadline = time.monotonic() + 60
                while not _answers():
                    assert daemon.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < deadline, (folder / "log").read_text()
                    time.sleep(0.5)
                yield
            finally:
                daemon.terminate()
                daemon.wait(60)


def _answers() -> bool:
    done = subprocess.run(["docker", "info"], check=False, capture_output=True, timeout=30)
    return done.returncode == 0 and b"Server Version" in done.stdout


def find_images() -> dict[str, str]:
    """Images by the variables of the Compose file, ours among them."""
    found = {variable: name for variable, name in OFFICIAL.items() if _pulls(name)}
    base = found.setdefault("PYTHON_IMAGE", "standin-python:latest")
    if base == "standin-python:latest":
        _make_base(base)
    for variable, part in (("POSTGRES_IMAGE", "postgres"), ("REDIS_IMAGE", "redis"), ("STORE_IMAGE", "store")):
        if variable not in found:
            found[variable] = f"standin-{part}"
            file = STANDINS / part / "Dockerfile"
            docker("build", "--build-arg", f"BASE={base}", "-t", found[variable], "-f", file, file.parent.parent.parent)
    secret = ("--secret", f"id=ca,src={_CERTIFICATES}") if _CERTIFICATES.exists() else ()
    for variable, name, file in (
        ("RATCHET_IMAGE", "ratchet:test", "Dockerfile"),
        ("SERVING_IMAGE", "ratchet-serving:test", "Dockerfile.serving"),
    ):  # fmt: skip
        docker("build", *secret, "--build-arg", f"PYTHON_IMAGE={base}", "-t", name, "-f", PROJECT / file, PROJECT)
        found[variable] = name
    return found


def _pulls(name: str) -> bool:
    try:
        docker("pull", "--quiet", name, timeout_s=300)
    except (AssertionError, subprocess.TimeoutExpired):
        return False
    return True


def _make_base(name: str) -> None:
    if docker("images", "--quiet", name).strip():
        return
    with tempfile.TemporaryDirectory(prefix="ratchet-base-") as folder:
        run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", "bookworm", folder,
            "http://deb.debian.org/debian")  # fmt: skip
        with subprocess.Popen(["tar", "-C", folder, "-c", "."], stdout=subprocess.PIPE) as packed:
            subprocess.run(["docker", "import", "-", name], check=True, stdin=packed.stdout, capture_output=True)
        assert packed.returncode == 0

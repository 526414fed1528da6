"""A server in front of an object store that answers amiss, so many times for each object, and then hands on.

A process of its own, as delta-rs may wait for it while no other thread of Python runs.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Literal
from urllib.parse import urlsplit

import httpx

from tests.ports import free_port

Fault = Literal["SlowDown", "ConditionalRequestConflict", "NotImplemented", "no answer", "half an answer"]
LEFT_OUT = {"connection", "content-length", "transfer-encoding", "date", "server", "keep-alive"}
STATUS = {"SlowDown": 503, "ConditionalRequestConflict": 409, "NotImplemented": 501}


@contextmanager
def answer_amiss(endpoint: str, fault: Fault, method: str, times: int = 1, part: str = "") -> Iterator[str]:
    """A server's address; requests of a method, to paths that hold a part, meet the fault."""
    port = free_port()
    command = [sys.executable, "-m", "tests.faulty", str(port), endpoint, fault, method, str(times), part]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            while not _answers(url):
                assert process.poll() is None
                time.sleep(0.05)
            yield url
            # Or nothing was tested.
            assert int(httpx.get(f"{url}/-/faults").text) > 0
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/faults", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


class Handler(BaseHTTPRequestHandler):
    """One server's: what it does amiss is said when it starts."""

    protocol_version = "HTTP/1.1"
    met: ClassVar[Counter[str]] = Counter()
    place: ClassVar[str]
    fault: ClassVar[str]
    method: ClassVar[str]
    times: ClassVar[int]
    part: ClassVar[str]

    def answer(self) -> None:
        if self.path == "/-/faults":
            self.say(200, str(self.met.total()).encode())
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.command != self.method or self.part not in self.path or self.met[self.path] >= self.times:
            self.say(*self.ask(body))
            return
        self.met[self.path] += 1
        if self.fault in STATUS:
            words = f"<Error><Code>{self.fault}</Code><Message>wait</Message></Error>"
            self.say(STATUS[self.fault], words.encode())
            return
        status, found = self.ask(body)[:2]
        if self.fault == "half an answer":
            self.say(status, found[: len(found) // 2], {"Content-Length": str(len(found))})
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

    def ask(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        """What the store answers; it is told the host that was signed."""
        connection = http.client.HTTPConnection(self.place, timeout=60)
        connection.request(self.command, self.path, body, dict(self.headers.items()))
        response = connection.getresponse()
        found = response.read()
        headers = {name: value for name, value in response.getheaders() if name.lower() not in LEFT_OUT}
        if self.command == "HEAD":
            headers["Content-Length"] = response.getheader("Content-Length", "0")
        connection.close()
        return response.status, found, headers

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


if __name__ == "__main__":
    Handler.place, Handler.fault = urlsplit(sys.argv[2]).netloc, sys.argv[3]
    Handler.method, Handler.times, Handler.part = sys.argv[4], int(sys.argv[5]), sys.argv[6]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()

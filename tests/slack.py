"""A Slack that runs here: it takes messages over HTTP and refuses what the real one would."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIMITS = {"header": 150, "section": 3000, "context": 3000}


def find_breach(body: dict[str, Any]) -> str | None:
    """Which of Slack's rules a chat.postMessage breaks, if any."""
    if not body.get("channel") or not body.get("text"):
        return "no channel or text"
    if len(body["text"]) > 4000:
        return "text too long"
    blocks = json.loads(body["blocks"]) if isinstance(body["blocks"], str) else body["blocks"]
    if not 1 <= len(blocks) <= 50:
        return f"{len(blocks)} blocks"
    for block in blocks:
        kind = block["type"]
        if kind not in LIMITS:
            return f"unknown block {kind}"
        texts = [block["text"]] if "text" in block else [*block.get("fields", ()), *block.get("elements", ())]
        if not 1 <= len(texts) <= 10:
            return f"{kind} with {len(texts)} texts"
        limit = 2000 if "fields" in block else LIMITS[kind]
        for text in texts:
            if not 1 <= len(text["text"]) <= limit:
                return f"{kind} of {len(text['text'])} characters"
            if text["type"] != ("plain_text" if kind == "header" else "mrkdwn"):
                return f"{kind} of type {text['type']}"
    return None


class SlackServer:
    """Listens on a free port of the loopback until it is closed."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.refused: list[str] = []
        slack = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                breach = find_breach(body)
                if self.headers["Authorization"] != "Bearer xoxb-test":
                    breach = "not_authed"
                if breach is None:
                    slack.messages.append(body)
                else:
                    slack.refused.append(breach)
                answer = json.dumps({"ok": breach is None, "error": breach}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def connection(self) -> str:
        """The Airflow connection that leads here."""
        url = f"http://127.0.0.1:{self._server.server_port}/api/"
        return json.dumps({"conn_type": "slack", "password": "xoxb-test", "extra": {"base_url": url}})

    def about(self, words: str) -> list[dict[str, Any]]:
        """Messages whose text holds some words."""
        return [message for message in self.messages if words in message["text"]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

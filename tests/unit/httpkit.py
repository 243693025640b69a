"""A server on a real socket that answers what a test tells it to, for the commands that ask one."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from click.testing import CliRunner, Result

from irs import cli

#: status, headers, and JSON or text.
Reply = tuple[int, dict[str, str], Any]
DEADLINE = 10.0
ID = "7f3c1a52-9d0e-4b7e-8a53-2f1c6f0f9a11"


def done(name: str, label: str, job_id: str = ID) -> dict[str, Any]:
    """The service's JSON for a labelled image."""
    return {"schema": 1, "id": job_id, "image": f"{name}.jpg", "status": "done", "label": label,
            "result": f"({name}, {label})",
            "predictions": [{"label": label, "index": 0, "confidence": 0.5}]}


def problem(code: str, detail: str, **more: Any) -> dict[str, Any]:
    """An error's JSON."""
    return {"title": "No", "detail": detail, "code": code, **more}


class Server:
    """Its answer to each request is ``answer(method, path, name)``; ``name`` is the image's stem."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str, str], Reply] = lambda method, path, name: (
            200, {}, done(name, "tench"))
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._serve()

            do_POST = do_DELETE = do_GET

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path == "/healthz":  # whether it is there at all
                    return self._send(200, {}, "alive 0\n")
                outer.seen.append((self.command, self.path, dict(self.headers), body))
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                name = re.sub(r"\.\w+$", "", query.get("name", [""])[0])
                return self._send(*outer.answer(self.command, self.path.partition("?")[0], name))

            def _send(self, status: int, headers: dict[str, str], answer: Any) -> None:
                data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True  # they hold connections that clients keep open
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def irs(self, verb: str, *arguments: str) -> Result:
        """The command against this server, and what it said."""
        return CliRunner().invoke(cli.cli, [verb, "--url", self.url, *arguments], prog_name="irs")

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

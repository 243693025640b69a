"""Real processes for tests: web tier and workers, each stopped by its pid."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from irs import settings as settings_module
from irs.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
#: Seconds: two busy cores, a cold import of everything.
START = 60.0


def until(condition: Callable[[], Any], seconds: float = START, what: str = "") -> Any:
    """Poll ``condition`` until it is true, and return its value; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what or condition}")
        time.sleep(0.02)  # between looks, not instead of them


def environment(settings: Settings, **more: str) -> dict[str, str]:
    """What a child process needs to run with ``settings``."""
    names = settings.model_fields_set & set(type(settings).model_fields)
    # Port 9 of loopback refuses at once: the process is not on an instance.
    return {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
        "IRS_METADATA_ENDPOINT": "http://127.0.0.1:9", "IRS_LOG_FORMAT": "json",
        **settings_module.as_env(settings, *sorted(names)), **more,
    }


class Process:
    """One child; its output goes to a file."""

    def __init__(self, command: list[str], env: Mapping[str, str], directory: Path) -> None:
        self.log = directory / f"{Path(command[1]).name}-{uuid.uuid4().hex[:6]}.log"
        with self.log.open("wb") as out:
            self.popen = subprocess.Popen(command, env=dict(env), cwd=directory, stdout=out,
                                          stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log, in JSON; fails the test for a line that is none. The last one may be under way."""
        return [json.loads(line) for line in self.output.split("\n")[:-1]]

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def said(self, event: str) -> bool:
        """Whether the log has ``event``; fails the test when the process has ended."""
        if self.popen.poll() is not None and event not in self.output:
            pytest.fail(f"ended with {self.popen.returncode}:\n{self.output[-4000:]}")
        return event in self.output

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, then SIGKILL; returns the exit code."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(10)
            pytest.fail(f"did not stop at SIGTERM:\n{self.output[-4000:]}")


@dataclass
class Answer:
    """One HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def form(*files: tuple[str, bytes], field: str = "myfile") -> tuple[bytes, str]:
    """A multipart body and its content type."""
    boundary = uuid.uuid4().hex
    body = b"".join(
        b"--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
        b"Content-Type: application/octet-stream\r\n\r\n%s\r\n"
        % (boundary.encode(), field.encode(), name.encode(), data)
        for name, data in files)
    return body + b"--%s--\r\n" % boundary.encode(), f"multipart/form-data; boundary={boundary}"


class Web(Process):
    """A web process on a port of its own."""

    def __init__(self, settings: Settings, directory: Path, *, script: Path = ROOT / "web_entry.py",
                 **env: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        super().__init__([sys.executable, str(script)],
                         environment(settings, IRS_PORT=str(self.port), **env), directory)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: bytes | None = None,
             headers: Mapping[str, str] | None = None, timeout: float = 90) -> Answer:
        request = urllib.request.Request(self.url + path, data=body, method=method,
                                         headers=dict(headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(exc.code, exc.headers, exc.read())

    def upload(self, *files: tuple[str, bytes], field: str = "myfile", **headers: str) -> Answer:
        body, kind = form(*files, field=field)
        return self.call("POST", "/upload", body, {
            "Content-Type": kind, **{k.replace("_", "-"): v for k, v in headers.items()}})

    def ready(self) -> bool:
        if self.popen.poll() is not None:
            pytest.fail(f"web ended with {self.popen.returncode}:\n{self.output[-4000:]}")
        try:
            return self.call("GET", "/readyz", timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False


class Worker(Process):
    """What an app instance runs."""

    def __init__(self, settings: Settings, directory: Path, *, script: Path = ROOT / "worker_entry.py",
                 **env: str) -> None:
        super().__init__([sys.executable, str(script)],
                         environment(settings, **env), directory)

    def ready(self) -> bool:
        return self.said("worker.ready")


class Service:
    """Starts tiers for one set of settings and stops them all in the end."""

    def __init__(self, settings: Settings, directory: Path, stack: ExitStack) -> None:
        self.settings = settings
        self._directory = directory
        self._stack = stack

    def web(self, script: str = "", **env: str) -> Web:
        """A web process that is ready; ``script`` is one of the integration tests' own."""
        web = Web(self.settings, self._directory, script=ROOT / (
            f"tests/integration/{script}" if script else "web_entry.py"), **env)
        self._stack.callback(web.stop)
        until(web.ready, what="web ready")
        return web

    def worker(self, script: str = "", **env: str) -> Worker:
        """A worker that takes tasks; ``script`` is one of the integration tests' own."""
        worker = Worker(self.settings, self._directory, script=ROOT / (
            f"tests/integration/{script}" if script else "worker_entry.py"), **env)
        self._stack.callback(worker.stop)
        until(worker.ready, what="worker ready")
        return worker

"""What `irs classify` needs of the service: one multipart upload a file, several at once.

Private to the command: a client for programs has more to offer and its own module. The
standard library only, so that the command starts fast.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from irs import errors
from irs.domain import keys

#: Uploads at once: enough to fill a batch of the engine's, too few to be a burden.
PARALLEL = 8
#: Seconds for a TCP handshake; one lost packet is 1 s, two are 3 s.
CONNECT_TIMEOUT = 5.0
#: Seconds beyond the wait asked for before a silent service counts as stalled.
STALL = 30.0
#: Bytes read from a file and sent at a time.
_CHUNK = 256 * 1024
#: Seconds between looks at a job where the service gives no Retry-After.
_LOOK_AGAIN = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one file."""

    #: the path as it was given
    file: str
    #: it has a label
    ok: bool
    #: ``(test_0, tench)`` or ``(test_0, error: reason)``
    line: str
    #: the service's JSON for the file; empty where it gave none
    answer: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"file": self.file, "ok": self.ok, "result": self.line, **self.answer}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    def entry(self) -> dict[str, Any]:
        """The first result's object, or the whole answer's, or nothing."""
        try:
            data = json.loads(self.text)
        except ValueError:
            return {}
        results = data.get("results") if isinstance(data, dict) else None
        if isinstance(results, list) and results:
            data = results[0]
        return data if isinstance(data, dict) else {}

    def retry_after(self) -> int:
        """Seconds to wait before the next try."""
        text = self.headers.get("retry-after", "")
        return max(1, int(text)) if text.isdigit() else _LOOK_AGAIN

    def reason(self) -> str:
        """One line for a person out of any answer."""
        entry = self.entry()
        error = entry.get("error")
        told = error.get("message") if isinstance(error, dict) else error
        told = told or entry.get("detail") or entry.get("title")
        first = next(iter(self.text.strip().splitlines()), "")
        return str(told or (first if not entry else "") or http.client.responses.get(self.status))


class Service:
    """The service at ``url``; ``wait`` is the longest wait for one file's label, in seconds.

    ``key`` is the API key to send. Raises `errors.SettingsError` for an address that is none.
    """

    def __init__(self, url: str, *, wait: float, key: str | None = None) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        try:
            self._port = parts.port
        except ValueError as exc:
            raise errors.SettingsError(f"--url {url}: {exc}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise errors.SettingsError(f"--url {url}: not an http:// or https:// address")
        self._connection = (http.client.HTTPSConnection if parts.scheme == "https"
                            else http.client.HTTPConnection)
        self._host = parts.hostname
        self._base = parts.path.rstrip("/")
        self._wait = wait
        self._headers = {"Accept": "application/json"}
        if key:
            self._headers["X-API-Key"] = key
        self.url = f"{parts.scheme}://{parts.netloc}{self._base}"

    def classify(self, files: Sequence[Path],
                 on_done: Callable[[], object] = lambda: None) -> Iterator[Outcome]:
        """One outcome a file, in the order given, as soon as it and those before it are there.

        ``on_done`` is called from another thread whenever any file is done. Raises
        `errors.Unreachable` where nothing answers at the address.
        """
        done: dict[int, Outcome | Exception] = {}
        changed = threading.Condition()
        todo = iter(enumerate(files))
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                with changed:
                    index, path = next(todo, (-1, Path()))
                if index < 0:
                    return
                try:
                    outcome: Outcome | Exception = self._one(path, stop)
                except Exception as exc:
                    outcome = exc  # raised below, in the caller's thread
                on_done()
                with changed:
                    done[index] = outcome
                    changed.notify()

        # Daemons: Ctrl-C must not wait for answers that nobody will read.
        for number in range(min(PARALLEL, len(files))):
            threading.Thread(target=work, name=f"upload-{number}", daemon=True).start()
        try:
            for index in range(len(files)):
                with changed:
                    changed.wait_for(lambda wanted=index: wanted in done)
                    outcome = done.pop(index)
                if isinstance(outcome, Exception):
                    raise outcome
                yield outcome
        finally:
            stop.set()

    # -- one file ------------------------------------------------------------------------
    def _one(self, path: Path, stop: threading.Event) -> Outcome:
        deadline = time.monotonic() + self._wait
        try:
            reply = self._post(path, self._wait)
            while reply.status in (429, 503) and time.monotonic() < deadline and not stop.is_set():
                stop.wait(min(reply.retry_after(), max(0.0, deadline - time.monotonic())))
                reply = self._post(path, max(0.0, deadline - time.monotonic()))
            if reply.status == 202:
                reply = self._follow(reply, deadline, stop)
        except errors.Unreachable:
            raise  # one file's bad luck is an outcome; a service that is not there is not
        except (OSError, http.client.HTTPException) as exc:
            text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            return self._failed(path, text or type(exc).__name__, {})
        entry = reply.entry()
        if entry.get("status") == "done" and "result" in entry:
            return Outcome(file=str(path), ok=True, line=str(entry["result"]), answer=entry)
        if entry.get("status") == "queued":
            where = _location(reply)
            return self._failed(path, f"no label after {self._wait:g} s, the job goes on"
                                      + (f": {self._absolute(where)}" if where else ""), entry)
        return self._failed(path, reply.reason(), entry)

    def _follow(self, reply: _Reply, deadline: float, stop: threading.Event) -> _Reply:
        """Long-poll the job's own address until it is final or the wait is over."""
        location = _location(reply)
        while location and not stop.is_set() and (left := deadline - time.monotonic()) > 0:
            seen = self._call("GET", urlsplit(location).path, wait=left)
            reply = _Reply(status=seen.status, text=seen.text,
                           headers={"location": location, **seen.headers})
            if seen.status not in (200, 202) or seen.entry().get("status") != "queued":
                return reply
            stop.wait(min(seen.retry_after(), max(0.0, deadline - time.monotonic())))
        return reply

    def _post(self, path: Path, wait: float) -> _Reply:
        boundary = secrets.token_hex(16)
        # HTML's rule for names in form data: percent-encode what would end the header.
        name = path.name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = (f'--{boundary}\r\nContent-Disposition: form-data; name="myfile"; '
                f'filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
                ).encode("utf-8", "surrogateescape")
        tail = f"\r\n--{boundary}--\r\n".encode()
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)

            def body() -> Iterator[bytes]:
                yield head
                while chunk := file.read(_CHUNK):
                    yield chunk
                yield tail

            return self._call(
                "POST", f"{self._base}/upload", wait=wait, body=body(), headers={
                    "Content-Type": f"multipart/form-data; boundary={boundary}",
                    "Content-Length": str(len(head) + size + len(tail))})

    def _call(self, method: str, path: str, *, wait: float, body: Iterator[bytes] | None = None,
              headers: Mapping[str, str] | None = None) -> _Reply:
        connection = self._connection(self._host, self._port, timeout=CONNECT_TIMEOUT)
        with contextlib.closing(connection):
            try:
                connection.connect()
            except OSError as exc:
                raise errors.Unreachable(
                    f"nothing answers at {self.url} ({exc.strerror or exc}); "
                    "start the service with `irs up` or name another with --url") from exc
            connection.sock.settimeout(wait + STALL)
            # A service that refuses early closes before it has read everything; its
            # answer is there to be read all the same.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers={
                    **self._headers, "Prefer": f"wait={int(wait)}", **(headers or {})})
            answer = connection.getresponse()
            return _Reply(status=answer.status, text=answer.read().decode("utf-8", "replace"),
                          headers={k.lower(): v for k, v in answer.getheaders()})

    def _failed(self, path: Path, reason: str, answer: Mapping[str, Any]) -> Outcome:
        line = answer.get("result") if answer.get("status") != "queued" else None
        name = keys.in_line(keys.display_name(path.name))
        return Outcome(file=str(path), ok=False, answer=answer,
                       line=str(line or f"({name}, error: {reason})"))

    def _absolute(self, location: str) -> str:
        return location if "//" in location else self.url.removesuffix(self._base) + location


def _location(reply: _Reply) -> str:
    """Where to ask for a job that is still queued; empty where the service does not say."""
    return reply.headers.get("location") or str(reply.entry().get("location", ""))

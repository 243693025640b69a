"""A client of the service: what the benchmarks send, and what comes back."""

from __future__ import annotations

import http.client
import json
import urllib.parse
import uuid
from collections.abc import Mapping
from typing import Any

#: Seconds for one answer; above the longest wait of the service's own, and above what it takes
#: to store a large batch.
PATIENCE = 1200.0


def form(name: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    """One file as a form with the field ``myfile``: the body and its headers."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="myfile"; filename="{name}"\r\n\r\n'
    return (head.encode() + data + f"\r\n--{boundary}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"})


def request(url: str, method: str, path: str, body: bytes | None = None,
            headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body of one request on a connection of its own."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def call(url: str, method: str, path: str, body: bytes | None = None,
         headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of one request."""
    status, answer = request(url, method, path, body, {"Accept": "application/json", **(headers or {})})
    return status, json.loads(answer)


def upload(url: str, name: str, data: bytes) -> tuple[int, Any]:
    """Status and JSON of one upload."""
    body, headers = form(name, data)
    return call(url, "POST", "/upload", body, headers)

"""A client of the service: one image a request, over HTTP and nothing else."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Seconds beyond the wait that was asked for, after which a client gives up.
STALL = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One answer."""

    status: int
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job_id(self) -> str | None:
        """The job's id, where the answer names one."""
        found = self.said.get("id")
        return found if isinstance(found, str) else None

    @property
    def final(self) -> bool:
        """Whether it is the job's result."""
        return self.said.get("status") in ("done", "failed", "cancelled")


class Client:
    """Thread-safe. ``key`` is the API key to send. Methods raise `OSError` where no answer comes."""

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"X-API-Key": key} if key else {})

    def ready(self) -> bool:
        """Whether the web tier says that it is."""
        return self._call("GET", "/readyz", timeout=5.0).status == 200

    def submit(self, name: str, image: bytes, *, wait: float) -> Reply:
        """One image; waits up to ``wait`` seconds for its result."""
        return self._call("POST", f"/v1/images?name={urllib.parse.quote(name)}", image, wait=wait)

    def job(self, job_id: str) -> Reply:
        """A job as it is now."""
        return self._call("GET", f"/v1/images/{job_id}")

    def _call(self, method: str, path: str, body: bytes | None = None, *, wait: float = 0.0,
              timeout: float | None = None) -> Reply:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers={  # noqa: S310 - a URL of the operator's
            **self._headers, "Prefer": f"wait={int(wait)}",
            **({"Content-Type": "application/octet-stream"} if body is not None else {})})
        try:
            with urllib.request.urlopen(request, timeout=timeout or wait + STALL) as answer:  # noqa: S310
                return Reply(status=answer.status, said=_object(answer.read()))
        except urllib.error.HTTPError as exc:
            with exc:
                return Reply(status=exc.code, said=_object(exc.read()))
        except http.client.HTTPException as exc:
            raise ConnectionError(f"no answer: {exc!r}") from exc


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

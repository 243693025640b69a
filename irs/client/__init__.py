"""The client: `Client` waits, `AsyncClient` awaits; both have the same methods.

>>> from irs.client import Client
>>> with Client("http://127.0.0.1:8080") as client:           # doctest: +SKIP
...     print(client.classify("test_0.JPEG").label)
tench

docs/client.md shows the rest. It needs httpx, and nothing of the service's own.
"""

from __future__ import annotations

from irs.client.aio import AsyncClient
from irs.client.errors import (
    ClientError,
    Failed,
    NotFound,
    Overloaded,
    Refused,
    TimedOut,
    Unauthorized,
    Unreachable,
    Unreadable,
)
from irs.client.records import Batch, Job, Member, Outcome
from irs.client.sync import Client
from irs.domain.jobs import Result, Status

__all__ = [
    "AsyncClient", "Batch", "Client", "ClientError", "Failed", "Job", "Member", "NotFound", "Outcome",
    "Overloaded", "Refused", "Result", "Status", "TimedOut", "Unauthorized", "Unreachable",
    "Unreadable",
]

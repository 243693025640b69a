"""Long polls that end when a message arrives.

MiniStack 1.5.33's ReceiveMessage looks every 0.1 s, which an upload would pay twice: once
for its task and once for its result. SQS itself answers at once. `complete` lets each send
wake the polls that wait; a message that becomes visible by time is still found by the look.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import ModuleType, SimpleNamespace
from typing import Any


class _Arrivals:
    """Wakes every sleeper at `set`, which any thread may call."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived: asyncio.Event | None = None

    def set(self) -> None:
        """A message may be visible now."""
        self._inner.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._arrived is not None:
            arrived, self._arrived = self._arrived, asyncio.Event()
            arrived.set()

    async def sleep(self, seconds: float) -> None:
        """Until the next `set`, ``seconds`` at most."""
        if self._arrived is None:
            self._loop, self._arrived = asyncio.get_running_loop(), asyncio.Event()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def complete(sqs: ModuleType) -> None:
    """Let ``ministack.services.sqs`` wake its polls at each send."""
    arrivals = _Arrivals(sqs.esm_wake)
    sqs.esm_wake = arrivals
    sqs.asyncio = SimpleNamespace(**{**vars(asyncio), "sleep": arrivals.sleep})

"""Saves the emulator's state while it runs, not only when it stops in good order.

S3 objects are on disk as soon as they are written. Queues, messages and instances live in
memory and MiniStack saves them at shutdown alone; a power cut would lose every waiting
job. So changes are saved every few seconds, off the event loop where that is safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Save = Callable[[], Awaitable[None]]

#: Seconds of work that a crash may lose.
INTERVAL = 2.0
#: Saving takes at most a twentieth of the time, however long the queue has grown.
SHARE = 20.0

_log = logging.getLogger("irs.autosave")


class Autosave:
    """ASGI middleware that calls ``save`` a little after requests that may change state."""

    def __init__(self, app: App, save: Save, *, interval: float = INTERVAL) -> None:
        self._app = app
        self._save = save
        self._interval = interval
        self._changed = asyncio.Event()
        self._saving = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Pass the request on; remember that it may have changed something."""
        if scope["type"] == "lifespan":
            await self._app(scope, self._before_shutdown(receive), self._after_startup(send))
            return
        await self._app(scope, receive, send)
        # All of SQS and EC2 is POST; a receive changes visibility and counts too. Reads
        # that slip through cost a save of unchanged state, a missed write a lost message.
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            self._changed.set()

    def _after_startup(self, send: Any) -> Any:
        async def watched(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._task = asyncio.create_task(self._run())
            await send(message)
        return watched

    def _before_shutdown(self, receive: Any) -> Any:
        async def watched() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "lifespan.shutdown" and self._task:
                # The application now saves everything itself, to the same files: a save of
                # ours that is being written ends first.
                async with self._saving:
                    self._task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await self._task
            return message
        return watched

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(self._interval)
            self._changed.clear()
            began = time.monotonic()
            try:
                async with self._saving:
                    await self._save()
            except Exception:
                # A full disk must not end the cloud; the next change tries again.
                _log.exception("autosave.failed")
            await asyncio.sleep((time.monotonic() - began) * SHARE)

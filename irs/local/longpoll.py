"""Long polls that end when a message arrives, and when their client has gone.

MiniStack 1.5.33's ReceiveMessage looks every 0.1 s, which an upload would pay twice: once
for its task and once for its result. SQS itself answers at once. `complete` lets each send
wake the polls that wait; a message that becomes visible by time is still found by the look.

Nor does it notice that a client has hung up: a killed worker's poll would take the next
message for nobody, and hide it for a whole visibility timeout. `HangUp` ends such a poll, and
answers those that the emulator's own end cuts short.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from types import ModuleType, SimpleNamespace
from typing import Any

Message = MutableMapping[str, Any]
App = Callable[[Message, Any, Any], Awaitable[None]]

#: How a client says which call it makes (AWS's JSON protocol).
_TARGET = (b"x-amz-target", b"AmazonSQS.ReceiveMessage")
#: SQS's own answer when it has no time, which clients repeat.
_UNAVAILABLE = b'{"__type": "com.amazonaws.sqs#ServiceUnavailable", "message": "The embedded cloud ends."}'


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


class HangUp:
    """ASGI middleware: a ReceiveMessage whose client disconnects is cancelled.

    Whatever the server cancels before it is answered, because it ends, is answered with 503.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Pass the request on; a long poll is watched meanwhile."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        polls = _TARGET in [tuple(header) for header in scope["headers"]]
        begun = False

        async def answer(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await (self._watch if polls else self._app)(scope, receive, answer)
        except asyncio.CancelledError:
            if not begun:
                body = _UNAVAILABLE if polls else b""  # which is of every service's protocol
                await send({"type": "http.response.start", "status": 503, "headers": [
                    (b"content-type", b"application/x-amz-json-1.0"),
                    (b"content-length", str(len(body)).encode())]})
                await send({"type": "http.response.body", "body": body})

    async def _watch(self, scope: Message, receive: Any, send: Any) -> None:
        parts: list[Message] = [await receive()]
        while parts[-1].get("more_body"):
            parts.append(await receive())
        call = asyncio.ensure_future(self._app(scope, _replay(parts, receive), send))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({call, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            call.cancel()  # nothing to a call that is done
            with contextlib.suppress(asyncio.CancelledError):
                await call


def _replay(parts: list[Message], receive: Any) -> Any:
    """A ``receive`` that gives ``parts`` again."""
    waiting = iter(parts)

    async def again() -> Message:
        for part in waiting:
            return part
        return await receive()  # type: ignore[no-any-return]
    return again

"""The proxy itself: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from irs.testing.proxy import calls, rules, wire
from irs.testing.proxy.calls import Call
from irs.testing.proxy.rules import Injection, Rule
from irs.testing.proxy.wire import Headers, Malformed, Reply, Request

HOST = "127.0.0.1"
#: Seconds for the thread to start and to end.
PATIENCE = 10.0
#: Calls that may be stale: EC2 and SQS are eventually consistent here.
_COUNTS = ("Describe", "GetQueueAttributes")
#: Linger on, for 0 seconds: close sends RST.
_RST = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One call that the endpoint answered, as the endpoint saw it."""

    call: Call
    request: Request
    #: what the endpoint said, whatever the client was told
    reply: Reply
    #: `time.monotonic` of the answer
    at: float


class Proxy:
    """Forwards plain HTTP to ``upstream``; a context manager.

    ``heard`` is told of each call that the endpoint answered, in the proxy's thread: what
    really happened, as opposed to what the client was told. ``adds`` are headers that each
    request gets on its way, as from a proxy that ends TLS.
    """

    def __init__(self, upstream: str, *, seed: int = 0, adds: Headers = (),
                 heard: Callable[[Exchange], None] | None = None) -> None:
        parts = urllib.parse.urlsplit(upstream)
        self._upstream = (parts.hostname or HOST, parts.port or 80)
        self._heard = heard
        self._adds = adds
        self._random = random.Random(seed)  # noqa: S311 - which calls fail
        self._lock = threading.Lock()
        self._injections: list[Injection] = []
        self._last: dict[Call, Reply] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._changed: asyncio.Event | None = None
        #: port on loopback; 0 before `start`
        self.port = 0
        #: connections refused on purpose cannot be counted: times that `refuse` began
        self.refusals = 0

    @property
    def endpoint(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://{HOST}:{self.port}"

    # -- life ----------------------------------------------------------------------------
    def start(self) -> None:
        """Return when it listens."""
        self._thread.start()
        self._socket = _bound(0)
        self.port = self._socket.getsockname()[1]
        self._do(self._open())

    def close(self) -> None:
        """Reset every connection and end the thread."""
        self._do(self._shut(last=True))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
        if self._socket is not None:
            self._socket.close()

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    # -- faults --------------------------------------------------------------------------
    def add(self, rule: Rule) -> Injection:
        """Begin a fault."""
        with self._lock:
            injection = Injection(rule, random.Random(self._random.random()),  # noqa: S311
                                  lambda: self._do(self._wake()))
            self._injections.append(injection)
        return injection

    def clear(self) -> None:
        """End every fault, a refusal too."""
        with self._lock:
            injections, self._injections = self._injections, []
        for injection in injections:
            injection.clear()
        self.accept()

    def refuse(self) -> None:
        """Reset what is connected and refuse new connections, the port kept."""
        self.refusals += 1
        self._do(self._shut())
        self._socket = _bound(self.port)  # bound, not listening: refuses, and nobody takes it

    def accept(self) -> None:
        """The opposite of `refuse`."""
        if self._server is None:
            self._do(self._open())

    # -- in the thread -------------------------------------------------------------------
    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _open(self) -> None:
        self._changed = self._changed or asyncio.Event()
        self._server = await asyncio.start_server(self._serve, sock=self._socket,
                                                  limit=wire.MAX_HEAD)

    async def _shut(self, *, last: bool = False) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        clients = dict(self._clients)
        for task, writer in clients.items():
            _reset(writer)
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        if last:
            await self._loop.shutdown_asyncgens()

    async def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        if changed is not None:
            changed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[task] = writer
        try:
            while (request := await wire.read_request(reader, writer)) is not None:
                await self._exchange(request, writer)
        except (OSError, Malformed, asyncio.IncompleteReadError):
            _reset(writer)  # whichever side failed, the other sees a failure
        except asyncio.CancelledError:
            return  # by `_shut`; asyncio's streams log a task that ends as cancelled
        finally:
            del self._clients[task]
            writer.close()

    async def _exchange(self, request: Request, writer: asyncio.StreamWriter) -> None:
        call = calls.recognise(request)
        injection = self._draw(call)
        reply = await (self._forward(request, call) if injection is None
                       else self._injected(injection, request, call, writer))
        writer.write(reply.encode())
        await writer.drain()

    def _draw(self, call: Call) -> Injection | None:
        with self._lock:
            return next((i for i in self._injections if i.draw(call)), None)

    async def _injected(self, injection: Injection, request: Request, call: Call,
                        writer: asyncio.StreamWriter) -> Reply:
        match injection.rule.action:
            case rules.Answer(status, code):
                return calls.refusal(request, call, status, code)
            case rules.Reset():
                raise ConnectionResetError("injected")
            case rules.Hang():
                await self._until_cleared(injection, None)
                raise ConnectionResetError("injected")
            case rules.Delay(seconds):
                await self._until_cleared(injection, seconds)
                return await self._forward(request, call)
            case rules.LoseReply(sent):
                reply = await self._forward(request, call)
                writer.write(reply.encode()[:sent])
                await writer.drain()
                raise ConnectionResetError("injected")
            case rules.Duplicate() if call.operation == "ReceiveMessage":
                return rules.twice(await self._forward(request, call))
            case rules.Duplicate():
                await self._forward(request, call)
                return await self._forward(request, call)
            case rules.Rewrite(change):
                reply = await self._forward(request, call)
                return reply.with_body(change(reply.body))
            case rules.Stale():
                return self._last.get(call) or await self._forward(request, call)
        raise AssertionError(injection.rule.action)

    async def _until_cleared(self, injection: Injection, seconds: float | None) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not injection.cleared and self._changed is not None:
                    await self._changed.wait()

    async def _forward(self, request: Request, call: Call) -> Reply:
        # A connection a call: cheap on loopback, and none that the endpoint has closed.
        reader, writer = await asyncio.open_connection(*self._upstream, limit=wire.MAX_HEAD)
        try:
            writer.write(replace(request, headers=(*request.headers, *self._adds)).encode())
            await writer.drain()
            reply = await wire.read_reply(reader, request.method)
        finally:
            writer.close()
        if call.operation.startswith(_COUNTS):
            self._last[call] = reply
        if self._heard is not None:
            self._heard(Exchange(call=call, request=request, reply=reply, at=time.monotonic()))
        return reply


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((HOST, port))
    return found


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
    writer.transport.abort()

"""HTTP/1.1 messages, whole in memory: enough for AWS's clients and no more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from http import HTTPStatus

#: Bytes: above an upload's 20 MB, with room.
MAX_BODY = 25_000_000
#: Bytes of a request's or an answer's head.
MAX_HEAD = 256 * 1024

Headers = tuple[tuple[str, str], ...]


class Malformed(Exception):
    """What came is not an HTTP message that the proxy can pass on."""


def _find(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _framed(headers: Headers, body: bytes, connection: str) -> Headers:
    """``headers`` with the length of ``body``, however it was framed before."""
    hop = {"content-length", "transfer-encoding", "connection", "keep-alive", "expect"}
    kept = tuple(item for item in headers if item[0].lower() not in hop)
    return (*kept, ("Content-Length", str(len(body))), ("Connection", connection))


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request."""

    method: str
    #: path and query as sent
    target: str
    headers: Headers
    body: bytes = b""

    def header(self, name: str) -> str:
        """The value of a header, by its lower-case name; empty where there is none."""
        return _find(self.headers, name)

    def encode(self) -> bytes:
        """The bytes for an upstream that closes after it."""
        return _encode(f"{self.method} {self.target} HTTP/1.1",
                       _framed(self.headers, self.body, "close"), self.body)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One answer."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    #: the length to declare where there is no body: an answer to HEAD
    declared: str | None = None

    def header(self, name: str) -> str:
        """The value of a header, by its lower-case name; empty where there is none."""
        return _find(self.headers, name)

    def with_body(self, body: bytes) -> Reply:
        """The same answer with another body."""
        return replace(self, body=body)

    def encode(self) -> bytes:
        """The bytes for a client that keeps its connection."""
        try:
            reason = HTTPStatus(self.status).phrase
        except ValueError:
            reason = "-"
        headers = _framed(self.headers, self.body, "keep-alive")
        if self.declared is not None:
            headers = (*(h for h in headers if h[0] != "Content-Length"),
                       ("Content-Length", self.declared))
        if self.status == 204:  # RFC 9110: no length where there is no content
            headers = tuple(h for h in headers if h[0] != "Content-Length")
        return _encode(f"HTTP/1.1 {self.status} {reason}", headers, self.body)


def _encode(first: str, headers: Headers, body: bytes) -> bytes:
    head = "\r\n".join((first, *(f"{name}: {value}" for name, value in headers)))
    return head.encode("latin-1") + b"\r\n\r\n" + body


async def read_request(reader: asyncio.StreamReader,
                       writer: asyncio.StreamWriter) -> Request | None:
    """The next request; None where the client has closed. Raises `Malformed`."""
    head = await _head(reader)
    if head is None:
        return None
    first, headers = head
    try:
        method, target, _ = first.split(" ")
    except ValueError:
        raise Malformed(f"no request line: {first[:80]!r}") from None
    if _find(headers, "expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return Request(method=method, target=target, headers=headers,
                   body=await _body(reader, headers, to_end=False))


async def read_reply(reader: asyncio.StreamReader, method: str) -> Reply:
    """The answer to a request of ``method``; raises `Malformed`."""
    status = 100
    headers: Headers = ()
    while status < 200:  # 100 Continue and its like come before the answer
        head = await _head(reader)
        if head is None:
            raise Malformed("the endpoint closed without an answer")
        first, headers = head
        try:
            status = int(first.split(" ")[1])
        except (IndexError, ValueError):
            raise Malformed(f"no status line: {first[:80]!r}") from None
    if method == "HEAD":
        return Reply(status=status, headers=headers,
                     declared=_find(headers, "content-length") or "0")
    if status in (204, 304):
        return Reply(status=status, headers=headers)
    return Reply(status=status, headers=headers, body=await _body(reader, headers, to_end=True))


async def _head(reader: asyncio.StreamReader) -> tuple[str, Headers] | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as exc:
        if exc.partial.strip():
            raise Malformed("closed within a head") from None
        return None
    except asyncio.LimitOverrunError:
        raise Malformed(f"a head of more than {MAX_HEAD} bytes") from None
    first, *lines = raw.decode("latin-1").strip("\r\n").split("\r\n")
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise Malformed(f"no header: {line[:80]!r}")
        headers.append((name, value.strip()))
    return first, tuple(headers)


async def _body(reader: asyncio.StreamReader, headers: Headers, *, to_end: bool) -> bytes:
    if "chunked" in _find(headers, "transfer-encoding").lower():
        return await _chunked(reader)
    declared = _find(headers, "content-length")
    if declared:
        size = _size(declared, 10)
        return await reader.readexactly(size)
    return await reader.read() if to_end else b""


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        size = _size((await reader.readline()).partition(b";")[0].strip().decode("latin-1"), 16)
        total += size
        if total > MAX_BODY:
            raise Malformed(f"a body of more than {MAX_BODY} bytes")
        if not size:
            while (await reader.readline()).strip():
                pass  # trailers
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


def _size(text: str, base: int) -> int:
    try:
        size = int(text, base)
    except ValueError:
        raise Malformed(f"no length: {text[:40]!r}") from None
    if not 0 <= size <= MAX_BODY:
        raise Malformed(f"a body of {size} bytes; the limit is {MAX_BODY}")
    return size

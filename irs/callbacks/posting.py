"""One POST to an address that a client chose; docs/decisions/0019-callbacks.md says why libcurl.

The name is resolved here, every address judged, and the connection bound to those addresses:
a second look-up, which could answer otherwise, does not happen.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import pycurl

from irs import __version__
from irs.domain import addresses
from irs.domain.addresses import Address, Network, Target
from irs.domain.callbacks import Answer

#: Seconds for the name, for the connection, and for everything after the name.
LOOKUP, CONNECT, WHOLE = 5.0, 5.0, 10.0
#: Bytes of an answer that are read, headers included; its status is all that counts.
MAX_ANSWER = 16_384
#: Look-ups under way in one process: one that hangs keeps its thread, not the attempt's.
LOOKUPS = 32
#: Addresses of a name that are tried.
MAX_ADDRESSES = 8

#: A name's addresses; raises `OSError`.
Resolve = Callable[[str, int], Sequence[str]]


class Lookups:
    """Resolves names within `LOOKUP` seconds, which `getaddrinfo` does not."""

    def __init__(self, ask: Callable[..., Any] = socket.getaddrinfo, *, seconds: float = LOOKUP) -> None:
        self._ask = ask
        self._seconds = seconds
        self._room = threading.BoundedSemaphore(LOOKUPS)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of ``host``, in the system's order; raises `OSError`."""
        end = time.monotonic() + self._seconds
        if not self._room.acquire(timeout=self._seconds):
            raise TimeoutError("the name could not be resolved in time")
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._look, args=(host, port, answers), name="callback-name",
                         daemon=True).start()
        try:
            found = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError("the name could not be resolved in time") from None
        if isinstance(found, Exception):
            raise OSError("the name could not be resolved") from found
        return list(dict.fromkeys(item[4][0] for item in found))

    def _look(self, host: str, port: int, answers: queue.SimpleQueue[Any]) -> None:
        try:
            answers.put(self._ask(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as exc:  # a label may be too long for IDNA
            answers.put(exc)
        finally:
            self._room.release()


class _Transfer:
    """What libcurl asks on the way: a socket for an address, and whether to read on."""

    def __init__(self, target: Target, pinned: Sequence[Address]) -> None:
        self._port = target.port
        self._pinned = pinned
        self._left = MAX_ANSWER
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> _Transfer:
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in self._sockets:  # libcurl has copies of its own
            sock.close()

    def connect(self, purpose: int, to: Any) -> Any:
        """The second lock on the door: no address but those that were judged."""
        if ip_address(to.addr[0]) not in self._pinned or to.addr[1] != self._port:
            return pycurl.SOCKET_BAD
        self._sockets.append(socket.socket(to.family, to.socktype, to.protocol))
        return self._sockets[-1]

    def read(self, data: bytes) -> int:
        """All of ``data``, until it is enough."""
        self._left -= len(data)
        return len(data) if self._left >= 0 else -1


class Post:
    """Posts; thread-safe. ``allowed`` networks need be neither public nor https."""

    def __init__(self, allowed: Sequence[Network] = (), *, resolve: Resolve | None = None,
                 cafile: str | None = None) -> None:
        self._allowed = tuple(allowed)
        self._resolve = resolve or Lookups()
        self._cafile = cafile or ssl.get_default_verify_paths().cafile

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt; whatever goes wrong is its answer."""
        try:
            # Again, as the settings may have changed since the job was accepted.
            target = addresses.parse(url, self._allowed)
            allowed = self._addresses(target)
        except (ValueError, OSError) as exc:
            return Answer(error=f"callback_url {exc}" if isinstance(exc, ValueError) else str(exc))
        return self._send(target, allowed, body, headers)

    def _addresses(self, target: Target) -> list[Address]:
        """Where to connect to; raises `OSError`, and `ValueError` if any of them is not allowed."""
        if target.address is not None:
            return [target.address]  # judged with the URL's form
        found = [ip_address(text) for text in self._resolve(target.host, target.port)]
        for address in found:
            why = addresses.refusal(address, secure=target.secure, allowed=self._allowed)
            if why is not None:
                raise ValueError(why)
        if not found:
            raise OSError("the name has no address")
        return found[:MAX_ADDRESSES]

    def _send(self, target: Target, pinned: list[Address], body: bytes,
              headers: Mapping[str, str]) -> Answer:
        with contextlib.closing(pycurl.Curl()) as curl, _Transfer(target, pinned) as transfer:
            for option, value in self._options(target, pinned, body, headers):
                curl.setopt(option, value)
            curl.setopt(pycurl.OPENSOCKETFUNCTION, transfer.connect)
            curl.setopt(pycurl.WRITEFUNCTION, transfer.read)
            curl.setopt(pycurl.HEADERFUNCTION, transfer.read)
            try:
                curl.perform()
            except pycurl.error as exc:
                status = curl.getinfo(pycurl.RESPONSE_CODE)
                # An answer that has begun has said what it has to say.
                return Answer(status=status) if status >= 200 else Answer(error=_reason(exc))
            return Answer(status=curl.getinfo(pycurl.RESPONSE_CODE))

    def _options(self, target: Target, pinned: list[Address], body: bytes,
                 headers: Mapping[str, str]) -> list[tuple[int, Any]]:
        hosts = ",".join(f"[{a}]" if a.version == 6 else str(a) for a in pinned)
        return [
            (pycurl.URL, target.url), (pycurl.PATH_AS_IS, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTPS if target.secure else pycurl.PROTO_HTTP),
            (pycurl.FOLLOWLOCATION, 0), (pycurl.PROXY, ""), (pycurl.NOPROXY, "*"),
            # A literal address has nothing to resolve, and one of IPv6 does not parse here.
            *([] if target.address else [(pycurl.RESOLVE, [f"{target.host}:{target.port}:{hosts}"])]),
            (pycurl.FORBID_REUSE, 1), (pycurl.NOSIGNAL, 1), (pycurl.TCP_NODELAY, 1),
            (pycurl.CONNECTTIMEOUT_MS, int(CONNECT * 1000)),
            (pycurl.TIMEOUT_MS, int(WHOLE * 1000)),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.POST, 1), (pycurl.POSTFIELDS, body),
            (pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:",
                                 *(f"{name}: {value}" for name, value in headers.items())]),
            (pycurl.USERAGENT, f"irs/{__version__}"),
            *([(pycurl.CAINFO, self._cafile)] if self._cafile else []),
        ]


def _reason(exc: pycurl.error) -> str:
    """One line for the client: what libcurl says, which names the host and no more of the URL."""
    code, message = exc.args
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return f"no answer within {WHOLE:g} s"
    return " ".join(str(message).split()) or f"libcurl error {code}"

"""One build of a cluster at a time: an object in S3 that whoever builds rewrites.

A build that was killed rewrites nothing, and after `STALE` seconds the next one takes its turn
and ends what it left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from irs import errors

#: Seconds between two writes, and without one after which nobody builds.
KEEP, STALE = 15.0, 120.0


class Shelf(Protocol):
    """What it wants of `irs.aws.objects.Objects`."""

    def put(self, key: str, data: bytes, *, create: bool = False, replaces: str | None = None) -> str: ...
    def get_tagged(self, key: str) -> tuple[bytes, str]: ...
    def delete(self, key: str) -> None: ...


class Taken(errors.IRSError):
    """Another build is under way."""


class Turn:
    """One build's; ``wall`` is the time that other machines know, in seconds."""

    def __init__(self, shelf: Shelf, cluster: str, build: str, *,
                 wall: Callable[[], float] = time.time) -> None:
        self._shelf, self._build, self._wall = shelf, build, wall
        self._key = key(cluster)
        self._etag = ""
        self._at = 0.0

    def take(self) -> None:
        """Raises `Taken`, and `errors.CloudError`."""
        found, etag = read(self._shelf, self._key)
        if (other := taken(found, self._wall())) is not None and other != self._build:
            raise Taken(f"build {other} is under way; should its process be gone, try again in "
                        f"{STALE:.0f} s, which ends what it left")
        self._write(etag)

    def keep(self) -> None:
        """Called often: write again when it is due. Raises `Taken` where somebody else has it."""
        if self._wall() - self._at >= KEEP:
            self._write(self._etag)

    def give_back(self) -> None:
        """Nobody builds. Raises `errors.CloudError`."""
        if read(self._shelf, self._key)[0].get("build") == self._build:
            self._shelf.delete(self._key)

    def _write(self, etag: str) -> None:
        self._at = self._wall()
        data = json.dumps({"build": self._build, "at": self._at}).encode()
        try:
            self._etag = (self._shelf.put(self._key, data, replaces=etag) if etag
                          else self._shelf.put(self._key, data, create=True))
        except errors.AlreadyExists:
            found, self._etag = read(self._shelf, self._key)
            if found.get("build") != self._build:  # else the answer to our own write was lost
                raise Taken(f"build {found.get('build', 'of somebody else')} has begun meanwhile") from None


def key(cluster: str) -> str:
    """Where a cluster's turn is."""
    return f"ami/{cluster}/turn.json"


def read(shelf: Shelf, where: str) -> tuple[dict[str, Any], str]:
    """The object and its ETag; empty where there is none."""
    try:
        data, etag = shelf.get_tagged(where)
    except errors.NotFound:
        return {}, ""
    try:
        found = json.loads(data)
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}, etag


def taken(found: dict[str, Any], now: float) -> str | None:
    """The build that is under way; None: nobody's."""
    at = found.get("at")
    fresh = isinstance(at, (int, float)) and now - at < STALE
    return str(found.get("build", "?")) if fresh else None

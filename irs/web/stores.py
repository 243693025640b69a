"""Where the web tier stores and sends: each port given, or made at first use.

A WSGI server may import the application and fork afterwards; threads, sockets and the
private reply queue must be the child's own, so nothing is built before it is needed.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from irs.audit.sending import Send, celery_sender
from irs.audit.sweep import Announce
from irs.aws import presign
from irs.aws.foreign import Foreign
from irs.aws.objects import Objects
from irs.bulk.store import Records
from irs.results.announce import Announcer
from irs.results.store import ResultStore
from irs.settings import Settings
from irs.web.ports import ObjectStore, Results, Sign
from irs.web.sources import Bucket

#: Threads for the files of many-file requests and for looks at the result store; they
#: wait for the network, and a core serves far more of them than an endpoint likes.
POOL = 16

T = TypeVar("T")


class Made(Generic[T]):
    """A property of `Stores` whose method is called at its first use in this process.

    Once, whichever threads come first, and again after a fork or `Stores._forget`; what the
    method raises is raised and nothing is kept. (`functools.cached_property` has no lock, and
    keeps what was the parent's.)
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    def __get__(self, stores: Stores | None, owner: type[Stores] | None = None) -> T | Made[T]:
        if stores is None:  # asked of the class
            return self
        stores._mine()
        with stores._lock:
            if self._name not in stores._made:
                stores._made[self._name] = self._make(stores)
            return stores._made[self._name]


class Stores:
    """Buckets, announcer, the way to the queue, and threads for calls of them. Thread-safe."""

    def __init__(self, settings: Settings, *, objects: ObjectStore | None, results: Results | None,
                 send: Send | None, records: Records | None, announce: Announce | None,
                 sources: Mapping[str, Bucket] | None, sign: Sign | None) -> None:
        self._settings = settings
        self._sources = sources
        #: gives the address for a direct upload
        self.sign: Sign = sign or functools.partial(presign.put_url, settings, settings.input_bucket)
        self._real = not (objects or results or send)
        given = {"objects": objects, "results": results, "send": send, "records": records,
                 "announce": announce}
        self._given = {name: port for name, port in given.items() if port is not None}
        self._lock = threading.RLock()

    def _forget(self) -> None:
        self._pid = os.getpid()
        #: what `Made` has, by the property's name
        self._made: dict[str, Any] = dict(self._given)

    def _mine(self) -> None:
        if self._pid != os.getpid():  # forked since: what was built belongs to the parent
            self._lock = threading.RLock()
            self._forget()

    def source(self, name: str) -> Bucket:
        """A bucket of others."""
        return Foreign(self._settings, name) if self._sources is None else self._sources[name]

    @Made
    def objects(self) -> ObjectStore:
        """The input bucket."""
        return Objects(self._settings, self._settings.input_bucket)

    @Made
    def results(self) -> Results:
        """The results."""
        return ResultStore(self._settings)

    @Made
    def records(self) -> Records:
        """The output bucket, for what it holds beside results."""
        return Objects(self._settings, self._settings.output_bucket)

    @Made
    def announce(self) -> Announce:
        """Tells whoever waits of a result that no worker announces."""
        return Announcer(self._settings).announce

    @Made
    def send(self) -> Send:
        """The way to the input queue."""
        return celery_sender()

    @Made
    def pool(self) -> ThreadPoolExecutor:
        """Threads for calls that a request makes side by side."""
        return ThreadPoolExecutor(POOL, thread_name_prefix="web-cloud")

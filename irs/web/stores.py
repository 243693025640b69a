"""Where the web tier stores and sends: each port given, or made at first use.

A WSGI server may import the application and fork afterwards; threads, sockets and the
private reply queue must be the child's own, so nothing is built before it is needed.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

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


class Stores:
    """Buckets, announcer, the way to the queue, and threads for calls of them. Thread-safe."""

    def __init__(self, settings: Settings, *, objects: ObjectStore | None, results: Results | None,
                 send: Send | None, records: Records | None, announce: Announce | None,
                 sources: Mapping[str, Bucket] | None, sign: Sign | None) -> None:
        self._settings = settings
        self._sources = sources
        #: gives the address for a direct upload
        self.sign: Sign = sign or functools.partial(presign.put_url, settings, settings.input_bucket)
        self._given = (objects, results, send)
        self._beside = (records, announce)
        self._lock = threading.RLock()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._objects, self._results, self._send = self._given
        self._records, self._announce = self._beside
        self._pool: ThreadPoolExecutor | None = None

    def _mine(self) -> None:
        if self._pid != os.getpid():  # forked since: what was built belongs to the parent
            self._lock = threading.RLock()
            self._forget()

    @property
    def _real(self) -> bool:
        return not any(self._given)

    @property
    def objects(self) -> ObjectStore:
        """The input bucket."""
        self._mine()
        with self._lock:
            if self._objects is None:
                self._objects = Objects(self._settings, self._settings.input_bucket)
            return self._objects

    def source(self, name: str) -> Bucket:
        """A bucket of others."""
        return Foreign(self._settings, name) if self._sources is None else self._sources[name]

    @property
    def results(self) -> Results:
        """The results."""
        self._mine()
        with self._lock:
            if self._results is None:
                self._results = ResultStore(self._settings)
            return self._results

    @property
    def records(self) -> Records:
        """The output bucket, for what it holds beside results."""
        self._mine()
        with self._lock:
            if self._records is None:
                self._records = Objects(self._settings, self._settings.output_bucket)
            return self._records

    @property
    def announce(self) -> Announce:
        """Tells whoever waits of a result that no worker announces."""
        self._mine()
        with self._lock:
            if self._announce is None:
                self._announce = Announcer(self._settings).announce
            return self._announce

    @property
    def send(self) -> Send:
        """The way to the input queue."""
        self._mine()
        with self._lock:
            if self._send is None:
                self._send = celery_sender()
            return self._send

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for calls that a request makes side by side."""
        self._mine()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(POOL, thread_name_prefix="web-cloud")
            return self._pool

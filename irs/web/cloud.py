"""The web tier's side of the cloud: what `irs.web.stores` has, and what goes on beside requests."""

from __future__ import annotations

import atexit
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Mapping

from irs import errors, log
from irs.audit.pending import Keeper, Pending
from irs.audit.sending import Send
from irs.audit.sweep import Announce, Sweep
from irs.audit.upkeep import Counts, Upkeep
from irs.aws.objects import Objects
from irs.aws.queues import Queue
from irs.broker import shared
from irs.bulk.store import Records
from irs.callbacks import upkeep as callbacks_upkeep
from irs.callbacks.calling import Payload
from irs.callbacks.upkeep import Callbacks
from irs.domain.callbacks import IMAGE
from irs.domain.jobs import Job, Result
from irs.results.listener import Listener
from irs.results.store import ResultStore
from irs.settings import Settings
from irs.web.ports import Announcements, ObjectStore, Results, Sign
from irs.web.reuse import Reuse
from irs.web.sources import Bucket
from irs.web.stores import Made, Stores

#: Seconds for which a failed start of the listener answers for those who come next:
#: without it each of a hundred waiting requests would try, and stall, in turn.
FAILED_FOR = 1.0

_log = log.get("web")


class Cloud(Stores):
    """The ports, each given or made. Accessors may raise `errors.CloudError`."""

    def __init__(self, settings: Settings, *, objects: ObjectStore | None = None,
                 results: Results | None = None, listener: Announcements | None = None,
                 send: Send | None = None, records: Records | None = None,
                 announce: Announce | None = None, sources: Mapping[str, Bucket] | None = None,
                 sign: Sign | None = None, callbacks: Callbacks | None = None) -> None:
        super().__init__(settings, objects=objects, results=results, send=send, records=records,
                         announce=announce, sources=sources, sign=sign)
        self._given_listener = listener
        self._given_callbacks = callbacks
        #: what else is told of results, built beforehand, and closed before all this
        self.hearers: list[Callable[[Result], None]] = []
        #: what is told of every result that is seen, heard or looked for; maybe more than once
        self.watchers: list[Callable[[Result], None]] = []
        self.warmers: list[Callable[[], object]] = []
        self.closers: list[Callable[[], None]] = []
        #: the JSON of what may be called back about, by its kind and then its id
        self.payloads: dict[str, Payload] = {IMAGE: self._payload}
        self._forget()

    def _forget(self) -> None:
        super()._forget()
        self._listener = self._given_listener
        self._upkeep: Upkeep | None = None
        self._callbacks = self._given_callbacks
        self._started = False
        self._failed: tuple[float, errors.CloudError] | None = None

    @property
    def real(self) -> bool:
        """Whether no port was given."""
        return self._real and self._given_listener is None

    @Made
    def reuse(self) -> Reuse:
        """What was answered of late."""
        settings = self._settings
        index = functools.cache(lambda: Objects(settings, settings.output_bucket))
        return Reuse(settings.reuse, index, self.pool.submit)

    @property
    def listener(self) -> Announcements:
        """The listener, started; raises `errors.CloudError` while its queue cannot be made."""
        self._mine()
        if self._started and self._listener is not None:
            return self._listener
        with self._lock:
            if self._failed is not None and time.monotonic() - self._failed[0] < FAILED_FOR:
                raise self._failed[1]
            if self._listener is None:
                self._listener = listener = Listener(self._settings, told=self._told)
                shared.watch(lambda: listener.waiting)
            if not self._started:
                try:
                    self._listener.start()
                except errors.CloudError as exc:
                    self._failed = (time.monotonic(), exc)
                    raise
                self._started = True
                atexit.register(self.close)
            return self._listener

    @property
    def upkeep(self) -> Upkeep:
        """Looks after accepted jobs. With ports that were given it only keeps their table."""
        self._mine()
        with self._lock:
            if self._upkeep is None:
                after = self._settings.requeue_after
                self._upkeep = Upkeep(Pending(after=math.inf if after is None else after), self._keepers)
                if self.real:
                    self._upkeep.start()
                    if self._settings.callback_secret is not None:
                        _ = self.callbacks  # which looks after what others have promised
            return self._upkeep

    @property
    def callbacks(self) -> Callbacks:
        """Calls back; raises `errors.CallbacksOff` where there is nothing to sign with."""
        self._mine()
        with self._lock:
            if self._callbacks is None:
                self._callbacks = callbacks_upkeep.made(self._settings, self.payloads)
                self._callbacks.start()
            return self._callbacks

    def _payload(self, job_id: str) -> bytes | None:
        result = self.results.read(job_id)
        return result and result.to_json()

    def done(self, result: Result) -> None:
        """A job has a result, wherever that was seen."""
        self.upkeep.pending.done(result.id, result.status)
        self.reuse.heard(result)
        self.ended(result.id)
        for watch in self.watchers:
            watch(result)

    def ended(self, about: str) -> None:
        """What somebody may want to be called back about has come to its end; by its id."""
        if self._callbacks is not None:
            self._callbacks.told(about)

    @property
    def calls(self) -> callbacks_upkeep.Counts:
        """What `callbacks` has to tell, without beginning it."""
        return self._callbacks.counts if self._callbacks is not None else callbacks_upkeep.Counts()

    @property
    def calling(self) -> int:
        """Callbacks under way."""
        return self._callbacks.busy if self._callbacks is not None else 0

    def end_calls(self) -> None:
        """Begin no further callback: the process stops, and others or its next start go on."""
        if self._callbacks is not None:
            self._callbacks.close()

    @property
    def counts(self) -> Counts:
        """What `upkeep` has to tell, without beginning it."""
        return self._upkeep.counts if self._upkeep is not None else Counts()

    def _keepers(self) -> tuple[Queue, Keeper, Sweep]:
        settings = self._settings
        inputs, results = Objects(settings, settings.input_bucket), ResultStore(settings)
        announce = self.announce
        return Queue(settings, settings.input_queue), Keeper(
            inputs=inputs, results=results, announce=announce, send=self._send_again,
        ), Sweep(Queue(settings, settings.dead_letter_queue), results, announce,
                 receives=settings.max_receive_count)

    def _send_again(self, job: Job) -> None:
        self.send(job, reply_to=self.listener.address)

    def _told(self, result: Result) -> None:
        self.done(result)
        for hear in self.hearers:
            hear(result)

    @property
    def heard(self) -> float | None:
        """`time.monotonic` of the listener's last success; None before the first."""
        return (self._listener.last_success or None) if self._started and self._listener else None

    @property
    def told(self) -> float | None:
        """The same of the last result that was announced."""
        return (self._listener.last_result or None) if self._started and self._listener else None

    def warm(self) -> None:
        """Build everything now, in a thread; what fails is tried again by the first request."""
        def build() -> None:
            try:
                _ = self.upkeep, self.objects, self.results, self.send, self.listener
                for build_too in self.warmers:
                    build_too()
            except errors.CloudError as exc:
                _log.warning("web.not_ready", why=str(exc))
        threading.Thread(target=build, name="web-warm", daemon=True).start()

    def close(self) -> None:
        """Drop the reply queue and the threads; for the end of the process."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        for end in self.closers:  # they need the rest to end well
            end()
        with self._lock:
            if self._upkeep is not None:
                self._upkeep.close()
            self.end_calls()
            if self._started and self._listener is not None:
                self._listener.close()
            pool = self._made.get("pool")
        if pool is not None:
            # Not under the lock: those in it may need a port, and with that the lock, to come to an end.
            pool.shutdown(cancel_futures=True)
        with self._lock:
            self._forget()

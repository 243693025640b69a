"""One brain: of several scalers of a cluster, the one that holds the journal acts.

The journal (`irs.domain.journal`) is one S3 object. It is only ever replaced conditionally
(``If-None-Match: *`` for the first, ``If-Match`` after that), so each write proves that
nobody else has written since: a launch is made only after the write that records it, and
a scaler that was stalled, or cut off, finds out at its next write.

No clock is compared with another machine's. A holder trusts its write for `TTL` seconds
less `MARGIN`, counted from before the write; a standby takes over what it has seen
unchanged for `TTL` seconds, counted from after it first saw it, which is later. It need not
wait for a process of its own machine that has ended (`irs.holders`): what that one had under
way is conditional on the journal, or a launch whose token the journal has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from irs import errors, holders, log
from irs.domain.journal import Journal

#: Seconds without a write after which a standby takes over: three missed renewals.
TTL = 15.0
#: Seconds before that at which the holder stops acting: a call under way, clocks' rates.
MARGIN = 3.0
#: Seconds between renewals, and between a standby's looks. TTL + this < 30 s.
RENEW = 4.0

_log = log.get("scaler")


class Lost(errors.IRSError):
    """Another scaler has taken over."""


class Store(Protocol):
    """What the lease wants of `irs.aws.objects.Objects`."""

    def get_tagged(self, key: str) -> tuple[bytes, str]: ...
    def put(self, key: str, data: bytes, *, content_type: str = ..., create: bool = ...,
            replaces: str | None = ...) -> str: ...


class Lease:
    """The journal's holder, or a standby for it. Not thread-safe.

    ``holder`` names this process and no other one, ever. Methods raise `errors.CloudError`.
    """

    def __init__(self, store: Store, key: str, *, holder: str,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._key = key
        self._holder = holder
        self._clock = clock
        self._etag = ""
        self._unchanged_since = 0.0
        self._written = float("-inf")
        #: as last read or written
        self.journal = Journal()

    @property
    def held(self) -> bool:
        """Whether this process may act now."""
        return self._clock() - self._written < TTL - MARGIN

    @property
    def due(self) -> bool:
        """Whether it is time to renew."""
        return self._clock() - self._written >= RENEW

    def take(self) -> bool:
        """Become the holder, if there is none, it has ended, or it has been silent; whether it worked.

        Afterwards `journal` is what the last holder left.
        """
        found = self._read()
        now = self._clock()
        if found is None:
            return self._put(Journal(epoch=1, holder=self._holder), now, create=True)
        journal, etag = found
        if etag != self._etag:
            self._etag, self._unchanged_since = etag, now
        self.journal = journal
        silent = now - self._unchanged_since >= TTL
        if not (silent or journal.holder in ("", self._holder) or holders.is_gone(journal.holder)):
            return False
        taken = self._put(replace(journal, epoch=journal.epoch + 1, holder=self._holder, serial=0), now)
        if taken:
            _log.info("scaler.took_over", epoch=self.journal.epoch, after=journal.holder or "nobody")
        return taken

    def write(self, journal: Journal) -> None:
        """Replace the journal's content, and so renew; raises `Lost`.

        Raises `errors.Retryable` where nobody knows whether it was written: then nothing
        that depends on it may be done, and the next write will see. A lease that ran out in
        a slow round, and that nobody has taken meanwhile, is renewed by it as well.
        """
        began = self._clock()
        if not self._put(replace(journal, epoch=self.journal.epoch, holder=self._holder,
                                 serial=self.journal.serial + 1), began):
            self._written = float("-inf")
            raise Lost(f"{self.journal.holder or 'another scaler'} has taken over")

    def release(self) -> None:
        """Let another one take over at once, if this process is the holder."""
        if self.journal.holder != self._holder:
            return
        self._put(replace(self.journal, holder="", serial=self.journal.serial + 1), self._clock())
        self._written = float("-inf")

    def _put(self, journal: Journal, began: float, *, create: bool = False) -> bool:
        """Whether it is there now: the journal's content, under our name."""
        for _ in range(2):
            try:
                self._etag = self._store.put(
                    self._key, journal.to_json(), content_type="application/json", create=create,
                    replaces=None if create else self._etag)
            except errors.AlreadyExists:
                # Perhaps by our own earlier write, whose answer was lost.
                found = self._read()
                if found is None:
                    return False
                self.journal, self._etag = found
                self._unchanged_since = self._clock()
                if self.journal.holder != self._holder:
                    return False
                journal = replace(journal, epoch=self.journal.epoch, serial=self.journal.serial + 1)
                create = False
            else:
                self.journal, self._written = journal, began
                self._unchanged_since = self._clock()
                return True
        return False

    def _read(self) -> tuple[Journal, str] | None:
        try:
            data, etag = self._store.get_tagged(self._key)
        except errors.NotFound:
            return None
        try:
            return Journal.from_json(data), etag
        except ValueError as exc:
            # Something else wrote there. Its fence is gone with it, but not the fleet:
            # a fresh journal adopts what is described.
            _log.error("scaler.journal_unreadable", key=self._key, why=str(exc))
            return Journal(holder="unreadable"), etag

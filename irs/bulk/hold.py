"""Who feeds a batch: the process that last replaced its record, as long as it goes on doing so.

As with the scaler's journal (`irs.scaler.lease`) no clock is compared with another machine's,
and each write proves that nobody else has written since. A holder that was cut off or stalled
finds out at its next write; what it sent meanwhile is sent twice at most, which costs the
work and changes no result.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import datetime

from irs import errors, holders
from irs.bulk.store import Batches
from irs.domain.bulk import Batch

#: Seconds without a word about a batch after which another process takes it over: five
#: missed writes.
TTL = 15.0
#: Tries of a write that others come before: cancellations, of which there is hardly more than one.
_TRIES = 5


class Lost(errors.IRSError):
    """Another process feeds the batch."""


class Hold:
    """One batch's record in the hands of one process. Methods raise `errors.CloudError`."""

    def __init__(self, batches: Batches, batch: Batch, etag: str, holder: str) -> None:
        self._batches = batches
        self._etag = etag
        self._holder = holder
        #: as last read or written
        self.batch = batch

    @classmethod
    def take(cls, batches: Batches, batch_id: str, holder: str, *, silent: bool) -> Hold | None:
        """Become the holder, if there is none, it is gone, or it has been ``silent`` for `TTL`.

        None where it is another's, has finished, or is not there.
        """
        found = batches.read_tagged(batch_id)
        if found is None or found[0].finished is not None:
            return None
        hold = cls(batches, *found, holder)
        before = hold.batch.holder
        if before not in ("", holder) and not silent and not holders.is_gone(before):
            return None
        try:
            hold._put(replace(hold.batch, holder=holder))
        except errors.AlreadyExists:
            return None
        return hold

    def write(self, batch: Batch) -> Batch:
        """Replace the record, and so keep the hold; returns what is there now.

        That is ``batch``, cancelled if somebody has asked for it meanwhile. Raises `Lost`.
        """
        for _ in range(_TRIES):
            try:
                self._put(batch)
                return self.batch
            except errors.AlreadyExists:
                found = self._batches.read_tagged(batch.id)
                if found is None or found[0].holder != self._holder:
                    raise Lost("another process has taken it over") from None
                # A cancellation, or our own write whose answer was lost.
                self._etag = found[1]
                batch = replace(batch, cancelled=found[0].cancelled or batch.cancelled,
                                serial=found[0].serial)
        raise errors.Throttled("the batch's record is being written by others")

    def release(self, batch: Batch) -> None:
        """Let another process take over at once."""
        with contextlib.suppress(Lost):
            self.write(replace(batch, holder=""))

    def _put(self, batch: Batch) -> None:
        batch = replace(batch, serial=batch.serial + 1)
        self._etag = self._batches.replace(batch, self._etag)
        self.batch = batch


def cancel(batches: Batches, batch_id: str, now: datetime) -> Batch | None:
    """Ask that nothing more of the batch be sent; returns it, None where there is none.

    Its holder learns of it at its next write. Raises `errors.CloudError`.
    """
    for _ in range(_TRIES):
        found = batches.read_tagged(batch_id)
        if found is None:
            return None
        batch, etag = found
        if batch.cancelled is not None or batch.finished is not None:
            return batch
        batch = replace(batch, cancelled=now, serial=batch.serial + 1)
        try:
            batches.replace(batch, etag)
            return batch
        except errors.AlreadyExists:
            continue
    raise errors.Throttled("the batch's record is being written by others")

"""``Idempotency-Key``: a request that is repeated is the first one.

What a request with a key makes has its id written down, under the key, before anything is
stored or sent: written once, so that of several requests one has made the claim and the
others find it, whichever process they reach and whenever within a day. What the claim names
is then done under that id, again where nobody knows whether it was: the same bytes are
stored twice, or a task is sent twice, and neither does harm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from irs import errors, log
from irs.bulk.store import Records
from irs.domain import claims
from irs.domain.claims import Claim
from irs.web.services import Services

HEADER = "Idempotency-Key"
#: Looks at a claim that changes under us, before we say that we cannot tell.
LOOKS = 4

_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_log = log.get("web")


def of(headers: Mapping[str, str], web: Services) -> Keyed | None:
    """The request's key; None where it carries none. Raises `errors.BadRequest` for one that is none."""
    text = headers.get(HEADER)
    if text is None:
        return None
    if not _KEY.fullmatch(text):
        raise errors.BadRequest(f"{HEADER} has 1 to 255 visible ASCII characters, and no space")
    scope = web.admission.client(lambda name: headers.get(name) or "")
    return Keyed(claims.key(scope, text), lambda: web.cloud.records)


def _now() -> datetime:
    return datetime.now(UTC)


class Keyed:
    """One request that carries a key. Not thread-safe.

    ``place`` is the claim's key in the output bucket, which ``records`` gives.
    """

    def __init__(self, place: str, records: Callable[[], Records], *,
                 now: Callable[[], datetime] = _now) -> None:
        self._place = place
        self._records = records
        self._now = now
        self._claim: Claim | None = None
        self._etag = ""
        #: whether the claim is that of an earlier request
        self.repeats = False

    def claim(self, fingerprint: str, new_id: str) -> Claim:
        """The claim that stands: this request's, for ``new_id``, or that of the first one like it.

        Raises `errors.IdempotencyConflict` where the key stands for another request, and
        `errors.CloudError`; then nothing may be stored or sent.
        """
        mine = Claim(id=new_id, fingerprint=fingerprint, at=self._now())
        replaces: str | None = None
        for _ in range(LOOKS):
            if self._wrote(mine, replaces):
                return mine
            found, etag = self._read()
            # Its own id: that of a write whose answer was lost.
            if found is not None and (found.id == new_id or not found.expired(mine.at)):
                self.repeats = found.id != new_id
                return self._standing(found, etag or "", fingerprint)
            replaces = etag  # None: gone since, by the bucket's rule
        raise errors.Unreachable("the claim of an idempotency key changes all the time")

    @property
    def under_way(self) -> bool:
        """Whether all that the claim stands for is known to be under way."""
        return self._claim is not None and self._claim.begun

    def begun(self) -> None:
        """All that the claim stands for is under way: a repeat need not do it again."""
        if self._claim is None or self._claim.begun:
            return
        try:
            self._records().put(self._place, replace(self._claim, begun=True).to_json(),
                                content_type="application/json", replaces=self._etag)
        except errors.CloudError as exc:
            # A repeat does it again, which does no harm.
            _log.info("web.claim_not_marked", id=self._claim.id, why=str(exc))

    def _standing(self, found: Claim, etag: str, fingerprint: str) -> Claim:
        if found.fingerprint != fingerprint:
            raise errors.IdempotencyConflict(
                f"this {HEADER} belongs to another request: repeat that one as it was, or take another key")
        self._claim, self._etag = found, etag
        return found

    def _wrote(self, mine: Claim, replaces: str | None) -> bool:
        try:
            self._etag = self._records().put(
                self._place, mine.to_json(), content_type="application/json",
                create=replaces is None, replaces=replaces)
        except errors.AlreadyExists:
            return False
        self._claim = mine
        return True

    def _read(self) -> tuple[Claim | None, str | None]:
        """What stands there, None where it is no claim, and its ETag, None where nothing does."""
        try:
            data, etag = self._records().get_tagged(self._place)
        except errors.NoBucket:
            raise
        except errors.NotFound:
            return None, None
        try:
            return Claim.from_json(data), etag
        except ValueError as exc:
            _log.warning("web.claim_unreadable", key=self._place, why=str(exc))
            return None, etag

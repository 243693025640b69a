"""What an audit finds: the counts and ids of in = out, and whether they balance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True, slots=True)
class Account:
    """What was found; lists are of job ids."""

    #: those of cancelled jobs included, which are deleted
    uploads: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    #: uploads without a result that are no older than `irs.audit.account.YOUNG` seconds
    young: int = 0
    #: uploads without a result that belong to a batch, whose feeder looks after them
    batched: int = 0
    #: uploads without a result; as many of them as the queue has messages may be in it
    missing: list[str] = field(default_factory=list)
    #: results without an upload
    orphans: list[str] = field(default_factory=list)
    #: objects in a result's place that are none
    invalid: list[str] = field(default_factory=list)
    #: dead letters whose job has no result
    unnamed: list[str] = field(default_factory=list)
    #: the input queue's messages, approximately; delayed ones count as visible
    visible: int = 0
    in_flight: int = 0
    letters: int = 0
    foreign_letters: int = 0
    #: objects that are neither upload nor result, and no record of the service either
    foreign_objects: int = 0

    @property
    def queued(self) -> int:
        """Uploads without a result that may be in the queue."""
        return min(len(self.missing), self.visible + self.in_flight)

    @property
    def lost(self) -> int:
        """Uploads without a result that cannot be in the queue."""
        return len(self.missing) - self.queued

    @property
    def balanced(self) -> bool:
        """Whether in = out."""
        return not (self.lost or self.orphans or self.unnamed)

    @property
    def repairable(self) -> bool:
        """Whether `irs.audit.account.repair` has something to do."""
        return bool(self.lost or self.unnamed)

    def troubles(self) -> dict[str, list[str]]:
        """What to show of an account that is not balanced."""
        lost = f"{self.lost:,} of these are lost" if self.queued else "lost"
        found = {lost: self.missing if self.lost else [], "result without upload": self.orphans,
                 "result object that is none, counted as absent": self.invalid,
                 "dead letter without result": self.unnamed}
        return {what: ids for what, ids in found.items() if ids}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        counts = {name: getattr(self, name) for name in (
            "uploads", "done", "failed", "cancelled", "young", "batched", "queued", "lost", "visible",
            "in_flight", "letters", "foreign_letters", "foreign_objects")}
        lists = {name: getattr(self, name) for name in ("missing", "orphans", "invalid", "unnamed")}
        return {"balanced": self.balanced, **counts, **lists}

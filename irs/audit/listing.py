"""Two buckets, listed in the order of their keys and walked side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from irs import errors
from irs.aws.objects import Entry
from irs.domain import keys

#: A job's id and when its object was written.
Dated = tuple[str, datetime]


class Listed(Protocol):
    """A bucket: `irs.aws.objects.Objects`, as far as it is listed."""

    def entries(self, prefix: str = ...) -> Iterator[Entry]: ...


def uploads(inputs: Listed, foreign: Callable[[], None]) -> Iterator[Dated]:
    """Each job's id and the time of its upload; ``foreign`` is called for any other object."""
    last = ""
    for entry in inputs.entries():
        job_id = _id(entry.key, "/")
        if job_id is None:
            if not entry.key.startswith(keys.UPLOADS):  # of which no job has been made so far
                foreign()
        elif job_id != last:
            yield job_id, entry.modified
            last = job_id


def results(outputs: Listed, foreign: Callable[[], None]) -> Iterator[Dated]:
    """Each job's id and the time of its result; ``foreign`` is called for any other object."""
    for entry in outputs.entries():
        job_id = _id(entry.key, ".json")
        if job_id is not None:
            yield job_id, entry.modified
        elif "/" not in entry.key:  # the scaler's and the workers' records are in folders
            foreign()


def _id(key: str, then: str) -> str | None:
    """The id that a key begins with, if ``then`` follows (for a result: and ends the key)."""
    try:
        job_id = keys.parse_id(key[:36])
    except ValueError:
        return None
    rest = key[36:]
    ours = rest == then if then == ".json" else rest.startswith(then)
    return job_id if ours and job_id == key[:36] else None


def merged(left: Iterator[Dated], right: Iterator[Dated],
            ) -> Iterator[tuple[str, datetime | None, datetime | None]]:
    """Each id of either listing with its two times, in order."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        job_id = min(item[0] for item in (a, b) if item is not None)
        mine, theirs = a if a and a[0] == job_id else None, b if b and b[0] == job_id else None
        yield job_id, mine and mine[1], theirs and theirs[1]
        a = _following(left, mine) if mine else a
        b = _following(right, theirs) if theirs else b


def _following(listing: Iterator[Dated], before: Dated) -> Dated | None:
    item = next(listing, None)
    if item is not None and item[0] <= before[0]:
        raise errors.Permanent(
            f"the bucket is not listed in the order of its keys: {item[0]} after {before[0]}")
    return item

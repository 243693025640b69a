"""What an announcement is made of, and which go together in one call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irs import tracing


@dataclass(frozen=True, slots=True)
class Item:
    """One announcement that waits to be sent."""

    #: counts all of an announcer's
    number: int
    job_id: str
    body: str
    #: the reply queue; None for the public one
    to: str | None
    #: on the announcer's clock
    since: float
    #: until it is sent
    span: tracing.Span = tracing.NOWHERE


def packs(items: Sequence[Item], most: int, weight: int) -> list[list[Item]]:
    """``items`` in order, in packs of so many and of so many bytes at most."""
    made: list[list[Item]] = []
    left = 0
    for item in items:
        size = len(item.body) + 1  # ASCII, and what joins it to the next
        if not made or len(made[-1]) >= most or size > left:
            made.append([])
            left = weight
        made[-1].append(item)
        left -= size
    return made


def ascii_json(data: Mapping[str, Any]) -> str:
    """``data`` as JSON, ASCII alone.

    SQS refuses a whole batch for one character that XML does not have (U+FFFF in a file's
    name, say), and the batch's other results are other people's.
    """
    return json.dumps(data, separators=(",", ":"))

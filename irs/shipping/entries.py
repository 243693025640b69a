"""Entries of the journal, as `journalctl --output=json` writes them. No I/O.

https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from irs.domain import jobs

#: The fields that are asked for; cursor and times come with every entry.
FIELDS = ("MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "_TRANSPORT")
#: Levels by syslog's priority, 0 to 7.
_LEVELS = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line."""

    #: its place in the journal; empty: it is one with what follows it
    cursor: str
    #: when it was written, in milliseconds since 1970
    at: int
    message: str


def parse(line: bytes) -> Entry:
    """The entry. Raises `ValueError` for a line that is none."""
    try:
        raw = json.loads(line)
        cursor, micros = str(raw["__CURSOR"]), int(raw["__REALTIME_TIMESTAMP"])
        message = _text(raw.get("MESSAGE"))
    except (KeyError, TypeError, RecursionError) as exc:
        raise ValueError(f"no entry of a journal: {exc}") from None
    # What our processes write is as they meant it; systemd's words about them become lines like it.
    if message.strip() and raw.get("_TRANSPORT", "stdout") != "stdout":
        message = json.dumps({
            "event": message, "level": _level(raw.get("PRIORITY")),
            "logger": str(raw.get("SYSLOG_IDENTIFIER") or "journal"),
            "timestamp": jobs.stamp(datetime.fromtimestamp(micros / 1e6, UTC))})
    return Entry(cursor=cursor, at=micros // 1000, message=message)


def pieces(entry: Entry, most: int) -> Iterator[Entry]:
    """The entry in parts of ``most`` bytes of UTF-8 at most; the last one has its cursor."""
    data = entry.message.encode()
    if len(data) <= most:
        yield entry
        return
    while data:
        end = min(most, len(data))
        # Not within a character, whose further bytes are 10xxxxxx.
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        part, data = data[:end], data[end:]
        yield replace(entry, cursor="" if data else entry.cursor, message=part.decode())


def _text(value: Any) -> str:
    """A field: text, bytes as numbers where it is no text, or several of them."""
    if value is None:
        return ""
    if isinstance(value, str):
        # Half a pair of surrogates can be written in JSON and not be sent.
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list) and all(isinstance(number, int) for number in value):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    raise TypeError(f"a field is {type(value).__name__}")


def _level(priority: Any) -> str:
    return _LEVELS[int(priority)] if priority in tuple("01234567") else "info"

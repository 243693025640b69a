"""Lines of our logs, of either format, as records that can be merged by time. No I/O."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from irs.domain import jobs

#: Levels, the least first.
LEVELS = ("debug", "info", "warning", "error", "critical")
#: What a line of the pretty format begins with; colours are no part of it.
_PRETTY = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z) \[(\w+) *\] (.*)", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
#: Everything that a terminal might obey rather than show.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: Fields of a JSON line that are told elsewhere.
_TOLD = frozenset({"event", "timestamp", "level", "logger", "exception"})
#: Before the first line with a time.
START = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One event, with the lines that follow it (a traceback)."""

    at: datetime
    #: web, scaler, workers, emulator
    service: str
    #: the file or stream: an instance's id, or the service's name again
    source: str
    level: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return {"at": jobs.stamp(self.at), "service": self.service, "source": self.source,
                "level": self.level, "text": self.text}

    def least(self, level: str) -> bool:
        """Whether it is as grave as ``level`` at least; what names no level counts as info."""
        return rank(self.level) >= rank(level)


def rank(level: str) -> int:
    """Its place among `LEVELS`."""
    return LEVELS.index(level) if level in LEVELS else 1


def stamp(at: datetime) -> str:
    """UTC with milliseconds, without its T and Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}"


class Lines:
    """Makes records of one file's bytes, as they come. Not thread-safe."""

    def __init__(self, service: str, source: str) -> None:
        self._service, self._source = service, source
        self._rest = b""
        self._at, self._level = START, "info"

    def feed(self, data: bytes) -> list[Record]:
        """The records that are whole; a last line without its end is kept."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[Record] = []
        for line in lines:
            text = shown(line.decode("utf-8", "replace"))
            if not text.strip():
                continue
            record = self._read(text)
            if record is None and found:
                found[-1] = replace(found[-1], text=f"{found[-1].text}\n    {text}")
            else:
                found.append(record or self._record(text))
        return found

    def at(self, moment: datetime) -> None:
        """What comes was written then, unless it says otherwise."""
        self._at, self._level = moment, "info"

    def _read(self, text: str) -> Record | None:
        """The record that the line is; None: it belongs to the one before."""
        try:
            if text.startswith("{"):
                return self._json(json.loads(text))
            if (parts := _PRETTY.fullmatch(text)) is not None:
                self._at, self._level = datetime.fromisoformat(parts[1]), parts[2].lower()
                return self._record(parts[3])
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return None

    def _json(self, raw: dict[str, Any]) -> Record:
        at = datetime.fromisoformat(raw["timestamp"])
        if at.tzinfo is None:
            raise ValueError("no time zone")
        self._at, self._level = at, str(raw["level"])
        logger = f" [{raw['logger']}]" if raw.get("logger") else ""
        fields = "".join(f" {name}={_value(value)}" for name, value in raw.items() if name not in _TOLD)
        more = f"\n    {_value(raw['exception'])}" if raw.get("exception") else ""
        return self._record(f"{raw['event']}{logger}{fields}{more}")

    def _record(self, text: str) -> Record:
        return Record(at=self._at, service=self._service, source=self._source, level=self._level, text=text)


def shown(text: str) -> str:
    """``text`` without what a terminal would obey."""
    return _CONTROL.sub("�", _COLOUR.sub("", text.rstrip("\r")))


def _value(value: Any) -> str:
    if isinstance(value, str) and value and not re.search(r"[\s'\"=]", value):
        return value
    return repr(value) if isinstance(value, str) else json.dumps(value)

"""The place in the journal up to which CloudWatch has everything, on disk."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from irs import log
from irs.errors import IRSError

#: As journald writes it: s=…;i=…;b=…;m=…;t=…;x=…. What journalctl calls none would end it again and again.
_SOUND = re.compile(r"s=[0-9a-f]{32};i=[0-9a-f]{1,16};b=[0-9a-f]{32}(;[mtx]=[0-9a-f]{1,16}){3}")

_log = log.get("logs")


class Cursor:
    """One file; a crash leaves the last place or the one before it.

    Raises `OSError` where it cannot be made. Where it can no longer be written (a full disk), that
    is a line in the log: it goes on, and a restart would repeat what came since.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        #: empty: from the beginning
        self.value = self._read()
        self._trouble = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else goes on from here meanwhile. Raises `IRSError` where somebody does."""
        with self._path.with_name(self._path.name + ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise IRSError(f"another process ships from {self._path}; with another --cursor each line "
                               "would be shipped twice") from None
            yield

    def save(self, value: str) -> None:
        """From now on it is this."""
        if value == self.value:
            return
        self.value = value
        try:
            self._write()
            self._trouble = False
        except OSError as exc:
            if not self._trouble:
                _log.warning("logs.cursor_unwritten", why=str(exc))
            self._trouble = True

    def _write(self) -> None:
        part = self._path.with_name(self._path.name + ".part")
        with part.open("w", encoding="ascii") as file:
            file.write(self.value + "\n")
            file.flush()
            # Otherwise a file system may keep the name and not what is in it.
            os.fsync(file.fileno())
        part.replace(self._path)

    def _read(self) -> str:
        try:
            found = self._path.read_text("utf-8", "replace").strip()
        except FileNotFoundError:
            return ""
        if _SOUND.fullmatch(found):
            return found
        # Twice is better than never.
        _log.warning("logs.cursor_unreadable", path=str(self._path))
        return ""

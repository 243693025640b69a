"""The logs of `irs up`, in files that are cut and begun anew while they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from irs.local.machine import CONSOLE

#: Bytes read at once.
_CHUNK = 1 << 20
#: Whose a file of ``logs/`` is; instances' consoles are the workers'.
_SERVICES = {"web": "web", "scaler": "scaler", "emulator": "emulator", "instances": "workers",
             "export": "workers"}


class LogFile:
    """One log, read once from its beginning. A log that is cut has its older part in ``.1``."""

    def __init__(self, path: Path, *, service: str, source: str) -> None:
        self.path = path
        #: web, scaler, workers, emulator
        self.service = service
        #: an instance's id, or the file's name
        self.source = source
        self._file: IO[bytes] | None = None

    def past(self) -> Iterator[bytes]:
        """What there is, a piece at a time."""
        old = _opened(self._old)
        if old is not None:
            with old:
                while data := old.read(_CHUNK):
                    yield data
        self._file = _opened(self.path)
        while data := self._read():
            yield data

    def fresh(self) -> Iterator[bytes]:
        """What has come since."""
        while data := self._read():
            yield data
        if self._file is None:
            self._file = _opened(self.path)
        elif self._replaced():
            self._file.close()
            self._file = _opened(self.path)
        else:
            # Cut: what was written between the last look and the cut is in the older part.
            place = self._file.tell()
            if self.path.stat().st_size >= place:
                return
            old = _opened(self._old)
            if old is not None:
                with old:
                    old.seek(place)
                    while data := old.read(_CHUNK):
                        yield data
            self._file.seek(0)
        while data := self._read():
            yield data

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()

    @property
    def _old(self) -> Path:
        return self.path.with_name(f"{self.path.name}.1")

    def _read(self) -> bytes:
        return self._file.read(_CHUNK) if self._file is not None else b""

    def _replaced(self) -> bool:
        """Whether the name is another file's by now, or nobody's."""
        if self._file is None:
            return False
        mine = os.fstat(self._file.fileno())
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return True
        return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino)


def found(state: Path) -> list[LogFile]:
    """The logs that there are in a state directory."""
    services = [LogFile(path, service=_SERVICES[path.stem], source=path.stem)
                for path in sorted((state / "logs").glob("*.log")) if path.stem in _SERVICES]
    return services + [LogFile(path, service="workers", source=path.parent.name)
                       for path in sorted((state / "instances").glob(f"*/{CONSOLE}"))]


def _opened(path: Path) -> IO[bytes] | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None

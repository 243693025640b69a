"""A journal of systemd's, written by systemd's own program."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from tests.services import program


class Written:
    """What is in it; a context manager, which ends the program."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.lines: list[str] = []
        #: the byte that the boot's id is made of
        self.boot = "ab"
        writer = program("/lib/systemd/systemd-journal-remote", package="systemd-journal-remote")
        self._program = subprocess.Popen(
            [str(writer), "--split-mode=none", f"--output={directory / 'it.journal'}", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def write(self, count: int, *, unit: str = "irs-worker") -> None:
        """So many lines of ours, each with its number, one of them longer than journalctl likes."""
        for number in range(len(self.lines), len(self.lines) + count):
            at = datetime.now(UTC)
            text = "é" * 5000 if number % 50 == 7 else "é"
            self.lines.append(f"job.finished n={number} text={text}")
            self.raw(json.dumps({"event": "job.finished", "level": "info", "n": number, "text": text,
                                 "timestamp": at.isoformat().replace("+00:00", "Z")}), unit=unit, at=at)

    def raw(self, message: str, *, unit: str, at: datetime | None = None,
            transport: str = "stdout") -> None:
        """One entry, in the export format: a unit's own, or by ``journal`` systemd's about it."""
        assert self._program.stdin is not None
        whose = f"_SYSTEMD_UNIT={unit}.service"
        if transport == "journal":
            whose = f"_SYSTEMD_UNIT=init.scope\n_PID=1\n_UID=0\nUNIT={unit}.service"
        moment, data = at or datetime.now(UTC), message.encode()
        self._program.stdin.write(
            f"__REALTIME_TIMESTAMP={int(moment.timestamp() * 1e6)}\n"
            f"__MONOTONIC_TIMESTAMP={time.monotonic_ns() // 1000}\n_BOOT_ID={self.boot * 16}\nPRIORITY=4\n"
            f"SYSLOG_IDENTIFIER=systemd\n_TRANSPORT={transport}\n{whose}\n".encode()
            + b"MESSAGE\n" + struct.pack("<Q", len(data)) + data + b"\n\n")
        self._program.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._program.stdin is not None
        self._program.stdin.close()
        assert self._program.wait(20) == 0

"""journald's log of our units, read by `journalctl`."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from irs import log
from irs.errors import IRSError
from irs.shipping.entries import FIELDS, Entry, parse

#: Whose lines. By name: a pattern would be held against the units that have written by then.
UNITS = ("irs-boot", "irs-web", "irs-worker", "irs-scaler", "irs-logs")
#: Bytes of an entry in JSON; journald takes more from who speaks its own protocol, which ours do not.
MOST = 8 * 2**20
#: Bytes at once.
_CHUNK = 65_536

_log = log.get("logs")


class Journal:
    """Entries after a place, one after the other. A context manager, which ends the program.

    ``after``: a cursor; empty: from the beginning. ``follow``: go on with what comes, else it is
    `ended` with what there is. ``directory``: where the journal is; None: this machine's.
    Raises `IRSError`.
    """

    def __init__(self, *, after: str, follow: bool, directory: Path | None = None) -> None:
        self.ended = False
        self._rest, self._skips = b"", False
        # With --all long lines come whole, and without --no-tail only the last ten.
        command = ["journalctl", "--quiet", "--no-pager", "--all", "--no-tail", "--output=json",
                   f"--output-fields={','.join(FIELDS)}", *(f"--unit={unit}.service" for unit in UNITS)]
        command += [f"--after-cursor={after}"] if after else []
        command += ["--follow"] if follow else []
        command += [f"--directory={directory}"] if directory else []
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        try:
            # In a session of its own Ctrl-C is ours alone; when we are gone it ends by itself.
            self._program = subprocess.Popen(  # noqa: S603 - its words are ours, and a cursor's of its own
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said,
                start_new_session=True)
        except FileNotFoundError:
            self._said.close()
            raise IRSError("no journalctl here: `irs logs ship` reads the journal of systemd") from None
        assert self._program.stdout is not None
        self._out = self._program.stdout.fileno()

    def read(self, seconds: float, also: int) -> list[Entry]:
        """What has come, after as many seconds at most; sooner where ``also`` can be read."""
        if self._out not in select.select([self._out, also], [], [], seconds)[0]:
            return []
        data = os.read(self._out, _CHUNK)
        if not data:
            self._end()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._skips:
            del lines[0]
            self._skips = False
        if len(self._rest) > MOST:
            if not self._skips:
                _log.warning("logs.entry_unreadable", why=f"it has more than {MOST} bytes")
            self._rest, self._skips = b"", True
        return [entry for line in lines if line and (entry := _entry(line))]

    def _end(self) -> None:
        self.ended = True
        if code := self._program.wait():
            self._said.seek(0)
            said = self._said.read(1000).decode("utf-8", "replace").strip().splitlines()
            raise IRSError(f"journalctl ended with {code}: {said[-1] if said else 'it said nothing'}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.wait()
        assert self._program.stdout is not None
        self._program.stdout.close()
        self._said.close()


def _entry(line: bytes) -> Entry | None:
    try:
        return parse(line)
    except ValueError as exc:
        _log.warning("logs.entry_unreadable", why=str(exc))
        return None

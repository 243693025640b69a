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

    ``after``: a cursor; empty: from the beginning, as where the journal has its entry no more.
    ``follow``: go on with what comes, else it is `ended` with what there is. ``directory``: where
    the journal is; None: this machine's. Raises `IRSError`.
    """

    def __init__(self, *, after: str, follow: bool, directory: Path | None = None) -> None:
        self.ended = False
        self._rest, self._skips = b"", False
        # With --all long lines come whole, without --no-tail only the last ten, and from systemd 250
        # on without --merge those of this boot alone, by its id in the /proc of who asks.
        command = ["journalctl", "--quiet", "--no-pager", "--all", "--no-tail", "--merge", "--output=json",
                   f"--output-fields={','.join(FIELDS)}", *(f"--unit={unit}.service" for unit in UNITS)]
        command += [f"--directory={directory}"] if directory else []
        if after and not _has(command, after):
            # Where it begins behind such a place is journalctl's guess: never, where a clock was set back.
            _log.warning("logs.place_gone", place=after)
            after = ""
        # Not --after-cursor: systemd 252 leaves out this boot's first line where that is of another.
        command += [f"--cursor={after}"] if after else []
        #: the entry that is not to be told again
        self._after = after
        self._program = _Program([*command, "--follow"] if follow else command)

    def read(self, seconds: float, also: int) -> list[Entry]:
        """What has come, after as many seconds at most; sooner where ``also`` can be read."""
        out = self._program.out.fileno()
        if out not in select.select([out, also], [], [], seconds)[0]:
            return []
        data = os.read(out, _CHUNK)
        if not data:
            self.ended = True
            self._program.check()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if lines and self._skips:
            del lines[0]
            self._skips = False
        if len(self._rest) > MOST:
            if not self._skips:
                _log.warning("logs.entry_unreadable", why=f"it has more than {MOST} bytes")
            self._rest, self._skips = b"", True
        found = [entry for line in lines if line and (entry := _entry(line))]
        if found and self._after:
            if found[0].cursor == self._after:
                del found[0]
            self._after = ""
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.close()


class _Program:
    """`journalctl`, and what it says when it fails."""

    def __init__(self, command: list[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        try:
            # In a session of its own Ctrl-C is ours alone; when we are gone it ends by itself.
            self._process = subprocess.Popen(  # noqa: S603 - its words are ours, and a cursor's of its own
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said,
                start_new_session=True)
        except FileNotFoundError:
            self._said.close()
            raise IRSError("no journalctl here: `irs logs ship` reads the journal of systemd") from None
        assert self._process.stdout is not None
        self.out = self._process.stdout

    def check(self) -> None:
        """Wait for its end. Raises `IRSError` where it failed."""
        if code := self._process.wait():
            self._said.seek(0)
            said = self._said.read(1000).decode("utf-8", "replace").strip().splitlines()
            raise IRSError(f"journalctl ended with {code}: {said[-1] if said else 'it said nothing'}")

    def close(self) -> None:
        """Whether it has ended or not."""
        self._process.kill()
        self._process.wait()
        self.out.close()
        self._said.close()


def _has(command: list[str], cursor: str) -> bool:
    """Whether the journal has that entry; a journalctl that fails will say so when it is to be read."""
    program = _Program([*command, f"--cursor={cursor}"])
    try:
        return parse(program.out.readline(MOST)).cursor == cursor
    except ValueError:
        return False
    finally:
        program.close()



def _entry(line: bytes) -> Entry | None:
    try:
        return parse(line)
    except ValueError as exc:
        _log.warning("logs.entry_unreadable", why=str(exc))
        return None

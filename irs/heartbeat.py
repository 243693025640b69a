"""Proof of life for whoever restarts what hangs: a small file that a process rewrites while it goes on.

`irs health` reads it. Nothing else depends on it: a process that cannot write it works on,
and says so in its log.
"""

from __future__ import annotations

import time
from pathlib import Path

from irs import log
from irs.errors import SettingsError

#: Seconds without a beat after which a process hangs. Beats are a few seconds apart; between
#: two there may be calls to a cloud that stalls, each until its timeout.
STALE = 90.0

_log = log.get("heartbeat")


class Heartbeat:
    """One process's; ``path`` None: nobody looks."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._trouble = False

    def beat(self) -> None:
        """The process goes on."""
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        try:
            # The clock that no NTP server sets; it is one for all containers of a machine.
            part.write_text(f"{time.monotonic():.1f}\n", encoding="ascii")
            part.replace(self._path)
            self._trouble = False
        except OSError as exc:
            (_log.debug if self._trouble else _log.warning)("heartbeat.failed", why=str(exc))
            self._trouble = True


def age(path: Path) -> float | None:
    """Seconds since the last beat; None: there was none since the machine started.

    Raises `SettingsError` for a file that is none of ours.
    """
    try:
        at = float(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise SettingsError(f"IRS_HEARTBEAT_FILE: {path} is no heartbeat: {exc}") from None
    # From before a restart of the machine, where the clock begins anew.
    return max(0.0, time.monotonic() - at) if at <= time.monotonic() + 1 else None

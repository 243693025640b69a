"""Proof of life for whoever restarts what hangs: a file that is rewritten, and systemd's watchdog.

`irs health` reads the file; systemd, where it has started the process and wants to know
(``Type=notify``), is told by a datagram. Nothing else depends on either: a process that cannot
tell works on, and says so in its log.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import socket
import time
from pathlib import Path

from irs import log, settings
from irs.errors import SettingsError

#: Seconds without a beat after which a process hangs. Beats are a few seconds apart; between
#: two there may be calls to a cloud that stalls, each until its timeout.
STALE = 90.0
#: systemd's variable: a path, or a name of Linux's own after an @.
SOCKET = "NOTIFY_SOCKET"

_log = log.get("heartbeat")


class Heartbeat:
    """One process's; ``path`` None: there is no file. Safe in several threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._socket = settings.environment(SOCKET).get(SOCKET, "")
        self._trouble = False

    def ready(self) -> None:
        """The process takes work from now on."""
        self._tell("READY=1")

    def beat(self, *, heard: bool = True) -> None:
        """The process goes on. ``heard`` False: it does, and what it lives for does not answer it.

        That is in the file, whose readers ask for the process alone, and feeds no watchdog.
        """
        self._write()
        if heard:
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """It takes no more; what it has may last for as long as its unit gives it."""
        self._tell("STOPPING=1")

    def _write(self) -> None:
        if self._path is None:
            return
        part = self._path.with_name(self._path.name + ".part")
        try:
            # The clock that no NTP server sets; it is one for all containers of a machine.
            part.write_text(f"{time.monotonic():.1f}\n", encoding="ascii")
            part.replace(self._path)
            self._trouble = False
        except OSError as exc:
            self._failed(exc)

    def _tell(self, state: str) -> None:
        if not self._socket:
            return
        address = "\0" + self._socket[1:] if self._socket.startswith("@") else self._socket
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                # It is the kernel's to keep; a systemd that reads nothing must hold nobody up.
                sock.setblocking(False)
                sock.sendto(state.encode("ascii"), address)
        except OSError as exc:
            self._failed(exc)

    def _failed(self, exc: OSError) -> None:
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

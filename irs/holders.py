"""Who holds what only one process may: a name that tells others of its machine when it has ended.

Leases in S3 (`irs.scaler.lease`, `irs.bulk.hold`) run out some seconds after their holder's
last word. Where the holder was a process of this very machine, since its boot, and the kernel
has none of that number, it has provably ended and nobody need wait.
"""

from __future__ import annotations

import functools
import os
import secrets
import socket
from pathlib import Path


@functools.cache
def place() -> str:
    """Where this process's number means this process: the machine since its boot, the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux
        return secrets.token_hex(8)


def name() -> str:
    """What this process calls itself; no other one has the name, ever. Its host is there for people."""
    return f"{place()}/{os.getpid()}/{socket.gethostname()}-{secrets.token_hex(4)}"


def is_gone(holder: str) -> bool:
    """Whether the holder was a process of this place that has ended; False where nobody can tell."""
    where, _, rest = holder.partition("/")
    number = rest.partition("/")[0]
    if where != place() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False

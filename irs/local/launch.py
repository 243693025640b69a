"""Run a command that ends when its starter dies: ``launch.py PARENT_PID COMMAND…``.

A supervisor that is killed with SIGKILL cannot stop its children, so the kernel is asked
to: PR_SET_PDEATHSIG sends SIGTERM when the parent goes, and survives the exec. Setting it
here, in a process that has one thread and no locks, is safe where a ``preexec_fn`` in a
threaded parent is not. The signal is tied to the *thread* that forked: start children from
a thread that lives as long as they may. Where there is no prctl (macOS) the pid files let
the next start find and end what is left.

Runs by path with ``-I -S``: no site, no package, 10 ms.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arm the signal, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        # It died before the signal was armed.
        sys.exit(128 + signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - an argument list of ours, no shell


if __name__ == "__main__":
    main()

"""``python -m irs.scaler``, which is also ``irs scale``: the scaler as a process."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from irs import log
from irs import settings as settings_module
from irs.errors import SettingsError
from irs.scaler import loop
from irs.scaler.brain import Scaler

#: Exit codes: done; AWS could not be asked, or another scaler acts; a setting is wrong.
OK, CANNOT, SETTINGS = 0, 1, 2


def scale(*, once: bool = False, dry_run: bool = False) -> int:
    """Run until SIGTERM or SIGINT, or one round; the exit code. Call it from the main thread.

    Raises `SettingsError`.
    """
    settings = settings_module.load()
    log.configure(settings.log_level, settings.log_format)
    if once:
        return _once(loop.build(settings, dry_run=dry_run))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loop.run(settings, stop, dry_run=dry_run)
    return OK


def _once(scaler: Scaler) -> int:
    try:
        return OK if scaler.tick() and scaler.leads else CANNOT
    finally:
        scaler.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(
        prog="irs.scaler", description="Keep the right number of app instances running.")
    parser.add_argument("--once", action="store_true", help="one round, then exit")
    parser.add_argument("--dry-run", action="store_true",
                        help="say what would be done and why, and do nothing")
    options = parser.parse_args(argv)
    try:
        return scale(once=options.once, dry_run=options.dry_run)
    except SettingsError as exc:
        sys.stderr.write(f"irs scaler: {exc}\n")
        return SETTINGS


if __name__ == "__main__":
    sys.exit(main())

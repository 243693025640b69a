"""``python -m irs.scaler``: the scaler as a process."""

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit status: 0, 1 (AWS not reachable), 2 (settings)."""
    parser = argparse.ArgumentParser(
        prog="irs.scaler", description="Keep the right number of app instances running.")
    parser.add_argument("--once", action="store_true", help="one round, then exit")
    parser.add_argument("--dry-run", action="store_true",
                        help="say what would be done and why, and do nothing")
    options = parser.parse_args(argv)
    try:
        settings = settings_module.load()
        log.configure(settings.log_level, settings.log_format)
        if options.once:
            return 0 if loop.build(settings, dry_run=options.dry_run).tick() else 1
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        loop.run(settings, stop, dry_run=options.dry_run)
    except SettingsError as exc:
        sys.stderr.write(f"irs scaler: {exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The web tier: ``gunicorn web_entry:app``, or ``python web_entry.py`` on IRS_HOST:IRS_PORT."""

from __future__ import annotations

import gc
import sys

# What is imported lives for ever: to look for garbage in it is a seventh of the start.
gc.disable()

from irs import errors, log, tracing
from irs.settings import load
from irs.web.app import create_app
from irs.web.server import serve


def main() -> int:
    """Serve until SIGTERM; returns the exit code."""
    serve(app, load())
    tracing.stop()
    return 0


try:
    log.configure(load().log_level, load().log_format)
    tracing.start(load(), "web")
    app = create_app(load())
    gc.freeze()
    gc.enable()
    if __name__ == "__main__":
        sys.exit(main())
except errors.SettingsError as exc:
    sys.stderr.write(f"irs web: {exc}\n")
    sys.exit(2)

"""What an app instance runs at boot: its user data becomes settings, then the worker runs."""

from __future__ import annotations

import gc
import sys

# What is imported lives for ever: to look for garbage in it is a seventh of the start.
gc.disable()

from irs import errors, settings
from irs.aws.metadata import Metadata


def main() -> int:
    """Run the worker until the instance ends; returns the exit code."""
    try:
        _adopt_user_data()
        # Imported after: Celery's configuration reads the settings at import.
        from irs.celery import app
        from irs.worker import identity
    except errors.IRSError as exc:
        print(f"irs: {exc}", file=sys.stderr)  # noqa: T201 - the operator's one line
        return 2
    # Not through `celery worker`: its command line is a fifth of a start's imports.
    worker = app.Worker(hostname=f"worker@{identity.instance()}", loglevel=settings.load().log_level,
                        # Celery's banner is many lines, none of them an event.
                        quiet=True)
    gc.freeze()
    gc.enable()
    worker.start()
    return worker.exitcode or 0


def _adopt_user_data() -> None:
    try:
        text = Metadata(settings.build().metadata_endpoint).user_data()
    except errors.Unreachable:
        return  # not an EC2 instance: the environment is all there is
    settings.apply_user_data(text)


if __name__ == "__main__":
    sys.exit(main())

"""What an app instance runs at boot: its user data becomes settings, then the worker runs."""

from __future__ import annotations

import sys

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
    # Mingle and gossip are for brokers with cheap broadcasts; heartbeats for event readers.
    app.worker_main([
        "worker", "--hostname", f"worker@{identity.instance()}",
        "--without-mingle", "--without-gossip", "--without-heartbeat",
        "--loglevel", settings.load().log_level,
    ])
    return 0


def _adopt_user_data() -> None:
    try:
        text = Metadata(settings.build().metadata_endpoint).user_data()
    except errors.Unreachable:
        return  # not an EC2 instance: the environment is all there is
    settings.apply_user_data(text)


if __name__ == "__main__":
    sys.exit(main())

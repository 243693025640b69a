"""The Celery app: ``celery -A irs worker``, ``celery -A irs inspect ping``."""

from __future__ import annotations

import sys
import warnings

from celery import Celery

from irs import errors, log
from irs.settings import load

try:
    log.configure(load().log_level, load().log_format)
except errors.SettingsError as exc:
    # Celery's own commands have nobody else to say it in one line.
    sys.stderr.write(f"irs: {exc}\n")
    sys.exit(2)

# `celery events` has two options of the name -d, and click says so, twice: no user can mend it.
warnings.filterwarnings("ignore", r"The parameter -d is used more than once", UserWarning, r"click\.")

# By name: only who sends events, or asks workers, imports these.
app = Celery("irs", events="irs.broker.events:Events", control="irs.broker.mailbox:Control")
app.config_from_object("celeryconfig")

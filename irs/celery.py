"""The Celery app: ``celery -A irs worker``, ``celery -A irs inspect ping``."""

from __future__ import annotations

from celery import Celery

from irs import log
from irs.settings import load

log.configure(load().log_level, load().log_format)

app = Celery("irs")
app.config_from_object("celeryconfig")

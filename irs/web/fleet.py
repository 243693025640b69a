"""The fleet as its scaler last described it: one GET of the journal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from irs import errors, log
from irs.bulk.store import Records
from irs.domain import journal, waits
from irs.domain.journal import Journal
from irs.domain.waits import Outlook
from irs.settings import Settings

#: Bytes; a journal of a hundred instances has about 60,000.
MAX_JOURNAL = 2_000_000

_log = log.get("web")


def read(settings: Settings, records: Records) -> Journal | None:
    """The journal; None where no scaler writes one. Raises `errors.CloudError`."""
    try:
        return Journal.from_json(records.get(journal.key(settings.cluster), max_bytes=MAX_JOURNAL))
    except errors.NoBucket:
        raise
    except errors.NotFound:
        return None
    except (ValueError, RecursionError, errors.TooLarge) as exc:
        _log.info("web.journal_unreadable", why=str(exc))
        return None


def look(settings: Settings, records: Callable[[], Records]) -> Outlook | None:
    """What the journal tells of waits to come; None where it is not there. Raises `errors.CloudError`."""
    found = read(settings, records())
    if found is None:
        return None
    # The clocks of two machines: what they disagree on makes an estimate worse, or none.
    return Outlook.of(found.decision, datetime.now(UTC),
                      stale=waits.STALE + settings.scaler_interval)

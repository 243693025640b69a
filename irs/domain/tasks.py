"""Names that the tier that sends and the tier that runs must agree on."""

from __future__ import annotations

#: Arguments: job id, input key; keyword arguments: ``name`` (display name), ``received``
#: (UTC time as `irs.domain.jobs.stamp` gives it).
CLASSIFY = "irs.classify"

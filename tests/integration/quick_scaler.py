"""Run as a script: the scaler as it is, but that its minutes are seconds and its lease is short."""

from __future__ import annotations

import sys

from irs.domain import chronicle
from irs.scaler import lease, loop

chronicle.STEP = 1
lease.TTL = 3.0
lease.MARGIN = 1.0
lease.RENEW = loop.RENEW = 0.3

if __name__ == "__main__":
    from irs.scaler import __main__ as command

    sys.exit(command.scale())

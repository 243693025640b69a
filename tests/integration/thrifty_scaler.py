"""Run as a script: the scaler as it is, but that EC2 bills ten seconds of an instance at least, not sixty.

It ends none whose minimum is not used up, and a test would wait for that and for nothing else.
"""

from __future__ import annotations

import functools

from irs.domain import scaling

scaling.Policy = functools.partial(scaling.Policy, billing_minimum=10.0)  # type: ignore[misc,assignment]

if __name__ == "__main__":
    import sys

    from irs.scaler import __main__ as command

    sys.exit(command.scale())

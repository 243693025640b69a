"""Faults of the way to the endpoint: refusals, silence, resets, lost answers."""

from __future__ import annotations

from irs.testing.proxy import Action, Answer, Hang, Reset, Rule
from tests.faults.catalogue.fault import Fault, NetworkFault


def _receive(name: str, action: Action, *, short: bool = False, seconds: float = 8.0) -> NetworkFault:
    """ReceiveMessage on the input queue fails in the worker."""
    return NetworkFault(
        number=6, name=f"receive-{name}", tier="worker", seconds=seconds, short=short, least=2,
        rules=(Rule(service="sqs", operations={"ReceiveMessage"}, target="{input_queue}",
                    action=action),))


FAULTS: tuple[Fault, ...] = (
    _receive("500", Answer(500, "InternalError")),
    _receive("503", Answer(503, "ServiceUnavailable"), short=True),
    _receive("reset", Reset()),
    _receive("throttled", Answer(400, "RequestThrottled")),
    _receive("expired-token", Answer(403, "ExpiredToken")),
    _receive("no-queue", Answer(400, "QueueDoesNotExist")),
    # A stalled poll is given up after its wait and some seconds; two of them fit.
    _receive("hang", Hang(), seconds=20.0),
)

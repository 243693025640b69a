"""Each fault alone, under load: in = out. The short run by default, all with `make faults`."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import FAULTS, Fault
from tests.faults.harness import runner

pytestmark = [pytest.mark.integration, pytest.mark.faults]


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len({str(fault) for fault in FAULTS}) == len(FAULTS)


@pytest.mark.timeout(400)
def test_nothing_is_lost(fault: Fault, make_stack, judged, pictures, seed: int) -> None:
    with make_stack(**fault.settings) as stack:
        stack.start(workers=fault.workers)
        fault.prepare(stack)
        runner.warm(stack, pictures)
        judged(stack, [fault], seed)

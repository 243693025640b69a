"""Random pairs of faults at steady load, on one stack that must outlive them all."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.conftest import option
from tests.faults.harness import runner

pytestmark = [pytest.mark.integration, pytest.mark.faults]


@pytest.mark.timeout(0)
def test_random_pairs(request: pytest.FixtureRequest, make_stack, judged, pictures, seed: int) -> None:
    minutes = option(request.config, "pairs_minutes", 0.0)
    if not minutes:
        pytest.skip("make faults ARGS='--pairs-minutes 10' runs it")
    draw = random.Random(seed)
    fit = [fault for fault in FAULTS if fault.pairs and not fault.settings]
    end = time.monotonic() + 60 * minutes
    with make_stack() as stack:
        stack.start(workers=2)
        runner.warm(stack, pictures)
        while time.monotonic() < end:
            judged(stack, draw.sample(fit, 2), draw.randrange(1 << 16))

"""Pairs of faults at steady load: one that was once too much, and random ones on one stack."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.catalogue import FAULTS
from tests.faults.conftest import option
from tests.faults.harness import runner

pytestmark = [pytest.mark.integration, pytest.mark.faults]

#: A crowd, and sends that hang until the crowd has gone; and one while S3 takes uploads too late.
CROWDED = {"sends-hang": ("07-send-hang", "23-burst-of-ten"),
           "s3-is-late": ("04-put-upload-late", "23-burst-of-ten")}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("pair", CROWDED)
def test_a_crowd(pair: str, request: pytest.FixtureRequest, make_stack, judged, pictures) -> None:
    if not option(request.config, "matrix", False):
        pytest.skip("make faults runs it")
    known = {str(fault): fault for fault in FAULTS}
    with make_stack() as stack:
        stack.start(workers=2)
        runner.warm(stack, pictures)
        judged(stack, [known[name] for name in CROWDED[pair]], 5)


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

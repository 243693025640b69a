"""The share of a model on trial."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs.domain import canary

IDS = [str(uuid.UUID(int=number, version=4)) for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 1.0])
def test_a_share_is_what_it_says(share: float) -> None:
    taken = sum(canary.takes(job, share=share, attempt=1) for job in IDS) / len(IDS)
    assert taken == pytest.approx(share, abs=4 * (share * (1 - share) / len(IDS)) ** 0.5)


@given(job=st.uuids().map(str), share=st.floats(0, 1), more=st.floats(0, 1))
def test_a_job_stays_with_its_model_also_in_a_larger_share(job: str, share: float, more: float) -> None:
    assert canary.takes(job, share=share, attempt=1) is canary.takes(job, share=share, attempt=1)
    if canary.takes(job, share=min(share, more), attempt=1):
        assert canary.takes(job, share=max(share, more), attempt=1)


@given(job=st.uuids().map(str), attempt=st.integers(2, 100))
def test_what_failed_once_goes_to_the_fleets_model(job: str, attempt: int) -> None:
    assert not canary.takes(job, share=1.0, attempt=attempt)

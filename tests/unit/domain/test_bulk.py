"""A batch's record and its members: what goes in comes out, and the counts add up."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irs.domain import bulk, keys
from irs.domain.bulk import CHUNK, FILES, Batch, Flags, Member, Phase
from irs.domain.jobs import Failure

ID = "7f3c9f44-3c1d-4c3e-9d53-0d4c3a1f2b11"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def batch(**fields: object) -> Batch:
    return Batch(id=ID, created=NOW, source=FILES, **fields)  # type: ignore[arg-type]


def test_a_member_s_id_is_a_random_looking_uuid_and_always_the_same() -> None:
    ids = [bulk.member_id(ID, number) for number in range(1_000)]
    assert ids == [bulk.member_id(ID, number) for number in range(1_000)]
    assert len(set(ids)) == 1_000
    assert all(uuid.UUID(found).version == 4 and keys.parse_id(found) == found for found in ids)
    # Spread over S3's partitions.
    assert len({found[:2] for found in ids}) > 200
    assert bulk.member_id(keys.new_id(), 0) != ids[0]


@given(st.lists(st.builds(
    Member, name=st.text(max_size=20), source=st.none() | st.text(max_size=20),
    error=st.none() | st.builds(Failure, code=st.text(max_size=9), message=st.text(max_size=9)))))
def test_members_come_back_from_their_chunk(members: list[Member]) -> None:
    data = bulk.chunk_bytes(members)
    assert bulk.members(data) == members
    assert data.count(b"\n") == len(members)


@pytest.mark.parametrize("data", [b"[1]\n", b"{}\n", b"\xff\n", b'{"name":"a","error":{"x":1}}\n', b"{\n"])
def test_what_is_no_chunk_is_told(data: bytes) -> None:
    with pytest.raises(ValueError):
        bulk.members(data)


def test_the_record_comes_back() -> None:
    record = batch(
        total=4_321, listed=False, cursor="a/ü.png", truncated=True, sent=77, outstanding=(4, 70), done=60,
        failed=Flags().with_(3).with_(1_999), withdrawn=1, refused={3: Failure(code="x", message="y ü")},
        rate=12.345, cancelled=NOW, removed=80, finished=NOW, holder="me/1/ab", serial=9)
    assert Batch.from_json(record.to_json()) == record


def test_the_record_of_a_full_batch_is_small() -> None:
    record = batch(total=100_000, sent=50_000, outstanding=tuple(range(49_700, 50_000)), done=49_700)
    assert len(record.to_json()) < 3_000


@pytest.mark.parametrize("raw", [
    b"", b"[]", b"{}", b"null", b'{"schema": 2}', json.dumps({"schema": 1, "id": "x"}).encode()])
def test_what_is_no_record_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError):
        Batch.from_json(raw)


@given(st.sets(st.integers(0, 5 * CHUNK)))
def test_flags_are_a_set(numbers: set[int]) -> None:
    flags = Flags()
    for number in numbers:
        flags = flags.with_(number).with_(number)
    assert len(flags) == len(numbers)
    assert {n for n in range(5 * CHUNK + 1) if n in flags} == numbers


COUNTS = [
    # sent, outstanding, done, failed, cancelled   queued, done, failed, cancelled   phase
    (0, 0, 0, 0, False, (100, 0, 0, 0), Phase.RUNNING, "nothing was sent so far"),
    (40, 30, 8, 2, False, (90, 8, 2, 0), Phase.RUNNING, "some was"),
    (100, 0, 97, 3, False, (0, 97, 3, 0), Phase.RUNNING, "all was, and it is not written down"),
    (40, 30, 8, 2, True, (30, 8, 2, 60), Phase.CANCELLED, "what was sent finishes"),
    (40, 0, 38, 2, True, (0, 38, 2, 60), Phase.CANCELLED, "and has"),
]


@pytest.mark.parametrize(("sent", "out", "done", "failed", "cancelled", "counts", "phase", "why"), COUNTS)
def test_counts_add_up(sent: int, out: int, done: int, failed: int, cancelled: bool,
                       counts: tuple[int, ...], phase: Phase, why: str) -> None:
    flags = Flags()
    for number in range(failed):
        flags = flags.with_(number)
    record = batch(total=100, sent=sent, outstanding=tuple(range(sent - out, sent)), done=done,
                   failed=flags, cancelled=NOW if cancelled else None)
    assert tuple(record.counts().values()) == counts, why
    assert sum(counts) == record.total
    assert record.phase is phase
    assert record.unsent == (0 if cancelled else 100 - sent)


def test_an_estimate_is_what_is_left_at_the_rate_of_late() -> None:
    record = batch(total=100, sent=40, outstanding=(38, 39), done=38)
    assert record.estimate is None
    assert replace(record, rate=31.0).estimate == 2.0
    assert replace(record, rate=31.0, listed=False).estimate is None
    assert batch(total=2, sent=2, done=2).estimate == 0.0


def test_phases() -> None:
    assert batch(listed=False).phase is Phase.LISTING
    assert batch(finished=NOW).phase is Phase.DONE
    assert batch(finished=NOW, cancelled=NOW).phase is Phase.CANCELLED

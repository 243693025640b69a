from __future__ import annotations

from datetime import timedelta

import pytest

from irs.domain import claims, keys
from irs.domain.claims import Claim
from irs.testing.clock import START

CLAIM = Claim(id=keys.new_id(), fingerprint="f" * 64, at=START)


def test_there_and_back() -> None:
    assert Claim.from_json(CLAIM.to_json()) == CLAIM


@pytest.mark.parametrize("data", [
    b"", b"{", b"[]", b"null", b"{}", b'{"id": "x", "fingerprint": "f", "at": "2026-01-01T00:00:00Z"}',
    CLAIM.to_json().replace(b"+00:00", b""), CLAIM.to_json().replace(b'"2026', b'"x'), b"[" * 100_000])
def test_what_is_no_claim_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Claim.from_json(data)


def test_a_key_stands_for_a_day() -> None:
    assert not CLAIM.expired(START + timedelta(hours=23, minutes=59))
    assert CLAIM.expired(START + timedelta(hours=24))
    assert not CLAIM.expired(START - timedelta(hours=1)), "of a clock that is ahead of ours"


def test_keys_of_two_clients_are_two() -> None:
    places = {claims.key(scope, text) for scope, text in (("", "a"), ("a", ""), ("me", "a"), ("you", "a"))}
    assert len(places) == 4
    assert {(place[:9], len(place)) for place in places} == {("requests/", 9 + 64 + len(".json"))}


def test_nothing_moves_from_one_part_of_a_request_to_the_next() -> None:
    prints = {claims.fingerprint(kind, *parts) for kind, parts in (
        ("images", (b"ab", b"c")), ("images", (b"a", b"bc")), ("images", (b"abc", b"")),
        ("images", (b"abc",)), ("batches", (b"abc",)))}
    assert len(prints) == 5
    assert claims.fingerprint("images", b"a") == claims.fingerprint("images", b"a")

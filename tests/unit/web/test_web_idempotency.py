"""A request that is repeated under its key is the first one, whatever happened to that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from irs import errors
from irs.domain import claims, keys
from irs.domain.claims import Claim
from irs.testing import FakeClock, FaultPlan, MemoryObjects
from irs.web.idempotency import Keyed
from tests.unit.web.webkit import Service, done, failed, picture

ME, YOU = "0123456789abcdef", "fedcba9876543210"
AWAY = errors.Unreachable("no answer")


def submit(service: Service, key: str | None = "k-1", body: bytes | None = None, name: str = "a.jpg",
           **headers: str) -> Any:
    return service.client.post(
        "/v1/images", data=picture() if body is None else body, query_string={"name": name},
        content_type="image/jpeg", headers={**({"Idempotency-Key": key} if key is not None else {}),
                                            **{k.replace("_", "-"): v for k, v in headers.items()}})


def held(service: Service) -> Service:
    service.work = lambda job: None
    return service


def claim_of(service: Service) -> Claim:
    (stored,) = service.records.stored.values()
    return Claim.from_json(stored.data)


# -- the whole way ---------------------------------------------------------------------------
def test_a_repeat_is_the_first_job(service: Service) -> None:
    first, again = submit(held(service)), submit(service)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json["id"] == again.json["id"] == service.sent[0].id
    assert first.headers["Location"] == again.headers["Location"]
    assert len(service.sent) == len(service.objects.stored) == 1


def test_a_repeat_has_the_result_as_soon_as_there_is_one(service: Service) -> None:
    first = submit(held(service))
    service.finish(done(service.sent[0]))
    again = submit(service)
    assert (again.status_code, again.json["id"], again.json["label"]) == (200, first.json["id"], "tench")


def test_a_repeat_of_what_failed_has_the_failure(service: Service) -> None:
    service.work = failed
    first, again = submit(service, Prefer="wait=5"), submit(service)
    assert (first.status_code, again.status_code) == (422, 422)
    assert first.json == again.json
    assert len(service.sent) == 1


def test_a_repeat_may_wait_for_the_first_ones_result(service: Service) -> None:
    submit(held(service))
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(submit, service, Prefer="wait=60")
        while not service.listener.waiting:
            assert not again.done()
            threading.Event().wait(0.005)
        service.finish(done(service.sent[0]))
        assert again.result(5).json["label"] == "tench"


@pytest.mark.parametrize("other", [
    {"body": picture(size=(41, 30))}, {"name": "b.jpg"}], ids=["another image", "another name"])
def test_a_key_stands_for_one_request(service: Service, other: dict[str, Any]) -> None:
    submit(held(service))
    answer = submit(service, **other)
    assert (answer.status_code, answer.json["code"]) == (409, "idempotency_conflict")
    assert answer.content_type == "application/problem+json"
    assert "another key" in answer.json["detail"]
    assert len(service.sent) == 1


def test_without_a_key_nothing_is_written_down(service: Service) -> None:
    assert submit(service, None).json["id"] != submit(service, None).json["id"]
    assert not service.records.stored


def test_two_keys_are_two_jobs(service: Service) -> None:
    assert submit(service, "a").json["id"] != submit(service, "b").json["id"]


@pytest.mark.parametrize(("key", "good"), [
    ("!", True), ("~" * 255, True), ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', True),
    ("", False), ("x" * 256, False), ("a b", False), ("a\tb", False), ("ä", False), ("a\x7f", False)])
def test_a_key_is_visible_ascii(service: Service, key: str, good: bool) -> None:
    answer = submit(service, key)
    if good:
        assert answer.status_code in (200, 202)
    else:
        assert (answer.status_code, answer.json["code"]) == (400, "bad_request")
        assert "255 visible ASCII" in answer.json["detail"]
        assert not service.objects.stored


def test_a_refused_image_uses_no_key_up(service: Service) -> None:
    assert submit(service, body=b"\0" * 100).status_code == 415
    assert submit(service).status_code in (200, 202)


def test_each_api_key_has_keys_of_its_own(make: Callable[..., Service]) -> None:
    service = held(make(api_keys=f"me:{ME}, you:{YOU}"))
    mine, again = (submit(service, X_API_Key=ME) for _ in range(2))
    yours = submit(service, X_API_Key=YOU)
    assert mine.json["id"] == again.json["id"] != yours.json["id"]


def test_another_process_knows_it(make: Callable[..., Service]) -> None:
    first = held(make())
    second = held(make(records=first.records))
    assert submit(first).json["id"] == submit(second).json["id"]
    assert not second.sent, "it is under way: nothing is sent twice for a repeat"


# -- died, slow, twice at once ---------------------------------------------------------------
def test_died_between_claim_and_send_the_repeat_does_the_work(make: Callable[..., Service]) -> None:
    service = held(make())
    service.send_fails = errors.Unreachable("it ended here")
    assert submit(service).status_code == 503
    claim = claim_of(service)
    assert not claim.begun
    service.send_fails = None
    answer = submit(service)
    assert (answer.status_code, answer.json["id"]) == (202, claim.id)
    (job,) = service.sent
    assert (job.id, job.received) == (claim.id, claim.at)
    assert job.key in service.objects.stored
    assert claim_of(service).begun


def test_died_between_claim_and_upload_the_repeat_stores_it(make: Callable[..., Service]) -> None:
    service = held(make())
    put, service.objects.put = service.objects.put, _raises  # type: ignore[method-assign]
    assert submit(service).status_code == 503
    assert not service.sent
    service.objects.put = put  # type: ignore[method-assign]
    answer = submit(service)
    assert answer.json["id"] == claim_of(service).id == service.sent[0].id


def _raises(*_: Any, **__: Any) -> Any:
    raise AWAY


def test_at_once_they_are_one_job(make: Callable[..., Service]) -> None:
    service = held(make())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: submit(service), range(8)))
    assert {a.status_code for a in answers} == {202}
    assert len({a.json["id"] for a in answers}) == 1
    # Whoever came before the first was known to have sent it sent it too: under the same id.
    assert {job.id for job in service.sent} == {answers[0].json["id"]}


def test_a_claim_that_cannot_be_made_is_503_and_nothing_is_sent(make: Callable[..., Service]) -> None:
    for method in ("put", "get_tagged"):
        service = held(make(records=FaultPlan().fail_randomly(method, 1, AWAY).wrap(MemoryObjects())))
        service.records.stored[claims.key("", "k-1")] = None
        if method == "put":
            service.records.stored.clear()
        answer = submit(service)
        assert (answer.status_code, answer.json["code"]) == (503, "unavailable")
        assert "id" not in answer.json
        assert "Retry-After" in answer.headers
        assert not service.sent
        assert not service.objects.stored


def test_a_claim_that_may_have_been_made_is_taken_up_by_the_repeat(make: Callable[..., Service]) -> None:
    plan = FaultPlan().fail("put", 1, AWAY, after=True)
    service = held(make(records=plan.wrap(MemoryObjects())))
    assert submit(service).status_code == 503
    assert not service.sent
    claim = claim_of(service)
    assert submit(service).json["id"] == claim.id == service.sent[0].id


def test_a_key_costs_two_writes_and_no_look(make: Callable[..., Service],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    plan = FaultPlan()
    service = held(make(records=plan.wrap(MemoryObjects())))
    monkeypatch.setattr(service.results, "read", _raises)
    service.depth = 0
    assert submit(service, Prefer="wait=0").status_code == 202
    assert (plan.calls["put"], plan.calls["get_tagged"]) == (2, 0)


def test_a_mark_that_fails_costs_no_answer_and_a_repeat_sends_again(make: Callable[..., Service]) -> None:
    plan = FaultPlan().fail("put", 2, AWAY)
    service = held(make(records=plan.wrap(MemoryObjects())))
    assert submit(service).status_code == submit(service).status_code == 202
    assert [job.id for job in service.sent] == [service.sent[0].id] * 2


# -- the claim itself ------------------------------------------------------------------------
PLACE = claims.key("", "k")


def keyed(records: Any, clock: FakeClock | None = None) -> Keyed:
    return Keyed(PLACE, lambda: records, now=(clock or FakeClock()).now)


def test_a_claim_whose_answer_was_lost_is_ones_own() -> None:
    class Repeats(MemoryObjects):
        """As a client that repeats a PUT whose answer it did not get."""

        def put(self, key: str, data: bytes, **how: Any) -> str:
            super().put(key, data, **how)
            return super().put(key, data, **how)

    mine = keys.new_id()
    assert keyed(Repeats()).claim("f", mine).id == mine


def test_after_a_day_the_key_is_free() -> None:
    records, clock = MemoryObjects(), FakeClock()
    first, second = keys.new_id(), keys.new_id()
    assert keyed(records, clock).claim("f", first).id == first
    clock.advance(86_399)
    assert keyed(records, clock).claim("f", second).id == first
    clock.advance(1)
    again = keyed(records, clock)
    assert again.claim("another", second).id == second
    again.begun()
    assert Claim.from_json(records.get(PLACE)).begun


def test_of_two_that_take_an_expired_key_one_has_it() -> None:
    clock = FakeClock()
    first, second = keys.new_id(), keys.new_id()

    class Late(MemoryObjects):
        """Between the look at the old claim and its replacement another request comes."""

        def get_tagged(self, key: str) -> tuple[bytes, str]:
            found = super().get_tagged(key)
            if comes:
                comes.pop()
                assert keyed(self, clock).claim("f", first).id == first
            return found

    comes = ["another"]
    records = Late()
    keyed(records, clock).claim("old", keys.new_id())
    clock.advance(timedelta(days=2).total_seconds())
    assert keyed(records, clock).claim("f", second).id == first


def test_a_claim_that_expires_under_us_is_made_anew() -> None:
    class Expiring(MemoryObjects):
        def get_tagged(self, key: str) -> tuple[bytes, str]:
            self.delete(key)
            return super().get_tagged(key)

    records = Expiring()
    keyed(records).claim("f", keys.new_id())
    mine = keys.new_id()
    assert keyed(records).claim("f", mine).id == mine


def test_what_is_no_claim_is_replaced(events: list[Any]) -> None:
    records = MemoryObjects()
    records.put(PLACE, b"half a cl")
    mine = keys.new_id()
    assert keyed(records).claim("f", mine).id == mine
    assert [e["event"] for e in events] == ["web.claim_unreadable"]


def test_a_claim_that_never_stands_still_is_no_answer() -> None:
    class Mad(MemoryObjects):
        def put(self, key: str, data: bytes, **how: Any) -> str:
            raise errors.AlreadyExists("it has changed")

    with pytest.raises(errors.Unreachable):
        keyed(Mad()).claim("f", keys.new_id())

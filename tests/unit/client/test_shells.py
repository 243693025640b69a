"""Both clients against httpx's mock transport: the same calls, the same records, the same errors."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from irs.client import AsyncClient, Client, Failed, NotFound, Outcome, TimedOut, Unreachable, Unreadable
from irs.errors import SettingsError
from tests.unit.client.scripted import ID, batch, done, member, queued

Handler = Callable[[httpx.Request], httpx.Response]
DEADLINE = 10.0


class Waiting:
    """A `Client` as it is."""

    def __init__(self, handler: Handler, **options: Any) -> None:
        self.client: Any = Client("http://irs.test", transport=httpx.MockTransport(handler), **options)

    def call(self, method: str, *given: Any, **named: Any) -> Any:
        with self.client as client:
            return getattr(client, method)(*given, **named)

    def each(self, method: str, *given: Any, **named: Any) -> list[Any]:
        with self.client as client:
            return list(getattr(client, method)(*given, **named))


class Awaiting:
    """An `AsyncClient`, each call in a loop of its own."""

    def __init__(self, handler: Handler, **options: Any) -> None:
        self.client: Any = AsyncClient("http://irs.test", transport=httpx.MockTransport(handler), **options)

    def call(self, method: str, *given: Any, **named: Any) -> Any:
        async def body() -> Any:
            async with self.client as client:
                return await getattr(client, method)(*given, **named)
        return asyncio.run(body())

    def each(self, method: str, *given: Any, **named: Any) -> list[Any]:
        async def body() -> list[Any]:
            async with self.client as client:
                return [item async for item in getattr(client, method)(*given, **named)]
        return asyncio.run(body())


@pytest.fixture(params=[Waiting, Awaiting])
def shell(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("irs.client.sync.time.sleep", slept.append)
    monkeypatch.setattr("irs.client.aio.asyncio.sleep", sleep)
    return slept


def test_both_have_the_same_methods() -> None:
    faces = [{name.replace("_a", "_"): str(inspect.signature(member)).replace("AsyncIterator", "Iterator")
              for name, member in vars(kind).items() if not name.startswith("_") and callable(member)}
             for kind in (Client, AsyncClient)]
    assert faces[0] == faces[1]
    assert len(faces[0]) == 17


def test_a_file_is_streamed_with_its_length(shell: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(1_000_000))
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=done())

    assert shell(handler, api_key="sixteen-letters-").call("classify", path, wait=7).label == "tench"
    (request,) = seen
    assert (request.headers["content-length"], len(request.content)) == ("1000000", 1_000_000)
    assert "transfer-encoding" not in request.headers
    assert request.headers["x-api-key"] == "sixteen-letters-"
    assert (request.headers["prefer"], request.headers["accept"]) == ("wait=7", "application/json")
    assert request.extensions["timeout"]["read"] == 37.0


def test_the_key_is_in_no_text_of_the_client(shell: Any) -> None:
    client = shell(lambda request: httpx.Response(200), api_key="sixteen-letters-").client
    assert "sixteen" not in repr(client)


def test_no_address_no_client() -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(SettingsError):
            kind("nonsense://")


def test_a_broken_connection_is_tried_again_with_the_whole_body(
        shell: Any, tmp_path: Path, no_pauses: list[float]) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"whole")
    bodies: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) == 1:
            raise httpx.ReadError("reset", request=request)
        if len(bodies) == 2:
            raise httpx.RemoteProtocolError("closed", request=request)
        return httpx.Response(200, json=done())

    assert shell(handler).call("classify", path).label == "tench"
    assert bodies == [b"whole"] * 3
    assert len(no_pauses) == 2


def test_nothing_there(shell: Any, no_pauses: list[float]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("all failed") from ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(Unreachable, match=r"^nothing answers at http://irs.test \(Connection refused\)$"):
        shell(handler, retries=1).call("get", ID)
    assert len(no_pauses) == 1


def test_a_file_that_is_not_there_is_not_sent(shell: Any) -> None:
    with pytest.raises(Unreadable):
        shell(lambda request: pytest.fail("sent")).call("classify", "absent.jpg")


def test_jobs(shell: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            return httpx.Response(200, json={"id": ID, "image": "a", "status": "cancelled"})
        if request.url.path == "/v1/images/absent":
            return httpx.Response(404, json={"code": "unknown", "detail": "no such image"})
        return httpx.Response(202 if request.method == "POST" else 200, json=queued())

    assert shell(handler).call("submit", b"x").id == ID
    assert shell(handler).call("get", ID).status == "queued"
    assert shell(handler).call("cancel", ID).status == "cancelled"
    with pytest.raises(TimedOut):
        shell(handler).call("wait", ID, 0)
    with pytest.raises(NotFound):
        shell(handler).call("get", "absent")


def test_batches(shell: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/results"):
            assert request.headers["accept"] == "application/x-ndjson"
            assert request.url.query == b"start=0&status=failed"
            return httpx.Response(200, content=lines(member(0, "failed"), member(4, "failed")))
        status = "cancelled" if request.method == "DELETE" else "done"
        return httpx.Response(200, json=batch(status, done=2))

    assert shell(handler).call("batch", [b"a", b"b"]).total == 2
    assert shell(handler).call("wait_batch", ID).settled == 2
    assert shell(handler).call("get_batch", ID).finished
    assert shell(handler).call("cancel_batch", ID).status == "cancelled"
    assert [found.number for found in shell(handler).each("results", ID, status="failed")] == [0, 4]


def lines(*members: dict[str, Any]) -> bytes:
    return "".join(json.dumps(found) + "\n" for found in members).encode()


class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that breaks off."""

    def __iter__(self) -> Iterator[bytes]:
        yield lines(member(0), member(1)) + b'{"numb'
        raise httpx.ReadError("reset")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for data in (lines(member(0), member(1)) + b'{"numb',):
            yield data
        raise httpx.ReadError("reset")


def test_results_go_on_where_they_break_off(shell: Any) -> None:
    asked: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query)
        return (httpx.Response(200, stream=Breaking()) if len(asked) == 1
                else httpx.Response(200, content=lines(member(2))))

    assert [found.number for found in shell(handler).each("results", ID)] == [0, 1, 2]
    assert asked == [b"start=0", b"start=2"]


def test_results_that_end_within_a_line(shell: Any) -> None:
    with pytest.raises(Unreachable, match="broke off"):
        shell(lambda request: httpx.Response(200, content=b'{"number": 0')).each("results", ID)


def test_results_of_no_batch(shell: Any) -> None:
    unknown = {"code": "unknown", "detail": "no such batch"}
    with pytest.raises(NotFound, match="no such batch"):
        shell(lambda request: httpx.Response(404, json=unknown)).each("results", ID)


def test_the_service_itself(shell: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return {"/readyz": httpx.Response(200, text="ready\n"),
                "/healthz": httpx.Response(200, text="alive 1\n"),
                "/v1/stats": httpx.Response(200, json={"queue": {"visible": 3}})}[request.url.path]

    assert shell(handler).call("ready") == "ready"
    assert shell(handler).call("alive") == "alive 1"
    assert shell(handler).call("stats") == {"queue": {"visible": 3}}


def test_the_last_minutes(shell: Any) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"points": []})

    assert shell(handler).call("history") == {"points": []}
    shell(handler).call("history", 30)
    shell(handler).call("dead_letters", 5)
    assert asked == ["/v1/stats/history", "/v1/stats/history?minutes=30", "/v1/dead-letters?limit=5"]


# -- many -------------------------------------------------------------------------------------
def labels(outcomes: list[Outcome]) -> list[str | None]:
    return [outcome.result.label if outcome.result else outcome.error.code if outcome.error else None
            for outcome in outcomes]


def echo(request: httpx.Request) -> httpx.Response:
    """An image is its own label."""
    text = request.content.decode()
    return (httpx.Response(200, json=done(label=text)) if text != "bad" else
            httpx.Response(422, json={"code": "undecodable", "detail": "no", "id": ID}))


@pytest.mark.parametrize("ordered", [True, False])
def test_many_images_have_an_outcome_each(shell: Any, ordered: bool) -> None:
    images = [str(number).encode() for number in range(40)] + [b"bad", "absent.jpg"]
    outcomes = shell(echo).each("classify_many", images, parallel=4, ordered=ordered)
    expected = [*map(str, range(40)), "undecodable", "unreadable"]
    assert labels(outcomes) == expected if ordered else sorted(labels(outcomes)) == sorted(expected)
    assert isinstance(next(o.error for o in outcomes if o.image == b"bad"), Failed)


def test_none_is_none(shell: Any) -> None:
    assert shell(echo).each("classify_many", []) == []


def test_an_endless_iterable_is_read_a_little_ahead(shell: Any) -> None:
    read: list[int] = []

    def endless() -> Iterator[bytes]:
        for number in itertools.count():
            read.append(number)
            yield str(number).encode()

    if shell is Waiting:
        with shell(echo).client as client:
            found = list(itertools.islice(client.classify_many(endless(), parallel=3), 50))
    else:
        async def body() -> list[Outcome]:
            out = []
            async with shell(echo).client as client:
                many = client.classify_many(endless(), parallel=3)
                async for outcome in many:
                    out.append(outcome)
                    if len(out) == 50:
                        break
                await many.aclose()
            return out
        found = asyncio.run(body())
    assert labels(found) == list(map(str, range(50)))
    assert len(read) <= 50 + 3 * 4 + 1


def test_an_iterable_that_fails_is_the_callers_error(shell: Any) -> None:
    def broken() -> Iterator[bytes]:
        yield b"1"
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        shell(echo).each("classify_many", broken())


def test_a_bug_is_raised_and_nobody_waits_for_ever(shell: Any) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        shell(handler).each("classify_many", [b"1", b"2"])


def test_of_several_bugs_none_is_left_for_the_loop_to_report() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError("a bug")

    async def body() -> list[dict[str, Any]]:
        reported: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        async with AsyncClient("http://irs.test", transport=httpx.MockTransport(handler)) as client:
            with pytest.raises(ZeroDivisionError):
                await anext(client.classify_many([b"1", b"2", b"3"]))
        gc.collect()
        return reported

    assert asyncio.run(body()) == []


def test_several_at_once_and_no_more_than_allowed() -> None:
    together = threading.Barrier(4)  # breaks, and fails the test, unless so many are here at once
    lock = threading.Lock()
    inside, peak = 0, 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal inside, peak
        with lock:
            inside += 1
            peak = max(peak, inside)
        together.wait(DEADLINE)
        with lock:
            inside -= 1
        return echo(request)

    assert len(Waiting(handler).each("classify_many", [b"x"] * 8, parallel=4)) == 8
    assert peak == 4


def test_leaving_early_stops_the_threads() -> None:
    release = threading.Event()
    asked: list[bytes] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.content)
        if request.content == b"first":
            return echo(request)
        assert release.wait(DEADLINE)
        return httpx.Response(202, json=queued())  # to be followed, if anybody were still there

    client = Waiting(handler).client
    many = client.classify_many([b"first", b"slow", b"slow"], parallel=3)
    assert next(many).ok
    many.close()
    release.set()
    for thread in threading.enumerate():
        if thread.name == "irs-client":
            thread.join(DEADLINE)
            assert not thread.is_alive()
    assert len(asked) <= 3  # no poll came after

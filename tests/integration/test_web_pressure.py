"""The web tier against clients that send slowly, too much, half, or nothing at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from irs.local import status as status_line
from tests.conformity import Conformity
from tests.integration.served import SLOW, Served, answer_on, form, serving, until

pytestmark = pytest.mark.integration

HEAD = b"POST /upload HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    with serving() as start:
        yield start


def drip(sock: socket.socket, stop: threading.Event) -> None:
    """A byte now and then, until the server has had enough."""
    with contextlib.suppress(OSError):
        while not stop.wait(0.05):
            sock.sendall(b"x")


# -- time ----------------------------------------------------------------------------------
@pytest.mark.parametrize("sent", [SLOW, CHUNKED, CHUNKED + b"5\r\nab"])
def test_a_body_that_does_not_come_is_a_408(serve, sent):
    served = serve(body_timeout=0.3)
    with served.connect(sent) as sock:
        status, headers, text = answer_on(sock)
        assert (status, headers["connection"], text) == (
            408, "close", "error: the request did not arrive in time\n")
        assert sock.recv(1) == b""


def test_a_byte_now_and_then_buys_no_time(serve):
    served = serve(body_timeout=0.3)
    stop = threading.Event()
    with served.connect(SLOW.replace(b"1000", b"100000")) as sock:
        dripping = threading.Thread(target=drip, args=(sock, stop))
        dripping.start()
        try:
            assert answer_on(sock)[0] == 408
        finally:
            stop.set()
            dripping.join(10)


def test_a_sender_at_the_least_rate_has_its_time(serve):
    served = serve(body_timeout=0.1, body_rate=1000)
    with served.connect(HEAD + b"Content-Length: 5000\r\n\r\n" + b"x" * 4000) as sock:
        # 4,000 bytes have bought 4 s: more than the server's next two rounds.
        rounds = served.rounds + 2
        until(lambda: served.rounds >= rounds)
        sock.sendall(b"x" * 1000)
        assert answer_on(sock)[0] == 400  # it is no form, but it has all come


def test_headers_that_do_not_come_are_a_408(serve, monkeypatch):
    monkeypatch.setattr("irs.web.arrival.HEADERS", 0.2)
    with serve().connect(b"POST /upload HTTP/1.1\r\nHost:") as sock:
        status, headers, text = answer_on(sock)
        assert (status, headers["content-type"]) == (408, "text/plain; charset=utf-8")
        assert text == "error: the request did not arrive in time\n"


def test_an_empty_line_is_no_request_that_is_late(serve, monkeypatch):
    monkeypatch.setattr("irs.web.arrival.HEADERS", 0.1)
    served = serve()
    with served.connect(b"\r\n") as sock:
        rounds = served.rounds + 2
        until(lambda: served.rounds >= rounds)
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer_on(sock, "GET")[0] == 200


@pytest.mark.parametrize("sent", [SLOW, HEAD, CHUNKED + b"5\r\nab", b"GET / HT"])
def test_a_request_that_breaks_off_is_a_400(serve, sent):
    with serve().connect(sent) as sock:
        sock.shutdown(socket.SHUT_WR)
        status, _, text = answer_on(sock)
        assert (status, text) == (400, "error: the request broke off before its end\n")
        assert sock.recv(1) == b""


# -- size ----------------------------------------------------------------------------------
@pytest.mark.parametrize("sent", [
    HEAD + b"Content-Length: 999999999\r\n\r\n",
    HEAD + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n",
    CHUNKED + b"7FFFFFFF\r\n",
])
def test_a_body_announced_too_large_is_refused_at_once_and_the_answer_can_be_read(serve, sent):
    served = serve(max_files=1, max_image_bytes=1000)
    with served.connect(sent) as sock:
        sock.sendall(bytes(4_000_000))  # a client that sends before it reads
        status, headers, text = answer_on(sock)
        assert (status, headers["connection"], text) == (413, "close", "error: the request is too large\n")


def test_a_chunked_body_that_grows_too_large_is_refused_while_it_comes(serve):
    served = serve(max_files=1, max_image_bytes=1000)
    with served.connect(CHUNKED) as sock:
        piece = b"8000\r\n" + bytes(0x8000) + b"\r\n"
        for _ in range(200):  # 6.5 MB where 0.6 MB are allowed, and never an end
            sock.sendall(piece)
        assert answer_on(sock)[0] == 413


@pytest.mark.parametrize("sent", [
    b"0" * 2_000_000, b"0\r\nX: " + b"y" * 2_000_000, b"5;" + b"z" * 2_000_000])
def test_a_size_line_or_a_trailer_without_end_is_a_400(serve, sent):
    with serve().connect(CHUNKED + sent) as sock:
        began = time.monotonic()
        assert answer_on(sock)[0] == 400
        assert time.monotonic() - began < 5


def test_headers_without_end_are_a_431(serve):
    with serve().connect(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000) as sock:
        status, _, text = answer_on(sock)
        assert (status, text) == (431, "error: the request's headers are too large\n")


@pytest.mark.parametrize(("sent", "status"), [
    (b"GET /v1/stats HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000, 431),
    (b"POST /v1/images HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST /v1/images HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    (b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400),
    (b"POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n", 413),
    (b"\r\nPOST /v1/images HTTP/1.1\r\nHost: x\r\nX Y\r\n\r\n", 400),
])
def test_a_program_is_told_in_problem_details_also_what_the_application_never_sees(serve, sent, status):
    served = serve()
    book = Conformity(served.services.document.tree)
    with served.connect(sent) as sock:
        found, headers, text = answer_on(sock)
    assert found == status
    method, path, _ = sent.split(maxsplit=2)
    headers = {"Content-Type": headers["content-type"]}
    assert not book.faults(method.decode(), path.decode(), status, headers, text.encode())


def test_expecting_to_go_on_without_a_body_is_no_riddle(serve):
    with serve().connect(b"GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n") as sock:
        assert answer_on(sock, "GET")[0] == 200


def test_what_follows_a_refusal_is_no_request(serve):
    served = serve(max_files=1, max_image_bytes=1000)
    with served.connect(HEAD + b"Content-Length: 999999999\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n") as sock:
        answers = sock.makefile("rb").read()
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b" 413 " in answers.splitlines()[0]


# -- room ----------------------------------------------------------------------------------
def test_a_body_is_not_held_while_its_client_waits(serve):
    served = serve(held=True, drain_grace=0.5)
    body, headers = form("a.jpg")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served.request, "POST", "/upload", body, {**headers, "Prefer": "wait=60"})
        assert served.arrived.acquire(timeout=20)
        (request,) = next(c for c in served.connections if c.requests).requests
        assert request.get_body_stream().closed
        # It counts as if it were, for the files that it was made into.
        assert served.server._server.bodies.held == len(body)
        served.server.stop()
        assert waiting.result(10)[0] == 202
    until(lambda: served.server._server.bodies.held == 0)  # after the answer, not before it


def test_what_requests_have_left_is_given_back_once_none_is_under_way(serve, monkeypatch):
    monkeypatch.setattr("irs.web.server.BEAT", 0.0)
    given = threading.Semaphore(0)
    monkeypatch.setattr("irs.memory.give_back", given.release)
    served = serve(held=True)
    body, headers = form("a.jpg")
    head = f"Content-Length: {len(body)}\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
    with served.connect(HEAD + head.encode() + body):
        assert served.arrived.acquire(timeout=20)
        rounds = served.rounds + 2
        until(lambda: served.rounds >= rounds)
        assert not given.acquire(blocking=False)
    assert given.acquire(timeout=20)  # the client has gone, and with it its wait


def test_waiting_and_slow_clients_leave_room(serve):
    """40 send slowly, 60 wait: health answers fast, an upload comes through, who leaves makes room."""
    served = serve(held=True, max_waiting=60, drain_grace=1.0)
    with ThreadPoolExecutor(60) as pool, contextlib.ExitStack() as slow:
        for _ in range(40):
            slow.enter_context(served.connect(SLOW))
        gone = [served.connect() for _ in range(10)]
        body, headers = form("gone.jpg")
        head = f"Content-Length: {len(body)}\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
        for sock in gone:
            sock.sendall(HEAD + head.encode() + body)
        waits = [pool.submit(served.upload, f"{i}.jpg", Prefer="wait=60") for i in range(50)]
        until(lambda: served.services.gate.inside == 60)

        times = []
        for _ in range(100):
            began = time.monotonic()
            assert served.request("GET", "/healthz")[0] == 200
            times.append(time.monotonic() - began)
        assert sorted(times)[98] < 0.25  # 0.1 s on a machine of its own: bench/pressure.py

        status, headers, _ = served.upload("late.jpg")
        assert (status, int(headers["retry-after"]) >= 1) == (503, True)
        for sock in gone:
            sock.close()
        until(lambda: served.services.gate.inside == 50, seconds=5)
        assert served.upload("now.jpg", Prefer="wait=0")[0] == 202
        served.server.stop()
        assert {wait.result(10)[0] for wait in waits} == {202}


def test_a_client_that_sent_more_requests_and_leaves_frees_its_place(serve):
    served = serve(held=True)
    body, headers = form("gone.jpg")
    head = f"Content-Length: {len(body)}\r\nContent-Type: {headers['Content-Type']}\r\n\r\n"
    with served.connect((HEAD + head.encode() + body) * 3 + SLOW):
        until(lambda: served.services.gate.inside == 1)
    until(lambda: served.services.gate.inside == 0, seconds=5)


def test_a_full_gate_refuses_before_the_body_comes(serve):
    served = serve(held=True, max_waiting=1, drain_grace=0.5)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served.upload, "a.jpg", Prefer="wait=60")
        until(lambda: served.services.gate.inside == 1)
        with served.connect(SLOW) as sock:
            status, headers, text = answer_on(sock)
        assert (status, headers["connection"]) == (503, "close")
        assert int(headers["retry-after"]) >= 1
        assert "too many clients" in text
        assert len(served.sent) == 1
        served.server.stop()
        assert waiting.result(10)[0] == 202


def test_health_needs_no_thread(serve, monkeypatch):
    """Every thread of the server is held; the loop itself gives the sign of life, and refuses."""
    monkeypatch.setattr("irs.web.acceptor.SPARE", 0)
    monkeypatch.setattr("irs.web.acceptor.STREAMS", 0)
    served = serve(held=True, max_waiting=2, drain_grace=0.5)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(served.upload, "a.jpg", Prefer="wait=60") for _ in range(2)]
        until(lambda: served.services.gate.inside == 2)
        assert served.request("GET", "/healthz")[0] == 200
        assert served.request("HEAD", "/healthz")[0] == 200
        assert served.upload("b.jpg")[0] == 503
        served.server.stop()
        assert [wait.result(10)[0] for wait in waits] == [202, 202]


def test_one_client_cannot_take_every_connection(serve, monkeypatch):
    monkeypatch.setattr("irs.web.acceptor.SPARE_CONNECTIONS", 10)
    monkeypatch.setattr("irs.web.acceptor.LEAVING", 20)
    served = serve(max_waiting=4)  # 22 connections
    with contextlib.ExitStack() as slow:
        socks = [slow.enter_context(served.connect(SLOW)) for _ in range(60)]
        assert served.upload("a.jpg")[::2] == (200, "(a, label a.jpg)\n")
        status, headers, _ = answer_on(socks[30])  # the oldest had to go, and the last were told
        assert (status, headers["retry-after"]) == (503, "1")
        assert served.metric('irs_connections_ended_total{reason="evicted"}') >= 38
        assert served.metric("irs_connections") <= 22 + 20 + 1


def test_connections_of_one_client_can_be_bounded(serve):
    served = serve(max_client_connections=3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(served.connect(SLOW))
        with served.connect() as sock:
            status, headers, text = answer_on(sock)
        assert (status, headers["retry-after"], text) == (
            429, "1", "error: more connections than one client may have\n")
    until(lambda: served.request("GET", "/healthz")[0] == 200)


def test_a_connection_that_its_client_is_about_to_use_again_makes_no_room(serve):
    """A request may be on its way on it, which would be lost without an answer."""
    served = serve(max_client_connections=1)
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with served.connect(get) as old:
        assert answer_on(old)[0] == 200
        with served.connect() as new:
            assert answer_on(new)[0] == 429
        old.sendall(get)
        assert answer_on(old)[0] == 200


def test_a_clients_idle_connections_make_room_for_its_new_one(serve, monkeypatch):
    monkeypatch.setattr("irs.web.acceptor.PAUSE", 0.0)
    served = serve(max_client_connections=3)
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with contextlib.ExitStack() as stack:
        stack.enter_context(served.connect(SLOW))
        old, young = (stack.enter_context(served.connect()) for _ in range(2))
        for sock in (young, old, young):
            sock.sendall(get)
            assert answer_on(sock)[0] == 200
        new = stack.enter_context(served.connect(get))
        assert answer_on(new)[0] == 200
        assert old.recv(1) == b"", "the one that was idle for longest"
        young.sendall(get)
        assert answer_on(young)[0] == 200
        for sock in (young, new):
            sock.sendall(SLOW)
        channels = served.server._server.active_channels
        until(lambda: sum(channel.request is not None for channel in list(channels.values())) == 3)
        with served.connect() as sock:
            assert answer_on(sock)[0] == 429, "none is idle"
    until(lambda: not channels)
    assert [served.metric(f'irs_connections_ended_total{{reason="{why}"}}')
            for why in ("client_idle", "client_limit")] == [1, 1]


def test_bytes_of_bodies_are_bounded_and_the_one_with_most_has_to_go(serve, monkeypatch):
    monkeypatch.setattr("irs.web.acceptor.BODIES", 1)
    # 223,168 bytes in a request, and in all
    served = serve(max_files=1, max_image_bytes=100_000, max_batch_bytes=1_000)
    bodies = served.server._server.bodies

    def sends(number: int) -> socket.socket:
        return served.connect(HEAD + b"Content-Length: 200000\r\n\r\n" + b"x" * number)

    with sends(90_000) as small, sends(110_000) as large:
        until(lambda: bodies.held == 200_000)
        assert served.upload("a.jpg")[0] == 200
        with sends(60_000) as last:
            status, headers, text = answer_on(large)
            assert (status, headers["retry-after"]) == (503, "5")
            assert "too many large requests" in text
            until(lambda: bodies.held == 150_000)
            for sock in (small, last):
                sock.shutdown(socket.SHUT_WR)
                assert answer_on(sock)[0] == 400
    until(lambda: bodies.held == 0)
    with sends(100_000):
        until(lambda: bodies.held == 100_000)
    until(lambda: bodies.held == 0)  # who leaves takes his bytes along


def test_a_batch_may_be_larger_than_an_upload_and_only_where_batches_are_taken(serve):
    served = serve(max_files=1, max_image_bytes=10_000, max_batch_bytes=100_000)  # 43,168 of an upload
    for path, size, status in (("/upload", 50_000, 413), ("/v1/images", 50_000, 413),
                               ("/v1/batches", 50_000, 400), ("/v1/batches", 100_000, 413)):
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/zip\r\n".encode()
        with served.connect(head + f"Content-Length: {size}\r\n\r\n".encode()) as sock:
            if status == 400:  # it is read, and is no zip
                sock.sendall(b"x" * size)
            assert answer_on(sock)[0] == status, path
        with served.connect(head + b"Transfer-Encoding: chunked\r\n\r\n") as sock:
            sock.sendall(f"{size:x}\r\n".encode())
            if status == 400:
                sock.sendall(b"x" * size + b"\r\n0\r\n\r\n")
            assert answer_on(sock)[0] == status, path


def test_a_client_that_never_hangs_up_is_hung_up_on(serve, monkeypatch):
    monkeypatch.setattr("irs.web.connection.LINGER_IDLE", 0.1)
    served = serve()
    with served.connect(b"NONSENSE\r\n\r\n") as sock:
        assert answer_on(sock)[0] == 400
        until(lambda: not served.connections)


def endless(served) -> threading.Event:
    """Answer ``/endless`` without end; set once such an answer is closed."""
    closed = threading.Event()

    def answer() -> Response:
        made = Response(itertools.repeat(bytes(262_144)))
        made.call_on_close(closed.set)
        return made

    served.app.add_url_rule("/endless", view_func=answer)
    return closed


def test_a_client_that_does_not_read_its_answer_frees_its_place(serve, monkeypatch):
    monkeypatch.setattr("irs.web.connection.UNREAD", 0.1)
    served = serve()
    closed = endless(served)
    with served.connect(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n"):
        assert closed.wait(15)
        until(lambda: not served.connections)
    assert served.metric('irs_connections_ended_total{reason="unread"}') == 1


def test_a_client_that_takes_little_at_a_time_frees_its_place(serve, monkeypatch):
    monkeypatch.setattr("irs.web.connection.UNREAD", 1.0)
    served = serve(body_rate=1_000_000_000)  # what the network holds buys it no time
    closed = endless(served)
    with served.connect(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n") as sock, \
            contextlib.suppress(ConnectionError):
        deadline = time.monotonic() + 15
        while not closed.wait(0.05):  # far sooner than it would count as gone
            assert time.monotonic() < deadline
            sock.recv(262_144)
    assert served.metric('irs_connections_ended_total{reason="unread"}') == 1


def test_who_reads_slowly_has_the_whole_answer(serve, monkeypatch):
    monkeypatch.setattr("irs.web.connection.UNREAD", 1.5)
    served = serve()
    blocks, size = 100, 262_144
    served.app.add_url_rule(
        "/long", view_func=lambda: Response(itertools.repeat(bytes(size), blocks)))
    with served.connect(b"GET /long HTTP/1.0\r\nHost: x\r\n\r\n") as sock:
        had, looks = 0, 0
        while data := sock.recv(8_388_608):
            had += len(data)
            if looks < 3 and had > looks * 8_000_000:
                looks += 1
                rounds = served.rounds
                until(lambda before=rounds: served.rounds > before)
        assert looks == 3
    assert had > blocks * size


def test_the_server_asks_the_network_whether_a_client_is_still_there(serve):
    served = serve()
    with served.connect(SLOW):
        until(lambda: served.connections)
        (channel,) = served.connections
        assert channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert channel.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10


def test_a_stopping_server_answers_who_still_sends(serve):
    served = serve(drain_grace=10.0)
    with served.connect(SLOW) as sock, served.connect() as silent:
        until(lambda: any(channel.request for channel in served.connections))
        served.server.stop()
        status, headers, text = answer_on(sock)
        assert (status, headers["retry-after"], text) == (
            503, "1", "error: the service is restarting, try again\n")
        silent.settimeout(5)  # and it does not wait for the whole grace
        assert silent.recv(1) == b""


def test_a_stopping_server_answers_who_stands_in_its_sockets_queue(serve):
    served = serve(run=False)
    body, kind = form("late.jpg")
    head = HEAD + f"Content-Length: {len(body)}\r\nContent-Type: {kind['Content-Type']}\r\n\r\n".encode()
    with served.connect(SLOW) as slow, served.connect(head + body) as whole, served.connect() as silent:
        served.server.stop()
        served.server.run()
        assert [answer_on(sock)[0] for sock in (slow, whole)] == [503, 503]
        assert silent.recv(1) == b""


@pytest.mark.parametrize(("head", "kind"), [
    (b"POST /v1/images HTTP/1.1\r\n", "application/problem+json"),
    (b"POST /upload HTTP/1.1\r\n", "text/plain; charset=utf-8"),
    (b"POST /upload HTTP/1.1\r\nAccept: application/json\r\n", "application/problem+json")])
def test_what_the_application_never_sees_has_its_form_of_an_error(serve, head, kind):
    with serve().connect(head + b"Host: x\r\nContent-Length: five\r\n\r\n") as sock:
        status, headers, text = answer_on(sock)
    assert (status, headers["content-type"], text.count("\n")) == (400, kind, 1)
    if "json" in kind:
        assert json.loads(text)["code"] == "bad_request"


# -- a long queue --------------------------------------------------------------------------
def test_a_long_queue_refuses_new_work_before_its_body_comes(serve):
    served = serve(held=True, max_queue_wait=60.0)
    served.services.estimates.queue_wait = lambda: 100.4
    with served.connect(SLOW) as sock:
        status, headers, text = answer_on(sock)
    assert (status, headers["retry-after"], text) == (
        503, "41", "error: the queue is about 100 s long, try again later\n")
    assert not served.sent
    served.services.estimates.queue_wait = lambda: 59.0
    assert served.upload("a.jpg", Prefer="wait=0")[0] == 202


# -- keys ----------------------------------------------------------------------------------
def test_a_stranger_is_refused_before_the_body_comes(serve):
    served = serve(api_keys="me:0123456789abcdef")
    with served.connect(SLOW) as sock:
        status, headers, _ = answer_on(sock)
    assert (status, "Basic" in headers["www-authenticate"]) == (401, True)  # the last line of two
    assert served.upload("a.jpg", **{"X-API-Key": "0123456789abcdef"})[0] == 200
    assert served.request("GET", "/healthz")[0] == 200
    # What `irs up` shows while it runs comes from /metrics.
    assert status_line.answered(served.server.url, "0123456789abcdef") == 1
    assert status_line.answered(served.server.url) is None


def test_a_request_costs_one_token_behind_the_server(serve):
    served = serve(api_keys="me:0123456789abcdef", api_rate=0.2)  # two at once
    key = {"X-API-Key": "0123456789abcdef"}
    assert [served.upload("a.jpg", **key)[0] for _ in range(3)] == [200, 200, 429]


# -- whatever comes ------------------------------------------------------------------------
lines = st.one_of(
    st.sampled_from([
        b"POST /upload HTTP/1.1", b"POST /v1/images HTTP/1.1", b"GET /healthz HTTP/1.0", b"Host: x",
        b"Content-Length: 5", b"Content-Length: -5", b"Content-Length: 99999999999999999999",
        b"Content-Length: 5, 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked",
        b"Expect: 100-continue", b"Connection: keep-alive",
        b"Content-Type: multipart/form-data; boundary=xyz", b"Content-Type: image/jpeg",
        b"", b"", b"5", b"hello", b"0", b"--xyz", b"--xyz--",
        b'Content-Disposition: form-data; name="f"; filename="a.jpg"', b"\x00", b" folded"]),
    st.binary(max_size=40))


@settings(max_examples=150, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.lists(lines, max_size=14).map(b"\r\n".join),
       cuts=st.lists(st.integers(0, 300), max_size=2))
def test_any_bytes_have_an_answer_of_ours(fuzzed, sent, cuts):
    """Never a 500, never a trace of a bug, never a server that is gone."""
    served, bugs = fuzzed
    with served.connect() as sock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for start, end in itertools.pairwise([0, *sorted(cuts), max(len(sent), *cuts, 0)]):
            sock.sendall(sent[start:end])
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as stream:
            answers = stream.read()
        statuses = {int(code) for code in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answers, re.MULTILINE)}
        assert statuses <= {100, 200, 202, 400, 404, 405, 408, 413, 415, 422, 431, 501}, answers
    assert not bugs.records


class Bugs(logging.Handler):
    """Collects what waitress and our own loop report as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record.getMessage())

    def exception(self, event: str, **values: object) -> None:
        self.records.append((event, values, sys.exc_info()[1]))


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[Served, Bugs]]:
    """One server for all examples, and the bugs that it reported."""
    bugs = Bugs()
    with serving() as start, pytest.MonkeyPatch.context() as patch:
        patch.setattr("irs.web.acceptor._log", bugs)
        logging.getLogger("waitress").addHandler(bugs)
        served = start(max_files=3, max_image_bytes=10_000)
        yield served, bugs
        assert served.request("GET", "/healthz")[0] == 200
        until(lambda: served.server._server.bodies.held == 0)
        assert 'code="500"' not in served.request("GET", "/metrics")[2]
        assert not bugs.records
        logging.getLogger("waitress").removeHandler(bugs)

"""The fault proxy over real sockets, before a small endpoint that counts what reaches it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from irs.testing.proxy import (
    Answer,
    Delay,
    Duplicate,
    Exchange,
    Hang,
    LoseReply,
    Proxy,
    Reset,
    Rewrite,
    Rule,
    Stale,
)

RECEIVE = {"X-Amz-Target": "AmazonSQS.ReceiveMessage", "Content-Type": "application/x-amz-json-1.0"}
SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, SignedHeaders=host"


class Endpoint(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, bytes]] = []
        self.answer = b'{"Messages": [{"Body": "a"}, {"Body": "b"}]}'


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))
        answer = self.server.answer
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def heard() -> list[Exchange]:
    return []


@pytest.fixture
def proxy(endpoint: Endpoint, heard: list[Exchange]) -> Iterator[Proxy]:
    with Proxy(f"http://127.0.0.1:{endpoint.server_port}", heard=heard.append) as found:
        yield found


class Client(http.client.HTTPConnection):
    def ask(self, method="POST", path="/", body=b'{"QueueUrl": "http://x/1/in-1"}', headers=RECEIVE):
        self.request(method, path, body, headers)
        answer = self.getresponse()
        return answer.status, answer.headers, answer.read()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    found = Client("127.0.0.1", proxy.port, timeout=5)
    yield found
    found.close()


def test_it_passes_calls_on_over_one_connection_and_tells_what_was_answered(client, endpoint, heard):
    for _ in range(2):
        status, _, body = client.ask()
        assert (status, body) == (200, endpoint.answer)
    assert [e.call.operation for e in heard] == ["ReceiveMessage"] * 2
    assert (heard[0].call.service, heard[0].call.target) == ("sqs", "in-1")


def test_a_head_answer_keeps_its_length(client, endpoint):
    status, headers, body = client.ask("HEAD", "/bucket/key", None, {})
    assert (status, headers["Content-Length"], body) == (200, str(len(endpoint.answer)), b"")


def test_chunked_bodies_pass(client, endpoint):
    client.request("PUT", "/bucket/key", iter([b"one", b"two"]), {}, encode_chunked=True)
    assert client.getresponse().read() == endpoint.answer
    assert endpoint.seen == [("PUT", "/bucket/key", b"onetwo")]


@pytest.mark.parametrize(("service", "method", "path", "body", "headers", "expected"), [
    ("s3", "PUT", "/in/a%20b", b"x", {}, ("s3", "PutObject", "in/a b")),
    ("s3", "GET", "/in?list-type=2&prefix=a%2F", None, {}, ("s3", "ListObjectsV2", "in")),
    ("s3", "POST", "/in?delete", b"<Delete/>", {}, ("s3", "DeleteObjects", "in")),
    ("ec2", "POST", "/", b"Action=DescribeInstances&Version=1",
     {"Content-Type": "application/x-www-form-urlencoded"}, ("ec2", "DescribeInstances", "")),
    ("sns", "POST", "/", b"Action=Publish&TopicArn=arn%3Aaws%3Asns%3Aus-east-1%3A1%3At",
     {"Content-Type": "application/x-www-form-urlencoded"},
     ("sns", "Publish", "arn:aws:sns:us-east-1:1:t")),
])
def test_it_knows_each_service_s_calls(client, heard, service, method, path, body, headers, expected):
    client.ask(method, path, body, {"Authorization": SIGNED.format(service), **headers})
    call = heard[0].call
    assert (call.service, call.operation, call.target) == expected


def test_a_refusal_is_in_the_protocol_of_the_call_and_is_not_forwarded(client, proxy, endpoint):
    fault = proxy.add(Rule(action=Answer(400, "QueueDoesNotExist"), service="sqs"))
    status, headers, body = client.ask()
    assert status == 400
    assert headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert json.loads(body)["__type"] == "com.amazonaws.sqs#QueueDoesNotExist"
    proxy.add(Rule(action=Answer(503, "SlowDown"), service="s3"))
    assert b"<Code>SlowDown</Code>" in client.ask("GET", "/in/key", None, {})[2]
    assert client.ask("HEAD", "/in/key", None, {})[0] == 503
    assert (endpoint.seen, fault.fired) == ([], 1)


def test_a_rule_hits_what_it_names_as_often_as_it_says(client, proxy):
    rule = Rule(action=Answer(500), operations={"ReceiveMessage"}, target="in-", count=2)
    fault = proxy.add(rule)
    other = {**RECEIVE, "X-Amz-Target": "AmazonSQS.SendMessage"}
    assert client.ask(headers=other)[0] == 200
    assert client.ask(body=b'{"QueueUrl": "http://x/1/out-1"}')[0] == 200
    assert [client.ask()[0] for _ in range(3)] == [500, 500, 200]
    assert fault.fired == 2


def test_chance_is_seeded(endpoint):
    def pattern(seed: int) -> list[int]:
        with Proxy(f"http://127.0.0.1:{endpoint.server_port}", seed=seed) as proxy:
            proxy.add(Rule(action=Answer(500), chance=0.5))
            client = Client("127.0.0.1", proxy.port, timeout=5)
            try:
                return [client.ask()[0] for _ in range(20)]
            finally:
                client.close()
    assert pattern(1) == pattern(1) != pattern(2)
    assert set(pattern(1)) == {200, 500}


@pytest.mark.parametrize(("action", "reached"), [(Reset(), 0), (LoseReply(), 1), (LoseReply(30), 1)])
def test_a_reset_is_seen_and_a_lost_reply_was_a_success(client, proxy, endpoint, action, reached):
    proxy.add(Rule(action=action, count=1))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.ask()
    assert len(endpoint.seen) == reached
    client.close()
    assert client.ask()[0] == 200


def test_a_hang_lasts_until_it_is_cleared(proxy, endpoint):
    client = Client("127.0.0.1", proxy.port, timeout=0.3)
    fault = proxy.add(Rule(action=Hang()))
    with pytest.raises(TimeoutError):
        client.ask()
    client.close()
    patient = Client("127.0.0.1", proxy.port, timeout=5)
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            patient.ask()
        except (ConnectionError, http.client.HTTPException) as exc:
            ended.append(exc)

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 5
    while fault.fired < 2 and time.monotonic() < deadline:
        thread.join(0.01)
    fault.clear()
    thread.join(5)
    assert (len(ended), endpoint.seen) == (1, [])
    assert patient.ask()[0] == 200
    patient.close()


def test_a_delay_forwards_late(client, proxy, endpoint):
    proxy.add(Rule(action=Delay(0.2)))
    began = time.monotonic()
    assert client.ask()[0] == 200
    assert time.monotonic() - began >= 0.2
    assert len(endpoint.seen) == 1


def test_duplicates_arrive_twice_or_are_sent_twice(client, proxy, endpoint):
    proxy.add(Rule(action=Duplicate()))
    bodies = [m["Body"] for m in json.loads(client.ask()[2])["Messages"]]
    assert (bodies, len(endpoint.seen)) == (["a", "a", "b", "b"], 1)
    client.ask(headers={**RECEIVE, "X-Amz-Target": "AmazonSQS.SendMessage"})
    assert len(endpoint.seen) == 3


def test_answers_are_rewritten_or_stale(client, proxy, endpoint):
    counts = {**RECEIVE, "X-Amz-Target": "AmazonSQS.GetQueueAttributes"}
    first = client.ask(headers=counts)[2]
    endpoint.answer = b'{"new": 1}'
    stale = proxy.add(Rule(action=Stale()))
    assert client.ask(headers=counts)[2] == first
    stale.clear()
    proxy.add(Rule(action=Rewrite(lambda body: body.replace(b"1", b"22"))))
    assert client.ask(headers=counts)[2] == b'{"new": 22}'


def test_it_refuses_connections_and_takes_them_again_at_its_port(client, proxy):
    assert client.ask()[0] == 200
    proxy.refuse()
    client.close()
    with pytest.raises(ConnectionRefusedError):
        client.ask()
    client.close()
    proxy.clear()
    assert client.ask()[0] == 200


def test_an_endpoint_that_is_down_resets_the_client(endpoint):
    with Proxy("http://127.0.0.1:9") as proxy:
        client = Client("127.0.0.1", proxy.port, timeout=5)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            client.ask()
        client.close()

"""The embedded cloud's HTTP, as AWS's clients use it, and its end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from irs.aws import provision
from irs.aws.queues import Queue
from irs.local.emulator import HOST, Emulator
from irs.settings import build
from tests.processes import until

pytestmark = pytest.mark.integration

LARGE = os.urandom(300_000)


def ask(connection: http.client.HTTPConnection, call: str, *, account: str | None = "test",
        **parameters: Any) -> None:
    """Send a call by SQS's JSON protocol; of nobody's, where ``account`` is None."""
    headers = {"X-Amz-Target": f"AmazonSQS.{call}", "Content-Type": "application/x-amz-json-1.0"}
    if account is not None:
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/sqs/aws4_request")
    connection.request("POST", "/", json.dumps(parameters), headers)


def said(connection: http.client.HTTPConnection) -> tuple[int, dict[str, Any]]:
    """Status and content of the answer."""
    with connection.getresponse() as answer:
        return answer.status, json.loads(answer.read())


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def test_a_body_in_chunks_waits_for_its_100_and_answers_keep_their_order(cloud: Any) -> None:
    """An upload as botocore begins one, then three requests at once on the same connection."""
    settings = cloud.fresh()
    provision.ensure(settings)
    path = f"/{settings.input_bucket}/a"
    with socket.create_connection((HOST, port_of(cloud.endpoint)), timeout=20) as connection:
        connection.sendall(f"PUT {path} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n"
                           "Expect: 100-continue\r\n\r\n".encode())
        with connection.makefile("rb") as answers:
            assert [answers.readline(), answers.readline()] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
            half = len(LARGE) // 2
            connection.sendall(b"".join(
                b"%x\r\n%b\r\n" % (len(part), part) for part in (LARGE[:half], LARGE[half:], b"")))
            assert answer(answers) == (200, b"")
            connection.sendall(b"".join(
                f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
                for method in ("HEAD", "GET", "DELETE")))
            assert [answer(answers, method) for method in ("HEAD", "GET", "DELETE")] == [
                (200, b""), (200, LARGE), (204, b"")]


def answer(answers: Any, method: str = "PUT") -> tuple[int, bytes]:
    """The next answer of a connection: its status and body."""
    status = int(answers.readline().split()[1])
    headers = http.client.parse_headers(answers)
    assert len(headers.get_all("Date", [])) == 1
    size = 0 if method == "HEAD" else int(headers["Content-Length"])
    return status, answers.read(size)


def test_a_request_is_not_taken_for_the_one_before_it(cloud: Any) -> None:
    """Whose a request is MiniStack keeps in context variables, which a connection must not hand on."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port_of(cloud.endpoint), timeout=20)) as kept:
        ask(kept, "CreateQueue", account="111111111111", QueueName="theirs")
        url = said(kept)[1]["QueueUrl"]
        assert "/111111111111/" in url
        # Too large to be read at once: the connection is read on from within the request.
        ask(kept, "SendMessage", account="111111111111", QueueUrl=url, MessageBody="x" * len(LARGE))
        assert said(kept)[0] == 200
        ask(kept, "ListQueues", account=None)
        assert "/111111111111/" not in json.dumps(said(kept))


def test_a_second_interrupt_and_a_long_poll_lose_nothing(tmp_path: Path) -> None:
    """The poll does not hold the end up for its 20 s, and what waits is saved all the same."""
    with Emulator(tmp_path) as emulator, contextlib.closing(
            http.client.HTTPConnection(HOST, emulator.port, timeout=20)) as polled:
        settings = build({"aws_endpoint_url": emulator.endpoint, "aws_access_key_id": "test",
                          "aws_secret_access_key": "test"})
        empty, kept = Queue(settings, "empty"), Queue(settings, "kept")
        empty.create()
        kept.create()
        ask(polled, "ReceiveMessage", QueueUrl=empty.url, WaitTimeSeconds=20)
        kept.send("still here")  # the emulator has turned to the poll before it answers this
        os.kill(emulator.child.pid, signal.SIGINT)
        until(lambda: refused(emulator.port))
        os.kill(emulator.child.pid, signal.SIGINT)
        status, answer = said(polled)
        assert (status, answer["__type"]) == (503, "com.amazonaws.sqs#ServiceUnavailable")
        assert emulator.child.wait(10) == 0, emulator.child.tail()
    assert "Traceback" not in (tmp_path / "emulator.log").read_text()
    assert "still here" in (tmp_path / "state" / "sqs.json").read_text()


def test_an_upload_that_does_not_get_on_is_told_to_come_again(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator, socket.create_connection((HOST, emulator.port), 20) as slow:
        slow.sendall(b"PUT /a/b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        with slow.makefile("rb") as answers:
            assert answers.readline() == b"HTTP/1.1 100 Continue\r\n"  # it is being read
            answers.readline()
            emulator.child.terminate()
            assert answers.readline().split()[1] == b"503"
            assert answers.read().endswith(b"\r\n\r\n")
        assert emulator.child.wait(10) == 0, emulator.child.tail()
    assert "Traceback" not in (tmp_path / "emulator.log").read_text()


def refused(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex((HOST, port)) != 0

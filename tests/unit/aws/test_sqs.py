"""Calls over libcurl against a server of the test's own: what it sends, and what it makes of answers."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth  # noqa: TID251 - what it is compared with
from botocore.awsrequest import AWSRequest  # noqa: TID251
from botocore.credentials import Credentials  # noqa: TID251

from irs import errors
from irs import settings as settings_module
from irs.aws import clients, sqs
from irs.settings import Settings
from tests.processes import until
from tests.receiver import Call, Receiver, receiving

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ANSWERS = {"QueueUrl": "http://q/1/tasks"}


def made(endpoint: str, **given: Any) -> Settings:
    return settings_module.build({"aws_endpoint_url": endpoint, "aws_access_key_id": KEY,
                                  "aws_secret_access_key": SECRET, "region": "eu-west-3", **given})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqs, "PAUSE", 0.0)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiving() as receiver:
        receiver.text = json.dumps(ANSWERS).encode()
        yield receiver


@pytest.fixture
def client(server: Receiver) -> sqs.Client:
    return sqs.client(made(server.url("")))


def ask(client: sqs.Client, **given: Any) -> dict[str, Any]:
    return client.call("SQS queue tasks", "GetQueueUrl", **{"QueueName": "tasks", **given})


def signature(call: Call, endpoint: str, token: str | None = None) -> str:
    """What botocore would have signed the same request with, at the same time."""
    signed = call.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest("POST", endpoint, data=call.body, headers={
        name: call.headers[name] for name in signed
        if name not in ("host", "x-amz-date", "x-amz-security-token")})
    when = datetime.strptime(call.headers["x-amz-date"], SIGV4_TIMESTAMP).replace(tzinfo=UTC)
    auth = SigV4Auth(Credentials(KEY, SECRET, token), "sqs", "eu-west-3")
    request.context["timestamp"] = when.strftime(SIGV4_TIMESTAMP)
    request.headers["X-Amz-Date"] = call.headers["x-amz-date"]
    if token:
        request.headers["X-Amz-Security-Token"] = token
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return auth.signature(text, request)


# -- what it sends ---------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["tasks", "Größe \N{CAT FACE} \"quoted\" \\ \x01", "x" * 1_000_000])
def test_a_call_is_json_signed_as_botocore_signs(server: Receiver, client: sqs.Client, text: str) -> None:
    assert ask(client, QueueName=text) == ANSWERS
    (call,) = server.calls
    assert json.loads(call.body) == {"QueueName": text}
    assert (call.path, call.headers["x-amz-target"]) == ("/", "AmazonSQS.GetQueueUrl")
    assert call.headers["content-type"] == "application/x-amz-json-1.0"
    assert call.headers["user-agent"].startswith("irs/")
    assert "expect" not in call.headers
    assert call.headers["x-amzn-query-mode"] == "true", "the codes that `faults` knows are asked for"
    scope = f"AWS4-HMAC-SHA256 Credential={KEY}/{call.headers['x-amz-date'][:8]}/eu-west-3/sqs/aws4_request"
    assert call.headers["authorization"].startswith(scope)
    assert {"host", "x-amz-date", "x-amz-target"} <= set(
        call.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";"))
    assert call.headers["authorization"].endswith(f"Signature={signature(call, server.url('/'))}")


def test_credentials_for_a_while_have_a_token_and_are_asked_for_anew(
        server: Receiver, client: sqs.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("IQoJb3JpZ2luX2VjEJ//", "another=="):
        monkeypatch.setattr(clients.session(made(server.url(""))), "get_credentials",
                            lambda token=token: Credentials(KEY, SECRET, token))
        ask(client)
        assert server.calls[-1].headers["x-amz-security-token"] == token
        assert server.calls[-1].headers["authorization"].endswith(
            f"Signature={signature(server.calls[-1], server.url('/'), token)}")


def test_without_credentials_it_says_so(
        server: Receiver, client: sqs.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients.session(made(server.url(""))), "get_credentials", lambda: None)
    with pytest.raises(errors.AccessDenied, match=r"^SQS queue tasks: no AWS credentials found"):
        ask(client)
    assert server.calls == []


def test_credentials_that_are_not_there_are_not_looked_for_at_every_call(
        server: Receiver, client: sqs.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Credentials | None] = [None, Credentials(KEY, SECRET)]
    monkeypatch.setattr(clients.session(made(server.url(""))), "get_credentials", lambda: found.pop(0))
    for _ in range(2):
        with pytest.raises(errors.AccessDenied, match="no AWS credentials found"):
            ask(client)
    assert len(found) == 1
    monkeypatch.setattr(sqs, "LOOK_AGAIN", 0.0)
    assert ask(client) == ANSWERS


@pytest.mark.parametrize(("key", "secret", "token"), [
    ("AKIDÄ", SECRET, None), (KEY, "geheimniß", None), (KEY, "a\0b", None), (KEY + "\n", SECRET, None),
    (KEY, SECRET, "token\n"), (KEY, SECRET, "token\r\nX-More: 1"),
])
def test_credentials_that_can_be_none_are_told_and_not_sent(
        server: Receiver, client: sqs.Client, monkeypatch: pytest.MonkeyPatch,
        key: str, secret: str, token: str | None) -> None:
    monkeypatch.setattr(clients.session(made(server.url(""))), "get_credentials",
                        lambda: Credentials(key, secret, token))
    with pytest.raises(errors.AccessDenied) as caught:
        ask(client)
    assert str(caught.value) == ("SQS queue tasks: AWS credentials have letters, digits and signs of ASCII "
                                 "only, and no line's end; these have something else")
    assert server.calls == []


def test_a_lone_surrogate_is_sent_as_json_writes_it(server: Receiver, client: sqs.Client) -> None:
    ask(client, QueueName="ä\udcff")
    assert server.calls[0].body == '{"QueueName":"ä\\udcff"}'.encode()


DEAD = "http://127.0.0.1:9"


@pytest.mark.parametrize(("environment", "reached"), [
    ({"http_proxy": DEAD}, False), ({"HTTP_PROXY": DEAD}, False), ({"ALL_PROXY": DEAD}, True),
    ({"http_proxy": DEAD, "no_proxy": "127.0.0.1"}, True),
    ({"http_proxy": DEAD, "no_proxy": "127.0.0.1:PORT"}, True),
    ({"http_proxy": DEAD, "no_proxy": "127.0.0.1:1"}, False),
])
def test_proxies_are_those_that_boto3_finds(
        server: Receiver, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str],
        reached: bool) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("PORT", str(server.port)))
    client = sqs.Client(made(server.url("")))
    if reached:
        assert ask(client) == ANSWERS
    else:
        with pytest.raises(errors.Unreachable, match=r"^SQS queue tasks: .*proxy"):
            ask(client, attempts=1)
    assert len(server.calls) == reached


# -- what it makes of answers ----------------------------------------------------------------
@pytest.mark.parametrize(("status", "code", "text", "kind", "said"), [
    (400, "AWS.SimpleQueueService.NonExistentQueue;Sender",
     {"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified\n queue does not exist."},
     errors.NotFound, "The specified queue does not exist."),
    (400, None, {"__type": "com.amazonaws.sqs#QueueDoesNotExist"}, errors.NotFound, "QueueDoesNotExist"),
    (400, "InvalidParameterValue;Sender", {"__type": "x#Y", "Message": "ReceiptHandle has expired"},
     errors.BadReceipt, "ReceiptHandle has expired"),
    (403, None, {"__type": "AccessDeniedException", "message": "no"}, errors.AccessDenied, "no"),
    (400, None, {"__type": "a.b#NotFoundException:http://a/b#c", "message": "no"}, errors.NotFound, "no"),
    (400, "SomethingNew", {}, errors.Permanent, "SomethingNew"),
    (404, None, b"<html>not here</html>", errors.NotFound, "HTTP 404 Not Found"),
    (400, None, b"[1]", errors.Permanent, "HTTP 400 Bad Request"),
    (499, None, b"", errors.Permanent, "HTTP 499"),
])
def test_a_refusal_is_one_of_ours_in_one_line_and_is_not_repeated(
        server: Receiver, client: sqs.Client, status: int, code: str | None, text: Any,
        kind: type[errors.CloudError], said: str) -> None:
    server.answer = lambda number: status
    server.headers = {"x-amzn-query-error": code} if code else {}
    server.text = text if isinstance(text, bytes) else json.dumps(text).encode()
    with pytest.raises(errors.CloudError) as caught:
        ask(client)
    assert (type(caught.value), str(caught.value)) == (kind, f"SQS queue tasks: {said}")
    assert len(server.calls) == 1


@pytest.mark.parametrize("code", ["KMS.ThrottlingException", "RequestThrottled"])
def test_who_is_too_fast_is_told_so(server: Receiver, client: sqs.Client, code: str) -> None:
    server.answer = lambda number: 400
    server.headers = {"x-amzn-query-error": f"{code};Sender"}
    with pytest.raises(errors.Throttled):
        ask(client)
    assert len(server.calls) == 3


@pytest.mark.parametrize("first", [500, 503, 429])
def test_what_may_pass_is_tried_three_times(server: Receiver, client: sqs.Client, first: int) -> None:
    server.answer = lambda number: first if number < 3 else 200
    assert ask(client) == ANSWERS
    assert len(server.calls) == 3
    server.answer = lambda number: first
    with pytest.raises(errors.Retryable):
        ask(client)
    assert len(server.calls) == 6
    with pytest.raises(errors.Retryable):
        ask(client, attempts=1)
    assert len(server.calls) == 7


@pytest.mark.parametrize("text", [b"", b"{}", b"null"])
def test_an_answer_may_be_empty(server: Receiver, client: sqs.Client, text: bytes) -> None:
    server.text = text
    assert ask(client) == {}


def test_a_member_that_is_null_is_as_if_it_were_not_there(server: Receiver, client: sqs.Client) -> None:
    server.text = b'{"Attributes": null, "QueueUrl": "u"}'
    assert ask(client) == {"QueueUrl": "u"}


def test_an_answer_that_is_no_json_may_be_another_time(server: Receiver, client: sqs.Client) -> None:
    server.text = b"<html>"
    with pytest.raises(errors.Unreachable, match=r"^SQS queue tasks: the answer is no JSON$"):
        ask(client)
    assert len(server.calls) == 3


# -- connections -----------------------------------------------------------------------------
def elsewhere(client: sqs.Client, **given: Any) -> Any:
    """A call in another thread than the main one, which has a way of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask, client, **given).result(60)


@pytest.mark.parametrize("call", [ask, elsewhere])
def test_who_does_not_answer_is_given_up_in_time(call: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = sqs.client(made(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        began = time.monotonic()
        with pytest.raises(errors.Unreachable, match=r"^SQS queue tasks: [^\n]*timed out[^\n]*$"):
            call(client, read_timeout=0.2)
        assert 0.5 < time.monotonic() - began < 2, "three tries of 0.2 s"


@pytest.mark.parametrize("call", [ask, elsewhere])
def test_a_connection_is_kept_and_one_that_was_closed_meanwhile_is_no_error(call: Any) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    seen: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def serve() -> None:
            for number in range(2):
                sock, _ = listening.accept()
                with sock, sock.makefile("rb") as stream:
                    for _ in range(2):
                        length = 0
                        while (line := stream.readline().strip()):
                            if line.lower().startswith(b"content-length:"):
                                length = int(line.partition(b":")[2])
                        stream.read(length)
                        seen.append(number)
                        sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        client = sqs.client(made(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        for _ in range(4):
            assert call(client, attempts=1) == {}
        thread.join(20)
    assert seen == [0, 0, 1, 1]


def test_many_at_once_get_their_own_answers(server: Receiver, client: sqs.Client) -> None:
    def one(number: int) -> bool:
        return ask(client, QueueName=f"q{number}") == ANSWERS

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(one, range(400)))
    assert {json.loads(call.body)["QueueName"] for call in server.calls} == {f"q{n}" for n in range(400)}


def test_an_idle_connection_keeps_no_messages(server: Receiver, client: sqs.Client) -> None:
    server.text = json.dumps({"Messages": ["x" * 500_000]}).encode()
    assert len(elsewhere(client)["Messages"]) == 1
    for line in client._idle:
        assert (line._answer, line._heads) == ([], [])


FORKED = """
import os
from irs import settings
from irs.aws import sqs
client = sqs.client(settings.load())

def ask(who):
    for number in range(50):
        client.call("x", "GetQueueUrl", attempts=1, QueueName=f"{who} {number}")

ask("before")
if (child := os.fork()) == 0:
    ask("child")
    os._exit(0)
ask("parent")
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_has_connections_of_its_own() -> None:
    asked: list[set[str]] = []
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    class Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            asked.append(mine := set())
            while (header := list(iter(lambda: self.rfile.readline().strip(), b""))):
                length = next(line for line in header if line.startswith(b"Content-Length")).split()[1]
                mine.add(json.loads(self.rfile.read(int(length)))["QueueName"].split()[0])
                self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            done = subprocess.run(
                [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=60, check=False,
                env={**os.environ, "IRS_AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
                     "IRS_AWS_ACCESS_KEY_ID": KEY, "IRS_AWS_SECRET_ACCESS_KEY": SECRET})
        finally:
            server.shutdown()
            thread.join(20)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(map(sorted, asked)) == [["before", "parent"], ["child"]]


INTERRUPTED = """
import sys
from irs import settings
from irs.aws.queues import Queue
print("asks", flush=True)
try:
    Queue(settings.load(), "tasks").depth()
except KeyboardInterrupt:
    sys.exit("interrupted")
"""


def test_ctrl_c_does_not_wait_for_an_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        asking = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "IRS_AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
                 "IRS_AWS_ACCESS_KEY_ID": KEY, "IRS_AWS_SECRET_ACCESS_KEY": SECRET})
        try:
            sock, _ = silent.accept()
            with sock:
                until(lambda: sock.recv(100_000))
                asking.send_signal(signal.SIGINT)
                began = time.monotonic()
                assert asking.wait(60) == 1
                assert time.monotonic() - began < 3, "the call's own end is at 4 s"
            assert asking.stderr.read() == "interrupted\n"
        finally:
            asking.kill()
            asking.communicate()


# -- TLS -------------------------------------------------------------------------------------
def test_a_certificate_is_checked_by_the_authorities_that_are_named(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-days", "1", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with receiving(tls=context) as server:
        server.text = b"{}"
        with pytest.raises(errors.Unreachable, match=r"(?i)certificate"):
            ask(sqs.Client(made(server.url(""))), attempts=1)
        assert server.calls == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        for cached in (clients.session, clients._core, clients.client):
            cached.cache_clear()
        assert ask(sqs.Client(made(server.url("")))) == {}

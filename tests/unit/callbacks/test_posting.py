"""The POST itself: a real libcurl and real sockets."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from ipaddress import ip_network

import pytest

from irs.callbacks import posting
from irs.callbacks.posting import Lookups, Post
from tests.receiver import receiving

LOOPBACK = (ip_network("127.0.0.0/8"),)
HEADERS = {"webhook-id": "1"}


@pytest.fixture
def receiver():
    with receiving() as running:
        yield running


def post(url, *, allowed=LOOPBACK, names=None, body=b"{}"):
    def resolve(host, port):
        found = (names or {})[host]
        if callable(found):
            found = found()
        return found

    return Post(allowed, resolve=resolve)(url, body, HEADERS)


def test_what_arrives(receiver):
    answer = post(receiver.url("/a/../b;c?x=%20y&z"), body=b'{"a": "\xc3\xbc"}')
    assert (answer.status, answer.error) == (200, None)
    (call,) = receiver.calls
    assert (call.path, call.body) == ("/a/../b;c?x=%20y&z", b'{"a": "\xc3\xbc"}')
    assert call.headers["content-type"] == "application/json"
    assert call.headers["webhook-id"] == "1"
    assert call.headers["user-agent"].startswith("irs/")
    assert call.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "expect" not in call.headers


@pytest.mark.parametrize("status", [200, 204, 400, 410, 500])
def test_the_status_is_the_answer(receiver, status):
    receiver.answer = lambda number: status
    receiver.text = b""
    assert post(receiver.url()).status == status


def test_a_redirect_is_not_followed(receiver):
    receiver.answer = lambda number: 307
    receiver.headers = {"Location": receiver.url("/elsewhere")}
    assert post(receiver.url()).status == 307
    assert len(receiver.calls) == 1


def test_an_answer_is_not_read_to_its_end(receiver):
    receiver.text = bytes(50_000_000)
    began = time.process_time()
    assert post(receiver.url()).status == 200
    assert time.process_time() - began < 1


def test_an_answer_of_endless_headers_is_not_read_either(receiver):
    receiver.headers = {f"x-{n}": "y" * 1000 for n in range(80)}
    assert post(receiver.url()).status == 200  # said before them


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_no_proxy_of_the_environment(receiver, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert post(receiver.url()).status == 200


def test_nobody_listens(receiver):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    answer = post(f"http://127.0.0.1:{port}/secret?token=secret")
    assert answer.status is None
    assert "secret" not in answer.error
    assert "onnect" in answer.error


@pytest.mark.parametrize("says", [b"", b"nonsense\r\n\r\n", b"\0" * 100])
def test_what_is_not_http_is_no_answer(says):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            with server.accept()[0] as peer:
                peer.recv(65_536)
                peer.sendall(says)

        thread = threading.Thread(target=serve)
        thread.start()
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(10)
    assert answer.status is None
    assert answer.error


def test_who_is_silent_is_left(monkeypatch):
    monkeypatch.setattr(posting, "WHOLE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        answer = post(f"http://127.0.0.1:{server.getsockname()[1]}/")
    assert answer.error == "no answer within 0.3 s"


def test_who_answers_and_does_not_end_has_answered(monkeypatch):
    monkeypatch.setattr(posting, "WHOLE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        def serve():
            peer = stack.enter_context(server.accept()[0])
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")

        thread = threading.Thread(target=serve)
        thread.start()
        assert post(f"http://127.0.0.1:{server.getsockname()[1]}/").status == 200
        thread.join(10)


# -- which addresses -------------------------------------------------------------------------
def test_a_name_is_connected_to_where_it_was_judged(receiver):
    answer = post(receiver.url(host="hooks.example.com"), names={"hooks.example.com": ["127.0.0.1"]})
    assert answer.status == 200
    assert receiver.calls[0].headers["host"] == f"hooks.example.com:{receiver.port}"


@pytest.mark.parametrize("host", ["[::1]", "hooks.example.com"])
def test_over_ipv6(host):
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        def serve():
            with server.accept()[0] as peer:
                peer.recv(65_536)
                peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://{host}:{server.getsockname()[1]}/"
        assert post(url, allowed=(ip_network("::1/128"),), names={host: ["::1"]}).status == 204
        thread.join(10)


@pytest.mark.parametrize("host", ["Hooks.Example.COM", "hooks.example.com."])
def test_a_name_in_another_spelling_is_pinned_too(receiver, host):
    assert post(receiver.url(host=host), names={host.lower(): ["127.0.0.1"]}).status == 200


NAMES = {
    "private": ["10.0.0.1"],
    "metadata": ["169.254.169.254"],
    "one of two": ["1.1.1.1", "127.0.0.1"],
    "one of two, the other way": ["127.0.0.1", "1.1.1.1"],
    "mapped": ["::ffff:127.0.0.1"],
    "nat64": ["64:ff9b::7f00:1"],
    "6to4": ["2002:7f00:1::"],
    "link-local with a zone": ["fe80::1%1"],
}


@pytest.mark.parametrize("case", NAMES)
def test_every_address_of_a_name_must_be_public(receiver, case):
    url = receiver.url(host="hooks.example.com").replace("http:", "https:")
    answer = post(url, allowed=(), names={"hooks.example.com": NAMES[case]})
    assert answer.error == "callback_url has an address that is not public"
    assert receiver.calls == []


def test_plain_http_goes_to_allowed_networks_only():
    answer = post("http://hooks.example.com/", names={"hooks.example.com": ["1.1.1.1"]})
    assert answer.error == "callback_url must be https"


def test_a_literal_address_is_judged_again_when_it_is_called():
    """The settings were others when the job was accepted."""
    assert post("http://127.0.0.1/", allowed=()).error == "callback_url has an address that is not public"


def test_a_name_is_not_resolved_twice(receiver, monkeypatch):
    """Rebinding: the first answer is judged and connected to, whatever a second one would say."""
    answers = iter([["127.0.0.1"]])
    monkeypatch.setattr(socket, "getaddrinfo", None)
    names = {"hooks.example.com": lambda: next(answers)}
    assert post(receiver.url(host="hooks.example.com"), names=names).status == 200
    assert next(answers, None) is None


def test_libcurl_connects_to_no_other_address_than_those_judged(receiver):
    """Where it had resolved the name by itself: localhost is 127.0.0.1, and was said to be another."""
    answer = post(receiver.url(host="localhost"), names={"localhost": ["127.0.0.2"]},
                  allowed=(ip_network("127.0.0.2/32"),))
    assert answer.status is None
    assert receiver.calls == []


@pytest.mark.parametrize(("found", "says"), [([], "no address"), (OSError("x"), "x")])
def test_a_name_without_addresses(found, says):
    def none():
        if isinstance(found, OSError):
            raise found
        return found

    assert says in post("https://hooks.example.com/", names={"hooks.example.com": none}).error


# -- look-ups --------------------------------------------------------------------------------
def test_the_systems_resolver():
    assert "127.0.0.1" in Lookups()("localhost", 80)
    with pytest.raises(OSError, match="could not be resolved"):
        Lookups()("x" * 64 + ".invalid", 80)


def test_a_look_up_that_hangs_is_left():
    hangs = threading.Event()
    try:
        lookups = Lookups(lambda *args, **more: hangs.wait(10), seconds=0.05)
        with pytest.raises(TimeoutError, match="in time"):
            lookups("slow.example.com", 443)
    finally:
        hangs.set()


def test_look_ups_that_hang_are_bounded(monkeypatch):
    monkeypatch.setattr(posting, "LOOKUPS", 2)
    hangs, asked = threading.Event(), []

    def ask(host, *args, **more):
        asked.append(host)
        hangs.wait(10)
        return []

    try:
        lookups = Lookups(ask, seconds=0.05)
        for n in range(5):
            with pytest.raises(TimeoutError):
                lookups(f"{n}.example.com", 443)
        assert len(asked) == 2
    finally:
        hangs.set()


# -- TLS -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """A certificate for hooks.example.com, and a server's context with it."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI"):
            pytest.fail("no openssl on this machine")
        pytest.skip("no openssl on this machine")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=hooks.example.com", "-addext",
         "subjectAltName=DNS:hooks.example.com", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, str(certificate)


@pytest.mark.parametrize(("host", "known", "fine"), [
    ("hooks.example.com", True, True),       # the name stays the certificate's, whatever is connected to
    ("other.example.com", True, False),
    ("hooks.example.com", False, False),
])
def test_the_certificate_is_the_names_and_of_a_known_authority(tls, host, known, fine):
    context, certificate = tls
    with receiving(tls=context) as receiver:
        answer = Post(LOOPBACK, resolve=lambda host, port: ["127.0.0.1"],
                      cafile=certificate if known else None)(receiver.url(host=host), b"{}", HEADERS)
    assert (answer.status == 200) == fine, answer
    assert len(receiver.calls) == fine

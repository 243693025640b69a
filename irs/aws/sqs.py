"""SQS's calls over libcurl, in a quarter of boto3's processor time (docs/decisions/0036).

SQS speaks JSON: an operation's name in a header, its parameters as the body. libcurl signs, and
keeps connections; credentials and the endpoint are boto3's, found as for every other service.
"""

from __future__ import annotations

import functools
import json
import math
import os
import random
import threading
import time
from http.client import responses
from typing import Any
from urllib.parse import urlsplit

import pycurl
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from irs import errors
from irs.aws import calls, clients
from irs.aws.faults import NO_CREDENTIALS, classify, translated
from irs.settings import Settings

#: Seconds, the longest pause before the second try, twice that before the third: any length up to it.
PAUSE = 1.0
#: Seconds after which the main thread looks after its call by itself.
TURN = 1.0
#: Seconds after which credentials that were not found are looked for again: where there is no
#: metadata service that takes 4 s.
LOOK_AGAIN = 30.0


class Client:
    """Thread-safe. Build it with `client`: one a process, as its connections are shared."""

    def __init__(self, settings: Settings) -> None:
        url = clients.endpoint(settings, "sqs")
        proxies = get_environ_proxies(url)
        self._session = clients.session(settings)
        self._options = [
            (pycurl.URL, url), (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            # boto3's, as for every other service: libcurl reads the environment in another way.
            (pycurl.PROXY, proxies.get(urlsplit(url).scheme, "")), (pycurl.NOPROXY, ""),
            (pycurl.AWS_SIGV4, f"aws:amz:{settings.region}:sqs"),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.CONNECTTIMEOUT_MS, int(1000 * clients.CONNECT_TIMEOUT)),
            (pycurl.NOSIGNAL, 1), (pycurl.TCP_KEEPALIVE, 1), (pycurl.USERAGENT, clients.USER_AGENT),
            (pycurl.CAINFO, clients.ca_bundle(settings) or get_cert_path(verify=True)),
        ]
        #: not in a call; the last one used is taken first, so that few connections are kept
        self._idle: list[_Line] = []
        #: of the process that this one was forked from, which still uses them: never closed here
        self._foreign: list[_Line] = []
        self._pid = os.getpid()
        #: when credentials were looked for in vain, by `time.monotonic`
        self._in_vain = -math.inf

    def call(self, what: str, operation: str, *, read_timeout: float = clients.READ_TIMEOUT,
             attempts: int = clients.ATTEMPTS, **parameters: Any) -> dict[str, Any]:
        """SQS's answer to ``operation``; raises `irs.errors.CloudError`, whose text begins with ``what``.

        ``read_timeout``: seconds for one of the ``attempts``, its connection included. What may pass
        is tried again after a pause of any length up to `PAUSE` and its double, as botocore does.
        """
        # What UTF-8 has no bytes for is left as JSON's \u.
        body = json.dumps(parameters, ensure_ascii=False, separators=(",", ":")).encode(
            errors="backslashreplace")
        with calls.timed("sqs", operation):
            for attempt in range(1, attempts):
                try:
                    return self._try(what, operation, body, read_timeout)
                except errors.Retryable:
                    time.sleep(random.uniform(0, PAUSE * 2 ** (attempt - 1)))  # noqa: S311 - jitter
            return self._try(what, operation, body, read_timeout)

    def _try(self, what: str, operation: str, body: bytes, seconds: float) -> dict[str, Any]:
        credentials = self._credentials(what)
        line = self._line()
        try:
            status, heads, answer = line.post(operation, body, credentials, seconds)
        except pycurl.error as exc:
            raise errors.Unreachable(f"{what}: {_reason(exc)}", code=f"curl {exc.args[0]}") from exc
        if len(self._idle) < clients.POOL:
            self._idle.append(line)
        try:
            found = json.loads(answer or b"{}")
        except ValueError as exc:
            if status == 200:
                raise errors.Unreachable(f"{what}: the answer is no JSON", code="NoJson") from exc
            found = {}
        # As boto3 does: a member that is null is not there.
        told = {k: v for k, v in found.items() if v is not None} if isinstance(found, dict) else {}
        if status == 200:
            return told
        raise _refusal(what, status, heads, told)

    def _line(self) -> _Line:
        if os.getpid() != self._pid:
            self._foreign += self._idle
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return _Line(self._options)

    def _credentials(self, what: str) -> ReadOnlyCredentials:
        with translated(what):
            lately = time.monotonic() < self._in_vain + LOOK_AGAIN
            found = None if lately else self._session.get_credentials()
            if found is None:
                if not lately:
                    self._in_vain = time.monotonic()
                raise errors.AccessDenied(f"{what}: {NO_CREDENTIALS}", code="NoCredentials")
            credentials = found.get_frozen_credentials()
        told = f"{credentials.access_key}{credentials.secret_key}{credentials.token or ''}"
        if not (told.isascii() and told.isprintable()):
            raise errors.AccessDenied(
                f"{what}: AWS credentials have letters, digits and signs of ASCII only, and no line's end; "
                "these have something else", code="BadCredentials")
        return credentials


@functools.lru_cache(maxsize=8)
def client(settings: Settings) -> Client:
    """The process's."""
    return Client(settings)


class _Line:
    """A handle of libcurl's with its connection; for one thread at a time."""

    def __init__(self, options: list[tuple[int, Any]]) -> None:
        self._heads: list[bytes] = []
        self._answer: list[bytes] = []
        self._curl = pycurl.Curl()
        #: what keeps the connection in the main thread
        self._multi: pycurl.CurlMulti | None = None
        for option, value in options:
            self._curl.setopt(option, value)
        self._curl.setopt(pycurl.HEADERFUNCTION, self._heads.append)
        self._curl.setopt(pycurl.WRITEFUNCTION, self._answer.append)

    def post(self, operation: str, body: bytes, credentials: ReadOnlyCredentials,
             seconds: float) -> tuple[int, list[bytes], bytes]:
        """Status, lines of the header, and body; of no more use once it has raised (`pycurl.error`)."""
        curl = self._curl
        # No `Expect`: libcurl would wait for a word before it sends a large body.
        headers = ["Content-Type: application/x-amz-json-1.0", "Expect:",
                   "X-Amzn-Query-Mode: true",  # the older protocol's codes with errors
                   f"X-Amz-Target: AmazonSQS.{operation}"]
        if credentials.token:
            headers.append(f"X-Amz-Security-Token: {credentials.token}")
        curl.setopt(pycurl.HTTPHEADER, headers)
        curl.setopt(pycurl.USERNAME, credentials.access_key)
        curl.setopt(pycurl.PASSWORD, credentials.secret_key)
        curl.setopt(pycurl.TIMEOUT_MS, int(1000 * seconds))
        curl.setopt(pycurl.POSTFIELDS, body)
        if threading.current_thread() is threading.main_thread():
            self._perform_stoppably()
        else:
            curl.perform()
        answer = curl.getinfo(pycurl.RESPONSE_CODE), self._heads[:], b"".join(self._answer)
        # An idle line keeps no messages.
        curl.setopt(pycurl.POSTFIELDS, b"")
        self._heads.clear()
        self._answer.clear()
        return answer

    def _perform_stoppably(self) -> None:
        """As `pycurl.Curl.perform`, but it returns to Python at a signal: Ctrl-C would wait for the answer.

        For the main thread, which alone hears signals.
        """
        multi = self._multi = self._multi or pycurl.CurlMulti()
        multi.add_handle(self._curl)
        try:
            while multi.perform()[1]:
                due = multi.timeout()  # milliseconds; -1: libcurl has nothing to do by itself
                if multi.select(min(TURN, due / 1000) if due >= 0 else TURN) < 0:
                    time.sleep(TURN / 100)  # it looks a name up, in a thread of its own
            for _, number, message in multi.info_read()[2]:
                raise pycurl.error(number, message)
        finally:
            multi.remove_handle(self._curl)


def _refusal(what: str, status: int, heads: list[bytes], found: dict[str, Any]) -> errors.CloudError:
    """What SQS says that is wrong. The header has the code that its older protocol had for it."""
    # Perhaps with a namespace before it and an address after it.
    code = str(found.get("__type") or status).partition(":")[0].rpartition("#")[2]
    for head in heads:
        name, _, value = head.partition(b":")
        if name.strip().lower() == b"x-amzn-query-error":
            code = value.partition(b";")[0].strip().decode("ascii", "replace") or code
    message = " ".join(str(found.get("message") or found.get("Message") or "").split())
    if not message:  # perhaps not SQS's answer, but a proxy's or a load balancer's
        message = f"HTTP {code} {responses.get(status, '')}".strip() if code == str(status) else code
    return classify(code, status, message)(f"{what}: {message}", code=code)


def _reason(exc: pycurl.error) -> str:
    return " ".join(str(exc.args[1] if len(exc.args) > 1 else exc).split()) or "no answer"

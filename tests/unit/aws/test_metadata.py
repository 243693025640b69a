"""Instance metadata, version 2, against a small server that speaks it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from irs import errors
from irs.aws import metadata as metadata_module
from irs.aws.metadata import Metadata


class Service(BaseHTTPRequestHandler):
    """Tokens by PUT, values by GET with the newest token."""

    def do_PUT(self) -> None:
        self.server.issued += 1
        self._answer(200, f"token-{self.server.issued}")

    def do_GET(self) -> None:
        if self.server.failures:
            return self._answer(self.server.failures.pop(), "")
        if self.headers.get("X-aws-ec2-metadata-token") != f"token-{self.server.issued}":
            return self._answer(401, "")
        value = self.server.values.get(self.path.removeprefix("/latest/"))
        return self._answer(404, "") if value is None else self._answer(200, value)

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(metadata_module, "PAUSE", 0.01)
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as http:
        http.issued, http.failures = 0, []
        http.values = {"meta-data/instance-id": "i-0abc", "user-data": "IRS_PORT=1\n"}
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def metadata(server: Any) -> Metadata:
    return Metadata(f"http://127.0.0.1:{server.server_address[1]}/")


def test_values_with_one_token(server: Any) -> None:
    service = metadata(server)
    assert service.instance_id() == "i-0abc"
    assert service.user_data() == "IRS_PORT=1\n"
    assert server.issued == 1


def test_what_is_not_there_is_empty_or_not_found(server: Any) -> None:
    service = metadata(server)
    del server.values["user-data"]
    assert service.user_data() == ""
    assert service.spot_action() is None
    with pytest.raises(errors.NotFound):
        service.get("meta-data/nothing")


def test_a_forgotten_token_is_asked_for_anew(server: Any) -> None:
    service = metadata(server)
    service.instance_id()
    server.issued += 1
    assert service.instance_id() == "i-0abc"


def test_one_answer_that_fails_is_asked_for_again(server: Any) -> None:
    service = metadata(server)
    server.failures = [500]
    assert service.user_data() == "IRS_PORT=1\n"
    server.failures = [500, 500]
    with pytest.raises(errors.Unreachable, match="500"):
        service.user_data()


def test_a_proxy_of_the_environment_is_not_asked(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 (discard) refuses at once.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert metadata(server).instance_id() == "i-0abc"


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(errors.Unreachable, match="instance metadata"):
        Metadata("http://127.0.0.1:9").instance_id()

"""Signatures, held against Standard Webhooks's own example and the receiver's code in the docs."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any

import pytest

from irs import signing

DOCS = Path(__file__).parents[2] / "docs/webhooks.md"
KEY = b"k" * 24


def test_the_example_of_the_standard() -> None:
    """From https://github.com/standard-webhooks/standard-webhooks, its libraries' test."""
    keys = signing.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signing.headers(keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1614265330) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}


def test_two_secrets_give_two_signatures() -> None:
    old, new = signing.parse(f"{'o' * 24}, {'n' * 24}")
    both = signing.headers((old, new), "i", b"{}", 1)["webhook-signature"]
    assert both.split() == [signing.headers((key,), "i", b"{}", 1)["webhook-signature"]
                            for key in (old, new)]


@pytest.mark.parametrize(("text", "keys"), [
    ("", ()), (" , ", ()), ("k" * 24, (KEY,)), (f"{'k' * 24},", (KEY,)),
    ("ü" * 12, ("ü".encode() * 12,)),
    ("whsec_" + base64.b64encode(KEY).decode(), (KEY,))])
def test_secrets(text: str, keys: tuple[bytes, ...]) -> None:
    assert signing.parse(text) == keys


@pytest.mark.parametrize("text", ["geheim", "k" * 23, f"{'k' * 24},geheim", "whsec_geheim!", "whsec_",
                                  "whsec_" + base64.b64encode(b"k" * 23).decode()])
def test_refused_secrets_are_not_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"secret \d") as caught:
        signing.parse(text)
    assert "geheim" not in str(caught.value)


# -- the receiver's side, as documented -----------------------------------------------------
@pytest.fixture(scope="module")
def verify() -> Any:
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, str(DOCS), "exec"), names)
    return names["verify"]


SECRET = "whsec_" + base64.b64encode(KEY).decode()


def signed(body: bytes = b"{}", *, keys: tuple[bytes, ...] = (KEY,), age: float = 0) -> dict[str, str]:
    return signing.headers(keys, "some-id", body, int(time.time() - age))


def test_the_documented_receiver_takes_what_is_ours(verify: Any) -> None:
    assert verify(SECRET, signed(), b"{}") == "some-id"
    assert verify(KEY.decode(), signed(), b"{}") == "some-id"
    assert verify(SECRET, signed(keys=(b"o" * 24, KEY)), b"{}") == "some-id"


@pytest.mark.parametrize("case", ["body", "key", "id", "old", "future", "none", "version"])
def test_the_documented_receiver_refuses_what_is_not(verify: Any, case: str) -> None:
    headers = signed(keys=(b"o" * 24,)) if case == "key" else signed(
        age={"old": 301, "future": -301}.get(case, 0))
    if case == "id":
        headers["webhook-id"] = "another"
    if case == "none":
        del headers["webhook-signature"]
    if case == "version":
        headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v2,")
    with pytest.raises(ValueError, match=r"."):
        verify(SECRET, headers, b"[]" if case == "body" else b"{}")

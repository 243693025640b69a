"""Addresses, keys, lines, and answers that are odd."""

from __future__ import annotations

import pytest

from irs.client import Overloaded, Unreachable, wire
from irs.errors import SettingsError
from tests.unit.client.scripted import done, reply


@pytest.mark.parametrize(("given", "address"), [
    ("http://h:1/", "http://h:1"), ("h:8080", "http://h:8080"), ("https://h/irs/", "https://h/irs"),
    ("http://[::1]:80", "http://[::1]:80"),
])
def test_addresses(given: str, address: str) -> None:
    assert wire.address(given) == address


@pytest.mark.parametrize("given", [
    "ftp://x", "http://", "http://x:port", "http://x/?a=b", "http://x y", ""])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(SettingsError):
        wire.address(given)


def test_a_key_that_no_header_can_carry_is_not_shown() -> None:
    for key in ("secret\r\nX: y", "ключ", "two words"):
        with pytest.raises(SettingsError) as raised:
            wire.headers(key)
        assert key not in str(raised.value)


@pytest.mark.parametrize(("text", "seconds"), [
    ("5", 5.0), ("0", 0.0), ("99999999999999999999", 3600.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ("-1", None), ("", None),
])
def test_retry_after(text: str, seconds: float | None) -> None:
    assert reply(503, {}, retry_after=text).retry_after == seconds


@pytest.mark.parametrize("content", ["", "[1]", "{", "[" * 100_000, '{"id": 5}', "\ud800"])
def test_answers_that_are_no_objects_have_no_id(content: str) -> None:
    assert wire.Reply(status=503, content=content.encode("utf-8", "surrogatepass")).id is None


def test_a_proxy_before_the_service() -> None:
    for status in (502, 504):
        with pytest.raises(Unreachable, match="stands behind"):
            wire.job(reply(status, "<html>", content_type="text/html"))
    with pytest.raises(Overloaded):
        wire.job(reply(503, "<html>", content_type="text/html"))


def test_fields_may_be_added() -> None:
    assert wire.job(reply(200, done() | {"new": {"x": 1}})).result is not None

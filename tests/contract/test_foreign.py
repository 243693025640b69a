"""What the service leans on in a bucket that others fill."""

from __future__ import annotations

from typing import Any

import pytest

from irs import errors


@pytest.mark.parametrize("key", [
    "a.jpg", "a//b.jpg", "/a.jpg", "folder/", "a b+c%20.jpg", "ü/…ñ.jpg", "a?b=c#d&e", "x" * 200])
def test_whatever_the_key_the_bytes_come_back(world: Any, key: str) -> None:
    bucket, fill = world.foreign()
    fill(key, b"bytes of " + key.encode())
    assert bucket.get(key, max_bytes=1000) == b"bytes of " + key.encode()


def test_an_object_that_is_too_large_is_refused(world: Any) -> None:
    bucket, fill = world.foreign()
    fill("large", bytes(100_000))
    with pytest.raises(errors.TooLarge, match="100000 bytes"):
        bucket.get("large", max_bytes=99_999)
    assert len(bucket.get("large", max_bytes=100_000)) == 100_000
    fill("empty", b"")
    assert bucket.get("empty", max_bytes=10) == b""


def test_what_is_missing_is_not_found(world: Any) -> None:
    bucket, fill = world.foreign()
    fill("here", b"1")
    with pytest.raises(errors.NotFound):
        bucket.get("there", max_bytes=10)

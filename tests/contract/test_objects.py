"""What the service leans on in an S3 bucket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, timedelta
from typing import Any

import pytest

from irs import errors


def test_bytes_come_back_as_they_were(world: Any) -> None:
    objects = world.objects()
    data = bytes(range(256)) * 100
    objects.put("a/b.bin", data, content_type="image/jpeg", metadata={"name": "Käse (1).jpg"})
    assert objects.get("a/b.bin") == data


def test_empty_objects_are_objects(world: Any) -> None:
    objects = world.objects()
    objects.put("empty", b"")
    assert objects.get("empty") == b""
    assert objects.exists("empty")


def test_put_overwrites_and_create_does_not(world: Any) -> None:
    objects = world.objects()
    objects.put("k", b"1", create=True)
    with pytest.raises(errors.AlreadyExists):
        objects.put("k", b"2", create=True)
    assert objects.get("k") == b"1"
    objects.put("k", b"3")
    assert objects.get("k") == b"3"


def test_a_conditional_put_replaces_what_it_knows_and_nothing_else(world: Any) -> None:
    objects = world.objects()
    first = objects.put("k", b"1", create=True)
    assert objects.get_tagged("k") == (b"1", first)
    second = objects.put("k", b"2", replaces=first)
    assert second not in ("", first)
    with pytest.raises(errors.AlreadyExists):
        objects.put("k", b"3", replaces=first)
    with pytest.raises(errors.AlreadyExists):
        objects.put("missing", b"3", replaces=first)
    assert objects.get_tagged("k") == (b"2", second)
    assert not objects.exists("missing")
    with pytest.raises(errors.NotFound):
        objects.get_tagged("missing")


def test_of_many_conditional_puts_one_succeeds(world: Any) -> None:
    objects = world.objects()
    known = objects.put("k", b"0")

    def attempt(number: int) -> bool:
        try:
            objects.put("k", b"%d" % number, replaces=known)
        except errors.AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(attempt, range(1, 9))) == [False] * 7 + [True]


def test_what_was_deleted_is_not_replaced(world: Any) -> None:
    objects = world.objects()
    known = objects.put("k", b"1")
    objects.delete("k")
    with pytest.raises((errors.AlreadyExists, errors.NotFound)) as caught:
        objects.put("k", b"2", replaces=known)
    assert not isinstance(caught.value, errors.NoBucket)
    assert not objects.exists("k")


def test_a_listing_tells_what_changed(world: Any) -> None:
    objects = world.objects()
    first = objects.put("d/k", b"1")
    objects.put("e", b"1")
    assert list(objects.tags("d/")) == [("d/k", first)]
    second = objects.put("d/k", b"2")
    assert list(objects.tags("d/")) == [("d/k", second)]


def test_what_is_missing_is_not_found(world: Any) -> None:
    objects = world.objects()
    with pytest.raises(errors.NotFound):
        objects.get("missing")
    assert not objects.exists("missing")
    assert objects.modified("missing") is None


def test_more_bytes_than_wanted_are_refused(world: Any) -> None:
    objects = world.objects()
    objects.put("k", b"12345")
    assert objects.get("k", max_bytes=5) == b"12345"
    with pytest.raises(errors.TooLarge, match="5 bytes"):
        objects.get("k", max_bytes=4)


def test_modified_is_a_moment_with_a_zone_that_moves(world: Any) -> None:
    objects = world.objects()
    objects.put("k", b"1")
    first = objects.modified("k")
    assert first.utcoffset() == timedelta(0)

    def rewritten() -> bool:
        # S3 tells whole seconds.
        objects.put("k", b"2")
        return objects.modified("k") > first

    assert world.eventually(rewritten)
    assert objects.modified("k").astimezone(UTC) > first


def test_deleting_is_final_and_repeatable(world: Any) -> None:
    objects = world.objects()
    objects.put("k", b"1")
    objects.delete("k")
    assert not objects.exists("k")
    objects.delete("k")
    objects.put("k", b"2", create=True)
    assert objects.get("k") == b"2"


def test_keys_are_listed_by_folder(world: Any) -> None:
    objects = world.objects()
    for key in ("a/1", "a/b/2", "ab/3", "4"):
        objects.put(key, b"x")
    assert sorted(objects.keys()) == ["4", "a/1", "a/b/2", "ab/3"]
    assert sorted(objects.keys("a/")) == ["a/1", "a/b/2"]
    assert list(objects.keys("zzz/")) == []


def test_odd_keys_are_plain_keys(world: Any) -> None:
    objects = world.objects()
    for key in ("a b", "a+b", "ümlaut", "50%", "a=b&c", "x~y"):
        objects.put(key, key.encode())
        assert objects.get(key) == key.encode()
        assert objects.exists(key)


@pytest.mark.parametrize("call", ["get", "put", "keys"])
def test_a_bucket_that_is_not_there_is_told_from_an_object_that_is_not(cloud: Any, call: str) -> None:
    from irs.aws.objects import Objects

    settings = cloud.fresh()
    objects = Objects(settings, settings.input_bucket)
    with pytest.raises(errors.NoBucket):
        {"get": lambda: objects.get("a/b"), "put": lambda: objects.put("a/b", b"1"),
         "keys": lambda: list(objects.keys())}[call]()


def test_metadata_come_back_as_they_were(world: Any) -> None:
    objects = world.objects()
    objects.put("a/b", b"x", metadata={"name": "Käse (1) %41.jpg"})
    assert objects.metadata("a/b") == {"name": "Käse (1) %41.jpg"}
    with pytest.raises(errors.NotFound):
        objects.metadata("a/c")


def test_entries_come_in_the_order_of_their_keys_with_their_times(world: Any) -> None:
    """`irs audit` walks two buckets side by side."""
    objects = world.objects()
    for key in ("b/2", "a.json", "a/1", "c", "B", "a-1"):
        objects.put(key, b"x")
    found = list(objects.entries())
    assert [entry.key for entry in found] == ["B", "a-1", "a.json", "a/1", "b/2", "c"]
    for entry in found:  # a HEAD has whole seconds
        assert abs(entry.modified - objects.modified(entry.key)) < timedelta(seconds=1)
    assert [entry.key for entry in objects.entries("a/")] == ["a/1"]

"""Zips that a client sent: what is in them, and what is done about those that mean harm."""

from __future__ import annotations

import io
import struct
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable

import pytest

from irs import errors
from irs.web import archives


def zipped(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return bytearray(out.getvalue())


def read(data: bytes, *, max_bytes: int = 1_000, max_files: int = 10, budget: int = 100_000,
         ) -> list[tuple[str, bytes | str]]:
    """Names, and bytes or the code of the refusal."""
    return [(name, found.code if isinstance(found, errors.Refused) else found)
            for name, found in archives.files(io.BytesIO(data), max_bytes=max_bytes, max_files=max_files,
                                              budget=archives.Budget(left=budget))]


def test_files_come_in_the_zip_s_order_without_folders_and_litter() -> None:
    data = zipped(("b/", b""), ("b/2.png", b"two"), ("a.png", b"one"), ("__MACOSX/b/._2.png", b"x"),
                  ("b/.DS_Store", b"x"), ("Thumbs.db", b"x"))
    assert read(data) == [("b/2.png", b"two"), ("a.png", b"one")]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_both_usual_methods(method: int) -> None:
    assert read(zipped(("a", b"12" * 50), method=method)) == [("a", b"12" * 50)]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_whose_memory_nobody_bounds_are_refused(method: int) -> None:
    assert read(zipped(("a", b"1"), method=method)) == [("a", "unsupported_format")]


def test_an_empty_zip_has_no_files() -> None:
    assert read(zipped()) == []


def test_what_stands_before_a_zip_does_not_matter() -> None:
    assert read(b"#!/bin/sh\n" + zipped(("a", b"1"))) == [("a", b"1")]


def test_a_file_that_is_too_large_harms_no_other() -> None:
    assert read(zipped(("a", bytes(1_001)), ("b", b"1"))) == [("a", "too_large"), ("b", b"1")]


def test_a_bomb_is_not_unpacked() -> None:
    data = zipped(("bomb", bytes(20_000_000)), ("b", b"1"))
    # It says that it is small.
    at = data.index(b"PK\x01\x02")
    data[at + 24:at + 28] = struct.pack("<L", 10)
    tracemalloc.start()
    found = read(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [name for name, _ in found] == ["bomb", "b"]
    assert found[0][1] in ("too_large", "undecodable")
    assert found[1][1] == b"1"
    assert peak < 2_000_000


def test_all_files_together_have_a_budget() -> None:
    data = zipped(*((str(n), bytes([n]) * 900) for n in range(5)))
    assert [len(found) if isinstance(found, bytes) else found for _, found in read(data, budget=2_000)] == [
        900, 900, "too_large", "too_large", "too_large"]


def test_what_is_damaged_has_its_part_of_the_budget() -> None:
    data = zipped(("a", b"12" * 450), ("b", b"34" * 450), ("c", b"56" * 450), method=zipfile.ZIP_STORED)
    data[data.index(b"1212")] = data[data.index(b"3434")] = 0
    assert read(data, budget=2_000) == [("a", "undecodable"), ("b", "undecodable"), ("c", "too_large")]


def test_no_more_is_unpacked_than_a_file_says_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(("bomb", bytes(500_000)), ("b", b"1"))
    at = data.index(b"PK\x01\x02")
    data[at + 24:at + 28] = struct.pack("<L", 10)
    asked: list[int] = []
    unpack = zipfile.ZipExtFile.read

    def watched(file: zipfile.ZipExtFile, count: int = -1) -> bytes:
        asked.append(count)
        return unpack(file, count)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    assert read(data, max_bytes=1_000_000, budget=1_000) == [("bomb", "undecodable"), ("b", b"1")]
    assert max(asked) < 1_000


def test_a_zip_in_the_zip_is_not_opened() -> None:
    assert read(zipped(("in.zip", bytes(zipped(("a", b"1")))))) == [("in.zip", "unsupported_format")]


def test_encrypted_files_are_refused() -> None:
    data = zipped(("a", b"1"), ("b", b"2"))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    assert read(data) == [("a", "unsupported_format"), ("b", b"2")]


def test_damage_is_the_file_s_own() -> None:
    data = zipped(("a", b"123456"), ("b", b"2"), method=zipfile.ZIP_STORED)
    data[data.index(b"123456")] = 0
    assert read(data) == [("a", "undecodable"), ("b", b"2")]


def test_files_that_share_their_bytes_are_refused() -> None:
    """As in the bombs that repeat one kernel: each entry's offset is the first one's."""
    data = zipped(("a", b"1" * 500), ("b", b"1" * 500), ("c", b"3"))
    entries = [at for at in range(len(data)) if data[at:at + 4] == b"PK\x01\x02"]
    data[entries[1] + 42:entries[1] + 46] = data[entries[0] + 42:entries[0] + 46]
    found = read(data)
    assert [code for _, code in found][:2] == ["unsupported_format"] * 2
    assert found[2] == ("c", b"3")


def test_more_files_than_a_batch_may_have() -> None:
    with pytest.raises(errors.TooLarge):
        read(zipped(*((str(n), b"1") for n in range(21))))


@pytest.mark.parametrize("offset", [0, 5, 0xFFFFFFF])
def test_a_directory_of_a_hundred_thousand_is_counted_and_not_read(offset: int) -> None:
    entry = b"PK\x01\x02" + bytes(42)
    count = 100_000
    directory = entry * count
    # It lies about their number, and about where they are.
    end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, len(directory), offset, 0)
    tracemalloc.start()
    with pytest.raises(errors.TooLarge):
        read(directory + end, max_files=10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15_000_000


def test_offsets_that_lead_nowhere_refuse_their_files() -> None:
    assert [code for _, code in read(_lie(16, 0xFFFFFFF)(zipped(("a", b"1"), ("b", b"2"))))] == [
        "unsupported_format"] * 2


def test_a_file_may_be_larger_than_a_directory() -> None:
    data = zipped(("a", b"12" * 100_000), method=zipfile.ZIP_STORED)
    assert read(data, max_bytes=200_000, max_files=1, budget=200_000) == [("a", b"12" * 100_000)]


def test_a_file_without_a_name_is_a_file() -> None:
    data = bytes(zipped(("?", b"1"), ("b", b"2"))).replace(b"?", b"\0")  # which ends a name
    assert read(bytearray(data)) == [("", b"1"), ("b", b"2")]


@pytest.mark.parametrize("offset", [2**64 - 1, 2**64 - 2, 2**63, 2**63 - 1, 2**40])
@pytest.mark.parametrize("spooled", [1, 1_000_000])
def test_a_file_that_begins_nowhere_harms_no_other(offset: int, spooled: int) -> None:
    data = zipped(("a", b"1"), ("b", b"2"))
    at = data.rindex(b"PK\x01\x02")  # of b, whose offset is now in an extra field
    name = at + 46
    data[at + 42:at + 46] = b"\xff" * 4
    data[at + 30:at + 32] = struct.pack("<H", 12)
    data[name + 1:name + 1] = struct.pack("<HHQ", 1, 8, offset)
    end = data.rindex(b"PK\x05\x06")
    data[end + 12:end + 16] = struct.pack("<L", end - data.index(b"PK\x01\x02"))
    with tempfile.SpooledTemporaryFile(spooled) as file:
        file.write(data)
        found = dict(archives.files(file, max_bytes=10, max_files=10, budget=archives.Budget(left=99)))
    assert found["a"] == b"1"
    assert isinstance(found["b"], errors.Undecodable)


def _cut(data: bytearray) -> bytes:
    return bytes(data[:-10])


def _lie(field: int, value: int) -> Callable[[bytearray], bytes]:
    def change(data: bytearray) -> bytes:
        at = data.rindex(b"PK\x05\x06")
        data[at + field:at + field + 4] = struct.pack("<L", value)
        return bytes(data)
    return change


@pytest.mark.parametrize("change", [
    lambda data: b"", lambda data: b"PK", lambda data: b"no zip at all" * 100, _cut,
    lambda data: bytes(data[20:40]), _lie(12, 0xFFFFFFF), _lie(12, 30),
    lambda data: bytes(data).replace(b"PK\x01\x02", b"PK\x01\x03")])
def test_garbage_is_named(change: Callable[[bytearray], bytes]) -> None:
    data = change(zipped(("a", b"1"), ("b", b"2")))
    with pytest.raises(errors.Refused, match="zip"):
        assert read(data) is None

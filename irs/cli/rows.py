"""What became of each image, as rows: JSON, CSV, and the file of `--out`.

The file is only ever added to, a whole row at a time, so that a command that is stopped,
even killed, loses at most the row that it was writing; the next one takes that half off
and goes on.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from irs.domain import cells, keys
from irs.errors import SettingsError

if TYPE_CHECKING:
    from irs.client import ClientError, Member, Outcome, Result

Row = Mapping[str, Any]
#: Of CSV; JSON has everything that the service said.
COLUMNS = ("file", "status", "label", "confidence", "code", "message", "id")
#: Statuses that stay: what else came of an image says nothing about it, and is tried again.
FINAL = frozenset({"done", "failed", "refused", "cancelled"})


def of_outcome(outcome: Outcome) -> Row:
    """The row of an image that was sent from here."""
    if outcome.result is not None:
        return of_result(outcome.result, str(outcome.image))
    return of_error(outcome.error, str(outcome.image)) if outcome.error else {}


def of_result(result: Result, file: str) -> Row:
    """The row of a result."""
    return {"file": file, "ok": result.label is not None, **result.as_dict()}


def of_member(member: Member, file: str | None = None) -> Row:
    """The row of a batch's image: ``file`` is what it is called here, else where it came from."""
    known = file or member.source or member.image
    row = of_result(member.result, known) if member.result else of_none(
        member.id, str(member.status), known)
    return {**row, "number": member.number}


def of_none(job_id: str, status: str, file: str, more: str = "") -> Row:
    """The row of an image that has no result so far."""
    name = keys.in_line(keys.display_name(Path(file).name))
    return {"file": file, "ok": False, "id": job_id, "status": status,
            "result": f"({name}, {status}{more})"}


def of_error(error: ClientError, file: str) -> Row:
    """The row of an image that has no result here."""
    from irs import client

    status = {client.Failed: "failed", client.TimedOut: "queued", client.Unreadable: "unreadable",
              client.Overloaded: "unavailable", client.Unreachable: "unavailable",
              }.get(type(error), "refused")
    name = keys.display_name(Path(file).name)
    more = f": irs results {error.id}" if status == "queued" else ""
    row = {"file": file, "ok": False, "image": name, "status": status,
           "result": f"({keys.in_line(name)}, error: {error}{more})",
           "error": {"code": error.code, "message": str(error)}}
    return row | ({"id": error.id} if error.id else {})


def as_json(row: Row) -> str:
    """One line, with names as they are where UTF-8 can hold them."""
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file's name of bytes that are no text
        return json.dumps(row)
    return text


def as_csv(row: Row) -> str:
    """One record, of `COLUMNS`."""
    error = row.get("error") or {}
    best: Row = next(iter(row.get("predictions") or ()), {})
    found = {**row, "confidence": best.get("confidence"), **error}
    return _record(found.get(column) for column in COLUMNS)


def head() -> str:
    """The first record of CSV: what the columns are."""
    return _record(COLUMNS)


def _record(record: Iterable[Any]) -> str:
    out = io.StringIO()
    # Its end has to be one for the writer, which quotes what contains one.
    csv.writer(out, lineterminator="\r\n").writerow(map(cells.safe, record))
    return out.getvalue().removesuffix("\r\n")


class Table:
    """The file of ``--out``, its form by its suffix. A context manager.

    ``key`` is the column by which rows are told apart, ``known`` those that it has
    already, and whether each has a label.
    Raises `SettingsError` for a file that is none of this command's, or in use by another.
    """

    def __init__(self, path: Path, *, key: str = "file") -> None:
        if path.suffix.lower() not in (".csv", ".jsonl"):
            raise SettingsError(f"--out {path}: call it .csv or .jsonl, which says what to write")
        self._csv = path.suffix.lower() == ".csv"
        self._path = path
        self._key = key
        self._stack = contextlib.ExitStack()
        self.known: dict[str, bool] = {}
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(path.open("a+b", buffering=0))
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(f"--out {path}: another command writes to it") from None
            self._mend()
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, row: Row) -> None:
        """Write a row, whole. Raises `OSError` where there is no room for it."""
        self._write(as_csv(row) if self._csv else as_json(row))

    def _write(self, text: str) -> None:
        data = memoryview(f"{text}\n".encode("utf-8", "surrogateescape"))
        while data:  # a disk that is nearly full takes less than all of it
            data = data[os.write(self._file.fileno(), data):]

    def _mend(self) -> None:
        """Take off a last row that is not whole, and learn which rows there are."""
        with self._path.open("rb") as file:
            end = 0
            for number, record in enumerate(_records(file, quoted=self._csv)):
                text = record.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
                if text and not (self._csv and number == 0):
                    row = self._row(text, number + 1)
                    self.known[str(row[self._key])] = row["status"] == "done"
                elif text and text != head():
                    raise self._foreign(1)
                end += len(record)
        os.ftruncate(self._file.fileno(), end)
        if self._csv and not end:
            self._write(head())

    def _row(self, text: str, number: int) -> Row:
        try:
            row = (dict(zip(COLUMNS, map(cells.plain, next(csv.reader([text], strict=True))), strict=True))
                   if self._csv else json.loads(text))
        except (ValueError, csv.Error, RecursionError) as exc:
            raise self._foreign(number) from exc
        if not isinstance(row, dict) or not {self._key, "status"} <= row.keys():
            raise self._foreign(number)
        return row

    def _foreign(self, number: int) -> SettingsError:
        return SettingsError(f"--out {self._path}: row {number} is none that this command writes; "
                             "name another file")


def _records(file: IO[bytes], *, quoted: bool) -> Iterator[bytes]:
    """Whole records with their ends; a quoted cell may have lines of its own."""
    record, quotes = b"", 0
    for line in file:
        record += line
        quotes += line.count(b'"') if quoted else 0
        if quotes % 2 == 0 and line.endswith(b"\n"):
            yield record
            record, quotes = b"", 0

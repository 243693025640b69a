"""The tree in the docstring is the tree in the code."""

from __future__ import annotations

import inspect
import re
from urllib.error import URLError

import pytest

from irs import errors


def _classes() -> dict[str, type]:
    return {name: cls for name, cls in vars(errors).items()
            if inspect.isclass(cls) and issubclass(cls, errors.IRSError)}


def test_the_drawing_holds_every_class_below_its_parent() -> None:
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([ │├└─]*)([A-Z]\w+)", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        path = [(d, n) for d, n in path if d < depth]
        drawn[name] = path[-1][1] if path else "Exception"
        path.append((depth, name))
    assert drawn == {name: cls.__base__.__name__ for name, cls in _classes().items()}


def test_every_class_says_what_happened() -> None:
    assert all(cls.__doc__ for cls in _classes().values())


def test_refusals_have_the_status_and_code_that_the_drawing_says() -> None:
    for name, status, code in re.findall(r"([A-Z]\w+) +(4\d\d)  (\w+)", errors.__doc__ or ""):
        cls = getattr(errors, name)
        assert (cls.status, cls.code) == (int(status), code)
    refusals = [c for c in _classes().values() if issubclass(c, errors.Refused)]
    codes = [c.code for c in refusals]
    assert len(set(codes)) == len(codes)


def test_cloud_errors_carry_a_code_for_the_log() -> None:
    assert errors.Throttled("x", code="SlowDown").code == "SlowDown"
    assert errors.Throttled("x").code == ""
    assert errors.Overloaded("full", retry_after=3).retry_after == 3


@pytest.mark.parametrize(("exc", "said"), [
    (FileNotFoundError(2, "No such file or directory", "a.csv"), "a.csv: No such file or directory"),
    (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
    (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
    (URLError("unknown url type"), "<urlopen error unknown url type>"),
    (TimeoutError("timed out"), "timed out")])
def test_the_system_is_quoted_without_its_numbers(exc: OSError, said: str) -> None:
    assert errors.words(exc) == said

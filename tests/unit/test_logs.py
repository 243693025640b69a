"""docs/logs.md has every event that the source logs, with its levels and fields, and no other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from irs.shipping.batch import OVERHEAD

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
#: Fields that an event is given in a dictionary.
MORE = "…"
#: The one function of ours that takes an event from others: its levels and fields.
TROUBLE = {"debug", "warning"}, {"error", "code"}


def _sources() -> Iterator[Path]:
    yield from [*sorted((ROOT / "irs").rglob("*.py")), ROOT / "web_entry.py", ROOT / "worker_entry.py"]


def _levels(node: ast.AST, scope: ast.AST) -> set[str]:
    """The levels that a called expression may log at; empty where it is no logger of ours."""
    if isinstance(node, ast.Attribute):
        ours = isinstance(node.value, ast.Name) and node.value.id == "_log" and node.attr in LEVELS
        return {"error" if node.attr == "exception" else node.attr} if ours else set()
    if isinstance(node, ast.IfExp):
        return _levels(node.body, scope) | _levels(node.orelse, scope)
    if isinstance(node, ast.Name):
        found = [_levels(other.value, scope) for other in ast.walk(scope) if isinstance(other, ast.Assign)
                 and any(isinstance(t, ast.Name) and t.id == node.id for t in other.targets)
                 and isinstance(other.value, (ast.Attribute, ast.IfExp))]
        return set().union(*found)
    return set()


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.IfExp):
        return _names(node.body) + _names(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _events() -> dict[str, tuple[set[str], set[str]]]:
    events: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for path in _sources():
        for scope in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for call in ast.walk(scope):
                if not isinstance(call, ast.Call):
                    continue
                if isinstance(call.func, ast.Attribute) and call.func.attr == "trouble":
                    levels, fields = TROUBLE
                elif scope.name == "trouble" and _names(call.args[0] if call.args else call) == []:
                    continue
                else:
                    levels = _levels(call.func, scope)
                    fields = {k.arg or MORE for k in call.keywords} - {"exc_info"}
                if not levels:
                    continue
                names = _names(call.args[0])
                assert names, f"{path}:{call.lineno}: an event's name is written out where it is logged"
                for name in names:
                    events[name][0].update(levels)
                    events[name][1].update(fields)
    return dict(events)


def _documented() -> dict[str, tuple[set[str], set[str]]]:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| ([^|]*) \| ([^|]*) \| [^|]*\S[^|]* \|$",
                      (ROOT / "docs/logs.md").read_text("utf-8"), flags=re.MULTILINE)
    assert len({name for name, *_ in rows}) == len(rows), "an event has two rows"
    return {name: (set(re.findall(r"\w+", levels)), set(re.findall(rf"`(\w+)`|({MORE})", fields)))
            for name, levels, fields in rows}


EVENTS = _events()


def test_every_event_has_its_row_and_every_row_its_event() -> None:
    assert sorted(_documented()) == sorted(EVENTS)


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_its_levels_and_fields_are_those_documented(name: str) -> None:
    levels, fields = _documented()[name]
    told = {a or b for a, b in fields}
    assert levels == EVENTS[name][0]
    if MORE in EVENTS[name][1]:
        assert told >= EVENTS[name][1] - {MORE}
    else:
        assert told == EVENTS[name][1]


def test_what_is_about_a_job_carries_its_id() -> None:
    without = {name for name, (_, fields) in EVENTS.items()
               if name.startswith("job.") and not fields & {"id", MORE}}
    assert not without


def test_what_shipping_costs_is_what_its_parts_come_to() -> None:
    page = (ROOT / "docs/logs.md").read_text("utf-8").partition("**What it costs**")[2].partition("## ")[0]
    price, size = (float(re.search(pattern, page)[1])  # type: ignore[index]
                   for pattern in (r"at ([\d.]+) dollars a GB", r"together (\d+) bytes"))
    rows = re.findall(r"^\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|$", page, flags=re.MULTILINE)
    assert len(rows) == 3
    for images, gigabytes, dollars in rows:
        month = int(images.replace(",", "")) * 30 * (size + 3 * OVERHEAD) / 1e9
        assert (gigabytes, dollars) == (f"{month:.2f}", f"{month * price:.2f}")

"""What every version has stored and sent is read, and what a newer one may add is passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from irs import __version__
from irs.domain.jobs import Result
from tests.unit.frozen import make

FROZEN = sorted(path for path in make.HERE.glob("*/*") if path.name != make.FACTS)
assert FROZEN


def frozen(path: Path) -> Any:
    """What was read from it by the code that wrote it."""
    return json.loads((path.parent / make.FACTS).read_text("utf-8"))[path.name]


def within(old: Any, new: Any) -> bool:
    """Whether all that is in ``old`` is in ``new``: fields may have come, none may have changed."""
    if isinstance(old, dict):
        return isinstance(new, dict) and all(key in new and within(old[key], new[key]) for key in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(within, old, new))
    return bool(old == new)


@pytest.mark.parametrize("path", FROZEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_written_then_is_read_now(path: Path) -> None:
    found = make.facts(path.name, path.read_bytes())
    assert within(frozen(path), found), found


def newer(raw: Any, *, inside: bool = False) -> Any:
    """The same document with a field more in each object that has fixed fields."""
    if isinstance(raw, list):
        return [newer(item, inside=inside) for item in raw]
    if not isinstance(raw, dict):
        return raw
    out = {name: value if name in ("headers", "properties", "times", "decision", "failed", "refused")
           else {key: newer(item) for key, item in value.items()} if name == "leaving"
           else newer(value, inside=True) for name, value in raw.items()}
    return {**out, "of_a_newer_version": {"deep": [1, 2]}}


@pytest.mark.parametrize("path", [path for path in FROZEN if path.suffix != ".txt"],
                         ids=lambda path: f"{path.parent.name}/{path.name}")
def test_fields_of_a_newer_version_are_passed_over(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    changed = "\n".join(json.dumps(newer(json.loads(line))) for line in lines)
    assert "of_a_newer_version" in changed
    assert make.facts(path.name, changed.encode()) == make.facts(path.name, path.read_bytes())


def test_arguments_of_a_newer_web_tier_are_passed_over() -> None:
    path = next(path for path in FROZEN if path.name == "task.json")
    message = json.loads(path.read_text("utf-8"))
    args, kwargs, embed = json.loads(message["body"])
    message["body"] = json.dumps([args, {**kwargs, "priority": "high"}, embed])
    assert make.facts(path.name, json.dumps(message).encode()) == make.facts(path.name, path.read_bytes())


def test_what_is_written_now_is_read_now() -> None:
    """So that the release's own frozen documents will be: the makers and the readers know each other."""
    for name, data in make.documents().items():
        assert make.facts(name, data), name


def test_a_result_tells_its_version_and_an_old_one_none() -> None:
    assert make.DONE.as_dict()["service_version"] == __version__
    assert Result.from_json(make.DONE.to_json()) == make.DONE
    old = json.loads((make.HERE / "before-0.1.0" / "result-done.json").read_text("utf-8"))
    assert "service_version" not in old
    assert "service_version" not in Result.from_dict(old).as_dict()

"""`irs drill`: what it prints and exits with."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from irs import cli
from irs.drill import run
from irs.drill.drills import DRILLS
from irs.drill.target import Target


def irs(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["drill", *arguments], prog_name="irs")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the drill's report will say."""
    said: dict[str, Any] = {"name": "poison", "seed": 1, "injected": 6, "accepted": 9, "final": 9,
                            "lost": 0, "duplicated": 0, "worst_wait": 0.4, "healed_in": 2.0, "broken": ()}
    monkeypatch.setattr(Target, "ready", lambda self: None)
    monkeypatch.setattr(run, "allowed", lambda *_, **__: None)
    monkeypatch.setattr(run, "run", lambda *_, **__: run.Report(**said))
    return said


def test_every_drill_is_listed_with_a_line() -> None:
    lines = irs("--list").output.splitlines()
    assert [line.split()[0] for line in lines] == list(DRILLS)
    assert all(len(line) > 30 for line in lines)


@pytest.mark.parametrize("arguments", [(), ("no-such",)])
def test_a_name_is_needed(arguments: tuple[str, ...]) -> None:
    found = irs(*arguments)
    assert found.exit_code == 2
    assert "kill-instance" in found.output


def test_a_line_under_its_head(service: dict[str, Any]) -> None:
    found = irs("poison")
    assert found.exit_code == 0
    head, line = found.output.splitlines()
    assert head.split()[:3] == ["drill", "injected", "accepted"]
    assert line.split() == ["poison", "6", "9", "9", "0", "0", "0.4", "s", "2.0", "s"]


@pytest.mark.parametrize("bad", [{"lost": 1}, {"duplicated": 1}, {"healed_in": None}, {"broken": ("why",)}])
def test_a_broken_promise_is_exit_code_1(service: dict[str, Any], bad: dict[str, Any]) -> None:
    service.update(bad)
    assert irs("poison").exit_code == 1
    found = irs("poison", "--json")
    assert found.exit_code == 1
    assert json.loads(found.output)["ok"] is False


def test_nothing_runs() -> None:
    found = irs("poison", "--url", "http://127.0.0.1:9", "--yes")
    assert found.exit_code == 2
    (line,) = found.output.splitlines()
    assert line.startswith("irs: nothing answers at http://127.0.0.1:9")

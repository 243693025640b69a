"""`irs audit` and `irs redrive`: what they print and exit with; the account itself is faked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from irs import cli
from irs.audit import account, redrive
from irs.audit.balance import Account
from irs.audit.redrive import Driven, Fate

ID = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, list(arguments), prog_name="irs")


@pytest.fixture
def books(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the account will be, and what was asked."""
    seen: dict[str, Any] = {"account": Account(uploads=1, done=1), "repairs": 0}

    def audit(books: Any, *, since: datetime | None) -> Account:
        seen["since"] = since
        return seen["account"]

    def repair(books: Any, found: Account) -> int:
        seen["repairs"] += 1
        return 2

    monkeypatch.setattr(account.Books, "of", lambda settings: None)
    monkeypatch.setattr(account, "audit", audit)
    monkeypatch.setattr(account, "repair", repair)
    return seen


def test_in_is_out(books: dict[str, Any]) -> None:
    done = run("audit")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "in = out"
    assert books["since"] is None


def test_in_is_not_out(books: dict[str, Any]) -> None:
    books["account"] = Account(uploads=30, done=5, missing=[f"id-{n}" for n in range(25)])
    done = run("audit")
    assert done.exit_code == cli.FAILED
    assert "in ≠ out" in done.output
    assert "id-19\n" in done.output
    assert "id-20\n" not in done.output
    assert "… and 5 more" in done.output
    assert books["repairs"] == 0


def test_repair_repairs_and_says_so_and_the_verdict_stays(books: dict[str, Any]) -> None:
    books["account"] = Account(uploads=2, missing=[ID, OTHER])
    done = run("audit", "--repair")
    assert (done.exit_code, books["repairs"]) == (cli.FAILED, 1)
    assert "2 repaired" in done.output


def test_what_is_balanced_is_not_repaired(books: dict[str, Any]) -> None:
    assert run("audit", "--repair").exit_code == 0
    assert books["repairs"] == 0


def test_json(books: dict[str, Any]) -> None:
    books["account"] = Account(uploads=1, missing=[ID])
    told = json.loads(run("audit", "--json", "--repair").output)
    assert (told["balanced"], told["missing"], told["repaired"]) == (False, [ID], 2)


@pytest.mark.parametrize(("text", "ago"), [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800)])
def test_since_a_while_ago(books: dict[str, Any], text: str, ago: int) -> None:
    assert run("audit", "--since", text).exit_code == 0
    assert abs(datetime.now(UTC) - timedelta(seconds=ago) - books["since"]) < timedelta(seconds=30)


def test_since_a_time(books: dict[str, Any]) -> None:
    assert run("audit", "--since", "2026-11-24T12:00Z").exit_code == 0
    assert books["since"] == datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "1x", "2026-11-24T12:00", "", "-1h"])
def test_since_nonsense(books: dict[str, Any], text: str) -> None:
    assert run("audit", "--since", text).exit_code == cli.CANNOT


@pytest.fixture
def fates(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    seen: dict[str, Any] = {"fates": []}

    def drive(dead: Any, work: Any, results: Any, only: set[str] | None) -> list[Driven]:
        seen["only"] = only
        return seen["fates"]

    # Clients are made, and nothing is asked of them.
    for name, value in (("ENDPOINT_URL", "http://127.0.0.1:9"), ("ACCESS_KEY_ID", "x"),
                        ("SECRET_ACCESS_KEY", "x")):
        monkeypatch.setenv(f"IRS_AWS_{name}", value)
    monkeypatch.setattr(redrive, "redrive", drive)
    monkeypatch.setattr(redrive, "named", drive)
    return seen


def test_redrive_all(fates: dict[str, Any]) -> None:
    fates["fates"] = [Driven(id=ID, fate=Fate.SENT), Driven(id=OTHER, fate=Fate.DONE)]
    done = run("redrive", "--all")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [f"{ID}  sent", f"{OTHER}  done already"]
    assert fates["only"] is None


def test_redrive_by_id_says_which_is_not_there(fates: dict[str, Any]) -> None:
    fates["fates"] = [Driven(id=ID, fate=Fate.SENT), Driven(id=OTHER, fate=Fate.ABSENT)]
    done = run("redrive", ID.upper(), OTHER)
    assert done.exit_code == cli.FAILED
    assert done.stderr == f"{OTHER}  not among the dead letters\n"
    assert fates["only"] == {ID, OTHER}


def test_redrive_that_fails(fates: dict[str, Any]) -> None:
    fates["fates"] = [Driven(id=ID, fate=Fate.FAILED, why="down")]
    done = run("redrive", "--all", "--json")
    assert done.exit_code == cli.FAILED
    assert json.loads(done.output) == {"id": ID, "fate": "not sent", "why": "down"}


@pytest.mark.parametrize("arguments", [(), (ID, "--all"), ("x",)])
def test_redrive_wants_ids_or_all(fates: dict[str, Any], arguments: tuple[str, ...]) -> None:
    assert run("redrive", *arguments).exit_code == cli.CANNOT
    assert "only" not in fates

"""`irs workers` and `irs queue`: who works, and what waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from irs.cli.base import AS_JSON, FAILED, cli
from irs.cli.service import URL, connected

#: Columns of `irs workers`: head, and whether its cells stand on the right.
_COLUMNS = (("instance", False), ("name", False), ("state", False), ("age", True), ("images", True),
            ("running", True), ("does", False))
#: Seconds without a decision after which nobody looks after the fleet.
_NO_SCALER = 60.0


@cli.command()
@URL
@AS_JSON
def workers(url: str | None, as_json: bool) -> None:
    """Show each instance and what it does.

    As the scaler last saw them, some seconds ago. Exit code 1 where no scaler runs, and
    nobody can tell.
    """
    with connected(url) as client:
        stats = client.stats()
    fleet = stats.get("fleet")
    instances = (fleet or {}).get("instances") or []
    if fleet is not None and fleet.get("instances") is None:
        from irs.client import ClientError

        raise ClientError("this service is older and does not tell of instances; `irs status` has their "
                          "number")
    ok = fleet is not None and fleet["age_seconds"] <= _NO_SCALER
    if as_json:
        click.echo(json.dumps({"ok": ok, "at": fleet and fleet["at"], "instances": instances}, indent=2))
    elif fleet is None:
        click.echo("no scaler runs, and nobody tells of instances: see `irs scale`", err=True)
    else:
        _table([_row(instance, stats["at"]) for instance in instances])
        if not ok:
            from irs.cli import wording

            click.echo(f"the scaler has not looked for {wording.seconds(fleet['age_seconds'])}", err=True)
    raise SystemExit(0 if ok else FAILED)


@cli.command()
@URL
@click.option("--letters", type=click.IntRange(0, 100), default=20, show_default=True, metavar="N",
              help="Dead letters that are listed, the newest.")
@AS_JSON
def queue(url: str | None, letters: int, as_json: bool) -> None:
    """Show what waits, and dead letters.

    Counts of the input queue, how long the oldest message waits, and the images that nobody
    could classify, with the reason. `irs redrive` sends those back.
    """
    from irs.client import ClientError

    with connected(url) as client:
        found = client.stats()["queue"]
        table: Mapping[str, Any] = {}
        why = ""
        if letters and found.get("dead") != 0:
            try:
                table = client.dead_letters(letters)
            except ClientError as exc:  # an operator's, or an older service's: the counts are there
                why = str(exc)
    if as_json:
        click.echo(json.dumps({**found, "letters": table.get("letters", []), "why": why or None}, indent=2))
    else:
        _show(found, table, why)


def _show(found: Mapping[str, Any], table: Mapping[str, Any], why: str) -> None:
    from irs.cli import wording

    dead = found.get("dead")
    oldest = wording.seconds(found.get("oldest_seconds"))
    click.echo(f"waiting      {found['visible']:>9,}  (the oldest for {oldest})" if found["visible"]
               else f"waiting      {0:>9}")
    click.echo(f"in flight    {found['in_flight']:>9,}")
    click.echo(f"delayed      {found['delayed']:>9,}")
    click.echo("dead letters  not known" if dead is None else f"dead letters {dead:>9,}")
    rows = table.get("letters") or []
    for letter in rows:
        error = letter.get("error") or {}
        reason = f"{error['code']}: {error['message']}" if error else (
            letter.get("status") or "not a task of ours")
        click.echo(f"  {letter['id']}  {reason}")
    if len(rows) < (table.get("total") or 0):
        click.echo(f"  … and {table['total'] - len(rows):,} more; --letters lists up to 100")
    if why:
        click.echo(f"  which they are is not told: {why}", err=True)
    if dead:
        click.echo("irs redrive ID… sends them back when the cause is mended, irs redrive --all every one")


def _row(instance: Mapping[str, Any], at: str) -> tuple[str, ...]:
    from irs.cli import wording

    does = wording.DOES.get(instance["state"], "")
    if instance["state"] == "busy":
        does += f" {instance['running']}"
    if instance["reported_at"] and instance["state"] not in ("stopped", "booting"):
        silent = datetime.fromisoformat(at) - datetime.fromisoformat(instance["reported_at"])
        if silent.total_seconds() > wording.SILENT:
            does = f"has been silent for {wording.seconds(silent.total_seconds())}"
    return (instance["id"], instance["name"], instance["state"], wording.seconds(instance["age_seconds"]),
            f"{instance['images']:,}", str(instance["running"]), does)


def _table(rows: list[tuple[str, ...]]) -> None:
    if not rows:
        click.echo("no instances")
        return
    heads = tuple(head for head, _ in _COLUMNS)
    widths = [max(len(row[place]) for row in (heads, *rows)) for place in range(len(heads))]
    for row in (heads, *rows):
        cells = [cell.rjust(width) if right else cell.ljust(width)
                 for cell, width, (_, right) in zip(row, widths, _COLUMNS, strict=True)]
        click.echo("  ".join(cells).rstrip())

"""`irs audit`, `irs redrive`."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from irs.cli.base import AS_JSON, FAILED, cli

if TYPE_CHECKING:
    from irs.audit.balance import Account
    from irs.audit.redrive import Driven

#: Ids of one kind that are printed; ``--json`` has all of them.
SHOWN = 20
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Since(click.ParamType):
    """A time with its zone, or how long ago: ``2026-11-24T12:00Z``, ``90s``, ``1h``."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None,
                ctx: click.Context | None) -> datetime:
        """The moment meant."""
        if ago := re.fullmatch(r"(\d{1,9})([smhd])", value):
            return datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-11-24T12:00Z, and no 30m, 1h or 2d ago")
        if moment.tzinfo is None:
            self.fail(f"{value!r} has no time zone: add Z for UTC")
        return moment


@cli.command()
@click.option("--since", type=Since(), metavar="TIME",
              help="Only what was uploaded from then on: 2026-11-24T12:00Z, or 1h ago.  [default: all]")
@click.option("--repair", is_flag=True, help="Send what is lost to the queue again.")
@AS_JSON
def audit(since: datetime | None, repair: bool, as_json: bool) -> None:
    """Prove that what went in came out.

    Compares the buckets, the queue and the dead letters, and lists what has no result and is
    not queued. Exit code 0 when in = out; 1 when it was not, repaired or not.
    """
    from irs import log, settings, tracing

    loaded = settings.load()
    log.configure(level="ERROR")
    from irs.audit import account

    if repair:
        tracing.start(loaded, "cli")  # what is sent again goes on in its trace
    books = account.Books.of(loaded)
    found = account.audit(books, since=since)
    repaired = account.repair(books, found) if repair and not found.balanced else None
    if as_json:
        click.echo(json.dumps(found.as_dict() | ({} if repaired is None else {"repaired": repaired}),
                              indent=2))
    else:
        _show(found, repaired)
    raise SystemExit(0 if found.balanced else FAILED)


def _show(found: Account, repaired: int | None) -> None:
    click.echo(f"uploads         {found.uploads:>9,}")
    for name in ("done", "failed", "cancelled"):
        click.echo(f"  {name:<14}{getattr(found, name):>9,}")
    click.echo(f"  in the queue  {found.queued:>9,}  (it holds {found.visible:,} visible, "
               f"{found.in_flight:,} in flight)")
    click.echo(f"  in a batch    {found.batched:>9,}")
    click.echo(f"  just uploaded {found.young:>9,}")
    click.echo(f"  lost          {found.lost:>9,}")
    click.echo(f"dead letters    {found.letters:>9,}  ({found.foreign_letters:,} of them no task of ours)")
    if found.foreign_objects:
        click.echo(f"other objects   {found.foreign_objects:>9,}")
    for what, ids in found.troubles().items():
        click.echo(f"{what}:")
        for job_id in ids[:SHOWN]:
            click.echo(f"  {job_id}")
        if len(ids) > SHOWN:
            click.echo(f"  … and {len(ids) - SHOWN:,} more; --json lists all")
    click.echo("in = out" if found.balanced else "in ≠ out")
    if repaired is not None:
        click.echo(f"{repaired:,} repaired; audit again when the queue has drained")
    elif found.repairable:
        click.echo("irs audit --repair sends what is lost again")


@cli.command()
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option("--all", "everything", is_flag=True, help="Every dead letter.")
@AS_JSON
def redrive(ids: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Send dead letters to the input queue again.

    By the ids of their jobs, or all. The failures that stand for them are removed. Exit code
    1 where one could not be sent or an id has no letter. Safe to interrupt and to repeat.
    """
    if bool(ids) == everything:
        raise click.UsageError("name the jobs' ids, or --all")
    from irs import log, settings
    from irs.domain import keys

    try:
        only = {keys.parse_id(text) for text in ids} or None
    except ValueError:
        raise click.UsageError("an id has 36 characters, as in 7f3c2a90-…") from None
    loaded = settings.load()
    log.configure(level="ERROR")
    from irs.audit import redrive as redriving
    from irs.aws.queues import Queue
    from irs.results.store import ResultStore

    ports = (Queue(loaded, loaded.dead_letter_queue), Queue(loaded, loaded.input_queue),
             ResultStore(loaded))
    failed = 0
    for item in redriving.named(*ports, only) if only else redriving.redrive(*ports, None):
        failed += not item.ok
        _tell(item, as_json)
    raise SystemExit(FAILED if failed else 0)


def _tell(item: Driven, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(item.as_dict()))
    else:
        click.echo(f"{item.id}  {item.fate}{f': {item.why}' if item.why else ''}", err=not item.ok)

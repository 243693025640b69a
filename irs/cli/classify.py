"""`irs classify`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from irs.cli.base import AS_JSON, FAILED, cli
from irs.cli.service import PATIENT, URL, connected

if TYPE_CHECKING:
    from irs.cli.rows import Row, Table
    from irs.client import Client, Outcome


@cli.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path))
@URL
@click.option("--wait", type=click.FloatRange(min=0), default=60, show_default=True,
              metavar="SECONDS", help="Longest wait for one image's label.")
@click.option("--parallel", type=click.IntRange(1, 256), default=8, show_default=True, metavar="N",
              help="Images on their way at once.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write rows to FILE (.csv or .jsonl), and go on where it stops.")
@AS_JSON
def classify(*, paths: tuple[Path, ...], url: str | None, wait: float, parallel: int,
             out: Path | None, as_json: bool) -> None:
    """Upload images and print their labels.

    A folder stands for the images in it and below. One line an image, in the order given: a
    label goes to stdout as "(name, label)", a failure to stderr; --json prints one JSON
    object a line for either. With --out the rows go to a file as they come; run again, the
    same command sends only what has no row there.
    """
    from irs.cli import files, progress, rows

    with contextlib.ExitStack() as stack:
        table = stack.enter_context(rows.Table(out)) if out else None
        known = table.known if table else {}
        found = list(files.find(paths))
        if not found:
            raise click.UsageError(f"no images in {', '.join(map(str, paths))}")
        todo = [path for path in found if str(path) not in known]
        tally = progress.Tally(skipped=len(found) - len(todo), unlabelled=sum(
            not known.get(str(path), True) for path in found))
        client = stack.enter_context(connected(url, retries=PATIENT))
        if todo:
            _alive(client)
        advance = stack.enter_context(progress.bar(len(found)))
        for outcome in client.classify_many(todo, parallel=parallel, wait=wait, ordered=table is None):
            _stop_at(outcome)
            tally.count(ok=outcome.ok)
            _show(rows.of_outcome(outcome), table, as_json=as_json)
            advance(tally.seen, tally.rate)
    if table and as_json:
        click.echo(json.dumps(tally.as_dict()))
    elif table or len(found) > 1:
        click.echo(tally, err=True)
    raise SystemExit(0 if tally.ok else FAILED)


def _alive(client: Client) -> None:
    """A service that is not there is told at once, where one that goes away is waited for."""
    from irs.client import ClientError, Unreachable

    try:
        client.alive()
    except Unreachable:
        raise
    except ClientError:
        pass  # it answers: what it thinks of images is for it to say


def _stop_at(outcome: Outcome) -> None:
    """One image's bad luck is an outcome; a service that is not there, or has no key for us, is not."""
    from irs.client import Unauthorized, Unreachable

    if isinstance(outcome.error, Unauthorized | Unreachable):
        raise outcome.error


def _show(row: Row, table: Table | None, *, as_json: bool) -> None:
    from irs.cli import rows

    if table is not None and row["status"] in rows.FINAL:
        table.add(row)
    if as_json and table is None:
        click.echo(rows.as_json(row))
    elif table is None or not row["ok"]:
        click.echo(row["result"], err=not row["ok"])

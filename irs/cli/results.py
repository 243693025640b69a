"""`irs results` and `irs cancel`: what was sent before."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from irs.cli.base import AS_JSON, FAILED, cli
from irs.cli.service import URL, connected

if TYPE_CHECKING:
    from irs.cli.rows import Row
    from irs.client import Batch, Client, Result


@cli.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@URL
@click.option("--wait", is_flag=True, help="Wait for what is not finished.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV, with a line that names the columns.")
@AS_JSON
def results(ids: tuple[str, ...], url: str | None, wait: bool, as_csv: bool, as_json: bool) -> None:
    """Print the labels of jobs and batches.

    One line an image, as `irs classify` prints it. Exit code 0 only when every image has a
    label.
    """
    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both")
    from irs.cli import rows

    if as_csv:
        click.echo(rows.head())
    show = printer(as_json=as_json, as_csv=as_csv)
    with connected(url) as client:
        ok = [_of(client, given, show, wait=wait) for given in ids]
    raise SystemExit(0 if all(ok) else FAILED)


@cli.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@URL
@AS_JSON
def cancel(ids: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """End jobs and batches.

    What has a result keeps it. Exit code 0 only when all of them were in time.
    """
    with connected(url) as client:
        ok = [_cancel(client, given, as_json=as_json) for given in ids]
    raise SystemExit(0 if all(ok) else FAILED)


def printer(*, as_json: bool, as_csv: bool = False) -> Callable[[Row], None]:
    """Prints a row in the form that was asked for."""
    from irs.cli import rows

    def show(row: Row) -> None:
        if as_json or as_csv:
            click.echo(rows.as_json(row) if as_json else rows.as_csv(row))
        else:
            click.echo(row["result"], err=not row["ok"])

    return show


def stream(client: Client, batch: Batch, show: Callable[[Row], None], *,
           names: Sequence[str] = ()) -> bool:
    """Show a batch's results so far; True where every image has a label.

    ``names`` are the members' paths here, where they are known.
    """
    from irs.cli import rows

    labels = 0
    for member in client.results(batch.id):
        row = rows.of_member(member, names[member.number] if member.number < len(names) else None)
        labels += row["ok"]
        show(row)
    if batch.finished is None:
        click.echo(progress_of(batch), err=True)
    return labels == batch.total


def progress_of(batch: Batch) -> str:
    """Where a batch stands, in one line."""
    counts = ", ".join(f"{count} {name}" for name, count in batch.counts.items() if count)
    more = f", about {batch.estimate_seconds:.0f} s" if batch.estimate_seconds else ""
    return f"{batch.id}: {batch.status}, {batch.total} images: {counts or 'none'}{more}"


def _of(client: Client, given: str, show: Callable[[Row], None], *, wait: bool) -> bool:
    from irs.cli import rows
    from irs.client import NotFound

    try:
        job = client.get(given)
    except NotFound:
        return _of_batch(client, given, show, wait=wait)
    result = _waited(client, given) if job.result is None and wait else job.result
    if result is None:
        more = f", about {job.estimate_seconds:.0f} s" if job.estimate_seconds else ""
        show(rows.of_none(job.id, str(job.status), given, more))
        return False
    show(rows.of_result(result, result.image))
    return result.label is not None


def _waited(client: Client, given: str) -> Result | None:
    from irs.client import Failed

    try:
        return client.wait(given, math.inf)
    except Failed:  # a result as well, and here all of it is wanted
        return client.get(given).result


def _of_batch(client: Client, given: str, show: Callable[[Row], None], *, wait: bool) -> bool:
    from irs.client import NotFound

    try:
        batch = client.wait_batch(given) if wait else client.get_batch(given)
    except NotFound:
        show(_unknown(given))
        return False
    return stream(client, batch, show)


def _unknown(given: str) -> Row:
    return {"file": given, "ok": False, "id": given, "status": "unknown",
            "result": f"({given}, error: no such job or batch)",
            "error": {"code": "unknown", "message": "no such job or batch"}}


def _cancel(client: Client, given: str, *, as_json: bool) -> bool:
    from irs.client import NotFound, Status

    try:
        result = client.cancel(given)
    except NotFound:
        return _cancel_batch(client, given, as_json=as_json)
    ended = result.status is Status.CANCELLED
    if as_json:
        click.echo(json.dumps({"ok": ended, **result.as_dict()}, ensure_ascii=False))
    else:
        click.echo(f"{given}: {'cancelled' if ended else f'has its result: {result.line}'}", err=not ended)
    return ended


def _cancel_batch(client: Client, given: str, *, as_json: bool) -> bool:
    from irs.client import NotFound, Status

    try:
        batch = client.cancel_batch(given)
    except NotFound:
        printer(as_json=as_json)(_unknown(given))
        return False
    ended = batch.status == Status.CANCELLED
    if as_json:
        click.echo(json.dumps({"ok": ended, **batch.as_dict()}))
    else:
        click.echo(progress_of(batch), err=not ended)
    return ended

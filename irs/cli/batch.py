"""`irs batch`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from irs.cli.base import AS_JSON, FAILED, cli
from irs.cli.results import printer, progress_of, stream
from irs.cli.service import PATIENT, URL, connected

if TYPE_CHECKING:
    from irs.client import Batch, Client

_S3 = "s3://"


@cli.command()
@click.argument("given", nargs=-1, required=True, metavar="PATH…|s3://BUCKET/PREFIX")
@URL
@click.option("--wait", is_flag=True, help="Wait for the last result, and print all of them.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Wait, and write rows to FILE (.csv or .jsonl).")
@AS_JSON
def batch(given: tuple[str, ...], url: str | None, wait: bool, out: Path | None, as_json: bool) -> None:
    """Send many images as one piece of work.

    Files, folders, one .zip, objects in S3, or all that is below a prefix there. Prints the
    batch's id, for `irs results` and `irs cancel`; the work goes on whether this command
    waits or not.
    """
    from irs.cli import rows

    with contextlib.ExitStack() as stack:
        table = stack.enter_context(rows.Table(out, key="id")) if out else None
        images = _images(given)
        client = stack.enter_context(connected(url, retries=PATIENT))
        client.alive()
        sent = client.batch(images)
        if not (wait or table):
            click.echo(json.dumps(sent.as_dict()) if as_json else sent.id)
            return
        click.echo(f"batch {sent.id}", err=True)
        ended = _wait(client, sent)
        ok = stream(client, ended, table.add if table else printer(as_json=as_json), names=_names(images))
    if table and as_json:
        click.echo(json.dumps(ended.as_dict()))
    else:
        click.echo(progress_of(ended), err=True)
    raise SystemExit(0 if ok else FAILED)


def _images(given: tuple[str, ...]) -> str | Path | list[str | Path]:
    """What `irs.client.Client.batch` takes."""
    from irs.cli import files

    remote = [text for text in given if text.startswith(_S3)]
    if remote and len(remote) < len(given):
        raise click.UsageError("a batch is of files here or of objects in S3, not of both")
    if remote:
        return remote[0] if len(remote) == 1 else list(remote)
    if len(given) == 1 and given[0].lower().endswith(".zip"):
        return Path(given[0])
    found: list[str | Path] = list(files.find(map(Path, given)))
    if not found:
        raise click.UsageError(f"no images in {', '.join(given)}")
    return found


def _names(images: str | Path | list[str | Path]) -> list[str]:
    """The path of each member, by its number; empty where the service alone knows them."""
    paths = [str(image) for image in images] if isinstance(images, list) else []
    return [] if any(path.lower().endswith(".zip") for path in paths) else paths


def _wait(client: Client, sent: Batch) -> Batch:
    from irs.cli import progress

    with progress.bar(sent.total) as advance:
        return client.wait_batch(sent.id, on_look=lambda seen: advance(
            seen.settled, seen.rate or 0.0, seen.total))

"""`irs classify`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from irs.cli.base import AS_JSON, FAILED, cli

#: Files from which a progress bar is worth its flicker.
MANY = 5


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…",
                type=click.Path(path_type=Path))
@click.option("--url", help="The service.  [default: http://IRS_HOST:IRS_PORT]")
@click.option("--wait", type=click.FloatRange(min=0), default=60, show_default=True,
              metavar="SECONDS", help="Longest wait for one image's label.")
@AS_JSON
def classify(files: tuple[Path, ...], url: str | None, wait: float, as_json: bool) -> None:
    """Upload images and print their labels.

    One line a file, in the order given. A label goes to stdout as "(name, label)", a
    failure to stderr; --json prints one JSON object a line for either.
    """
    from irs._upload import Service

    for path in files:
        if path.is_dir():
            raise click.UsageError(f"{path} is a folder; name the files in it: {path}/*")
    service = Service(url or own_url(), wait=wait, key=key_for(own=url is None))
    failed = 0
    with _progress(len(files)) as advance:
        for outcome in service.classify(files, on_done=advance):
            failed += not outcome.ok
            if as_json:
                click.echo(json.dumps(outcome.as_dict(), ensure_ascii=False))
            else:
                click.echo(outcome.line, err=not outcome.ok)
    raise SystemExit(FAILED if failed else 0)


def own_url() -> str:
    """Where this directory's settings put the web tier."""
    from irs import settings

    loaded = settings.load()
    # "Every address" is where a server listens, not where a client can go.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(loaded.host, loaded.host)  # noqa: S104 - read
    return f"http://[{host}]:{loaded.port}" if ":" in host else f"http://{host}:{loaded.port}"


def key_for(*, own: bool) -> str | None:
    """The API key to send; a key of this service's goes to no other."""
    from irs import settings

    loaded = settings.load()
    if own:
        return settings.own_key(loaded)
    return loaded.api_key.get_secret_value() if loaded.api_key else None


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr for several files at a terminal; yields what to call for each."""
    if total < MANY or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    # Lines that go to the same terminal are drawn above the bar; lines that go to a file
    # must not pass through rich, which would send them to the terminal.
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)

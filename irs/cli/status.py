"""`irs status`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from irs.cli.base import AS_JSON, FAILED, cli
from irs.cli.service import URL, connected


@cli.command()
@URL
@click.option("--watch", is_flag=True, help="Go on showing it; q or Ctrl-C ends that.")
@click.option("--every", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True,
              metavar="SECONDS", help="Between looks, with --watch.")
@AS_JSON
def status(url: str | None, watch: bool, every: float, as_json: bool) -> None:
    """Show queue, fleet, pace and dollars.

    What the service says of itself, on one screen. Exit code 1 where it is not ready.

    With --watch it stays and keeps up, also while the service is away; where nobody looks at
    a terminal it is a line a look.
    """
    if watch and as_json:
        raise click.UsageError("--watch or --json, not both")
    if watch:
        from irs.cli import watching

        raise SystemExit(watching.watch(url, every))
    from irs.client import ClientError, NotFound, Unreachable

    stats: Mapping[str, Any] = {}
    history: Mapping[str, Any] = {}
    with connected(url) as client:
        try:
            ready, said = True, client.ready()
        except Unreachable:
            raise
        except ClientError as exc:
            ready, said = False, str(exc)
        try:
            stats = client.stats()
            history = {} if as_json else client.history(60)
        except NotFound:
            said += "" if stats else "; it gives no statistics"
        except ClientError as exc:
            said += f"; no statistics: {exc}"
        address = client.url
    if as_json:
        click.echo(json.dumps({"ok": ready, "url": address, "ready": said, **stats}, indent=2))
    else:
        from irs.cli.screen import Seen, lines

        click.echo("\n".join(lines(Seen(url=address, stats=stats, history=history), said)))
    raise SystemExit(0 if ready else FAILED)

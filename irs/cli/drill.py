"""`irs drill`."""

from __future__ import annotations

import json

import click

from irs.cli.base import AS_JSON, FAILED, cli
from irs.cli.service import key_for, own_url


@cli.command()
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="Name the drills.")
@click.option("--url", help="The service.  [default: http://IRS_HOST:IRS_PORT]")
@click.option("--rate", type=click.FloatRange(min=0.1, max=50), default=2.0, show_default=True,
              help="Images uploaded a second meanwhile.")
@click.option("--seconds", type=click.FloatRange(min=0.1, max=3600), metavar="SECONDS",
              help="How long it lasts, where it does.  [default: the drill's own]")
@click.option("--seed", type=int, help="Of the images.  [default: random]")
@click.option("--yes", is_flag=True, help="Also where the service is not on this machine.")
@AS_JSON
def drill(*, name: str | None, listed: bool, url: str | None, rate: float,
          seconds: float | None, seed: int | None, yes: bool, as_json: bool) -> None:
    """Harm the running service and see it heal.

    Uploads images meanwhile and holds what came out against what went in. Exit code 0 only
    when the harm was done, nothing was lost or doubled, and all was well within 90 s.
    """
    from irs.drill.drills import DRILLS

    if listed:
        for one in DRILLS.values():
            click.echo(f"{one.name:<20}{one.help}{' Here only.' if one.local else ''}")
        return
    if name not in DRILLS:
        raise click.UsageError(f"{f'there is no drill {name}, but' if name else 'name a drill:'} "
                               f"{', '.join(DRILLS)}")
    from irs import log, settings
    from irs.drill import run as running
    from irs.drill import target as targets

    log.configure(level="ERROR")  # the report says it all
    target = targets.Target(settings.load(), url or own_url(), key=key_for(own=url is None))
    target.ready()
    running.allowed(DRILLS[name], target, yes=yes)
    report = running.run(DRILLS[name], target, rate=rate, seconds=seconds, seed=seed)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        click.echo(f"{report.HEAD}\n{report.line}")
        for line in report.broken:
            click.echo(f"  {line}", err=True)
    raise SystemExit(0 if report.ok else FAILED)

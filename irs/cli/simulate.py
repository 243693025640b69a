"""`irs simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from irs.cli.base import cli


@cli.command()
@click.argument("traces", nargs=-1, metavar="[TRACE]…", type=click.Path(path_type=Path))
@click.option("--synthetic", multiple=True, metavar="NAME", help="burst, diurnal or coursework.")
@click.option("--from-log", type=click.Path(path_type=Path), metavar="FILE",
              help="Replay what a running scaler logged (JSON lines): what would it have cost?")
@click.option("--policy", multiple=True, metavar="NAME[:KEY=NUMBER,…]",
              help="Only these policies.  [default: all, as documented]")
@click.option("--wait", type=click.FloatRange(min=0, min_open=True), default=30, show_default=True,
              metavar="SECONDS", help="Target: how long a message may wait.")
@click.option("--lag", type=click.FloatRange(min=0), default=0, show_default=True, metavar="SECONDS",
              help="How late the queue's counts are; ours measure it.")
@click.option("--noise", type=click.FloatRange(min=0), default=0, show_default=True, metavar="SHARE",
              help="Relative standard deviation of the counts.")
@click.option("--outage", multiple=True, nargs=2, type=click.FloatRange(min=0), metavar="FROM TO",
              help="Seconds between which EC2 has no capacity.")
@click.option("--crashes", type=click.FloatRange(min=0), default=0, metavar="SECONDS",
              help="Mean life of an instance before it crashes.  [default: none does]")
@click.option("--service", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="An image on an instance.  [default: 1, or as logged]")
@click.option("--boot", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Median boot.  [default: 50, or as logged]")
@click.option("--cap", type=click.IntRange(min=1), default=19, show_default=True, help="Instances at most.")
@click.option("--peak", type=click.FloatRange(min=0), default=14, show_default=True, metavar="RATE",
              help="Requests/s that traces are scaled to; 0: as they are.")
@click.option("--price", type=click.FloatRange(min=0), metavar="DOLLARS", help="An instance-hour.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--no-bound", is_flag=True, help="Skip the lower bound, which takes longest.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write figures.")
@click.option("--plot", "plot_path", type=click.Path(path_type=Path), metavar="FILE",
              help="Draw queue, fleet and wait over time (.png).")
def simulate(**given: Any) -> None:
    """Compare scaling policies on a trace.

    Runs this service's policies and emulations of others' over arrivals, and says what each
    costs and how long messages wait. docs/scaling.md explains the table.
    """
    if not (given["traces"] or given["synthetic"] or given["from_log"]):
        raise click.UsageError("name a trace file, --synthetic or --from-log")
    from irs.simulate import command

    files = {name: given.pop(name) for name in ("json_path", "plot_path")}
    command.run(command.options(**given), say=click.echo, **files)

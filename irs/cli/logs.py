"""`irs logs`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from irs.cli.audit import Since
from irs.cli.base import AS_JSON, CANNOT, FAILED, cli

if TYPE_CHECKING:
    from irs.cli.loglines import Record

SERVICES = ("web", "scaler", "workers", "emulator")
#: Lines that are shown of what has been, unless something narrows them.
LINES = 100
_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}


@cli.group(invoke_without_command=True)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes; Ctrl-C ends that.")
@click.option("--service", "services", type=click.Choice(SERVICES), multiple=True,
              help="Of these alone; may be given several times.  [default: all]")
@click.option("--id", "job_id", metavar="ID", help="Only what names this job, batch or instance.")
@click.option("--level", type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
              default="debug", help="Only what is at least so grave.  [default: all]")
@click.option("--since", type=Since(), metavar="TIME",
              help="Only from then on: 2026-11-24T12:00Z, or 10m ago.")
@click.option("-n", "--lines", type=click.IntRange(min=0), metavar="N",
              help="At most the last N; 0: none, but what comes.  [default: 100; with --id or --since all]")
@AS_JSON
@click.pass_context
def logs(ctx: click.Context, *, follow: bool, services: tuple[str, ...], job_id: str | None, level: str,
         since: datetime | None, lines: int | None, as_json: bool) -> None:
    """Show the logs of all processes by time.

    Here those of `irs up` in this directory, on AWS those of the log group that IRS_LOG_GROUP
    names. Exit code 1 where there is nothing to show.
    """
    if ctx.invoked_subcommand is not None:
        if any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ctx.params):
            raise click.UsageError("`irs logs ship` takes none of the options of `irs logs`")
        return
    from irs import settings
    from irs.cli import logsources

    loaded = settings.load()
    if lines is None and not (job_id or since):
        lines = LINES
    shown = 0

    def show(records: Iterable[Record]) -> None:
        nonlocal shown
        for record in records:
            if record.least(level.lower()):
                shown += 1
                click.echo(json.dumps(record.as_dict()) if as_json else _line(record))

    wanted = logsources.Wanted(services=frozenset(services or SERVICES), containing=job_id, since=since,
                               level=level.lower(), lines=lines)
    with logsources.of(loaded, wanted) as source:
        if not source.there:
            click.echo(f"irs: no logs in {loaded.state_dir}: start `irs up` here, or name the log group of "
                       "a deployment with IRS_LOG_GROUP", err=True)
            raise SystemExit(CANNOT)
        show(source.past())
        while follow:
            show(source.fresh())
            source.wait()
    raise SystemExit(0 if shown else FAILED)


@logs.command(short_help="Ship this machine's journal to CloudWatch.")
@click.option("--service", type=click.Choice(SERVICES[:3]), required=True,
              help="Which this machine is: what the stream's name begins with.")
@click.option("--machine", metavar="NAME", help="Its name in the stream's.  [default: the instance's id]")
@click.option("--cursor", type=click.Path(path_type=Path), metavar="FILE",
              help="Where it keeps how far it is.  [default: logs-cursor in IRS_STATE_DIR]")
@click.option("--journal", type=click.Path(path_type=Path, exists=True, file_okay=False),
              metavar="DIRECTORY", help="The journal.  [default: this machine's]")
@click.option("--once", is_flag=True, help="Ship what there is, and end.")
def ship(*, service: str, machine: str | None, cursor: Path | None, journal: Path | None,
         once: bool) -> None:
    """Ship this machine's journal to the log group that IRS_LOG_GROUP names.

    irs-logs.service runs it on the machine image. SIGTERM ships what has been written by then.
    """
    from irs import log, settings
    from irs.aws.logs import Stream
    from irs.aws.metadata import Metadata
    from irs.errors import SettingsError, Unreachable
    from irs.local.signals import Signals
    from irs.shipping.cursor import Cursor
    from irs.shipping.journal import Journal
    from irs.shipping.shipper import PATIENCE, Shipper

    loaded = settings.load()
    log.configure(loaded.log_level, loaded.log_format)
    if loaded.log_group is None:
        raise SettingsError("IRS_LOG_GROUP: name the log group of CloudWatch to ship to, such as /irs/irs")
    try:
        name = f"{service}/{machine or Metadata(loaded.metadata_endpoint).instance_id()}"
    except Unreachable as exc:
        raise SettingsError(f"{exc}: where this is no EC2 instance, --machine names it") from None
    place = Cursor(cursor or loaded.state_dir / "logs-cursor")
    shipper = Shipper(
        Stream(loaded, loaded.log_group, name), place, Signals(),
        lambda follow: Journal(after=place.value, follow=follow, directory=journal))
    _log = log.get("logs")
    with place.held():
        _log.info("logs.shipping", group=loaded.log_group, stream=name, resumed=bool(place.value))
        if once:
            shipper.once(PATIENCE)
            click.echo(f"{shipper.shipped} lines in {loaded.log_group}, stream {name}")
        else:
            shipper.run()


def _line(record: Record) -> str:
    from irs.cli import loglines

    grave = _COLOURS.get(record.level)
    return (f"{click.style(loglines.stamp(record.at), dim=True)} {record.source:<19} "
            f"{click.style(f'{record.level:<8}', fg=grave)} {record.text}")

"""The `irs` command: thin, one function a verb.

Exit codes: 0 done; 1 the verb's own "no" (a check failed, an image was refused); 2 it
could not start (usage, settings, nothing answers); 130 Ctrl-C. What is heavy is imported
inside the verb that needs it: `irs --help` loads neither boto3, Flask, Celery, pydantic
nor torch, and a test holds it to that.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from irs.errors import IRSError

if TYPE_CHECKING:
    from irs.doctor import Check

FAILED = 1
CANNOT = 2
INTERRUPTED = 130

#: Files from which a progress bar is worth its flicker.
MANY = 5

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class _Verbs(click.Group):
    """Errors that we raise on purpose, and the system's, are one line and never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IRSError as exc:
            click.echo(f"irs: {exc}", err=True)
            ctx.exit(CANNOT)
        except BrokenPipeError:
            raise  # click's own: the reader of a pipe has left
        except OSError as exc:
            click.echo(f"irs: {exc}", err=True)
            ctx.exit(CANNOT)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


_AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Image recognition as a service on AWS primitives.

    Settings are IRS_* variables, or lines of .env; docs/settings.md explains each.
    """


@cli.command()
@click.option("--no-create", is_flag=True,
              help="Refuse to start when a bucket or queue is missing, rather than create it.")
def up(no_create: bool) -> None:
    """Start cloud, web tier and scaler here.

    Creates what is missing, stays in the foreground, and Ctrl-C stops all of it.
    """
    from irs import settings

    loaded = settings.load()
    from irs.local import stack  # after what may refuse to start: it takes a second

    for name, meant in settings.unknown():
        hint = f"; did you mean {meant}?" if meant else ""
        click.echo(f"irs: warning: {name} is no setting and has no effect{hint}", err=True)
    raise SystemExit(stack.up(loaded, create=not no_create))


@cli.command()
@_AS_JSON
def doctor(as_json: bool) -> None:
    """Check settings, cloud, model and clock.

    Says how to mend what is wrong; changes nothing. Exit code 1 where a check fails.
    """
    from irs import doctor as checks
    from irs import log

    log.configure(level="ERROR")  # the report says it all
    found: list[Check] = []
    for check in checks.run():
        found.append(check)
        if not as_json:
            _show(check)
    failed = sum(check.level == "fail" for check in found)
    if as_json:
        click.echo(json.dumps({"ok": not failed, "checks": [check.as_dict() for check in found]},
                              indent=2))
    elif failed:
        click.echo(f"{failed} of {len(found)} checks failed")
    raise SystemExit(FAILED if failed else 0)


@cli.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done and why, and do nothing.")
@click.option("--once", is_flag=True, help="One round, then exit.")
def scale(dry_run: bool, once: bool) -> None:
    """Keep the right number of instances running.

    Looks at queue and fleet every few seconds; SIGTERM or Ctrl-C ends it. Several may run:
    one acts, and another takes over when it dies. Exit code 1 where --once could not look,
    or another scaler acts.
    """
    from irs.scaler import __main__ as scaler

    raise SystemExit(scaler.scale(once=once, dry_run=dry_run))


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…",
                type=click.Path(path_type=Path))
@click.option("--url", help="The service.  [default: http://IRS_HOST:IRS_PORT]")
@click.option("--wait", type=click.FloatRange(min=0), default=60, show_default=True,
              metavar="SECONDS", help="Longest wait for one image's label.")
@_AS_JSON
def classify(files: tuple[Path, ...], url: str | None, wait: float, as_json: bool) -> None:
    """Upload images and print their labels.

    One line a file, in the order given. A label goes to stdout as "(name, label)", a
    failure to stderr; --json prints one JSON object a line for either.
    """
    from irs._upload import Service

    for path in files:
        if path.is_dir():
            raise click.UsageError(f"{path} is a folder; name the files in it: {path}/*")
    service = Service(url or _own_url(), wait=wait)
    failed = 0
    with _progress(len(files)) as advance:
        for outcome in service.classify(files, on_done=advance):
            failed += not outcome.ok
            if as_json:
                click.echo(json.dumps(outcome.as_dict(), ensure_ascii=False))
            else:
                click.echo(outcome.line, err=not outcome.ok)
    raise SystemExit(FAILED if failed else 0)


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
              help="How late the queue's counts are.")
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


@cli.group()
def model() -> None:
    """The model that instances run."""


@model.command()
@click.option("--force", is_flag=True, help="Export again even where the file is there.")
@_AS_JSON
def export(force: bool, as_json: bool) -> None:
    """Write the model's ONNX file.

    A CPU instance runs it; the first one makes it where it is missing, which this command
    does ahead of time, for an AMI or an image.
    """
    from irs import log, settings
    from irs.aws.objects import Objects
    from irs.model import export as exporter
    from irs.model import exported, weights

    loaded = settings.load()
    log.configure(level="ERROR")  # what comes out is the path or one line of error
    if force and (old := exported.find(loaded)):
        # The digest is what makes an export one.
        old.path.with_suffix(".sha256").unlink()
    path = exporter.export(loaded, lambda bucket, key: Objects(loaded, bucket).get(key))
    if as_json:
        click.echo(json.dumps({"model": loaded.model, "path": str(path), "sha256": weights.digest(path)}))
    else:
        click.echo(path)


@cli.command()
@_AS_JSON
def version(as_json: bool) -> None:
    """Show IRS's version and its parts'."""
    import platform
    from importlib import metadata

    import irs

    found = {"irs": irs.__version__, "python": platform.python_version()}
    for package in ("celery", "kombu", "boto3", "obstore", "flask", "onnxruntime", "torch",
                    "torchvision", "ministack"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, text in found.items():
        click.echo(f"{name} {text}")


def _own_url() -> str:
    """Where this directory's settings put the web tier."""
    from irs import settings

    loaded = settings.load()
    # "Every address" is where a server listens, not where a client can go.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(loaded.host, loaded.host)  # noqa: S104 - read
    return f"http://[{host}]:{loaded.port}" if ":" in host else f"http://{host}:{loaded.port}"


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


def _show(check: Check) -> None:
    level = click.style(f"{check.level:4}", fg=_COLOURS[check.level])
    click.echo(f"{level}  {check.name}: {check.found}")
    if check.mend:
        click.echo(f"      {check.mend}")


def main() -> None:
    """The console script."""
    cli(prog_name="irs")

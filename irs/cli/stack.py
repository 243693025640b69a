"""`irs up`, `irs doctor`, `irs scale`, `irs version`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from irs.cli.base import AS_JSON, FAILED, cli

if TYPE_CHECKING:
    from irs.doctor import Check

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


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
@AS_JSON
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
@AS_JSON
def version(as_json: bool) -> None:
    """Show IRS's version and its parts'."""
    import platform
    from importlib import metadata

    import irs

    found = {"irs": irs.__version__, "python": platform.python_version()}
    for package in ("celery", "kombu", "boto3", "obstore", "flask", "onnxruntime", "openvino",
                    "torch", "torchvision", "ministack"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, text in found.items():
        click.echo(f"{name} {text}")


def _show(check: Check) -> None:
    level = click.style(f"{check.level:4}", fg=_COLOURS[check.level])
    click.echo(f"{level}  {check.name}: {check.found}")
    if check.mend:
        click.echo(f"      {check.mend}")

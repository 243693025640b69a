"""`irs ami …`."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from irs.cli.base import AS_JSON, cli

if TYPE_CHECKING:
    from collections.abc import Callable

    from irs.ami.choosing import Listed


def _bucket(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--bucket", metavar="NAME", help=f"{what} Default: IRS_OUTPUT_BUCKET.")


def _wish(verb: Callable[..., None]) -> Callable[..., None]:
    """The options that say what is to be on a machine."""
    for option in reversed((
            click.option("--release", required=True, metavar="WHEEL|s3://…|VERSION",
                         help="A wheel here or in S3, or a version that the machine's pip finds."),
            click.option("--sha256", metavar="HEX", help="The wheel's digest; needed for one in S3."),
            click.option("--model", metavar="s3://….sha256",
                         help="An export in S3. Default: IRS_MODEL's of this machine (irs model export)."),
            _bucket("Where what the machine fetches lies meanwhile."))):
        verb = option(verb)
    return verb


@cli.group()
def ami() -> None:
    """The machine image of all three tiers."""


@ami.command()
@_wish
@click.option("--base", metavar="AMI|/SSM/PARAMETER",
              help="What it is built on. Default: the newest Amazon Linux 2023, for the type's processors.")
@click.option("--instance-type", metavar="TYPE", help="Default: IRS_INSTANCE_TYPE.")
@click.option("--subnet", metavar="ID", help="Default: the first of IRS_SUBNET_IDS.")
@click.option("--security-group", "groups", multiple=True, metavar="ID",
              help="Default: IRS_SECURITY_GROUP_IDS.")
@click.option("--disk", type=click.IntRange(8, 1024), default=16, show_default=True, metavar="GIB")
@click.option("--minutes", type=click.IntRange(1, 600), default=30, show_default=True, metavar="N",
              help="For the installation.")
@AS_JSON
def build(*, release: str, sha256: str | None, model: str | None, bucket: str | None, base: str | None,
          instance_type: str | None, subnet: str | None, groups: tuple[str, ...], disk: int, minutes: int,
          as_json: bool) -> None:
    """Build an image on a machine of its own.

    It installs the release and the model, tests itself, is stopped, kept as an image and
    terminated. Whatever goes wrong, Ctrl-C included, ends it. Steps go to stderr, the image's
    id to stdout.
    """
    from irs import log, settings
    from irs.ami import ordering

    loaded = settings.load()
    log.configure(level="ERROR")  # the steps say it all
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends its machine, as Ctrl-C does
    try:
        made = ordering.make(
            loaded, ordering.Wish(release=release, sha256=sha256, model=model, bucket=bucket),
            ordering.Machine(base=base, type=instance_type, subnet=subnet, groups=groups,
                             disk=disk, minutes=minutes),
            lambda line: click.echo(line, err=True))
    finally:
        signal.signal(signal.SIGTERM, before)
    if as_json:
        click.echo(json.dumps({"image": made.id, "name": made.name, "version": made.version,
                               "model": made.model, "base": made.base}))
    else:
        click.echo(made.id)


@ami.command("cloud-init")
@_wish
@click.option("--role", required=True, type=click.Choice(["app", "web", "scaler"]),
              help="What the machine becomes.")
@click.option("--settings", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              default=".env", show_default=True, help="IRS_NAME=value lines for the machine.")
def cloud_init(*, release: str, sha256: str | None, model: str | None, bucket: str | None, role: str,
               file: Path) -> None:
    """Print user data for a stock image.

    It makes a machine of IRS of it, at the first boot. What it fetches from S3 is good for a
    week. The scaler launches with user data of its own: for its instances build an image.
    """
    from irs import log, settings
    from irs.ami import ordering

    loaded = settings.load()
    log.configure(level="ERROR")
    lines = "".join(f"{name}={value}\n" for name, value in settings.lines(file.read_text("utf-8")).items())
    click.echo(ordering.document(
        loaded, ordering.Wish(release=release, sha256=sha256, model=model, bucket=bucket),
        role=role, lines=lines), nl=False)


@ami.command("list")
@AS_JSON
def list_(as_json: bool) -> None:
    """Show the images, the newest first, and who uses them."""
    from irs import settings
    from irs.ami import ordering

    found = ordering.everything(settings.load())
    if as_json:
        click.echo(json.dumps([_row(item) for item in found]))
        return
    for item in found:
        image = item.image
        click.echo(f"{image.id}  {image.state:9}  {image.version:8}  {image.model}  {_age(item)}"
                   f"  {'used by ' + ', '.join(item.users) if item.users else 'unused'}")


@ami.command()
@click.option("--keep", type=click.IntRange(min=0), default=3, show_default=True, metavar="N",
              help="The newest that stay, used or not.")
@_bucket("That of the builds: it says whether one is under way.")
@click.option("--yes", is_flag=True, help="Do it, rather than say what would be done.")
@AS_JSON
def prune(*, keep: int, bucket: str | None, yes: bool, as_json: bool) -> None:
    """Remove old images that nobody uses, and what builds left.

    Those that an instance was made of, that a launch template names, and IRS_AMI stay, however
    old. Without --yes nothing is changed.
    """
    from irs import settings
    from irs.ami import ordering

    loaded = settings.load()
    told = ordering.clearing(loaded, keep=keep, bucket=bucket)
    if yes:
        ordering.clear(loaded, told)
    if as_json:
        click.echo(json.dumps({
            "done": yes, "images": [i.id for i in told.images], "builders": [b.id for b in told.builders],
            "snapshots": list(told.snapshots), "under_way": told.under_way}))
        return
    verb = "removed" if yes else "would be removed"
    for image in told.images:
        click.echo(f"{image.id}  {image.version}  {image.name}: {verb}")
    for builder in told.builders:
        click.echo(f"{builder.id}  a machine that build {builder.build or '?'} left: {verb}")
    for snapshot in told.snapshots:
        click.echo(f"{snapshot}  a snapshot that is in no image: {verb}")
    if told.under_way:
        click.echo(f"build {told.under_way} is under way: what is its own stays", err=True)
    if not (told.images or told.builders or told.snapshots):
        click.echo("nothing to remove")
    elif not yes:
        click.echo("nothing was changed: --yes does it", err=True)


def _row(item: Listed) -> dict[str, Any]:
    image = item.image
    return {"image": image.id, "state": image.state, "name": image.name, "version": image.version,
            "model": image.model, "base": image.base, "users": list(item.users),
            "built_at": image.built_at.isoformat() if image.built_at else None}


def _age(item: Listed) -> str:
    if item.image.built_at is None:
        return "of unknown age"
    days = (datetime.now(UTC) - item.image.built_at).days
    return "of today" if days < 1 else f"{days} days old"

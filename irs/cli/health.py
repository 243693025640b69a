"""`irs health`."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import click

from irs.cli.base import FAILED, cli
from irs.cli.service import own_url
from irs.errors import SettingsError, words

#: Seconds for the web tier's answer, which asks nobody.
PATIENCE = 5.0


@cli.command()
@click.argument("part", type=click.Choice(["web", "worker", "scaler"]))
def health(part: str) -> None:
    """Tell whether this machine's PART lives.

    For health checks of containers: the web tier is asked, worker and scaler beat into
    IRS_HEARTBEAT_FILE. Says nothing of the cloud, which no restart mends. Exit code 1 where
    the part does not live.
    """
    from irs import settings

    well, said = _web() if part == "web" else _beats(settings.load().heartbeat_file)
    click.echo(f"{part}: {said}")
    raise SystemExit(0 if well else FAILED)


def _web() -> tuple[bool, str]:
    url = f"{own_url()}/healthz"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - our own address
            return True, answer.read(200).decode(errors="replace").strip()
    except urllib.error.HTTPError as exc:
        exc.close()
        return False, f"{url} answered {exc.code}"
    except OSError as exc:
        return False, f"{url} does not answer: {words(exc)}"


def _beats(path: Path | None) -> tuple[bool, str]:
    from irs import heartbeat

    if path is None:
        raise SettingsError("IRS_HEARTBEAT_FILE is not set: name a file that both the process and this "
                            "command can reach")
    age = heartbeat.age(path)
    if age is None:
        return False, f"no heartbeat in {path} so far"
    return age <= heartbeat.STALE, f"last heartbeat {age:.0f} s ago"

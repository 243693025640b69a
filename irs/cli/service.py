"""The service that a verb talks to: where it is, the key to send, the client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from irs.errors import SettingsError

if TYPE_CHECKING:
    from irs.client import Client

URL = click.option("--url", help="The service.  [default: http://IRS_HOST:IRS_PORT]")
#: Repeats of a request without an answer, for a verb that a person waits for: half a second.
FEW = 2
#: And for one that works through many images: half a minute, in which a web tier restarts.
PATIENT = 10


@contextlib.contextmanager
def connected(url: str | None, *, retries: int = FEW) -> Iterator[Client]:
    """A client of the service at ``url``, or of this directory's own.

    Raises `SettingsError` for an address that is none.
    """
    from irs.client import Client, Unreachable

    where, key = url or own_url(), key_for(own=url is None)
    try:
        client = Client(where, api_key=key, retries=retries)
    except SettingsError as exc:
        raise SettingsError(f"--url {exc}") from None
    with client:
        try:
            yield client
        except Unreachable as exc:
            raise Unreachable(f"{exc}; start the service with `irs up` or name another with --url",
                              id=exc.id) from exc


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

"""Who this worker is: its EC2 instance id, or the host's name where there is none."""

from __future__ import annotations

import functools
import socket

from irs import errors
from irs.aws.metadata import Metadata
from irs.settings import load

#: All addresses of a machine.
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - read, not bound


@functools.cache
def metadata() -> Metadata:
    """The instance-metadata client, with its token."""
    return Metadata(load().metadata_endpoint)


@functools.cache
def instance_id() -> str | None:
    """``i-0abc…``; None on a machine that has no instance metadata."""
    try:
        return metadata().instance_id()
    except errors.CloudError:
        return None


def address(host: str, port: int) -> str:
    """Where others reach what listens on ``port`` of ``host``, as host:port.

    What listens on all addresses is reached at the instance's own; off EC2 at the host's name.
    """
    if host in EVERYWHERE:
        try:
            host = metadata().local_ipv4()
        except errors.CloudError:
            host = socket.gethostname()
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def instance() -> str:
    """What results and logs call this worker."""
    return instance_id() or socket.gethostname()

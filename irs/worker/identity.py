"""Who this worker is: its EC2 instance id, or the host's name where there is none."""

from __future__ import annotations

import functools
import socket

from irs import errors
from irs.aws.metadata import Metadata
from irs.settings import load


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


def instance() -> str:
    """What results and logs call this worker."""
    return instance_id() or socket.gethostname()

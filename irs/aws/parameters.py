"""Parameters of SSM: AWS's own, such as the newest image of a system, and the deployment's."""

from __future__ import annotations

from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings


def text(settings: Settings, name: str) -> str:
    """A parameter's value, decrypted; raises `errors.NotFound` and other `errors.CloudError`."""
    with translated(f"SSM parameter {name}"):
        found = clients.client(settings, "ssm").get_parameter(Name=name, WithDecryption=True)
    return str(found["Parameter"]["Value"])

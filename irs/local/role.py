"""The credentials of an instance's role, which EC2 gets for it and renews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from irs import errors
from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings

#: As long as AWS's: clients renew them in the same way.
LIFE = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What the metadata service hands out."""

    #: name of the role
    role: str
    access_key: str
    secret_key: str
    token: str
    expires: datetime


def credentials(settings: Settings, instance_id: str) -> Credentials:
    """Those of the role of `Settings.instance_profile`, an hour's worth.

    Where no such profile is there, as in an embedded cloud that nobody has made a stack in, they
    are this process's own: an emulator takes any. Raises `errors.CloudError`.
    """
    if settings.instance_profile:
        try:
            return _assumed(settings, settings.instance_profile, instance_id)
        except errors.NotFound:
            pass
    secret = settings.aws_secret_access_key
    return Credentials(role="irs-app", access_key=settings.aws_access_key_id or "test",
                       secret_key=secret.get_secret_value() if secret else "test",
                       token="embedded",  # noqa: S106 - an emulator takes any
                       expires=datetime.now(UTC) + LIFE)


def _assumed(settings: Settings, profile: str, instance_id: str) -> Credentials:
    iam, sts = clients.client(settings, "iam"), clients.client(settings, "sts")
    with translated(f"IAM instance profile {profile}"):
        (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    with translated(f"STS AssumeRole {role['RoleName']}"):
        found = sts.assume_role(RoleArn=role["Arn"], RoleSessionName=instance_id)["Credentials"]
    return Credentials(role=role["RoleName"], access_key=found["AccessKeyId"],
                       secret_key=found["SecretAccessKey"], token=found["SessionToken"],
                       expires=found["Expiration"])

"""``python -m irs.ami.boot DIRECTORY``: which part of IRS this machine is, and its settings.

Run once by irs-boot.service. It leaves one file, named after the part (``app``, ``web`` or
``scaler``), as systemd's EnvironmentFile reads it, and the part's unit waits for that. Where
there is a log group it leaves ``logs`` as well, for irs-logs.service. The part is the instance's
tag irs:role; a machine whose user data was a document for cloud-init has both in files of /etc/irs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from irs import errors, log
from irs import settings as settings_module
from irs.aws import parameters
from irs.aws.metadata import Metadata

ROLES = ("app", "web", "scaler")
#: Where a document for cloud-init leaves ``role`` and ``settings``.
TOLD = Path("/etc/irs")
#: Seconds between tries while something cannot be asked: first and most.
PAUSE = (1.0, 15.0)
#: What irs-logs.service is told of the variables, none of which is secret; and the part by the
#: name that streams have.
LOGS = ("IRS_REGION", "IRS_AWS_ENDPOINT_URL", "IRS_LOG_GROUP", "IRS_LOG_LEVEL")
SERVICES = {"app": "workers", "web": "web", "scaler": "scaler"}

_log = log.get("boot")


def tell(metadata: Metadata, told: Path = TOLD) -> tuple[str, dict[str, str]]:
    """The part that this machine is, and its variables.

    Raises `errors.CloudError` where something cannot be asked now, and `errors.SettingsError`
    for a machine that is no part of IRS.
    """
    if (told / "role").exists():
        role = _read(told / "role").strip()
        values = settings_module.lines(_read(told / "settings"))
    else:
        try:
            role = metadata.get("meta-data/tags/instance/irs:role")
        except errors.NotFound:
            raise errors.SettingsError(
                "this instance has no tag irs:role, or its metadata does not show tags: launch it "
                "with InstanceMetadataTags=enabled") from None
        text = metadata.user_data()
        values = {} if text.startswith(settings_module.CLOUD_CONFIG) else settings_module.lines(text)
    if role not in ROLES:
        raise errors.SettingsError(f"irs:role is {role!r}, not one of {', '.join(ROLES)}")
    if role == "web":
        values |= _secrets(values)
    return role, values


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise errors.SettingsError(f"{path} cannot be read: {exc}") from None


def _secrets(values: Mapping[str, str]) -> dict[str, str]:
    """What is not for user data: the lines of the parameter ``/irs/CLUSTER/web``, if there is one."""
    settings = settings_module.build(
        {name.removeprefix(settings_module.PREFIX).lower(): value
         for name, value in values.items() if value})
    name = f"/irs/{settings.cluster}/web"
    try:
        return settings_module.lines(parameters.text(settings, name))
    except errors.NotFound:
        return {}
    except errors.SettingsError as exc:
        raise errors.SettingsError(str(exc).replace("user data", f"parameter {name},")) from None


def quoted(values: Mapping[str, str]) -> str:
    """``NAME="value"`` lines that systemd reads as they are meant."""
    def quote(value: str) -> str:
        for special in ("\\", '"', "`", "$"):
            value = value.replace(special, "\\" + special)
        return value

    return "".join(f'{name}="{quote(value)}"\n' for name, value in values.items())


def boot(directory: Path, metadata: Metadata, *, told: Path = TOLD,
         sleep: Callable[[float], None] = time.sleep) -> str:
    """Write the part's file, however long the metadata or SSM stay silent; the part.

    Raises `errors.SettingsError`.
    """
    pause, most = PAUSE
    while True:
        try:
            role, values = tell(metadata, told)
            break
        except errors.CloudError as exc:
            # Without them the web tier could serve whom it should not: it waits.
            _log.warning("boot.waits", why=str(exc), seconds=pause)
            sleep(pause)
            pause = min(most, pause * 2)
    _leave(directory / role, values)
    if values.get("IRS_LOG_GROUP"):
        shipped = {name: values[name] for name in LOGS if name in values}
        _leave(directory / "logs", shipped | {"SERVICE": SERVICES[role]})
    _log.info("boot.told", role=role, settings=len(values))
    return role


def _leave(path: Path, values: Mapping[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text(quoted(values), "utf-8")


def main(argv: list[str]) -> int:
    """The command line; the exit code."""
    try:
        log.configure("INFO", "json")
        boot(Path(argv[0]), Metadata(settings_module.build().metadata_endpoint))
    except errors.SettingsError as exc:
        sys.stderr.write(f"irs: {exc}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

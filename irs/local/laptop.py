"""What is different on a laptop, all of it: a few settings, two files, two ports."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from irs import settings as settings_module
from irs.errors import SettingsError
from irs.local import emulator
from irs.settings import CLOUD_ENV, Settings

#: The emulator takes any; the web tier, the scaler and the instances use the same, because
#: the account follows from the key.
KEY = "test"

#: Instances at most where there are no more cores than this: a burst is still seen to scale.
MOST = 4


def laptop(settings: Settings) -> Settings:
    """``settings`` for a cloud of one's own: what the user set stays as it is.

    One instance stays ready, so that the first upload does not wait for a boot, and there
    are few: more than there are cores share what there is. Long polls
    are short, so that Ctrl-C does not wait for them. Paths are absolute, because instances
    have directories of their own.
    """
    chosen: dict[str, Any] = {
        "aws_endpoint_url": f"http://{emulator.HOST}:{settings.cloud_port}",
        "aws_access_key_id": KEY, "aws_secret_access_key": KEY,
        "state_dir": settings.state_dir.absolute(), "model_dir": settings.model_dir.absolute(),
    }
    if settings.model_weights and not settings.model_weights.startswith("s3://"):
        chosen["model_weights"] = str(Path(settings.model_weights).absolute())
    if "min_instances" not in settings.model_fields_set:
        chosen["min_instances"] = 1
    if "max_instances" not in settings.model_fields_set:
        chosen["max_instances"] = max(chosen.get("min_instances", settings.min_instances),
                                      MOST, os.cpu_count() or 1)
    if "poll_wait" not in settings.model_fields_set:
        chosen["poll_wait"] = 2
    return settings_module.build(settings.model_dump(exclude_unset=True) | chosen)


def changed(settings: Settings) -> dict[str, str]:
    """The settings that differ from their defaults, as ``IRS_*`` variables."""
    fields = Settings.model_fields
    return settings_module.as_env(
        settings, *(n for n in fields if getattr(settings, n) != fields[n].default))


@contextlib.contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """`CLOUD_ENV` is there: other commands in this directory find the cloud."""
    CLOUD_ENV.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# Written by `irs up`, removed when it ends.\n"]
    lines += [f"{name}={_quoted(value)}\n" for name, value in changed(settings).items()]
    part = CLOUD_ENV.with_suffix(".part")
    part.write_text("".join(lines), encoding="utf-8")
    part.chmod(0o600)
    part.replace(CLOUD_ENV)
    try:
        yield
    finally:
        CLOUD_ENV.unlink(missing_ok=True)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[Settings]:
    """One `irs up` a directory and a state directory; raises `SettingsError` for a second.

    Gives the settings without those that a run which was killed left in `CLOUD_ENV`.
    """
    with contextlib.ExitStack() as held:
        for directory in {CLOUD_ENV.parent.absolute(), settings.state_dir.absolute()}:
            directory.mkdir(parents=True, exist_ok=True)
            # The lock goes with the process, however that ends; the file stays.
            file = held.enter_context((directory / "up.lock").open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(f"another `irs up` runs on {directory}: stop it, or start "
                                    "this one in another directory") from None
        if CLOUD_ENV.exists():
            CLOUD_ENV.unlink()
            settings_module.load.cache_clear()
            settings = settings_module.load()
        yield settings


def with_ports(settings: Settings) -> Settings:
    """The settings with real ports where they say 0.

    Raises `SettingsError`, one line, where a port cannot be had; nothing was started then.
    """
    problems, found = [], {}
    wanted = {"port": settings.host}
    if settings.aws_endpoint_url is None:
        wanted["cloud_port"] = emulator.HOST
    for name, host in wanted.items():
        port = getattr(settings, name)
        try:
            with emulator.bind(port, host=host, setting=f"IRS_{name.upper()}") as listener:
                found[name] = listener.getsockname()[1]
        except SettingsError as exc:
            problems.append(str(exc))
    if problems:
        raise SettingsError("; ".join(problems))
    return settings_module.build(settings.model_dump(exclude_unset=True) | found)


def reach(settings: Settings) -> str:
    """The web tier's URL as seen from this machine."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound
    host = everywhere.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"



"""Every setting, typed; the only reader of the environment.

Values come, strongest first, from the caller, `IRS_*` variables, `.env`, and
`.irs/cloud.env`, which the embedded cloud writes while it runs so that every command
typed in the same directory finds it. A value that does not parse, or that contradicts
another, raises `SettingsError` with one line that names the variable.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Mapping
from typing import Any

# There are none, and looking for them opens every package's metadata, a twentieth of a start.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from dotenv import dotenv_values
from pydantic import SecretStr, ValidationError

from irs import apikeys
from irs.errors import SettingsError
from irs.settings.schema import CLOUD_ENV, PREFIX, Settings

__all__ = ["CLOUD_CONFIG", "CLOUD_ENV", "PREFIX", "Settings"]

#: How user data begins that is for cloud-init.
CLOUD_CONFIG = "#cloud-config"


def build(values: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment, with ``values`` (field name to value) before it.

    Raises `SettingsError`, one line.
    """
    try:
        return Settings(**(values or {}))
    except ValidationError as exc:
        from irs.settings import wording  # for those who need it

        raise SettingsError(wording.refusal(exc, Settings.model_json_schema(), PREFIX)) from None
    except UnicodeDecodeError as exc:
        raise SettingsError(f".env is not UTF-8 text (byte {exc.start})") from None


@functools.cache
def load() -> Settings:
    """The process's settings, read once; raises `SettingsError`."""
    return build()


def own_key(settings: Settings) -> str | None:
    """The API key for this machine's own service; None where it wants none."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    if settings.api_keys is None:
        return None
    return next(iter(apikeys.parse(settings.api_keys.get_secret_value()).values()))


def names() -> tuple[str, ...]:
    """Every setting as its environment variable, in the order of the fields."""
    return tuple(PREFIX + field.upper() for field in Settings.model_fields)


def unknown(environ: Mapping[str, str | None] | None = None) -> list[tuple[str, str | None]]:
    """``IRS_*`` variables that are no setting, each with the setting that it resembles or None.

    A misspelt variable is otherwise ignored in silence. Without ``environ``, looks at the
    environment and at the files that `load` reads.
    """
    if environ is None:
        environ = {**dotenv_values(CLOUD_ENV), **dotenv_values(".env"), **os.environ}
    known = names()
    strays = sorted(name for name in environ
                    if name.upper().startswith(PREFIX) and name.upper() not in known)
    # Without the prefix, which all have in common and which would make all of them alike.
    fields = [name.removeprefix(PREFIX) for name in known]
    return [(stray, _nearest(stray.upper().removeprefix(PREFIX), fields)) for stray in strays]


def _nearest(stray: str, fields: list[str]) -> str | None:
    near = difflib.get_close_matches(stray, fields, n=3, cutoff=0.7)
    # Of names that are as close: letters that have changed places are the commonest slip.
    near.sort(key=lambda name: sorted(name) != sorted(stray))
    return PREFIX + near[0] if near else None


def apply_user_data(text: str) -> None:
    """Put an instance's user data (``IRS_NAME=value`` lines) into this process's environment.

    Raises `SettingsError` for what `lines` does, and changes nothing then: an instance with
    half its settings would serve the wrong queue. A document for cloud-init has no settings
    of ours.
    """
    if not text.startswith(CLOUD_CONFIG):
        os.environ.update(lines(text))
        load.cache_clear()


def lines(text: str) -> dict[str, str]:
    """The variables of ``IRS_NAME=value`` lines.

    Lines that are empty or begin with ``#`` are skipped; anything else raises `SettingsError`.
    """
    values = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.startswith(PREFIX):
            raise SettingsError(f"user data line {number} is not {PREFIX}NAME=value")
        values[name] = value
    return values


def as_env(settings: Settings, *names: str) -> dict[str, str]:
    """The named fields as ``IRS_*`` variables, as a child process or user data wants them."""
    env = {}
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, tuple):
            value = ",".join(value)
        env[PREFIX + name.upper()] = str(value)
    return env


def environment(*names: str) -> dict[str, str]:
    """This process's environment for a child process: the named variables, or all of them."""
    return {k: v for k, v in os.environ.items() if not names or k in names}

"""The embedded cloud."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from irs.settings.kinds import Seconds


class Local(BaseSettings):
    """A laptop's."""

    cloud_port: int = Field(4566, ge=0, le=65_535)
    state_dir: Path = Path(".irs")
    #: seconds between an instance's launch and its first process
    boot_delay: float = Field(0, ge=0, allow_inf_nan=False)
    #: seconds between SIGTERM and SIGKILL of an instance's process
    stop_grace: Seconds = 40.0

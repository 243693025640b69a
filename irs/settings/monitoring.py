"""What the service tells of itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings


class Logs(BaseSettings):
    """One event a line."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["pretty", "json"] = "pretty"
    #: the CloudWatch log group that `irs logs` reads; unset: the files of `irs up`
    log_group: str | None = Field(None, pattern=r"^[A-Za-z0-9_/.#-]{1,512}$")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

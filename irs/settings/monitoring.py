"""What the service tells of itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator
from pydantic_settings import BaseSettings


class Metrics(BaseSettings):
    """Figures of the scaler and the workers; the web tier's are where it is itself."""

    #: where they are served; unset: `host`
    metrics_host: str | None = None


class Logs(BaseSettings):
    """One event a line."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["pretty", "json"] = "pretty"

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

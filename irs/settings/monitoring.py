"""What the service tells of itself."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings

from irs.settings.kinds import off_to_none


class Metrics(BaseSettings):
    """Figures of the scaler and the workers; the web tier's are where it is itself."""

    #: where they are served; unset: `host`
    metrics_host: str | None = None


class Logs(BaseSettings):
    """One event a line."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["pretty", "json"] = "pretty"
    #: what a worker and a scaler rewrite while they go on; unset: nothing
    heartbeat_file: Path | None = None
    #: the CloudWatch log group that `irs logs` reads; unset: the files of `irs up`
    log_group: str | None = Field(None, pattern=r"^[A-Za-z0-9_/.#-]{1,512}$",
                      description="a log group's name (letters, digits and _/.#-)")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class Traces(BaseSettings):
    """Where an image's time was spent."""

    #: an OTLP/HTTP receiver's address; off: nothing is recorded
    traces: Annotated[str | None, BeforeValidator(off_to_none)] = None
    #: the share of requests that are recorded
    trace_share: float = Field(1.0, ge=0, le=1, allow_inf_nan=False)

    @field_validator("traces")
    @classmethod
    def _receiver(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urllib.parse.urlsplit(value)
            sound = (parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
                     and not any(c.isspace() or not c.isprintable() for c in value))
        except ValueError:
            sound = False
        if not sound:
            raise ValueError("is neither off nor a URL such as http://127.0.0.1:4318")
        if parts.username is not None or parts.query or parts.fragment:
            # Instances are told the address in their user data, which is no place for secrets.
            raise ValueError("must be an address alone: what it wants to know goes into "
                             "OTEL_EXPORTER_OTLP_HEADERS")
        return value

"""Kinds of values that several settings have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

#: S3's naming rules, shortened: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
#: SQS: 80 characters at most; ours leave room for the suffix of a reply queue.
_QUEUE = r"^[A-Za-z0-9_-]{1,64}$"

Bucket = Annotated[str, Field(
    pattern=_BUCKET, description="a bucket's name (3 to 63 small letters, digits, dots and dashes)")]
Queue = Annotated[str, Field(
    pattern=_QUEUE, description="a queue's name (1 to 64 letters, digits, dashes and underscores)")]

#: It is part of files' names.
MODEL = r"^[a-z0-9_]{1,64}$"
ModelName = Annotated[str, Field(
    pattern=MODEL, description="a model's name (small letters, digits and underscores)")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="a SHA-256 (64 small hex digits)")]


def off_to_none(value: Any) -> Any:
    """The words that switch a setting off."""
    return None if isinstance(value, str) and value.strip().lower() in ("", "off", "none") else value


def _parts(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _positive(value: float | None) -> float | None:
    if value is not None and value <= 0:
        raise ValueError("must be more than 0, or off")
    return value


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
OptionalSeconds = Annotated[
    Annotated[float, Field(allow_inf_nan=False)] | None,
    BeforeValidator(off_to_none), AfterValidator(_positive)]
OptionalDollars = Annotated[
    Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(off_to_none)]
#: 0: a free one
OptionalPort = Annotated[Annotated[int, Field(ge=0, le=65_535)] | None, BeforeValidator(off_to_none)]
OptionalCount = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(off_to_none)]
Csv = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parts)]
Buckets = Annotated[tuple[Bucket, ...], NoDecode, BeforeValidator(_parts)]

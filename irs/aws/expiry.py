"""How long the buckets keep what is in them: lifecycle rules, ours beside those of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irs import errors
from irs.aws import clients
from irs.aws.faults import translated
from irs.settings import Settings

#: What the ids of our rules begin with; a rule without it is somebody else's, and stays.
OURS = "irs-"
#: Days after which what is only needed for hours may go, S3 counts in whole days; and what
#: became of callbacks, which is kept as long as their attempts may have to be explained.
SOON, CALLED = 2, 14


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """Objects below ``prefix`` end ``days`` after they were written."""

    name: str
    prefix: str
    days: int

    def as_dict(self) -> dict[str, Any]:
        """As S3 wants it."""
        return {"ID": OURS + self.name, "Status": "Enabled", "Filter": {"Prefix": self.prefix},
                "Expiration": {"Days": self.days}}


def rules(settings: Settings, bucket: str) -> tuple[Rule, ...]:
    """Ours for one of the two buckets."""
    if bucket == settings.input_bucket:
        soon, kept = {"uploads": SOON}, ("inputs", settings.keep_inputs)
    else:
        soon = {"requests": SOON, "reuse": SOON, "called": CALLED}
        kept = ("results", settings.keep_results)
    found = [Rule(name=name, prefix=f"{name}/", days=days) for name, days in soon.items()]
    name, days = kept
    return (*found, *((Rule(name=name, prefix="", days=days),) if days is not None else ()))


def ensure(settings: Settings, bucket: str, *, create: bool) -> str | None:
    """Look at the bucket's rules, and set ours if ``create``; what is wrong with them, if anything.

    Without `Settings.keep_inputs` and `Settings.keep_results` nothing that matters hangs on
    the rules, so that who may not read or set them is no fault. Raises `errors.CloudError`.
    """
    wanted = rules(settings, bucket)
    matters = any(not rule.prefix for rule in wanted)
    try:
        there = _read(settings, bucket)
        if _ours(there) == {rule.as_dict()["ID"]: _told(rule.as_dict()) for rule in wanted}:
            return None
        if create:
            _write(settings, bucket, [*(rule for rule in there if not _is_ours(rule)),
                                      *(rule.as_dict() for rule in wanted)])
            return None
    except errors.AccessDenied as exc:
        return f"the lifecycle rules cannot be read or set: {exc}" if matters else None
    return "the lifecycle rules are not those of the settings: `irs up` sets them" if matters else None


def _is_ours(rule: Mapping[str, Any]) -> bool:
    return str(rule.get("ID", "")).startswith(OURS)


def _ours(found: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    return {rule["ID"]: _told(rule) for rule in found if _is_ours(rule)}


def _told(rule: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a rule counts; the older form has its prefix outside of the filter."""
    where = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
    return rule.get("Status"), where, rule.get("Expiration", {}).get("Days")


def _read(settings: Settings, bucket: str) -> list[dict[str, Any]]:
    s3 = clients.client(settings, "s3")
    try:
        with translated(f"S3 lifecycle of {bucket}"):
            found: list[dict[str, Any]] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
            return found
    except errors.NoBucket:
        raise
    except errors.NotFound:
        return []


def _write(settings: Settings, bucket: str, told: Sequence[Mapping[str, Any]]) -> None:
    s3 = clients.client(settings, "s3")
    with translated(f"S3 lifecycle of {bucket}"):
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": list(told)})
